"""SwiGLU: an MLP in which one half of the hidden layer opens and closes the other.

Math   MLP(x) = W_down (silu(W_gate x) * W_up x),  silu(z) = z * sigmoid(z)   (eq. 3.4, lesson 3.3)
Used   model.py.   See it: python demo_swiglu.py
Shapes B batch, T time, C = n_embd, F = n_hidden
Source Shazeer 2020, "GLU Variants Improve Transformer"

Three matrices of C x F take the place of two of C x 4C: with F = 8/3 C the parameters are equal.
"""

import torch
import torch.nn.functional as F
from torch import nn


def hidden_width(n_embd: int, multiple: int = 32) -> int:
    """8/3 of n_embd, rounded up to a multiple that processors like: 128 -> 352, 512 -> 1376."""
    return -(-8 * n_embd // (3 * multiple)) * multiple


class SwiGLU(nn.Module):
    """(B, T, C) -> (B, T, C). `gate_up` holds W_gate in its first F rows, W_up in the others."""

    def __init__(self, n_embd: int, n_hidden: int, *, bias: bool = False):
        super().__init__()
        self.gate_up = nn.Linear(n_embd, 2 * n_hidden, bias=bias)  # one product, not two
        self.project = nn.Linear(n_hidden, n_embd, bias=bias)      # W_down

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)  # (B, T, F) each
        return self.project(F.silu(gate) * up)       # eq. 3.4
