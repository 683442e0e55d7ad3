"""Tiny worked cases for the practice (part_0/practice.py): what to put in, told in plain words.

A case is a function of `load`, which imports a module of the part: load("rope") or load("run.loop").
What it returns (numbers, tensors, texts, lists of them) is worked out by the part's own code and by
the learner's; both are compared, and shown where they differ. tests/part_N/cases.py hold them.
"""

import importlib.util
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

CLOSE = {"rtol": 1e-3, "atol": 1e-5}
CASES: dict[str, list] = {}


@dataclass(frozen=True)
class Case:
    name: str
    told: str      # what is put in, in plain words
    run: object    # load -> value


def case(topic: str, told: str):
    """@case("3.2", "width 2, position 1, x = (1, 0)") above a function of `load`."""
    def keep(function):
        CASES.setdefault(topic, []).append(Case(function.__name__, told, function))
        return function
    return keep


def cases_of(part: str, topic: str, tests: Path) -> list[Case]:
    """The cases of a topic, from tests/part_N/cases*.py below `tests`."""
    CASES.clear()
    for path in sorted((tests / part).glob("cases*.py")):
        spec = importlib.util.spec_from_file_location(f"{path.stem}_of_{part}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return CASES.get(topic, [])


def wave(*shape: int, start: float = 0.0) -> torch.Tensor:
    """Numbers between -1 and 1 without any pattern one could rely on, the same everywhere."""
    count = math.prod(shape)
    return torch.sin(1.7 * torch.arange(count, dtype=torch.float64) + start).float().view(shape)


def filled(module: torch.nn.Module, size: float = 0.5) -> torch.nn.Module:
    """The module with waves for weights, in evaluation mode."""
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(size * wave(*parameter.shape, start=float(number)))
    return module.eval()


class Raised:
    """A case that ended in an exception."""

    def __init__(self, error: BaseException):
        self.kind, self.text = type(error).__name__, str(error).split("\n")[0]

    def __repr__(self):
        return f"{self.kind}: {self.text}"[:160]


def leaves(value) -> list:
    """The tensors, numbers and texts of a value, in order; structure as texts between them."""
    if isinstance(value, torch.Tensor):
        return [value.detach().double().cpu()]
    if isinstance(value, (np.ndarray, np.generic)):
        return [torch.from_numpy(np.atleast_1d(value).astype(np.float64))]
    if isinstance(value, bool) or value is None or isinstance(value, (str, Raised)):
        return [value.kind if isinstance(value, Raised) else value]
    if isinstance(value, (int, float)):
        return [torch.tensor(float(value), dtype=torch.float64)]
    if isinstance(value, dict):
        return [one for key in value for one in [str(key), *leaves(value[key])]]
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in value):
            return [torch.tensor([float(x) for x in value], dtype=torch.float64)]
        return [one for x in value for one in leaves(x)] or ["[]"]
    return [repr(value)]


def numbers(value) -> torch.Tensor:
    """All numbers of a value in one row; texts stand as numbers of their own."""
    rows = [torch.zeros(0, dtype=torch.float64)]
    for leaf in leaves(value):
        rows.append(leaf.flatten() if isinstance(leaf, torch.Tensor) else torch.tensor(
            [zlib.crc32(repr(leaf).encode()) / 2**32], dtype=torch.float64))
    return torch.cat(rows)


def relation(expected, got) -> str:
    """How the value that was got is related to the expected one: "same", or what it looks like."""
    if isinstance(got, Raised):
        is_same = isinstance(expected, Raised) and expected.kind == got.kind
        return "same" if is_same else f"raises {got.kind}"
    if isinstance(expected, Raised):
        return "passes"
    shapes = [[tuple(x.shape) if isinstance(x, torch.Tensor) else None for x in leaves(value)]
              for value in (expected, got)]
    if shapes[0] != shapes[1]:
        return "shape"
    a, b = numbers(expected), numbers(got)
    if torch.allclose(a, b, equal_nan=True, **CLOSE):
        return "same"
    if bool(b.isnan().any() > a.isnan().any()):
        return "nan"
    if not torch.equal(a.isinf(), b.isinf()):
        return "infinite"
    finite = a.isfinite() & b.isfinite()
    a, b = a[finite], b[finite]
    if torch.allclose(a, -b, **CLOSE):
        return "negated"
    scale = float((a * b).sum() / (a * a).sum().clamp(min=1e-12))
    if len(a) > 1 and abs(scale) > 1e-6 and torch.allclose(scale * a, b, **CLOSE):
        return "scaled"
    if len(a) > 2 and len(set(a.tolist())) > 1 and torch.allclose(
            a.sort().values, b.sort().values, **CLOSE):
        return "reordered"
    return "differs"


def signature(value) -> list[float]:
    """A few numbers that tell a value from others: its count, and three weighted sums."""
    x = numbers(value).nan_to_num(12345.0, 1e6, -1e6)
    places = torch.arange(len(x), dtype=torch.float64)
    sums = [float((x * weight).sum()) for weight in (
        torch.ones_like(x), torch.cos(1.3 * places), torch.sin(2.1 * places + 0.5))]
    return [float(len(x)), *(float(f"{s:.5g}") for s in sums)]


def is_alike(one: list[float], other: list[float]) -> bool:
    """Are two signatures those of one value?"""
    return len(one) == len(other) and all(
        math.isclose(a, b, rel_tol=2e-3, abs_tol=1e-4) for a, b in zip(one, other))


def shown(value, width: int = 60) -> str:
    """A value on one line or a few, with four digits."""
    def text(x) -> str:
        if isinstance(x, (np.ndarray, np.generic)):
            x = torch.from_numpy(np.atleast_1d(x).astype(np.float64))
        if isinstance(x, torch.Tensor):
            return text(x.tolist()) if x.numel() <= 16 else (
                f"{text(x.flatten()[:6])[:-1]} …], a tensor of shape {tuple(x.shape)}")
        if isinstance(x, bool) or x is None or isinstance(x, str):
            return repr(x)
        if isinstance(x, float):
            return f"{x:.4g}"
        if isinstance(x, dict):
            return "{" + ", ".join(f"{key}: {text(x[key])}" for key in x) + "}"
        if isinstance(x, (list, tuple)):
            inside = ", ".join(map(text, x))
            return f"[{inside}]" if isinstance(x, list) else f"({inside})"
        return repr(x)
    whole = text(value)
    return whole if len(whole) <= 5 * width else whole[:5 * width] + " …"
