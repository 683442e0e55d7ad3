"""The GPT of part 1 in one file and made fast: one product for q, k and v, tied embeddings.

Math   x = E[ids] + P;  x <- x + Attention(LN(x));  x <- x + MLP(LN(x));  logits = E LN(x)
       loss = mean over the counted labels of -log softmax(logits)[target]      (eq. 2.2)
Used   train_gpt.py, sample.py, eval_loss.py.   See it: python benchmark.py
Shapes B batch, T time, H heads, D = C/H head width, C = n_embd, V vocabulary
Source Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2)

bias=True, gelu="tanh" make it GPT-2 exactly (load_pretrained.py). Weights are [out, in];
`attention.qkv` holds the rows of q, then k, then v, each head after head.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


# CHANGED in part 2: dropout, biases by choice, both GELUs, tied embeddings; learned positions only
@dataclass(frozen=True)
class GPTConfig:
    vocab_size: int = 256    # V, how many different tokens there are; 256: bytes
    block_size: int = 64     # the most tokens the model can look at
    n_layer: int = 4         # blocks
    n_head: int = 4          # heads in each block
    n_embd: int = 128        # C, the width of the residual stream
    dropout: float = 0.0     # share of activations set to zero in training
    bias: bool = False       # biases in every Linear and LayerNorm, as GPT-2 has them
    gelu: str = "exact"      # "exact", or GPT-2's "tanh" (slower on a CPU)
    tied: bool = True        # the output layer is the token embedding itself
    norm_eps: float = 1e-5   # LayerNorm: added to the variance
    embedding_std: float = 0.02  # spread of the embeddings at the start; GPT-2's is 0.02

    def __post_init__(self):
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd={self.n_embd} must be a multiple of n_head={self.n_head}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must be at least 0 and below 1")
        if self.gelu not in ("exact", "tanh"):
            raise ValueError(f"gelu={self.gelu!r}: choose exact or tanh")
        for name in ("norm_eps", "embedding_std"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be above 0")


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


# NEW in part 2
def check_length(length: int, block_size: int) -> None:
    """Raise ValueError when there are more tokens than positions."""
    if length > block_size:
        raise ValueError(f"{length} tokens do not fit in block_size={block_size}; "
                         "shorten the input or make the model with a larger block_size")


# NEW in part 2
def by_products(x: torch.Tensor) -> bool:
    """Is attention on x faster by plain matrix products than by PyTorch's fused kernel?

    On a CPU in bfloat16, where that kernel's backward pass is slow (measured in lesson 2.4).
    """
    return x.device.type == "cpu" and x.dtype == torch.bfloat16


# NEW in part 2
def causal_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor,
                     dropout: float = 0.0) -> torch.Tensor:
    """q, k, v (N, T, D) -> (N, T, D), N = B*H: each token gathers from itself and those before it."""
    T, D = q.shape[1:]
    future = q.new_full((T, T), -math.inf).triu(1)  # added to the scores: exp(-inf) = 0
    scores = torch.baddbmm(future, q, k.transpose(1, 2), alpha=1 / math.sqrt(D))  # (N, T, T)
    weights = F.dropout(scores.softmax(-1), dropout, training=dropout > 0)
    return weights @ v


# NEW in part 2
class CausalSelfAttention(nn.Module):
    """(B, T, C) -> (B, T, C): part 1's MultiHeadAttention with its three products made one."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        C = config.n_embd
        self.n_head = config.n_head
        self.dropout = config.dropout
        self.qkv = nn.Linear(C, 3 * C, bias=config.bias)
        self.project = nn.Linear(C, C, bias=config.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, T, C = x.shape
        H, D = self.n_head, C // self.n_head
        dropout = self.dropout if self.training else 0.0
        qkv = self.qkv(x)
        if by_products(qkv):
            qkv = qkv.view(B, T, 3, H, D).permute(2, 0, 3, 1, 4)  # (3, B, H, T, D)
            q, k, v = qkv.reshape(3, B * H, T, D)  # one copy, so that the products read in order
            out = causal_attention(q, k, v, dropout).view(B, H, T, D)
        else:
            q, k, v = (part.view(B, T, H, D).transpose(1, 2) for part in qkv.split(C, dim=2))
            out = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        return self.project(out.transpose(1, 2).reshape(B, T, C))  # heads side by side again


# NEW in part 2
class MLP(nn.Module):
    """(B, T, C) -> (B, T, C): widen, bend, project."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.approximate = "tanh" if config.gelu == "tanh" else "none"
        self.widen = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.project = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.project(F.gelu(self.widen(x), approximate=self.approximate))


# NEW in part 2
class Block(nn.Module):
    """(B, T, C) -> (B, T, C), pre-norm: the sum from block to block is never normalised."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.norm_1 = nn.LayerNorm(config.n_embd, config.norm_eps, bias=config.bias)
        self.attention = CausalSelfAttention(config)
        self.norm_2 = nn.LayerNorm(config.n_embd, config.norm_eps, bias=config.bias)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.dropout(self.attention(self.norm_1(x)))
        x = x + self.dropout(self.mlp(self.norm_2(x)))
        return x


# CHANGED in part 2: tied embeddings, dropout, a loss in float32, decay groups for the optimizer
class GPT(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        C = config.n_embd
        self.token_embedding = nn.Embedding(config.vocab_size, C)
        self.position_embedding = nn.Embedding(config.block_size, C)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(C, config.norm_eps, bias=config.bias)
        self.head = nn.Linear(C, config.vocab_size, bias=False)
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

    def forward(self, ids: torch.Tensor, targets: torch.Tensor | None = None):
        """ids (B, T), targets (B, T) or None -> logits (B, T, V), loss or None.

        `targets[b, t]` is the token that follows `ids[b, t]`: already shifted; -100 is left out.
        """
        if ids.device.type == "cpu" and not torch.compiler.is_compiling():
            check_ids(ids, self.config.vocab_size)  # on a GPU the CPU would have to wait for it
        check_length(ids.size(1), self.config.block_size)
        positions = self.position_embedding.weight[:ids.size(1)]  # (T, C)
        x = self.dropout(self.token_embedding(ids) + positions)
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))  # the stream too: fewer casts, 10% faster
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))  # (B, T, V)
        if targets is None:
            return logits, None
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=-100)
        return logits, loss

    def parameter_groups(self, weight_decay: float) -> list[dict]:
        """For the optimizer: matrices are pulled towards zero, scales and biases are not."""
        parameters = list(self.parameters())  # a tied matrix is in here once
        return [{"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
                {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}]

    def count_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())
