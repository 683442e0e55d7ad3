"""The block: attention gathers from other tokens, the MLP thinks; both add to what was there.

Math   x <- x + Attention(LayerNorm(x));   x <- x + MLP(LayerNorm(x))      (eq. 1.15, lesson 1.7)
Used   model.py.   See it: python demo_residuals.py
Shapes B batch, T time, C = n_embd
Source He et al. 2015, "Deep Residual Learning" (residuals); Xiong et al. 2020, "On Layer
       Normalization in the Transformer Architecture" (the norm inside the branch)
"""

import torch
from attention import MultiHeadAttention
from mlp import MLP
from norm import LayerNorm
from torch import nn


class Block(nn.Module):
    """(B, T, C) -> (B, T, C), pre-norm: the sum from block to block is never normalised."""

    def __init__(self, n_embd: int, n_head: int, *, causal: bool = True):
        super().__init__()
        self.norm_1 = LayerNorm(n_embd)
        self.attention = MultiHeadAttention(n_embd, n_head, causal=causal)
        self.norm_2 = LayerNorm(n_embd)
        self.mlp = MLP(n_embd)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm_1(x))
        x = x + self.mlp(self.norm_2(x))  # eq. 1.15
        return x
