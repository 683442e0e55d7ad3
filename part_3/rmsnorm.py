"""RMSNorm: divide every token's vector by its root mean square. No mean is taken away, no bias.

Math   y = weight * x / sqrt(mean(x^2) + eps)                              (eq. 3.1, lesson 3.1)
Used   attention.py (on queries and keys), mla.py, model.py.   See it: python demo_norms.py
Shapes B batch, T time, C = n_embd
Source Zhang and Sennrich 2019, "Root Mean Square Layer Normalization"
"""

import torch
import torch.nn.functional as F
from torch import nn


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """(..., C) -> (..., C), line by line. `RMSNorm` computes the same in one call.

    rms_norm([3, 4], weight [1, 1]) = [3, 4] / sqrt(12.5) = [0.849, 1.131]
    """
    mean_square = x.float().square().mean(-1, keepdim=True)  # float32: squares overflow 16 bits
    return (x.float() * torch.rsqrt(mean_square + eps)).to(x.dtype) * weight  # eq. 3.1


class RMSNorm(nn.Module):
    """(..., C) -> (..., C). Each vector by itself; only its length changes, then each channel."""

    def __init__(self, n_embd: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps  # keeps a vector of zeros from dividing by 0
        self.weight = nn.Parameter(torch.ones(n_embd))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)
