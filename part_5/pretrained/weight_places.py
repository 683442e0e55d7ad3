"""Which released tensor goes where: a list of places, and a model filled by it.

Idea   A released name stands for some rows of one of our parameters. The list of names is complete:
       it covers every parameter once, and a name that is not on it is an error. The same list is
       read to load a model and to write it.
Used   load_pretrained.py   (lesson 3.8)
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

# tables that some folders hold beside the weights: causal masks of GPT-2, frequencies of RoPE
_TABLES = re.compile(r"(.*\.)?(attn\.(bias|masked_bias)|rotary_emb\.inv_freq)")


# CHANGED in part 5: experts, which are stacked
@dataclass(frozen=True)
class Place:
    """Where a released tensor belongs: rows begin … end of one of our parameters."""

    parameter: str
    begin: int = 0
    end: int | None = None
    turned: bool = False   # the released matrix lies as [in, out]
    is_copy: bool = False  # another name for the same numbers: need not be there, must be equal
    expert: int | None = None  # which one of a stack of experts

    def of(self, parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        """The numbers there, in the released shape: a view, to read from and to write to."""
        whole = parameters[self.parameter].detach()
        rows = (whole if self.expert is None else whole[self.expert])[self.begin:self.end]
        return rows.T if self.turned else rows


class SkipInit(TorchFunctionMode):
    """Inside, torch.nn.init leaves parameters as they are: all are overwritten soon.

    On the "meta" device, where sizes are compared, it would also load PyTorch's compiler: a second.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__module__", None) == "torch.nn.init":
            return (kwargs or {}).get("tensor", args[0] if args else None)
        return func(*args, **(kwargs or {}))


def empty_model(kind: type, config, dtype: torch.dtype) -> nn.Module:
    """kind(config) with weights of this type that hold nothing yet. `fill` must come next.

    Neither is time spent on random numbers, nor memory on a float32 copy of the model.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with SkipInit():
            return kind(config)
    finally:
        torch.set_default_dtype(before)


def listed(names: Iterable[str]) -> str:
    """Names for a message: the first 20 in order, and how many more there are."""
    names = sorted(names)
    more = f" … and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more


@torch.no_grad()
def fill(model: nn.Module, places: dict[str, Place],
         weights: Iterable[tuple[str, torch.Tensor]], where: str = "the weights") -> list[str]:
    """Copy each released tensor to its place -> the names that were left out: known tables.

    Raises ValueError that lists the names that are missing, left over, there twice, or of a wrong
    shape or kind (`where` begins the message); then the model is not fit for use.
    """
    parameters = dict(model.named_parameters())
    count = sum(p.of(parameters).numel() for p in places.values() if not p.is_copy)
    assert count == sum(p.numel() for p in parameters.values()), "places must cover all parameters"
    seen, tables, copies = set(), [], {}
    wrong = {"left over": [], "there twice": [], "wrong": []}
    for name, tensor in weights:
        if name not in places:
            (tables if _TABLES.fullmatch(name) else wrong["left over"]).append(name)
            continue
        if name in seen:
            wrong["there twice"].append(name)
        seen.add(name)
        target = places[name].of(parameters)
        if tensor.shape != target.shape or not tensor.is_floating_point():
            wrong["wrong"].append(f"{name} ({tensor.dtype} {tuple(tensor.shape)}, must be "
                                  f"floats {tuple(target.shape)})")
        elif places[name].is_copy:
            copies[name] = tensor
        else:
            target.copy_(tensor)
            if target.dtype == torch.float16 and not target.isfinite().all():
                wrong["wrong"].append(f"{name} (beyond float16's 65504; use bfloat16)")
    wrong["missing"] = [name for name, p in places.items() if not p.is_copy and name not in seen]
    if not wrong["missing"]:
        wrong["wrong"] += [f"{name} (config.json says it is tied, but it differs)"
                           for name, tensor in copies.items()
                           if not torch.equal(places[name].of(parameters),
                                              tensor.to(places[name].of(parameters).dtype))]
    if any(wrong.values()):
        raise ValueError(f"{where} do not fit config.json: " + "; ".join(
            f"{what}: {listed(names)}" for what, names in wrong.items() if names))
    return tables
