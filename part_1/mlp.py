"""The MLP: each token by itself is widened, bent by GELU, and brought back to its width.

Math   MLP(x) = W2 gelu(W1 x + b1) + b2,  gelu(x) = x * P(Z <= x), Z ~ N(0, 1)
       (eq. 1.12 and 1.13, lesson 1.5)
Used   block.py, encoder_decoder.py.   See it: python demo_overfit.py
Shapes B batch, T time, C = n_embd; the hidden layer is 4 C wide
Source Hendrycks and Gimpel 2016, "Gaussian Error Linear Units (GELUs)"
"""

import math

import torch
from torch import nn


def gelu(x: torch.Tensor) -> torch.Tensor:
    """x times the share of a normal distribution below x: gelu(1) = 0.8413, gelu(-1) = -0.1587."""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))  # eq. 1.13


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    """The approximation that GPT-2 was trained with; at most 0.0005 away from `gelu`."""
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + torch.tanh(inner))


class MLP(nn.Module):
    """(B, T, C) -> (B, T, C). Tokens do not see each other here; that is attention's work."""

    def __init__(self, n_embd: int, n_hidden: int | None = None):
        super().__init__()
        n_hidden = 4 * n_embd if n_hidden is None else n_hidden
        self.widen = nn.Linear(n_embd, n_hidden)
        self.project = nn.Linear(n_hidden, n_embd)  # back into the residual stream

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.project(gelu(self.widen(x)))  # eq. 1.12: (B, T, C) -> (B, T, 4C) -> (B, T, C)
