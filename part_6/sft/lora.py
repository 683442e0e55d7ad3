"""LoRA: fine-tuning with two thin matrices beside each frozen one.

Math   y = W x + (alpha / r) B (A x),   A (r, in) small at random, B (out, r) zero       (eq. 6.3)
       At the start B A = 0: the model is the base model. Afterwards W + (alpha / r) B A is a plain
       matrix again (`merge_lora`), and costs nothing more than before.
Used   train_sft.py --lora 8.
Shapes r rank, in/out the matrix's widths
Source Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

TARGETS = ("qkv", "project", "gate_up")  # every matrix in the blocks but experts and routers


class LoRALinear(nn.Module):
    """A frozen Linear with a trained detour of rank r."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        super().__init__()
        if not 1 <= rank <= min(base.weight.shape):
            raise ValueError(f"--lora {rank}: the rank must be from 1 to "
                             f"{min(base.weight.shape)}, the smaller side of the matrix")
        self.base, self.scale = base, alpha / rank
        for parameter in base.parameters():
            parameter.requires_grad_(False)
        self.a = nn.Parameter(torch.empty(rank, base.in_features))
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.normal_(self.a, std=1 / math.sqrt(base.in_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.a.to(x.dtype), self.b.to(x.dtype)  # x may be bfloat16, as the frozen weights
        return self.base(x) + self.scale * F.linear(F.linear(x, a), b)  # eq. 6.3

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A plain Linear that does the same."""
        self.base.weight += self.scale * self.b @ self.a
        for parameter in self.base.parameters():
            parameter.requires_grad_(True)
        return self.base


def replace_modules(model: nn.Module, wanted, make) -> int:
    """Put make(child) in place of every child for which wanted(name, child) -> how many."""
    count = 0
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if wanted(name, child):
                setattr(module, name, make(child))
                count += 1
    return count


def add_lora(model: nn.Module, rank: int, alpha: float | None = None,
             train_embedding: bool = True) -> nn.Module:
    """Freeze the model and add a detour to each of TARGETS (alpha: 2 * rank by default).

    `train_embedding`: the embedding learns too; the role tokens' rows are new and must.
    """
    alpha = 2.0 * rank if alpha is None else alpha
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    count = replace_modules(model, lambda name, child: name in TARGETS
                            and isinstance(child, nn.Linear),
                            lambda child: LoRALinear(child, rank, alpha))
    if not count:
        raise ValueError(f"no matrix named {', '.join(TARGETS)} is in this model")
    if train_embedding:
        model.token_embedding.weight.requires_grad_(True)
    return model


def lora_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """What LoRA has learnt, by the names of the matrices: "blocks.0.mlp.project.a", and ".b"."""
    return {name: p.detach().cpu().clone() for name, p in model.named_parameters()
            if name.endswith((".a", ".b"))}


def merge_lora(model: nn.Module) -> nn.Module:
    """Fold every detour into its matrix: a plain model again, that does the same."""
    replace_modules(model, lambda _, child: isinstance(child, LoRALinear),
                    lambda child: child.merged())
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model


def trained_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
