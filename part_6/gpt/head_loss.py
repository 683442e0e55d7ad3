"""The output layer and its cross-entropy in one go, a few hundred tokens at a time.

Math   loss = mean over counted i of  log sum_v exp(x_i . w_v) - x_i . w_{y_i}       (eq. 2.3)
       d loss / d logits = softmax - onehot: known as soon as a piece's logits are
Used   gpt/model.py, where only the loss is wanted (`loss_only=True`).
Shapes N tokens, C width, V vocabulary

Plain cross-entropy keeps the logits (N, V), a float32 copy, and both gradients: for 16,384 tokens
and a vocabulary of 32,768 that is 6 GB. Here a piece's logits become its gradient on the spot.
"""

import torch

PIECE_VALUES = 2**20  # logits in one piece: 512 tokens for a vocabulary of 2,048 …
LEAST_TOKENS = 256    # … but no fewer than this: products of a few rows are slow


class HeadLoss(torch.autograd.Function):
    """x (N, C), weight (V, C), targets (N,) -> the mean loss over targets that are not -100."""

    @staticmethod
    def forward(ctx, x, weight, targets, dtype):
        """The gradients are made here, together with the loss; backward only scales them."""
        wants_gradient = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        w = weight.to(dtype)
        x_gradient = torch.empty_like(x) if wants_gradient else None
        w_learns = ctx.needs_input_grad[1]  # LoRA leaves the output layer as it is
        w_gradient = torch.zeros_like(weight, dtype=torch.float32) if w_learns else None
        is_counted = targets != -100
        count = is_counted.sum().clamp(min=1)  # no label at all: the loss is 0, not 0/0
        total = x.new_zeros((), dtype=torch.float32)
        piece = max(LEAST_TOKENS, PIECE_VALUES // weight.size(0))
        for first in range(0, x.size(0), piece):
            part = slice(first, first + piece)
            rows, counted = x[part].to(dtype), is_counted[part, None]
            logits = (rows @ w.T).float()                                   # (piece, V)
            right = targets[part, None].clamp(min=0)
            logits -= logits.amax(-1, keepdim=True)  # the largest is 0: nothing overflows
            chosen = logits.gather(1, right)
            size = logits.exp_().sum(-1, keepdim=True)
            total += ((size.log() - chosen) * counted).sum()
            if wants_gradient:
                slope = logits.mul_(counted / size)                         # softmax
                slope.scatter_add_(1, right, -counted.float())              # … - onehot
                slope = slope.to(dtype)
                x_gradient[part] = slope @ w
                if w_learns:
                    w_gradient += slope.T @ rows
        ctx.save_for_backward(x_gradient, w_gradient, count)
        return total / count

    @staticmethod
    def backward(ctx, gradient):
        x_gradient, w_gradient, count = ctx.saved_tensors
        scale = gradient / count
        w_gradient = None if w_gradient is None else w_gradient * scale
        return (x_gradient * scale).to(x_gradient.dtype), w_gradient, None, None


def head_loss(x: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(B, T, C) and (B, T) -> the loss; products in autocast's type where autocast is on."""
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    with torch.autocast(kind, enabled=False):
        return HeadLoss.apply(x.flatten(0, -2), weight, targets.flatten(), dtype)
