"""Grouped-query attention with RoPE, a sliding window, attention sinks and a cache.

Math   softmax(q_t . k_s / sqrt(D)) over the visible s                                 (eq. 3.5)
       s is visible from t  if  0 <= t - s  and  (t - s < W  or  s < S)                (eq. 3.7)
       query head h reads key/value head  floor(h / G),  G = H / K                     (eq. 3.6)
       the distance to a sink is  min(t, S + W - 1) - s: sinks stay near               (eq. 3.8)
Used   model.py.   See it: python demo_kv_cache.py, demo_sliding_window.py
Shapes B batch, T queries, N keys, H query heads, K key/value heads, G = H/K, D head width
Source Ainslie et al. 2023, "GQA"; Jiang et al. 2023, "Mistral 7B" (window, rolling buffer);
       Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks"
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from kv_cache import KVCache, pick_sinks, without_sinks
from rmsnorm import RMSNorm
from rope import RotaryTable, apply_rope
from torch import nn


# NEW in part 3
def visibility(query: torch.Tensor, key: torch.Tensor, window: int | None = None,
               sink: int = 0) -> torch.Tensor:
    """Positions (B, T) and (B, N) -> (B, T, N): may token t look at token s? The one definition.

    Positions below 0 are pads: no token sees them, and each sees itself alone (a softmax over
    nothing would be NaN).   positions 0 … 4, window 2, sink 1: row 4 is [1, 0, 0, 1, 1]
    """
    t, s = query[:, :, None], key[:, None, :]
    is_visible = (s <= t) & ((s >= 0) | (s == t))
    if window is not None:
        is_visible &= (t - s < window) | ((s >= 0) & (s < sink))  # eq. 3.7
    return is_visible


# NEW in part 3
@dataclass
class Plan:
    """What all layers of one forward pass share; made once, by `make_plan`."""

    rotation: tuple | None = None       # cos, sin of the tokens' positions; None: no RoPE
    sink_rotation: tuple | None = None  # those of the capped positions of eq. 3.8, where they act
    is_visible: torch.Tensor | None = None  # (B or 1, 1, T, N); None: all keys are visible …
    is_causal: bool = False                 # … or, with this, those that are not later
    sinks: torch.Tensor | None = None   # columns (B or 1, S) to put in front of uncached keys
    cache: KVCache | None = None


# NEW in part 3
def make_plan(ids_shape: tuple, device, *, window: int | None, sink: int,
              table: RotaryTable | None, cache: KVCache | None, start=None) -> Plan:
    """Positions, rotations and visibility for T tokens that follow what the cache holds."""
    T, first = ids_shape[1], cache.seen if cache else 0
    columns = torch.arange(first, first + T, device=device)[None]
    position = columns if start is None else columns - start[:, None]  # (B or 1, T)
    plan = Plan(cache=cache)
    if table is not None:
        plan.rotation = table.at(position.clamp(min=0), first + T - 1)
        near = sink + (window or 0) - 1  # the farthest query that has its sinks in place
        if sink and first + T - 1 > near:
            plan.sink_rotation = table.at(position.clamp(0, near), near)
    if start is None and first == 0 and not (cache and cache.sink) and T <= (window or T):
        plan.is_causal = T > 1
        return plan
    if cache is not None:
        if T == 1 and start is None and all_visible(cache):
            return plan
        key = cache.key_positions(T)
    elif sink and T > window:
        begin = columns[:, :1] if start is None else start[:, None]
        plan.sinks = begin + torch.arange(sink, device=device)
        ahead = torch.arange(sink, device=device).expand(position.size(0), -1)
        key = torch.cat([ahead, without_sinks(position, sink)], dim=1)
    else:
        key = position
    plan.is_visible = visibility(position, key, window, sink)[:, None]
    return plan


# NEW in part 3
def all_visible(cache: KVCache) -> bool:
    """Does the next single token see every entry of this cache? (The usual case: no mask.)"""
    if cache.window is None:
        return True
    if cache.seen + 1 <= cache.window:  # the sinks have copies in the ring, which must be hidden
        return cache.sink == 0
    return cache.rolling and cache.seen + 1 - cache.window >= cache.sink


# NEW in part 3
def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, plan: Plan,
           q_sink: torch.Tensor | None = None, *, scale: float | None = None,
           dropout: float = 0.0) -> torch.Tensor:
    """(B, H, T, D), (B, K, N, D), (B, K, N, E) -> (B, H, T, E): eq. 3.5 for groups of heads.

    PyTorch's fused kernel, but for two cases: where sinks are seen from a capped position, and
    bfloat16 on a CPU, where plain matrix products can be five times as fast (lesson 2.4).
    """
    if q_sink is None and k.size(-1) == v.size(-1) and not (
            q.device.type == "cpu" and q.dtype == torch.bfloat16):
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=plan.is_visible, dropout_p=dropout, is_causal=plan.is_causal,
            scale=scale, enable_gqa=q.size(1) != k.size(1))
    B, H, T, D = q.shape
    K, N = k.shape[1:3]
    scale = 1 / math.sqrt(D) if scale is None else scale
    grouped = (B, K, H // K * T, D)  # the G heads that share a key head, one below the other
    keys = k.contiguous() if k.dtype == torch.bfloat16 else k  # there a view takes twice as long
    scores = (q * scale).reshape(grouped) @ keys.transpose(-2, -1)
    if q_sink is not None:
        S = plan.cache.sink if plan.cache else plan.sinks.size(1)
        near = (q_sink * scale).reshape(grouped) @ k[:, :, :S].transpose(-2, -1)
        scores = torch.cat([near, scores[..., S:]], dim=-1)  # eq. 3.8
    scores = scores.view(B, K, H // K, T, N)
    is_visible = plan.is_visible
    if plan.is_causal:
        is_visible = torch.ones(T, N, dtype=torch.bool, device=q.device).tril()[None, None]
    if is_visible is not None:
        hidden = torch.zeros(is_visible.shape, dtype=scores.dtype, device=q.device)
        scores = scores + hidden.masked_fill_(~is_visible, -math.inf)[:, None]
    weights = F.dropout(scores.softmax(-1), dropout, dropout > 0)
    return (weights.view(B, K, H // K * T, N) @ v).view(B, H, T, v.size(-1))


# NEW in part 3
class GroupedQueryAttention(nn.Module):
    """(B, T, C) -> (B, T, C). K = H is plain multi-head attention (MHA), K = 1 is MQA.

    `qkv` is one matrix, [out, in], with H*D rows of queries, then K*D of keys, K*D of values.
    """

    def __init__(self, config, layer: int):
        super().__init__()
        self.layer = layer
        self.H, self.K, self.D = config.n_head, config.n_kv_head, config.head_dim
        self.dropout = config.dropout
        self.qkv = nn.Linear(config.n_embd, (self.H + 2 * self.K) * self.D,
                             bias=config.bias or config.qkv_bias)
        self.project = nn.Linear(self.H * self.D, config.n_embd, bias=config.bias)
        self.q_norm = RMSNorm(self.D, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(self.D, config.norm_eps) if config.qk_norm else None

    def forward(self, x: torch.Tensor, plan: Plan) -> torch.Tensor:
        B, T, _ = x.shape
        H, K, D = self.H, self.K, self.D
        qkv = self.qkv(x).view(B, T, H + 2 * K, D)
        qk, v = qkv.split([H + K, K], dim=2)
        if self.q_norm is not None:
            qk = torch.cat([self.q_norm(qk[:, :, :H]), self.k_norm(qk[:, :, H:])], dim=2)
        plain, q_sink = qk, None
        if plan.rotation is not None:
            qk = apply_rope(qk, *plan.rotation)
        if plan.sink_rotation is not None:
            q_sink = apply_rope(plain[:, :, :H], *plan.sink_rotation).transpose(1, 2)
        q, k = (part.transpose(1, 2) for part in qk.split([H, K], dim=2))  # (B, H or K, T, D)
        k, v = gather_keys(plan, self.layer, k, v.transpose(1, 2))
        out = attend(q, k, v, plan, q_sink, dropout=self.dropout if self.training else 0.0)
        return self.project(out.transpose(1, 2).reshape(B, T, H * D))


# NEW in part 3
def gather_keys(plan: Plan, layer: int, k: torch.Tensor, v: torch.Tensor):
    """What the queries may see: from the cache, or the sinks in front of the chunk, or the chunk"""
    if plan.cache is not None:
        return plan.cache.update(layer, k, v)
    if plan.sinks is not None:
        return (torch.cat([pick_sinks(k, plan.sinks), k], dim=2),
                torch.cat([pick_sinks(v, plan.sinks), v], dim=2))
    return k, v
