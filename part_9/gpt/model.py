"""GPT as part 3 left it: RMSNorm, RoPE, SwiGLU, grouped queries, sliding window, caches.

Math   x = E[ids];  x <- x + Attention(norm(x));  x <- x + MLP(norm(x));  logits = E norm(x)
New    `segments`: attention stays inside a document; `loss_only`: no full logits for the loss
Used   train.py, sample.py, eval.py, and the parts after this one
Shapes B batch, T time, C = n_embd, V vocabulary
What part 3 could switch off (LayerNorm, learned positions, GELU) or tried (MLA) is left behind.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from gpt.config_checks import check_config, check_ids, check_length
from gpt.head_loss import head_loss
from gpt.kv_cache import KVCache, check_start
from gpt.layers import (
    GroupedQueryAttention,
    Plan,
    RMSNorm,
    RotaryTable,
    SwiGLU,
    hidden_width,
    make_plan,
    rope_frequencies,
)


# CHANGED in part 4: only what the finished model has
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
    n_kv_head: int | None = None  # K, key/value heads that the H share (None: H, no sharing)
    head_dim: int | None = None  # D (None: C / H)
    n_hidden: int | None = None  # F, width inside the MLP (None: 8/3 C)
    norm_eps: float = 1e-5       # added to the mean square before the root
    qkv_bias: bool = False       # biases for queries, keys and values alone (Qwen2)
    qk_norm: bool = False        # RMSNorm of each query and key head (Qwen3)
    tied: bool = True            # the output layer is the embedding
    window: int | None = None    # W, tokens that a token sees, itself included (None: all)
    rope_theta: float = 10000.0  # base of the rotation's frequencies
    rope_scaling: str | None = None  # None, "linear", "llama3" or "yarn": for longer contexts
    rope_factor: float = 1.0     # how many times longer
    rope_low: float = 1.0        # llama3, yarn: turns in the trained length up to which a pair slows
    rope_high: float = 4.0       # llama3, yarn: turns from which a pair is left alone
    rope_trained: int = 8192     # llama3, yarn: the trained length
    rope_gain: float = 1.0       # yarn: queries and keys grow by this factor
    embedding_std: float = 0.02  # spread of the embeddings at the start; GPT-2's is 0.02

    def __post_init__(self):
        if self.head_dim is None and self.n_head > 0 and self.n_embd % self.n_head:
            raise ValueError(f"n_embd={self.n_embd} must be a multiple of n_head={self.n_head}, "
                             "or give head_dim")
        fill = {"n_kv_head": self.n_head, "head_dim": self.n_embd // max(self.n_head, 1),
                "n_hidden": hidden_width(self.n_embd)}
        for name, value in fill.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        check_config(self)

    def frequencies(self) -> torch.Tensor:
        return rope_frequencies(self.head_dim, self.rope_theta, self.rope_scaling,
                                self.rope_factor, self.rope_low, self.rope_high,
                                self.rope_trained)

    @property
    def endless(self) -> bool:
        """May the model read on beyond block_size? With a window no distance is new."""
        return self.window is not None


# CHANGED in part 4: the finished parts, no choices
class Block(nn.Module):
    """(B, T, C) -> (B, T, C), pre-norm."""

    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        self.norm_1 = RMSNorm(config.n_embd, config.norm_eps)
        self.norm_2 = RMSNorm(config.n_embd, config.norm_eps)
        self.attention = GroupedQueryAttention(config, layer)
        self.mlp = SwiGLU(config.n_embd, config.n_hidden)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor, plan: Plan) -> torch.Tensor:
        x = x + self.dropout(self.attention(self.norm_1(x), plan))
        return x + self.dropout(self.mlp(self.norm_2(x)))


# CHANGED in part 4: segments, the loss in pieces, no choices; the output layer's input; recomputation
class GPT(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.recompute = False  # training keeps a block's input alone, and computes the rest again
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.table = RotaryTable(config.frequencies(), config.block_size, config.rope_gain)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.norm = RMSNorm(config.n_embd, config.norm_eps)
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
        return KVCache(config.n_layer, batch, config.n_kv_head, config.head_dim, config.head_dim,
                       config.block_size if length is None else length, window=config.window,
                       rolling=rolling, start=start, dtype=dtype, device=weight.device)

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

    def features(self, ids: torch.Tensor, cache: KVCache | None = None, *, start=None,
                 segments: torch.Tensor | None = None, plan: Plan | None = None) -> torch.Tensor:
        """ids (B, T) -> (B, T, C): what the output layer sees, normed. `plan`: who sees whom, where
        that is not the usual."""
        _, start = self.check(ids, cache, start)
        if plan is None:
            plan = make_plan(ids.shape, ids.device, window=self.config.window,
                             table=self.table, cache=cache, start=start, segments=segments)
        x = self.dropout(self.token_embedding(ids))  # (B, T, C)
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))  # the stream too: fewer casts, 10% faster
        again = self.recompute and torch.is_grad_enabled() and cache is None
        for block in self.blocks:
            x = checkpoint(block, x, plan, use_reentrant=False) if again else block(x, plan)
        if cache is not None:
            cache.advance(ids.size(1))
        return self.norm(x)

    def forward(self, ids: torch.Tensor, targets: torch.Tensor | None = None,
                cache: KVCache | None = None, *, start=None, last_only: bool = False,
                segments: torch.Tensor | None = None, loss_only: bool = False):
        """ids (B, T) int64 -> logits (B, T, V), loss or None.

        `targets[b, t]` is the token that follows `ids[b, t]`: already shifted; -100 is left out,
        and where nothing is counted the loss is 0.
        `cache`: `ids` follow what it has read, and are added to it. `start` (B,): pads in front
        of each row, where there is no cache (a cache has its own). `last_only`: logits of the
        last token alone, (B, 1, V). `segments` (B, T): attention stays where the number is the
        same. `loss_only`: None in place of the logits, which are then never there all at once.
        """
        x = self.features(ids, cache, start=start, segments=segments)
        x = x[:, -1:] if last_only else x
        if loss_only:
            return None, head_loss(x, self.head.weight, targets)
        logits = self.head(x)  # (B, T or 1, V)
        if targets is None:
            return logits, None
        total = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(),
                                ignore_index=-100, reduction="sum")
        return logits, total / (targets != -100).sum().clamp(min=1)

    def parameter_groups(self, weight_decay: float) -> list[dict]:
        """For the optimizer: matrices are pulled towards zero, scales and biases are not."""
        parameters = list(self.parameters())  # a tied matrix is in here once
        return [{"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
                {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}]

    def count_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())
