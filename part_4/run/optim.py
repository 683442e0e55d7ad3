"""Two optimizers: AdamW for everything, or Muon for the matrices inside the blocks.

Math   AdamW  m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2                          (eq. 4.8)
              w = w - rate * (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay * w)
       Muon   M = mu M + (1 - mu) G,  U = (1 - mu) G + mu M                            (eq. 4.9)
              W = W - rate * (sqrt(max(1, rows/columns)) * orthogonal(U) + decay * W)
       orthogonal(U) has U's singular vectors, and all singular values near 1: rare directions
       of the gradient are learnt as fast as common ones. Five steps of a polynomial make it.
Used   train.py, checkpoints through base/run.py.
Source Loshchilov and Hutter 2019, "Decoupled weight decay"; Jordan et al. 2024, "Muon"

The state is kept by name and whole, not by number and in slices, so that a run may be resumed with
another number of processes, or with FSDP after DDP.
"""

from collections import defaultdict

import torch
from torch import nn
from torch.optim.adamw import adamw

from run.distributed import put, sliced, unwrapped, whole

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # a, b, c of  a X + b (X X') X + c (X X')^2 X


def orthogonal(matrices: torch.Tensor, dtype=torch.bfloat16, steps: int = 5) -> torch.Tensor:
    """(N, rows, columns) -> the same shape, every singular value between about 0.7 and 1.2."""
    a, b, c = NEWTON_SCHULZ
    x = matrices.to(dtype)
    is_tall = x.size(1) > x.size(2)
    x = x.mT if is_tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)  # no singular value above 1
    for _ in range(steps):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


class Muon(torch.optim.Optimizer):
    """Groups with "kind" "muon" (matrices) and "adamw" (the rest). A group's rate is the loop's
    rate times its "scale". A matrix that holds several (queries, keys, values) is taken apart."""

    def __init__(self, groups: list[dict], rate: float, betas: tuple[float, float],
                 momentum: float = 0.95, dtype=torch.bfloat16):
        super().__init__(groups, {"lr": rate, "scale": 1.0, "kind": "adamw", "parts": {},
                                  "weight_decay": 0.0})
        self.betas, self.momentum, self.dtype = betas, momentum, dtype

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                (self.step_muon if group["kind"] == "muon" else self.step_adamw)(group, parameters)

    def step_adamw(self, group: dict, parameters: list) -> None:
        for p in parameters:
            if not self.state[p]:
                self.state[p] = {"step": torch.zeros((), device=p.device),
                                 "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        states = [self.state[p] for p in parameters]
        adamw(parameters, [p.grad for p in parameters], [s["exp_avg"] for s in states],
              [s["exp_avg_sq"] for s in states], [], [s["step"] for s in states], fused=True,
              amsgrad=False, beta1=self.betas[0], beta2=self.betas[1], lr=group["lr"],
              weight_decay=group["weight_decay"], eps=1e-8, maximize=False)

    def step_muon(self, group: dict, parameters: list) -> None:
        """All parts of one shape, of all layers, go through `orthogonal` together."""
        by_shape = defaultdict(list)  # shape -> [(number of the parameter, part, its slice)]
        for number, p in enumerate(parameters):
            if not self.state[p]:
                self.state[p] = {"exp_avg": torch.zeros_like(p)}
            mean = self.state[p]["exp_avg"].lerp_(p.grad, 1 - self.momentum)
            ahead = whole(p.grad.lerp(mean, self.momentum)).flatten(0, -2)  # experts are stacked
            for place, part in enumerate(ahead.split(group["parts"].get(p, ahead.size(0)))):
                by_shape[part.shape].append((number, place, part))
        done = [{} for _ in parameters]
        for (rows, columns), entries in by_shape.items():
            updates = orthogonal(torch.stack([part for _, _, part in entries]), self.dtype)
            updates = updates.float() * max(1.0, rows / columns) ** 0.5
            for (number, place, _), update in zip(entries, updates):
                done[number][place] = update
        for p, parts in zip(parameters, done):
            update = torch.cat([parts[place] for place in sorted(parts)])
            p.mul_(1 - group["lr"] * group["weight_decay"])
            p.add_(sliced(update.view(p.shape), p), alpha=-group["lr"])  # eq. 4.9


def make_optimizer(model: nn.Module, *, weight_decay: float, betas: tuple[float, float],
                   rate: float = 1e-3, muon: float = 0.0, dtype=torch.float32):
    """AdamW, fused (one pass over memory, on every device); only matrices decay.

    `muon`: the rate of Muon as a multiple of the loop's rate; 0: AdamW for everything.
    """
    model = unwrapped(model)
    if not muon:
        groups = [{**group, "scale": 1.0} for group in model.parameter_groups(weight_decay)]
        return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=1e-8, fused=True)
    parts = matrix_parts(model)
    rest = [p for p in model.parameters() if p not in parts]
    return Muon([{"params": list(parts), "kind": "muon", "scale": muon, "parts": parts,
                  "weight_decay": weight_decay},
                 {"params": [p for p in rest if p.dim() >= 2], "weight_decay": weight_decay},
                 {"params": [p for p in rest if p.dim() < 2]}], rate, betas, dtype=dtype)


def matrix_parts(model: nn.Module) -> dict:
    """The matrices inside the blocks -> how many rows each of its parts has. Those of experts (part 5)
    are stacked; what chooses among experts is left to AdamW."""
    parts = {}
    for block in model.blocks:
        for name, p in block.named_parameters():
            if p.dim() >= 2 and "router" not in name and "shared_gate" not in name:
                attention, rows, stacked = block.attention, p.size(-2), p.shape[:-2].numel()
                heads = [attention.H, attention.K, attention.K]
                parts[p] = [n * attention.D for n in heads] if name.endswith("qkv.weight") else \
                    [rows // 2] * (2 * stacked) if "gate_up" in name else [rows] * stacked
    return parts


def optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """{parameter name: {"step", "exp_avg", "exp_avg_sq"}}, whole tensors on the CPU."""
    named = {}
    for name, parameter in unwrapped(model).named_parameters():
        state = optimizer.state.get(parameter)
        if state:
            named[name] = {key: whole(value).detach().cpu().clone() for key, value in state.items()}
    return named


def load_optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer, named: dict) -> None:
    """The way back. Raises ValueError when the names are not those of the model."""
    parameters = {name: p for name, p in unwrapped(model).named_parameters() if p.requires_grad}
    if named and set(named) != set(parameters):
        odd = sorted(set(named) ^ set(parameters))
        raise ValueError(f"the optimizer's state is of another model; it differs in {odd[:3]}")
    for name, saved in named.items():
        parameter = parameters[name]
        state = {}
        for key, value in saved.items():
            if key == "step":
                state[key] = value.to(parameter.device)
            else:
                state[key] = torch.zeros_like(parameter)
                put(state[key], value)
        optimizer.state[parameter] = state


def model_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Name -> whole float32 weight on the CPU. With FSDP every process must ask."""
    return {name: whole(value).detach().cpu().clone()
            for name, value in unwrapped(model).state_dict().items()}


def load_model_state(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """The way back, into a model that may be sliced. Raises ValueError where names do not fit."""
    own = unwrapped(model).state_dict()
    if set(own) != set(weights):
        odd = sorted(set(own) ^ set(weights))
        raise ValueError(f"the weights are of another model; they differ in {odd[:3]}")
    for name, target in own.items():
        if target.shape != weights[name].shape:
            raise ValueError(f"{name} is {tuple(weights[name].shape)} in the file and "
                             f"{tuple(target.shape)} in the model")
        put(target, weights[name])
