"""LayerNorm: give every token's vector mean 0 and variance 1, then a learned scale and shift.

Math   y = weight * (x - mean(x)) / sqrt(var(x) + eps) + bias              (eq. 1.14, lesson 1.6)
Used   block.py, encoder_decoder.py.   See it: python demo_residuals.py
Shapes B batch, T time, C = n_embd
Source Ba, Kiros, Hinton 2016, "Layer Normalization"
"""

import torch
from torch import nn


class LayerNorm(nn.Module):
    """(..., C) -> (..., C). Each vector is normalised by itself: no other token is looked at."""

    def __init__(self, n_embd: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps  # keeps a constant vector, whose variance is 0, from dividing by 0
        self.weight = nn.Parameter(torch.ones(n_embd))
        self.bias = nn.Parameter(torch.zeros(n_embd))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(-1, keepdim=True)                   # (..., 1): over the channels alone
        centred = x - mean
        variance = centred.square().mean(-1, keepdim=True)  # divided by C, not by C - 1
        return self.weight * centred / torch.sqrt(variance + self.eps) + self.bias  # eq. 1.14
