"""What a block is made of: RMSNorm, RoPE, SwiGLU, and attention with grouped heads and a window.

Math   RMSNorm   y = weight * x / sqrt(mean(x^2) + eps)                                (eq. 3.1)
       RoPE      pair i of a head at position t is turned by t * theta^(-2i/D)         (eq. 3.2)
       SwiGLU    W_down (silu(W_gate x) * W_up x)                                      (eq. 3.4)
       attention softmax(q_t . k_s / sqrt(D)) over the visible s                       (eq. 3.5)
       s is visible from t  if  0 <= t - s < W                                         (eq. 3.7)
Used   gpt/model.py. Part 3 explains each of them; here they are together, without the alternatives.
Shapes B batch, T queries, N keys, C = n_embd, H query heads, K key/value heads, G = H/K,
       D head width, F = n_hidden
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from gpt.kv_cache import KVCache

PIECE = 128  # queries at a time, where a long causal pass is made of plain products


class RMSNorm(nn.Module):
    """(..., C) -> (..., C). Each vector by itself; only its length changes, then each channel."""

    def __init__(self, n_embd: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps  # keeps a vector of zeros from dividing by 0
        self.weight = nn.Parameter(torch.ones(n_embd))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


# CHANGED in part 4: YaRN beside llama3's scaling
SCALINGS = (None, "linear", "llama3", "yarn")


# CHANGED in part 4: YaRN, for the models that have it; a scaling is checked with its numbers
def rope_frequencies(head_dim: int, theta: float = 10000.0, scaling: str | None = None,
                     factor: float = 1.0, low: float = 1.0, high: float = 4.0,
                     trained: int = 8192) -> torch.Tensor:
    """(D/2,) float64, on the CPU: radians per position for each pair, from 1 down to about 1/theta.

    `scaling` stretches a model to `factor` times the length it was trained at:
      "linear"  position interpolation: every angle is divided by `factor`
      "llama3"  pairs that turn fewer than `low` times in `trained` positions slow by `factor`,
                those that turn more than `high` times not at all, those between in part
      "yarn"    the same, but what lies between goes in even steps from pair to pair (eq. 4.16)
    """
    if head_dim < 2 or head_dim % 2:
        raise ValueError(f"head_dim={head_dim} must be even: RoPE turns channels in pairs")
    if scaling not in SCALINGS:
        raise ValueError(f"rope_scaling={scaling!r}: choose one of {SCALINGS}")
    if scaling in ("llama3", "yarn") and not 0 < low < high:
        raise ValueError(f"rope_low={low}, rope_high={high}: must be above 0, the low one first")
    share = torch.arange(0, head_dim, 2, dtype=torch.float64, device="cpu") / head_dim  # 2i/D
    frequency = theta ** -share  # eq. 3.2
    if scaling == "linear":
        return frequency / factor
    if scaling == "llama3":
        turns = trained * frequency / (2 * math.pi)  # full turns within the trained length
        kept = ((turns - low) / (high - low)).clamp(0, 1)
        return frequency * (kept + (1 - kept) / factor)
    if scaling == "yarn":
        first, last = (head_dim * math.log(trained / (2 * math.pi * turns)) / (2 * math.log(theta))
                       for turns in (high, low))  # the pair that turns just so often
        first, last = max(math.floor(first), 0), min(math.ceil(last), head_dim - 1)
        pair = torch.arange(head_dim // 2, dtype=torch.float64, device="cpu")
        slowed = ((pair - first) / max(last - first, 0.001)).clamp(0, 1)
        return frequency * (1 - slowed + slowed / factor)
    return frequency


# CHANGED in part 4: `gain`, by which YaRN lengthens queries and keys
class RotaryTable:
    """Cosines and sines by position, computed once: in float64, kept in float32.

    Not a module, on purpose: `model.to(torch.bfloat16)` would round the angles' cosines as well,
    and positions beyond a few hundred would blur.
    """

    def __init__(self, frequency: torch.Tensor, length: int, gain: float = 1.0):
        self.frequency = frequency
        self.length = length
        self.gain = gain
        self.tables: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}

    def compute(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        angle = positions.cpu().double()[..., None] * self.frequency  # (..., D/2), eq. 3.2
        return tuple((self.gain * part).float().to(positions.device)
                     for part in (angle.cos(), angle.sin()))

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


# CHANGED in part 4: no attention sinks
def visibility(query: torch.Tensor, key: torch.Tensor, window: int | None = None) -> torch.Tensor:
    """Positions (B, T) and (B, N) -> (B, T, N): may token t look at token s? The one definition.

    Positions below 0 are pads: no token sees them, and each sees itself alone (a softmax over
    nothing would be NaN).   positions 0 … 4, window 2: row 4 is [0, 0, 0, 1, 1]
    """
    t, s = query[:, :, None], key[:, None, :]
    is_visible = (s <= t) & ((s >= 0) | (s == t))
    if window is not None:
        is_visible &= t - s < window  # eq. 3.7, without sinks
    return is_visible


# CHANGED in part 4: no attention sinks
@dataclass
class Plan:
    """What all layers of one forward pass share; made once, by `make_plan`."""

    rotation: tuple | None = None       # cos, sin of the tokens' positions; None: no RoPE
    is_visible: torch.Tensor | None = None  # (B or 1, 1, T, N); None: all keys are visible …
    is_causal: bool = False                 # … or, with this, those that are not later
    cache: KVCache | None = None


# CHANGED in part 4: segments; no attention sinks
def make_plan(ids_shape: tuple, device, *, window: int | None, table: RotaryTable | None,
              cache: KVCache | None, start=None, segments=None) -> Plan:
    """Positions, rotations and visibility for T tokens that follow what the cache holds.

    `segments` (B, T) numbers the documents of a row: attention stays inside each.
    """
    if segments is not None and cache is not None:
        raise ValueError("segments are for training on packed rows: without a cache")
    T, first = ids_shape[1], cache.seen if cache else 0
    columns = torch.arange(first, first + T, device=device)[None]
    position = columns if start is None else columns - start[:, None]  # (B or 1, T)
    plan = Plan(cache=cache)
    if table is not None:
        plan.rotation = table.at(position.clamp(min=0), first + T - 1)
    if segments is None and start is None and first == 0 and T <= (window or T):
        plan.is_causal = T > 1
        return plan
    if cache is not None:
        if T == 1 and start is None and all_visible(cache):
            return plan
        key = cache.key_positions(T)
    else:
        key = position
    plan.is_visible = visibility(position, key, window)[:, None]
    if segments is not None:
        plan.is_visible = plan.is_visible & (segments[:, :, None] == segments[:, None, :])[:, None]
    return plan


# CHANGED in part 4: no attention sinks
def all_visible(cache: KVCache) -> bool:
    """Does the next single token see every entry of this cache? (The usual case: no mask.)"""
    return cache.window is None or cache.seen + 1 <= cache.window or cache.rolling


# CHANGED in part 4: no attention sinks; a long causal pass in pieces
def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, plan: Plan, *,
           scale: float | None = None, dropout: float = 0.0) -> torch.Tensor:
    """(B, H, T, D), (B, K, N, D), (B, K, N, E) -> (B, H, T, E): eq. 3.5 for groups of heads.

    PyTorch's fused kernel, but for bfloat16 on a CPU, where plain matrix products can be five
    times as fast (lesson 2.4).
    """
    if k.size(-1) == v.size(-1) and not (
            q.device.type == "cpu" and q.dtype == torch.bfloat16):
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=plan.is_visible, dropout_p=dropout, is_causal=plan.is_causal,
            scale=scale, enable_gqa=q.size(1) != k.size(1))
    scale = 1 / math.sqrt(q.size(-1)) if scale is None else scale
    if not plan.is_causal:
        return attend_plainly(q, k, v, plan.is_visible, scale, dropout)
    T, pieces = q.size(2), []
    is_visible = torch.ones(T, T, dtype=torch.bool, device=q.device).tril()[None, None]
    step = PIECE if T > 2 * PIECE else T
    for i in range(0, T, step):
        end = min(i + step, T)  # no query of this piece sees a key behind it: those are left out
        pieces.append(attend_plainly(q[:, :, i:end], k[:, :, :end], v[:, :, :end],
                                     is_visible[..., i:end, :end], scale, dropout))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)


# NEW in part 4
def attend_plainly(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor,
                   is_visible: torch.Tensor | None, scale: float, dropout: float) -> torch.Tensor:
    """Eq. 3.5 in plain matrix products; `is_visible` (B or 1, 1, T, N), None: all."""
    B, H, T, D = q.shape
    K, N = k.shape[1:3]
    grouped = (B, K, H // K * T, D)  # the G heads that share a key head, one below the other
    scores = (q * scale).reshape(grouped) @ k.contiguous().transpose(-2, -1)  # a view takes twice as long
    scores = scores.view(B, K, H // K, T, N)
    if is_visible is not None:
        hidden = torch.zeros(is_visible.shape, dtype=scores.dtype, device=q.device)
        scores = scores + hidden.masked_fill_(~is_visible, -math.inf)[:, None]
    weights = F.dropout(scores.softmax(-1), dropout, dropout > 0)
    return (weights.view(B, K, H // K * T, N) @ v).view(B, H, T, v.size(-1))


# CHANGED in part 4: no biases but those of queries, keys and values; no attention sinks
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
                             bias=config.qkv_bias)
        self.project = nn.Linear(self.H * self.D, config.n_embd, bias=False)
        self.q_norm = RMSNorm(self.D, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(self.D, config.norm_eps) if config.qk_norm else None

    def forward(self, x: torch.Tensor, plan: Plan) -> torch.Tensor:
        B, T, _ = x.shape
        H, K, D = self.H, self.K, self.D
        qkv = self.qkv(x).view(B, T, H + 2 * K, D)
        qk, v = qkv.split([H + K, K], dim=2)
        if self.q_norm is not None:
            qk = torch.cat([self.q_norm(qk[:, :, :H]), self.k_norm(qk[:, :, H:])], dim=2)
        if plan.rotation is not None:
            qk = apply_rope(qk, *plan.rotation)
        q, k = (part.transpose(1, 2) for part in qk.split([H, K], dim=2))  # (B, H or K, T, D)
        v = v.transpose(1, 2)
        if plan.cache is not None:
            k, v = plan.cache.update(self.layer, k, v)
        out = attend(q, k, v, plan, dropout=self.dropout if self.training else 0.0)
        return self.project(out.transpose(1, 2).reshape(B, T, H * D))
