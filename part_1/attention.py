"""Attention: every token asks a question, and gathers values from the tokens whose keys answer it.

Math   Attention(Q, K, V) = softmax(Q K^T / sqrt(D)) V                     (eq. 1.4)
       MultiHead(x) = concat(head_1 … head_H) W_O                          (eq. 1.11)
Used   block.py, encoder_decoder.py
See it python demo_attention_by_hand.py, demo_mha_shapes.py, demo_visualize_multi_head.py
Shapes B batch, T queries, S keys, H heads, D head width, C = H*D = n_embd
Source Vaswani et al. 2017, "Attention Is All You Need", section 3.2

Masks are boolean and named for what True means: `is_visible[…, t, s]`: query t may see key s.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


def causal_visibility(length: int, device=None) -> torch.Tensor:
    """(T, T), True on and below the diagonal: token t sees tokens 0 … t, itself included."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor,
              is_visible: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """(…, T, D), (…, S, D), (…, S, D) -> the output (…, T, D) and the weights (…, T, S).

    `is_visible` broadcasts to (…, T, S). Every query must see at least one key.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))  # (…, T, S): row = query
    if is_visible is not None:
        scores = scores.masked_fill(~is_visible, -math.inf)  # exp(-inf) = 0: weight exactly zero
    weights = scores.softmax(dim=-1)  # every row sums to 1
    return weights @ v, weights  # eq. 1.4


class Head(nn.Module):
    """One head of self-attention: (B, T, C) -> (B, T, D). Lesson 1.3."""

    def __init__(self, n_embd: int, head_dim: int, *, causal: bool = True):
        super().__init__()
        self.causal = causal
        self.query = nn.Linear(n_embd, head_dim)
        self.key = nn.Linear(n_embd, head_dim)
        self.value = nn.Linear(n_embd, head_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        is_visible = causal_visibility(x.size(1), x.device) if self.causal else None
        out, _ = attention(self.query(x), self.key(x), self.value(x), is_visible)
        return out


class MultiHeadAttention(nn.Module):
    """H heads side by side, each of width D = C / H. Lesson 1.4.

    Rows h*D … (h+1)*D of the query, key and value matrices belong to head h, so that one product
    computes all heads. With a `context` the keys and values come from there: cross-attention.
    """

    def __init__(self, n_embd: int, n_head: int, *, causal: bool = False):
        super().__init__()
        if n_head < 1 or n_embd % n_head:
            raise ValueError(f"n_embd={n_embd} must be a multiple of n_head={n_head}: "
                             "the heads share the width equally")
        self.n_head = n_head
        self.causal = causal
        self.query = nn.Linear(n_embd, n_embd)
        self.key = nn.Linear(n_embd, n_embd)
        self.value = nn.Linear(n_embd, n_embd)
        self.project = nn.Linear(n_embd, n_embd)  # W_O: mixes the heads, back into the stream

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, C) -> (B, H, T, D)"""
        B, T, C = x.shape
        return x.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)

    def concatenate(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H, T, D) -> (B, T, C): the heads of a token side by side again"""
        B, H, T, D = x.shape
        return x.transpose(1, 2).reshape(B, T, H * D)

    def visibility(self, length: int, is_visible: torch.Tensor | None, device):
        """The mask given and the causal one in one: both must allow a pair. None: all visible."""
        if not self.causal:
            return is_visible
        causal = causal_visibility(length, device)
        return causal if is_visible is None else causal & is_visible

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None,
                is_visible: torch.Tensor | None = None, *, explicit: bool = False) -> torch.Tensor:
        """(B, T, C) -> (B, T, C). `is_visible` broadcasts to (B, H, T, S).

        `explicit` computes eq. 1.4 line by line; else PyTorch's fused kernel does the same.
        """
        context = x if context is None else context
        q = self.split(self.query(x))        # (B, H, T, D)
        k = self.split(self.key(context))    # (B, H, S, D)
        v = self.split(self.value(context))  # (B, H, S, D)
        if explicit:
            out, _ = attention(q, k, v, self.visibility(q.size(2), is_visible, x.device))
        elif is_visible is None:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            both = self.visibility(q.size(2), is_visible, x.device)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=both)
        return self.project(self.concatenate(out))  # eq. 1.11

    @torch.no_grad()
    def weights(self, x: torch.Tensor, context: torch.Tensor | None = None,
                is_visible: torch.Tensor | None = None) -> torch.Tensor:
        """(B, H, T, S): who looks at whom. For pictures; the fused kernel never forms this."""
        context = x if context is None else context
        q, k = self.split(self.query(x)), self.split(self.key(context))
        return attention(q, k, k, self.visibility(q.size(2), is_visible, x.device))[1]
