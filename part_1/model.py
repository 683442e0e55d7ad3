"""A minimal GPT: embed, add positions, a stack of blocks, and a score for every next token.

Math   x = E[ids] + P;  x = Block_l(x), l = 1 … L;  logits = W LayerNorm(x)   (eq. 1.16)
       loss = mean of -log softmax(logits)[target]                        (lesson 1.7)
Used   demo_overfit.py, demo_visualize_multi_head.py, demo_positions.py
Shapes B batch, T time, C = n_embd, V vocabulary
Source Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2)
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from block import Block
from norm import LayerNorm
from positions import LearnedPositions, SinusoidalPositions, check_length
from torch import nn


@dataclass(frozen=True)
class GPTConfig:
    vocab_size: int = 256       # V, how many different tokens there are
    block_size: int = 64        # the most tokens the model can look at
    n_layer: int = 4            # blocks
    n_head: int = 4             # heads in each block
    n_embd: int = 128           # C, the width of the residual stream
    positions: str = "learned"  # "learned", "sinusoidal", or "none" to see what is lost

    def __post_init__(self):
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd={self.n_embd} must be a multiple of n_head={self.n_head}")
        if self.positions not in ("learned", "sinusoidal", "none"):
            raise ValueError(f"positions={self.positions!r}: choose learned, sinusoidal or none")


def check_ids(ids: torch.Tensor, vocab_size: int, name: str = "ids") -> None:
    """Raise ValueError unless `ids` is (B, T), of integers from 0 to vocab_size - 1."""
    if ids.dim() != 2 or ids.numel() == 0 or ids.dtype != torch.int64:
        raise ValueError(f"{name} must be (B, T) of type int64 and not empty, "
                         f"not {tuple(ids.shape)} of {ids.dtype}")
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocab_size:
        bad = low if low < 0 else high
        raise ValueError(f"{name} holds the token {bad}; the vocabulary has tokens "
                         f"0 … {vocab_size - 1} (vocab_size={vocab_size})")


class GPT(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        C = config.n_embd
        self.token_embedding = nn.Embedding(config.vocab_size, C)
        if config.positions == "learned":
            self.positions = LearnedPositions(config.block_size, C)
        elif config.positions == "sinusoidal":  # as large as the token vectors at the start
            self.positions = SinusoidalPositions(config.block_size, C, scale=0.02 * math.sqrt(2))
        else:
            self.positions = None
        self.blocks = nn.ModuleList(Block(C, config.n_head) for _ in range(config.n_layer))
        self.norm = LayerNorm(C)
        self.head = nn.Linear(C, config.vocab_size, bias=False)
        self.initialise()

    def initialise(self) -> None:
        """GPT-2's start: normal, 0.02; what writes into the stream smaller, by 1/sqrt(2 L).

        2 L branches add up in the stream; so its size does not grow with the number of blocks.
        """
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                smaller = math.sqrt(2 * self.config.n_layer) if "project" in name else 1.0
                nn.init.normal_(parameter, std=0.02 / smaller)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (B, T, C)"""
        check_ids(ids, self.config.vocab_size)
        check_length(ids.size(1), self.config.block_size)
        x = self.token_embedding(ids)
        return x if self.positions is None else x + self.positions(ids.size(1))

    def forward(self, ids: torch.Tensor, targets: torch.Tensor | None = None):
        """ids (B, T), targets (B, T) or None -> logits (B, T, V), loss or None.

        `targets[b, t]` is the token that follows `ids[b, t]`: already shifted; -100 is left out.
        """
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))  # (B, T, V), eq. 1.16
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)

    @torch.no_grad()
    def attention_maps(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (B, L, H, T, T): the attention weights of every layer and head."""
        x, maps = self.embed(ids), []
        for block in self.blocks:
            maps.append(block.attention.weights(block.norm_1(x)))
            x = block(x)
        return torch.stack(maps, dim=1)

    @torch.no_grad()
    def generate(self, ids: torch.Tensor, n_new: int) -> torch.Tensor:
        """(B, T) -> (B, T + n_new): appends the likeliest token, again and again."""
        for _ in range(n_new):
            logits, _ = self(ids[:, -self.config.block_size:])  # the last block_size tokens
            ids = torch.cat([ids, logits[:, -1].argmax(-1, keepdim=True)], dim=1)
        return ids
