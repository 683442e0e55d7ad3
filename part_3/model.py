"""GPT with the parts of 2023 and later, each of which can be switched off again.

Math   x = E[ids];  x <- x + Attention(norm(x));  x <- x + MLP(norm(x));  logits = W norm(x)
New    RMSNorm (3.1), RoPE (3.2), SwiGLU (3.3), grouped-query attention and a KV cache (3.4),
       sliding window and sinks (3.5, 3.6), latent attention (3.7)
Used   train_gpt.py, generate.py, sample.py, benchmark_upgrades.py, load_pretrained.py, the demos
Shapes B batch, T time, C = n_embd, V vocabulary, D head width
Source Touvron et al. 2023, "LLaMA"; Jiang et al. 2023, "Mistral 7B"

`GPTConfig(norm="layer", positions="learned", mlp="gelu")` is the model of part 2.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from attention import GroupedQueryAttention, Plan, make_plan
from kv_cache import KVCache, check_start
from mla import LatentAttention
from rmsnorm import RMSNorm
from rope import RotaryTable, rope_frequencies
from swiglu import SwiGLU, hidden_width
from torch import nn


# CHANGED in part 3: fields for everything new; widths that are None are filled in
@dataclass(frozen=True)
class GPTConfig:
    """All settings of the model. Fields that are None by default are filled in at once; to change
    a width with `dataclasses.replace`, set head_dim, n_kv_head and n_hidden to None again."""

    vocab_size: int = 256        # V, how many different tokens there are
    block_size: int = 64         # the most tokens that full attention looks at
    n_layer: int = 4             # blocks
    n_head: int = 4              # H, query heads in each block
    n_embd: int = 128            # C, width of the residual stream
    dropout: float = 0.0         # share of values set to 0 in training
    bias: bool = False           # biases in all linear layers and in LayerNorm
    n_kv_head: int | None = None  # K, key/value heads that the H share (None: H, no sharing)
    head_dim: int | None = None  # D (None: C / H)
    n_hidden: int | None = None  # F, width inside the MLP (None: 8/3 C with SwiGLU, 4 C with GELU)
    norm: str = "rms"            # "rms" or "layer"
    positions: str = "rope"      # "rope" or "learned"
    mlp: str = "swiglu"          # "swiglu" or "gelu"
    gelu: str = "exact"          # "exact" or "tanh", where mlp="gelu"
    attention: str = "gqa"       # "gqa" or "mla" (latent attention)
    norm_eps: float = 1e-5       # added to the mean square before the root
    qkv_bias: bool = False       # biases for queries, keys and values alone (Qwen2)
    qk_norm: bool = False        # RMSNorm of each query and key head (Qwen3)
    tied: bool = True            # the output layer is the embedding
    embedding_std: float = 0.02  # spread of the embeddings at the start; GPT-2's is 0.02
    window: int | None = None    # W, tokens that a token sees, itself included (None: all)
    sink: int = 0                # S, first tokens that stay visible beyond the window
    rope_theta: float = 10000.0  # base of the rotation's frequencies
    rope_scaling: str | None = None  # None, "linear", "ntk" or "llama3": for longer contexts
    rope_factor: float = 1.0     # how many times longer
    rope_low: float = 1.0        # llama3: turns in the trained length up to which a pair slows
    rope_high: float = 4.0       # llama3: turns from which a pair is left alone
    rope_trained: int = 8192     # llama3: the trained length
    kv_rank: int | None = None   # MLA: r, width of the cached latent (None: 2 D)
    rope_dim: int | None = None  # MLA: D_r, width of the turned part (None: D / 2)

    def __post_init__(self):
        if self.head_dim is None and self.n_head > 0 and self.n_embd % self.n_head:
            raise ValueError(f"n_embd={self.n_embd} must be a multiple of n_head={self.n_head}, "
                             "or give head_dim")
        fill = {"n_kv_head": self.n_head, "head_dim": self.n_embd // max(self.n_head, 1),
                "n_hidden": 4 * self.n_embd if self.mlp == "gelu" else hidden_width(self.n_embd)}
        self.fill_in(fill)
        self.fill_in({"kv_rank": 2 * self.head_dim, "rope_dim": self.head_dim // 4 * 2})
        check_config(self)

    def fill_in(self, values: dict) -> None:
        for name, value in values.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

    @property
    def turned_width(self) -> int:
        """How many channels of a head RoPE turns."""
        return self.rope_dim if self.attention == "mla" else self.head_dim

    @property
    def endless(self) -> bool:
        """May the model read on beyond block_size? With RoPE and a window no distance is new."""
        return self.positions == "rope" and self.window is not None


# CHANGED in part 3: the width inside is a setting
class MLP(nn.Module):
    """(B, T, C) -> (B, T, C): widen, bend, project."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.approximate = "tanh" if config.gelu == "tanh" else "none"
        self.widen = nn.Linear(config.n_embd, config.n_hidden, bias=config.bias)
        self.project = nn.Linear(config.n_hidden, config.n_embd, bias=config.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.project(F.gelu(self.widen(x), approximate=self.approximate))


# NEW in part 3
def make_norm(config: GPTConfig) -> nn.Module:
    if config.norm == "rms":
        return RMSNorm(config.n_embd, config.norm_eps)
    return nn.LayerNorm(config.n_embd, config.norm_eps, bias=config.bias)


# CHANGED in part 3: norm, attention and MLP are those that the config names
class Block(nn.Module):
    """(B, T, C) -> (B, T, C), pre-norm, with whatever norm, attention and MLP the config names."""

    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        self.norm_1, self.norm_2 = make_norm(config), make_norm(config)
        kind = LatentAttention if config.attention == "mla" else GroupedQueryAttention
        self.attention = kind(config, layer)
        self.mlp = (SwiGLU(config.n_embd, config.n_hidden, bias=config.bias)
                    if config.mlp == "swiglu" else MLP(config))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor, plan: Plan) -> torch.Tensor:
        x = x + self.dropout(self.attention(self.norm_1(x), plan))
        return x + self.dropout(self.mlp(self.norm_2(x)))


# CHANGED in part 3: RoPE in place of the position table, a cache, padded rows
class GPT(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.position_embedding, self.table = None, None
        if config.positions == "learned":
            self.position_embedding = nn.Embedding(config.block_size, config.n_embd)
        else:
            frequency = rope_frequencies(
                config.turned_width, config.rope_theta, config.rope_scaling, config.rope_factor,
                config.rope_low, config.rope_high, config.rope_trained)
            self.table = RotaryTable(frequency, config.block_size)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.norm = make_norm(config)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        if config.tied:
            self.head.weight = self.token_embedding.weight
        self.initialise()

    def initialise(self) -> None:
        """GPT-2's start: normal, 0.02; what writes into the stream smaller, by 1/sqrt(2 L)."""
        for name, parameter in self.named_parameters():
            if "embedding" in name:
                nn.init.normal_(parameter, std=self.config.embedding_std)
            elif parameter.dim() == 2:
                smaller = math.sqrt(2 * self.config.n_layer) if "project" in name else 1.0
                nn.init.normal_(parameter, std=0.02 / smaller)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def make_cache(self, batch: int, length: int | None = None, *, rolling: bool | None = None,
                   start=None, dtype: torch.dtype | None = None) -> KVCache:
        """A cache for `batch` rows of at most `length` tokens (default: block_size).

        With a window it rolls, unless rolling=False: then `length` does not matter. `start` (B,)
        counts the pads in front of each row.
        """
        config, weight = self.config, self.token_embedding.weight
        if dtype is None:
            amp = torch.is_autocast_enabled(weight.device.type)
            dtype = torch.get_autocast_dtype(weight.device.type) if amp else weight.dtype
        heads, key_width, value_width = config.n_kv_head, config.head_dim, config.head_dim
        if config.attention == "mla":
            heads, key_width, value_width = 1, config.kv_rank + config.rope_dim, 0
        return KVCache(config.n_layer, batch, heads, key_width, value_width,
                       config.block_size if length is None else length, window=config.window,
                       sink=config.sink, rolling=rolling, start=start, dtype=dtype,
                       device=weight.device)

    def check(self, ids: torch.Tensor, cache: KVCache | None, start):
        """-> the first column of `ids` and the pads of each row. Raises where `ids` do not fit."""
        if ids.device.type == "cpu" and not torch.compiler.is_compiling():
            check_ids(ids, self.config.vocab_size)  # on a GPU the CPU would have to wait for it
        B, T = ids.shape
        if cache is None:
            first, start = 0, check_start(start, B, ids.device)
        else:
            first, start = cache.seen, cache.start
            if cache.batch != B:
                raise ValueError(f"ids have {B} rows, the cache has {cache.batch}")
            cache.check_room(T)
        if not self.config.endless:
            check_length(first + T, self.config.block_size)
        return first, start

    def embed(self, ids: torch.Tensor, first: int, start: torch.Tensor | None) -> torch.Tensor:
        """(B, T) -> (B, T, C)"""
        x = self.token_embedding(ids)
        if self.position_embedding is not None:
            position = torch.arange(first, first + ids.size(1), device=ids.device)
            if start is not None:
                position = (position - start[:, None]).clamp(min=0)
            x = x + self.position_embedding(position)
        x = self.dropout(x)
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))  # the stream too: fewer casts, 10% faster
        return x

    def forward(self, ids: torch.Tensor, targets: torch.Tensor | None = None,
                cache: KVCache | None = None, *, start=None, last_only: bool = False):
        """ids (B, T) int64 -> logits (B, T, V), loss or None.

        `targets[b, t]` is the token that follows `ids[b, t]`: already shifted; -100 is left out.
        `cache`: `ids` follow what it has read, and are added to it. `start` (B,): pads in front
        of each row, where there is no cache (a cache has its own). `last_only`: logits of the
        last token alone, (B, 1, V).
        """
        first, start = self.check(ids, cache, start)
        plan = make_plan(ids.shape, ids.device, window=self.config.window, sink=self.config.sink,
                         table=self.table, cache=cache, start=start)
        x = self.embed(ids, first, start)
        for block in self.blocks:
            x = block(x, plan)
        if cache is not None:
            cache.advance(ids.size(1))
        logits = self.head(self.norm(x[:, -1:] if last_only else x))  # (B, T or 1, V)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(),
                                       ignore_index=-100)

    def parameter_groups(self, weight_decay: float) -> list[dict]:
        """For the optimizer: matrices are pulled towards zero, scales and biases are not."""
        parameters = list(self.parameters())  # a tied matrix is in here once
        return [{"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
                {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}]

    def count_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


# ---- what is refused: read it when an error brings you here

# NEW in part 3
CHOICES = {"norm": ("rms", "layer"), "positions": ("rope", "learned"), "mlp": ("swiglu", "gelu"),
           "gelu": ("exact", "tanh"), "attention": ("gqa", "mla")}


# NEW in part 3
def check_config(config) -> None:
    """Raise ValueError for settings of which no model can be made."""
    for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd", "n_kv_head",
                 "head_dim", "n_hidden", "kv_rank"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name}={getattr(config, name)} must be at least 1")
    for name, allowed in CHOICES.items():
        if getattr(config, name) not in allowed:
            raise ValueError(f"{name}={getattr(config, name)!r}: choose {' or '.join(allowed)}")
    if config.n_head % config.n_kv_head:
        raise ValueError(f"n_head={config.n_head} must be a multiple of "
                         f"n_kv_head={config.n_kv_head}: each serves equally many query heads")
    if not 0 <= config.dropout < 1:
        raise ValueError(f"dropout={config.dropout} must be at least 0 and below 1")
    for name in ("norm_eps", "embedding_std", "rope_theta", "rope_factor", "rope_trained"):
        if not getattr(config, name) > 0:
            raise ValueError(f"{name}={getattr(config, name)} must be above 0")
    check_window(config)
    if config.positions == "rope":
        rope_frequencies(config.turned_width, config.rope_theta, config.rope_scaling)
    elif config.attention == "mla":
        raise ValueError('attention="mla" needs positions="rope"')
    if config.attention == "mla" and not 0 < config.rope_dim < config.head_dim:
        raise ValueError(f"rope_dim={config.rope_dim} must be from 2 to below "
                         f"head_dim={config.head_dim}")


# NEW in part 3
def check_window(config) -> None:
    """Raise ValueError for a window or sinks that cannot be."""
    if config.window is not None and config.window < 1:
        raise ValueError(f"window={config.window} must be at least 1: a token sees itself; "
                         "use None for full attention")
    if config.sink < 0 or (config.sink and config.window is None):
        raise ValueError(f"sink={config.sink} with window={config.window}: sinks are for models "
                         "with a window; set window, or sink=0")
    if config.window is not None and config.window + config.sink > config.block_size:
        raise ValueError(f"window={config.window} + sink={config.sink} must be at most "
                         f"block_size={config.block_size}; use window=None for full attention")


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


def check_length(length: int, block_size: int) -> None:
    """Raise ValueError when there are more tokens than positions."""
    if length > block_size:
        raise ValueError(f"{length} tokens do not fit in block_size={block_size}; "
                         "shorten the input or make the model with a larger block_size")
