"""RoPE: turn queries and keys by an angle that grows with position.

Math   pair i of a head at position t is turned by t * w_i,  w_i = theta^(-2i/D)    (eq. 3.2)
       R(t) q . R(s) k = q . R(s - t) k: only the distance t - s is left           (eq. 3.3)
Used   attention.py, mla.py.   See it: python demo_rope.py
Shapes B batch, T time, H heads, D head width
Source Su et al. 2021, "RoFormer"; Chen et al. 2023, "Extending Context Window … via Positional
       Interpolation"; bloc97 2023, "NTK-aware scaled RoPE"; "The Llama 3 Herd of Models", 2024

The layout is "halves", that of released Llama-family weights: channel i turns with i + D/2.
"""

import math

import torch

SCALINGS = (None, "linear", "ntk", "llama3")


def rope_frequencies(head_dim: int, theta: float = 10000.0, scaling: str | None = None,
                     factor: float = 1.0, low: float = 1.0, high: float = 4.0,
                     trained: int = 8192) -> torch.Tensor:
    """(D/2,) float64, on the CPU: radians per position for each pair, from 1 down to about 1/theta.

    `scaling` stretches a model to `factor` times the length it was trained at (lesson 3.2):
      "linear"  position interpolation: every angle is divided by `factor`
      "ntk"     theta grows so that the slowest pair slows by `factor`, the fastest not at all
      "llama3"  pairs that turn fewer than `low` times in `trained` positions slow by `factor`,
                those that turn more than `high` times not at all, those between in part
    """
    if head_dim < 2 or head_dim % 2:
        raise ValueError(f"head_dim={head_dim} must be even: RoPE turns channels in pairs")
    if scaling not in SCALINGS:
        raise ValueError(f"rope_scaling={scaling!r}: choose one of {SCALINGS}")
    if scaling == "ntk":
        theta = theta * factor ** (head_dim / max(head_dim - 2, 1))
    share = torch.arange(0, head_dim, 2, dtype=torch.float64, device="cpu") / head_dim  # 2i/D
    frequency = theta ** -share  # eq. 3.2
    if scaling == "linear":
        frequency = frequency / factor
    if scaling == "llama3":
        turns = trained * frequency / (2 * math.pi)  # full turns within the trained length
        kept = ((turns - low) / (high - low)).clamp(0, 1)
        frequency = frequency * (kept + (1 - kept) / factor)
    return frequency


class RotaryTable:
    """Cosines and sines by position, computed once: in float64, kept in float32.

    Not a module, on purpose: `model.to(torch.bfloat16)` would round the angles' cosines as well,
    and positions beyond a few hundred would blur.
    """

    def __init__(self, frequency: torch.Tensor, length: int):
        self.frequency = frequency
        self.length = length
        self.tables: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}

    def compute(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        angle = positions.cpu().double()[..., None] * self.frequency  # (..., D/2), eq. 3.2
        return (angle.cos().float().to(positions.device),
                angle.sin().float().to(positions.device))

    def at(self, positions: torch.Tensor, highest: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions (B, T) -> cos, sin (B, T, 1, D/2), one for all heads.

        `highest` bounds the positions: those of a stream run on beyond the table.
        """
        device = positions.device
        if highest >= self.length:
            cos, sin = self.compute(positions)
        else:
            if device not in self.tables:
                self.tables[device] = self.compute(torch.arange(self.length, device=device))
            cos, sin = (table[positions] for table in self.tables[device])
        return cos[:, :, None], sin[:, :, None]


def apply_rope(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """(B, T, H, D) turned by the angles of its positions; halves layout, lengths are kept.

    D = 2 at position 1 (w_0 = 1): (1, 0) -> (cos 1, sin 1) = (0.540, 0.841)
    """
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def apply_rope_interleaved(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """The same in RoFormer's own layout: channel 2i turns with 2i + 1. For the lesson only."""
    first, second = x[..., 0::2], x[..., 1::2]
    turned = torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return turned.flatten(-2)


def interleaved_to_halves(head_dim: int) -> torch.Tensor:
    """The permutation p with  apply_rope(x[..., p]) == apply_rope_interleaved(x)[..., p].

    head_dim 6 -> [0, 2, 4, 1, 3, 5]. Applied to the rows of trained query and key matrices it
    turns weights of one layout into the other.
    """
    return torch.arange(head_dim).view(-1, 2).T.flatten()
