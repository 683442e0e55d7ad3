"""The KV cache in its plainest form: read this before kv_cache.py and attention.py.

Math   out_t = sum over s <= t of softmax_s(q_t . k_s / sqrt(D)) v_s                   (eq. 3.5)
       query head h reads key/value head  floor(h / G),  G = H / K                     (eq. 3.6)
Idea   What a token is asked for (its key) and what it hands over (its value) never change, for it
       cannot see what comes later. So they are written down once, in the order of the tokens.
Used   by no other module: attention.py does the same with a window, sinks, a ring and rows of
       different lengths, and faster. tests/part_3/test_plain_cache.py holds the two equal.
See    python demo_plain_cache.py
Shapes B batch, T new tokens, N all tokens so far, H query heads, K key/value heads, D head width
"""

import math

import torch
from rope import apply_rope


class PlainCache:
    """The keys and values of all tokens so far: a slot for each token, in each layer."""

    def __init__(self, n_layer: int, batch: int, n_kv_head: int, length: int, head_dim: int):
        self.keys = torch.zeros(n_layer, batch, n_kv_head, length, head_dim)
        self.values = torch.zeros(n_layer, batch, n_kv_head, length, head_dim)
        self.seen = 0  # tokens read so far

    def update(self, layer: int, k: torch.Tensor, v: torch.Tensor):
        """Write T new keys and values (B, K, T, D) -> all N so far (B, K, N, D)."""
        end = self.seen + k.size(2)
        self.keys[layer, :, :, self.seen:end] = k
        self.values[layer, :, :, self.seen:end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


def grouped_attention(attention, x: torch.Tensor, rotation: tuple, cache: PlainCache | None):
    """(B, T, C) -> (B, T, C) with the weights of a GroupedQueryAttention."""
    B, T, _ = x.shape
    H, K, D = attention.H, attention.K, attention.D
    q, k, v = attention.qkv(x).view(B, T, H + 2 * K, D).split([H, K, K], dim=2)
    q, k = apply_rope(q, *rotation), apply_rope(k, *rotation)
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))  # (B, H or K, T, D)
    if cache is not None:
        k, v = cache.update(attention.layer, k, v)  # (B, K, N, D): the old ones too
    N = k.size(2)
    k = k.repeat_interleave(H // K, dim=1)  # (B, H, N, D): head h reads key head h // G, eq. 3.6
    v = v.repeat_interleave(H // K, dim=1)
    scores = q @ k.transpose(-2, -1) / math.sqrt(D)  # (B, H, T, N): row = query, column = key
    is_visible = torch.ones(T, N, dtype=torch.bool).tril(N - T)  # the last query sees all N
    weights = scores.masked_fill(~is_visible, -math.inf).softmax(-1)
    out = weights @ v  # (B, H, T, D), eq. 3.5
    return attention.project(out.transpose(1, 2).reshape(B, T, H * D))


def read(model, ids: torch.Tensor, cache: PlainCache | None = None) -> torch.Tensor:
    """ids (B, T) that follow what the cache holds -> logits (B, T, V), those of model(ids, …)."""
    first, T = cache.seen if cache else 0, ids.size(1)
    rotation = model.table.at(torch.arange(first, first + T)[None], first + T - 1)
    x = model.token_embedding(ids)
    for block in model.blocks:
        x = x + grouped_attention(block.attention, block.norm_1(x), rotation, cache)
        x = x + block.mlp(block.norm_2(x))
    if cache is not None:
        cache.seen += T  # once, after the last layer: all layers write the same slots
    return model.head(model.norm(x))
