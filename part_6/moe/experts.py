"""The experts: E small SwiGLU networks, of which every token uses k.

Math   y = sum over i in S of  g_i W_down,i (silu(W_gate,i x) * W_up,i x)              (eq. 5.7)
Used   moe/layer.py, moe/expert_parallel.py.   See it: python benchmark_moe.py
Shapes N tokens, E experts, k choices, M kept choices (N*k if none is dropped), C = n_embd,
       F = n_hidden;   gate_up (E, 2F, C): W_gate in rows 0 … F-1, W_up in the others
       down (E, C, F), both in nn.Linear's layout [out, in] for each expert
Source Jiang et al. 2024, "Mixtral of Experts"; Gale et al. 2022, "MegaBlocks" (dropless)

Three forms of eq. 5.7, with equal results and gradients:
  experts_loop     to be read: for each expert, find its tokens, compute, add to their rows
  experts_sorted   on a CPU: the choices sorted by expert, forward and backward written by hand
  experts_grouped  on a GPU: sorted too, then all experts in one grouped matrix product
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

FORMS = ("auto", "loop", "sorted", "grouped")


def experts_loop(x, experts, weights, gate_up, down) -> torch.Tensor:
    """x (N, C), experts and weights (N, k), gate_up (E, 2F, C), down (E, C, F) -> (N, C)"""
    out = torch.zeros_like(x)
    for e in range(gate_up.size(0)):
        token, choice = torch.where(experts == e)  # a dropped choice equals no expert's number
        gate, up = F.linear(x[token], gate_up[e]).chunk(2, dim=-1)
        y = F.linear(F.silu(gate) * up, down[e])
        out = out.index_add(0, token, y * weights[token, choice, None].to(y.dtype))  # eq. 5.7
    return out


def sort_by_expert(experts: torch.Tensor, n_expert: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, k) -> (order (M,), counts (E,)): the kept choices, expert by expert.

    order holds places in the flattened (N*k,): choice o belongs to token o // k.
    experts [[1, 0], [1, DROPPED]] -> order [1, 0, 2], counts [1, 2]
    """
    flat = experts.flatten()
    order = flat.argsort(stable=True)  # DROPPED is -1: these come first
    counts = torch.bincount(flat + 1, minlength=n_expert + 1)
    return order[order.numel() - int(counts[1:].sum()):], counts[1:]


class SortedExperts(torch.autograd.Function):
    """eq. 5.7 with its backward pass by hand: what autograd would keep and copy is not made.

    Every choice has a row of y, sorted by expert; `place` (N, k) says which, and the row behind the
    last, of zeros, stands for all that were dropped. So a token's output is a weighted sum of k
    rows: an embedding bag. (Adding rows to the tokens' instead takes one row at a time on a CPU.)
    With d = dL/d(row of out), h = [u | v] the hidden layer of an expert, a = silu(u) * v, y = W_down a:
        dL/dg = d . y      dL/dy = g d      dL/da = W_down^T dL/dy      dL/dW_down = dL/dy a^T
        dL/dv = silu(u) * dL/da             dL/du = silu'(u) * v * dL/da
    Kept from the forward pass are h and y; a is made anew.
    """

    @staticmethod
    def forward(ctx, x, order, counts: list[int], weights, gate_up, down):
        M, token = order.numel(), order // weights.size(1)
        place = order.new_full((weights.numel(),), M)
        place[order] = torch.arange(M, device=order.device)
        place = place.view(weights.shape)  # (N, k): rows of y
        y = x.new_empty(M + 1, x.size(1))
        y[M] = 0
        kept = []  # h (m, 2F) of each expert
        for e, (here, y_here) in enumerate(zip(token.split(counts), y[:M].split(counts))):
            h = x.index_select(0, here) @ gate_up[e].T
            u, v = h.chunk(2, dim=-1)
            torch.mm(F.silu(u).mul_(v), down[e].T, out=y_here)
            kept.append(h)
        ctx.save_for_backward(x, token, order, place, weights, y, gate_up, down, *kept)
        ctx.counts = counts
        return F.embedding_bag(place, y, mode="sum", per_sample_weights=weights)  # eq. 5.7

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, token, order, place, weights, y, gate_up, down, *kept = ctx.saved_tensors
        M, g = order.numel(), weights.flatten()[order, None]  # (M, 1)
        grad_g, grad_up, grad_down = (torch.empty_like(t) for t in (g, gate_up, down))
        grad_rows = torch.empty_like(y)  # (M + 1, C): dL/dx by choice
        grad_rows[M] = 0
        blocks = (t.split(ctx.counts) for t in (token, g, grad_g, y[:M], grad_rows[:M]))
        for e, (here, g_here, grad_g_here, y_here, rows_here, h) in enumerate(zip(*blocks, kept)):
            d = grad.index_select(0, here)                       # (m, C)
            torch.sum(y_here * d, -1, keepdim=True, out=grad_g_here)
            d.mul_(g_here)                                       # dL/dy
            u, v = h.chunk(2, dim=-1)                            # (m, F)
            silu = F.silu(u)
            d_a = d @ down[e]                                    # (m, F)
            d_h = torch.empty_like(h)
            d_u, d_v = d_h.chunk(2, dim=-1)
            torch.mul(d_a, silu, out=d_v)
            torch.mm(d.T, silu.mul_(v), out=grad_down[e])        # a, in silu's place
            torch.ops.aten.silu_backward.grad_input(d_a.mul_(v), u, grad_input=d_u)
            torch.mm(d_h.T, x.index_select(0, here), out=grad_up[e])
            torch.mm(d_h, gate_up[e], out=rows_here)
        grad_x = F.embedding_bag(place, grad_rows, mode="sum")
        grad_weights = g.new_zeros(weights.numel())
        grad_weights[order] = grad_g[:, 0]
        return grad_x, None, None, grad_weights.view(weights.shape), grad_up, grad_down


def experts_sorted(x, experts, weights, gate_up, down) -> torch.Tensor:
    """As `experts_loop`, faster on a CPU."""
    order, counts = sort_by_expert(experts, gate_up.size(0))
    return SortedExperts.apply(x, order, counts.tolist(), weights.to(x.dtype), gate_up, down)


def experts_grouped(x, experts, weights, gate_up, down) -> torch.Tensor:
    """As `experts_loop`, in two grouped matrix products: the form for a GPU."""
    k = experts.size(1)
    order, counts = sort_by_expert(experts, gate_up.size(0))
    ends = counts.cumsum(0).to(torch.int32)  # expert e has rows ends[e-1] … ends[e] - 1
    token = order // k
    hidden = F.grouped_mm(x.index_select(0, token), gate_up.mT, offs=ends)
    gate, up = hidden.chunk(2, dim=-1)
    act = F.silu(gate) * up * weights.flatten()[order, None].to(x.dtype)
    y = F.grouped_mm(act, down.mT, offs=ends)  # (M, C)
    return torch.zeros_like(x).index_add(0, token, y)


RUN = {"loop": experts_loop, "sorted": experts_sorted, "grouped": experts_grouped}


class Experts(nn.Module):
    """(x (N, C), experts (N, k), weights (N, k)) -> (N, C): eq. 5.7, in the form that is fast here."""

    def __init__(self, n_expert: int, n_embd: int, n_hidden: int, form: str = "auto"):
        super().__init__()
        self.form = form
        self.gate_up = nn.Parameter(torch.empty(n_expert, 2 * n_hidden, n_embd))
        self.down = nn.Parameter(torch.empty(n_expert, n_embd, n_hidden))
        self.reset(0.02, 0.02)

    @property
    def fits_grouped(self) -> bool:
        """Grouped products want rows of whole 16 bytes: widths that are multiples of 8."""
        return all(width % 8 == 0 for width in self.down.shape[1:])

    def reset(self, std: float, std_down: float) -> None:
        """Normal weights; `std_down` is for the matrices that write to the residual stream."""
        nn.init.normal_(self.gate_up, std=std)
        nn.init.normal_(self.down, std=std_down)

    def forward(self, x, experts, weights) -> torch.Tensor:
        gate_up, down = self.gate_up, self.down
        device = x.device.type
        if torch.is_autocast_enabled(device):  # by hand: grouped products are not on its list
            dtype = torch.get_autocast_dtype(device)
            x, gate_up, down = x.to(dtype), gate_up.to(dtype), down.to(dtype)
        form = self.form
        if form == "auto":
            form = {"cuda": "grouped" if self.fits_grouped else "sorted",
                    "cpu": "sorted"}.get(device, "loop")
        with torch.autocast(device, enabled=False):
            return RUN[form](x, experts, weights, gate_up, down)
