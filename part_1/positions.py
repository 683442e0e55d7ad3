"""Positions: attention treats its input as a set, so each place adds a vector of its own.

Math   learned:     p_t is row t of a table that is trained
       sinusoidal:  p_t[2i] = sin(t / 10000^(2i/C)),  p_t[2i+1] = cos(t / 10000^(2i/C))
       (eq. 1.2 and 1.3, lesson 1.1)
Used   model.py, encoder_decoder.py.   See it: python demo_positions.py
Shapes T time, C = n_embd
Source Vaswani et al. 2017, "Attention Is All You Need", section 3.5
"""

import torch
from torch import nn


def check_length(length: int, block_size: int) -> None:
    """Raise ValueError when there are more tokens than positions."""
    if length > block_size:
        raise ValueError(f"{length} tokens do not fit in block_size={block_size}; "
                         "shorten the input or make the model with a larger block_size")


def sinusoidal_table(block_size: int, n_embd: int) -> torch.Tensor:
    """(block_size, n_embd): row t holds sines and cosines, from fast waves to slow ones.

    The product of two rows depends on their distance alone: p_t . p_s = sum_i cos(w_i (t - s)).
    """
    if n_embd % 2:
        raise ValueError(f"n_embd={n_embd} must be even: sines and cosines come in pairs")
    time = torch.arange(block_size, dtype=torch.float64)[:, None]
    even = torch.arange(0, n_embd, 2, dtype=torch.float64)
    angle = time / 10000 ** (even / n_embd)  # (T, C/2), eq. 1.3
    table = torch.stack([angle.sin(), angle.cos()], dim=-1)  # (T, C/2, 2)
    return table.flatten(1).float()  # sin and cos in turn


class SinusoidalPositions(nn.Module):
    """length T -> (T, C). A fixed table, nothing is trained. `scale` multiplies every entry."""

    def __init__(self, block_size: int, n_embd: int, scale: float = 1.0):
        super().__init__()
        self.block_size = block_size
        table = scale * sinusoidal_table(block_size, n_embd)
        self.register_buffer("table", table, persistent=False)  # made again, hence not saved

    def forward(self, length: int) -> torch.Tensor:
        check_length(length, self.block_size)
        return self.table[:length]


class LearnedPositions(nn.Module):
    """length T -> (T, C): the first T rows of a trained table (eq. 1.2)."""

    def __init__(self, block_size: int, n_embd: int):
        super().__init__()
        self.block_size = block_size
        self.table = nn.Parameter(0.02 * torch.randn(block_size, n_embd))

    def forward(self, length: int) -> torch.Tensor:
        check_length(length, self.block_size)
        return self.table[:length]
