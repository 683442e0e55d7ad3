"""Does a training fit into the memory? Asked before it starts: a process that takes too much is
killed by the system, often with others, and says nothing.

Math   at least  16 P + rows T (40 L C + 8 V) bytes  with P parameters: a weight, its gradient and
       two moments of 4 bytes each; ten values a layer and channel are kept for the way back
Used   train_gpt.py   (lesson 2.4)
Shapes T context, L layers, C width, V vocabulary

The estimate is low on purpose: what is refused would certainly not have fitted.
"""

import os
from pathlib import Path

import torch

LAYER_OBJECTS = 20_000  # bytes that the modules of a block take in Python, however narrow it is


def least_bytes(*, layers: int, width: int, vocab: int, rows: int, context: int,
                masks: bool = False) -> dict[str, int]:
    """What a training needs at the least. `masks`: every row has its own (T, T) mask."""
    parameters = layers * 10 * width**2 + vocab * width
    tokens = rows * context
    return {"weights": 16 * parameters + layers * LAYER_OBJECTS,
            "activations": tokens * (40 * layers * width + (0 if masks else 8 * vocab)),
            "masks": rows * context**2 if masks else 0}


def limit_of_group(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The memory that a container may have, or None."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return int((root / name).read_text(encoding="ascii"))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return None


def memory_of(device: torch.device) -> int | None:
    """All bytes of the device, or of this machine; None where nobody can tell."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return None
    return min(whole, limit_of_group() or whole)


def check_memory(needs: dict[str, int], device: torch.device, flags: str) -> None:
    """Raise ValueError when the least that is needed is more than there is."""
    there, need = memory_of(device), sum(needs.values())
    if there is not None and need > there:
        largest = max(needs, key=needs.get)
        raise ValueError(f"this training needs {gigabytes(need)} at least "
                         f"({gigabytes(needs[largest])} for {largest}), {device.type} has "
                         f"{gigabytes(there)}; lower {flags}")


def gigabytes(size: int) -> str:
    return f"{size / 1e9:,.0f} GB" if size >= 1e10 else f"{size / 1e9:.1f} GB"
