"""The original Transformer: an encoder reads the source, a decoder writes the target.

Math   cross-attention: Q from the decoder, K and V from the encoder's output   (eq. 1.18)
       pre-norm  x <- x + f(LayerNorm(x));   post-norm  x <- LayerNorm(x + f(x))  (eq. 1.19)
Used   demo_encoder_decoder.py   (lesson 1.8)
Shapes B batch, S source length, T target length, C = n_embd, V vocabulary
Source Vaswani et al. 2017, "Attention Is All You Need", section 3.1

Two masks: no one may look at a padding token, and the decoder may not look ahead.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from attention import MultiHeadAttention
from mlp import MLP
from model import check_ids
from norm import LayerNorm
from positions import SinusoidalPositions
from torch import nn


@dataclass(frozen=True)
class EncoderDecoderConfig:
    vocab_size: int = 29      # V, shared by source and target; holds the three tokens below
    block_size: int = 32      # the longest source, and the longest target
    n_layer: int = 2          # layers of the encoder, and of the decoder
    n_head: int = 4           # heads in each attention
    n_embd: int = 64          # C
    norm_first: bool = True   # True: pre-norm, easy to train. False: post-norm, as in 2017
    pad_id: int = 0           # fills the rows of a batch up to one length; nobody sees it
    begin_id: int = 1         # the decoder's first input
    end_id: int = 2           # the decoder's last output

    def __post_init__(self):
        for name in ("block_size", "n_layer", "n_head", "n_embd"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd={self.n_embd} must be a multiple of n_head={self.n_head}")
        special = {self.pad_id, self.begin_id, self.end_id}
        if len(special) < 3 or min(special) < 0 or max(special) >= self.vocab_size:
            raise ValueError(f"pad_id={self.pad_id}, begin_id={self.begin_id} and end_id="
                             f"{self.end_id} must be three different tokens below vocab_size="
                             f"{self.vocab_size}")


def add_residual(x: torch.Tensor, norm: LayerNorm, branch, norm_first: bool) -> torch.Tensor:
    """x + branch(norm(x)), or norm(x + branch(x)): eq. 1.19."""
    return x + branch(norm(x)) if norm_first else norm(x + branch(x))


class Embedding(nn.Module):
    """(B, T) -> (B, T, C): token vectors as long as the position vectors, and both added."""

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.n_embd)
        nn.init.normal_(self.tokens.weight, std=config.n_embd**-0.5)
        self.positions = SinusoidalPositions(config.block_size, config.n_embd)

    def forward(self, ids: torch.Tensor, name: str) -> torch.Tensor:
        check_ids(ids, self.config.vocab_size, name)
        positions = self.positions(ids.size(1))
        return self.tokens(ids) * math.sqrt(self.config.n_embd) + positions


class EncoderLayer(nn.Module):
    """Self-attention without a causal mask, then the MLP: (B, S, C) -> (B, S, C)."""

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        self.norm_first = config.norm_first
        self.norm_1, self.norm_2 = LayerNorm(config.n_embd), LayerNorm(config.n_embd)
        self.attention = MultiHeadAttention(config.n_embd, config.n_head)
        self.mlp = MLP(config.n_embd)

    def forward(self, x: torch.Tensor, is_real: torch.Tensor) -> torch.Tensor:
        """`is_real` (B, 1, 1, S): True where the source is not padding."""
        x = add_residual(x, self.norm_1, lambda h: self.attention(h, is_visible=is_real),
                         self.norm_first)
        return add_residual(x, self.norm_2, self.mlp, self.norm_first)


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention to the source, the MLP: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        C, H = config.n_embd, config.n_head
        self.norm_first = config.norm_first
        self.norm_1, self.norm_2, self.norm_3 = LayerNorm(C), LayerNorm(C), LayerNorm(C)
        self.attention = MultiHeadAttention(C, H, causal=True)
        self.cross_attention = MultiHeadAttention(C, H)
        self.mlp = MLP(C)

    def forward(self, x: torch.Tensor, memory: torch.Tensor, is_real: torch.Tensor):
        """`memory` (B, S, C) is the encoder's output, `is_real` (B, 1, 1, S) its padding mask."""
        x = add_residual(x, self.norm_1, self.attention, self.norm_first)
        x = add_residual(x, self.norm_2,
                         lambda h: self.cross_attention(h, memory, is_real),  # eq. 1.18
                         self.norm_first)
        return add_residual(x, self.norm_3, self.mlp, self.norm_first)

    def cross_weights(self, x: torch.Tensor, memory: torch.Tensor, is_real: torch.Tensor):
        """(B, H, T, S): where in the source each step of the target looks."""
        x = add_residual(x, self.norm_1, self.attention, self.norm_first)
        query = self.norm_2(x) if self.norm_first else x
        return self.cross_attention.weights(query, memory, is_real)


class Encoder(nn.Module):
    """Source ids (B, S) -> memory (B, S, C)."""

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        self.embed = Embedding(config)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.n_layer))
        self.norm = LayerNorm(config.n_embd) if config.norm_first else nn.Identity()

    def forward(self, source: torch.Tensor, is_real: torch.Tensor) -> torch.Tensor:
        x = self.embed(source, "source")
        for layer in self.layers:
            x = layer(x, is_real)
        return self.norm(x)


class Decoder(nn.Module):
    """Target ids (B, T) and memory (B, S, C) -> logits (B, T, V)."""

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        self.embed = Embedding(config)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.n_layer))
        self.norm = LayerNorm(config.n_embd) if config.norm_first else nn.Identity()
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)

    def forward(self, target: torch.Tensor, memory: torch.Tensor, is_real: torch.Tensor):
        x = self.embed(target, "target")
        for layer in self.layers:
            x = layer(x, memory, is_real)
        return self.head(self.norm(x))


class EncoderDecoder(nn.Module):
    """The whole: forward(source, target_in, target_out) -> (logits, loss)."""

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def source_is_real(self, source: torch.Tensor) -> torch.Tensor:
        """(B, S) -> (B, 1, 1, S), True where there is a token: the padding mask."""
        is_real = source != self.config.pad_id
        if not is_real.any(dim=1).all():
            row = int((~is_real.any(dim=1)).nonzero()[0])
            raise ValueError(f"row {row} of the source is nothing but padding "
                             f"(pad_id={self.config.pad_id}); leave it out of the batch")
        return is_real[:, None, None, :]

    def forward(self, source: torch.Tensor, target_in: torch.Tensor,
                target_out: torch.Tensor | None = None):
        """(B, S), (B, T), (B, T) -> logits (B, T, V), loss or None.

        target_in  = begin a b c      what the decoder is given
        target_out = a b c end        what it is to say; padding does not count in the loss
        """
        is_real = self.source_is_real(source)
        logits = self.decoder(target_in, self.encoder(source, is_real), is_real)
        if target_out is None:
            return logits, None
        loss = F.cross_entropy(logits.flatten(0, 1), target_out.flatten(),
                               ignore_index=self.config.pad_id)
        return logits, loss

    @torch.no_grad()
    def generate(self, source: torch.Tensor, max_new: int | None = None) -> torch.Tensor:
        """(B, S) -> (B, N): the likeliest token at each step; padding after a row's end token."""
        is_real = self.source_is_real(source)
        memory = self.encoder(source, is_real)  # the source is read once
        target = source.new_full((len(source), 1), self.config.begin_id)
        has_ended = torch.zeros(len(source), dtype=torch.bool, device=source.device)
        for _ in range(max_new or self.config.block_size - 1):
            token = self.decoder(target, memory, is_real)[:, -1].argmax(-1)
            token = token.masked_fill(has_ended, self.config.pad_id)
            target = torch.cat([target, token[:, None]], dim=1)
            has_ended |= token == self.config.end_id
            if has_ended.all():
                break
        return target[:, 1:]

    @torch.no_grad()
    def cross_attention_maps(self, source: torch.Tensor, target_in: torch.Tensor) -> torch.Tensor:
        """(B, S), (B, T) -> (B, L, H, T, S): the cross-attention of every layer and head."""
        is_real = self.source_is_real(source)
        memory = self.encoder(source, is_real)
        x, maps = self.decoder.embed(target_in, "target"), []
        for layer in self.decoder.layers:
            maps.append(layer.cross_weights(x, memory, is_real))
            x = layer(x, memory, is_real)
        return torch.stack(maps, dim=1)
