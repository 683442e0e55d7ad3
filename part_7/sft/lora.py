"""LoRA: fine-tuning with two thin matrices beside each frozen one.

Math   y = W x + (alpha / r) B (A x),   A (r, in) small at random, B (out, r) zero       (eq. 6.3)
       At the start B A = 0: the model is the base model. Afterwards W + (alpha / r) B A is a plain
       matrix again (`merge_lora`), and costs nothing more than before.
       Where a policy is compared with what it was, what it was is W alone: `with_reference`.
Used   train_sft.py --lora 8; the parts after this one
Shapes r rank, in/out the matrix's widths
Source Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

TARGETS = ("qkv", "project", "gate_up")  # every matrix in the blocks but experts and routers
FORMATS = ("float32", "bfloat16")  # of frozen weights; what learns is always float32


def check_lora(rank: int, weights: str) -> None:
    """Raise ValueError for settings of --lora and --weights that make no sense."""
    if rank < 0:
        raise ValueError(f"--lora {rank}: must not be below 0")
    if weights not in FORMATS:
        raise ValueError(f"--weights {weights}: float32 or bfloat16")
    if weights == "bfloat16" and not rank:
        raise ValueError("--weights bfloat16: a trained weight would lose every change of less "
                         "than 1/256 of it; give --lora too, so that the weights stay as they are")


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


def with_reference(model: nn.Module, rank: int, weights: str = "float32",
                   seed: int = 0) -> nn.Module:
    """Give the model LoRA, its frozen weights as `weights` -> its reference: what it was before, as
    a second model over the very same tensors, without the detours: no second copy."""
    model.to(getattr(torch, weights))
    same = {id(x): x for x in (*model.parameters(), *model.buffers())}
    reference = copy.deepcopy(model, same).eval()  # what `same` holds is not copied
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # in all processes the same detours
        add_lora(model, rank, train_embedding=False)  # the reference has that embedding too
    model.to(model.token_embedding.weight.device)  # the detours were made on the CPU
    return reference


def merged_weights(model: nn.Module, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`weights`: those of the model, by name -> those of the plain model that does the same, in
    float32. The model stays as it is, and with it its reference."""
    weights = {name: value.float() for name, value in weights.items()}
    for at, module in model.named_modules():
        if isinstance(module, LoRALinear):
            change = module.scale * weights.pop(f"{at}.b") @ weights.pop(f"{at}.a")
            for name in [name for name in weights if name.startswith(f"{at}.base.")]:
                weights[f"{at}.{name.rpartition('.')[2]}"] = weights.pop(name)
            weights[f"{at}.weight"] += change
    return weights


def lora_training(model: nn.Module, base) -> dict | None:
    """What LoRA has learnt, for a checkpoint, whose weights are merged: export_weights.py --adapter
    asks for it. `base`: where the frozen weights came from. None: no LoRA."""
    detours = [m for m in model.modules() if isinstance(m, LoRALinear)]
    if not detours:
        return None
    rank = detours[0].a.size(0)
    return {"lora": {"rank": rank, "alpha": detours[0].scale * rank, "weights": lora_state(model),
                     "embedding": model.token_embedding.weight.requires_grad, "base": str(base)}}


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
