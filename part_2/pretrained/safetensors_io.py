"""Weights in files: the safetensors format read and written, and folders of such files.

Format  8 bytes: N, the length of the header (little endian); N bytes of JSON:
        {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...};
        then the numbers, one tensor after the other, with no gap. There is no code in it, so
        that nothing can be run by opening it; a pickle (.bin, .pt) is a program.
Used    load_pretrained.py   (lesson 3.8; a GPT-2 folder in part 2)
Source  the format's description at github.com/huggingface/safetensors

A file is memory-mapped: opening it reads the header only, and a tensor is read from the disk when
it is looked at. Whoever wrote the header is not trusted: every offset is checked before use.
"""

import json
import math
import pickle
import struct
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from runtime import replacing, save_json

_MAX_HEADER = 100_000_000  # bytes; the limit that the format itself sets
_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16,
         "BF16": torch.bfloat16, "I64": torch.int64, "I32": torch.int32, "I16": torch.int16,
         "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool}
_TYPE_NAMES = {dtype: name for name, dtype in _TYPES.items()}


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies: bytes begin … end, counted from the end of the header."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


# ---------------------------------------------------------------- one file

def strict_json(text: str, where: str):
    """The value of a JSON text; ValueError that names `where` if it is none.

    A name that occurs twice is refused: which of the two should count?
    """
    def no_twins(pairs):
        fields = {}
        for name, value in pairs:
            if name in fields:
                raise ValueError(f"the name {name!r} occurs twice")
            fields[name] = value
        return fields
    try:
        return json.loads(text, object_pairs_hook=no_twins)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not sound JSON ({error})") from None


def _parse_entry(name: str, value, where: str) -> TensorEntry:
    """One line of the header, checked: types, shape, and that shape and bytes agree."""
    def is_count(number) -> bool:
        return type(number) is int and 0 <= number < 2**48  # bool is an int in Python, too

    where = f"{where}: tensor {name!r}"
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{where}: must have dtype, shape and data_offsets, and nothing else")
    kind, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ValueError(f"{where} has dtype {kind!r}; known are {', '.join(_TYPES)}")
    if not (isinstance(shape, list) and len(shape) <= 8 and all(is_count(n) for n in shape)):
        raise ValueError(f"{where}: shape {str(shape)[:80]} must be at most 8 whole numbers")
    if math.prod(max(n, 1) for n in shape) >= 2**60:  # [0, 2**47, 2**47]: no bytes, and no tensor
        raise ValueError(f"{where}: shape {shape} is too large")
    if not (isinstance(offsets, list) and len(offsets) == 2
            and all(is_count(n) for n in offsets)):
        raise ValueError(f"{where}: data_offsets {str(offsets)[:80]} must be [begin, end]")
    begin, end = offsets
    need = math.prod(shape) * _TYPES[kind].itemsize
    if end - begin != need:
        raise ValueError(f"{where}: {kind} of shape {shape} needs {need} bytes, "
                         f"but data_offsets {offsets} span {end - begin}")
    return TensorEntry(_TYPES[kind], tuple(shape), begin, end)


def read_safetensors_header(path: Path) -> tuple[dict[str, TensorEntry], int]:
    """(name -> TensorEntry, the byte where the numbers start). ValueError if anything is odd."""
    path = Path(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise ValueError(f"{path}: {size} bytes are too few for a safetensors file")
        length = struct.unpack("<Q", start)[0]
        if length > min(_MAX_HEADER, size - 8):
            raise ValueError(f"{path}: claims a header of {length} bytes; the file has {size} "
                             f"bytes, the limit is {_MAX_HEADER}. Cut short, or no safetensors?")
        raw = file.read(length)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: the header is not UTF-8; not a safetensors file?") from None
    header = strict_json(text, str(path))
    if type(header) is not dict:
        raise ValueError(f"{path}: the header must be a JSON object, not {type(header).__name__}")
    header.pop("__metadata__", None)  # free remarks, such as {"format": "pt"}
    entries = {name: _parse_entry(name, value, str(path)) for name, value in header.items()}
    place = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != place:
            what = "overlaps the tensor before it" if entry.begin < place else "leaves a gap"
            raise ValueError(f"{path}: tensor {name!r} {what}: it begins at {entry.begin}, "
                             f"where {place} was expected")
        place = entry.end
    if 8 + length + place != size:
        raise ValueError(f"{path}: the header tells of {place} bytes of numbers, the file holds "
                         f"{size - 8 - length}: cut short, or something was added")
    return entries, 8 + length


def open_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """name -> tensor, memory-mapped: nothing is read until a tensor is used.

    The mapping is private: writing to a tensor changes memory, never the file.
    """
    assert sys.byteorder == "little", "safetensors are little endian, and so must the machine be"
    entries, start = read_safetensors_header(path)
    if not entries:
        return {}
    data = np.memmap(path, dtype=np.uint8, mode="c")
    tensors = {}
    for name, entry in entries.items():
        piece = data[start + entry.begin:start + entry.end]
        if piece.ctypes.data % entry.dtype.itemsize:  # an odd header: numbers begin anywhere
            piece = piece.copy()
        flat = torch.from_numpy(piece).view(entry.dtype) if piece.size else torch.empty(
            0, dtype=entry.dtype)
        tensors[name] = flat.reshape(entry.shape)
    return tensors


def save_safetensors(path: Path, tensors: dict[str, torch.Tensor],
                     dtype: torch.dtype | None = None) -> None:
    """Write `tensors`, as `dtype` if given. One at a time is copied, so views cost no memory."""
    header, place = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in tensors.items():
        kind = dtype or tensor.dtype
        if kind not in _TYPE_NAMES:
            raise ValueError(f"tensor {name!r} has {kind}; known are {', '.join(_TYPES)}")
        end = place + tensor.numel() * kind.itemsize
        header[name] = {"dtype": _TYPE_NAMES[kind], "shape": list(tensor.shape),
                        "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)  # so that the numbers begin at a multiple of 8
    with replacing(Path(path)) as temporary, open(temporary, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            plain = tensor.detach().to("cpu", dtype or tensor.dtype)
            if plain.numel():
                file.write(plain.reshape(-1).view(torch.uint8).numpy())


# ---------------------------------------------------------------- a folder

def _read_shard(path: Path) -> dict[str, torch.Tensor]:
    """One file of weights, .safetensors or .bin. A .bin is a pickle: read with weights_only."""
    if path.suffix == ".safetensors":
        return open_safetensors(path)
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True,
                             mmap=zipfile.is_zipfile(path))
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: not a file of plain weights, or cut short ({reason})") from None
    if not isinstance(tensors, dict) or not all(
            isinstance(name, str) and isinstance(tensor, torch.Tensor)
            for name, tensor in tensors.items()):
        raise ValueError(f"{path}: must hold tensors by name, and nothing else")
    return tensors


def _read_index(path: Path) -> dict[str, list[str]]:
    """An index of shards (model.safetensors.index.json) -> file name: names of its tensors."""
    index = strict_json(path.read_text(encoding="utf-8"), str(path))
    where = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(where, dict) or not where:
        raise ValueError(f"{path}: has no weight_map of tensor names and files")
    files: dict[str, list[str]] = {}
    for name, file in where.items():
        if not isinstance(file, str) or Path(file).name != file or "\\" in file:
            raise ValueError(f"{path}: the file of {name!r} must lie in the same folder, "
                             f"but it says {file!r}")
        if Path(file).suffix not in (".safetensors", ".bin"):
            raise ValueError(f"{path}: {file!r} is neither .safetensors nor .bin")
        files.setdefault(file, []).append(name)
    missing = [file for file in files if not (path.parent / file).is_file()]
    if missing:
        raise FileNotFoundError(f"{path.parent}: the shards {', '.join(missing)} are missing; "
                                "download them again")
    return files


def read_weights(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors of a folder, shard by shard, so that one file is open at a time.

    Looks for model.safetensors, its index of shards, pytorch_model.bin, its index: the first that
    is there counts. Every shard must hold what the index says, no more and no less.
    """
    folder = Path(folder)
    for stem in ("model.safetensors", "pytorch_model.bin"):
        if (folder / stem).is_file():
            yield from _read_shard(folder / stem).items()
            return
        index = folder / f"{stem}.index.json"
        if index.is_file():
            for file, names in _read_index(index).items():
                shard = _read_shard(folder / file)
                odd = sorted(set(names) ^ set(shard))
                if odd:
                    raise ValueError(f"{folder / file} and {index.name} disagree about: "
                                     f"{', '.join(odd[:8])}{' …' if len(odd) > 8 else ''}")
                yield from shard.items()
            return
    raise FileNotFoundError(f"{folder}: no weights there; looked for model.safetensors and "
                            "pytorch_model.bin, whole or in shards with an .index.json")


def save_weights(folder: Path, tensors: dict[str, torch.Tensor],
                 dtype: torch.dtype | None = None, max_shard_bytes: int = 5 * 10**9) -> None:
    """Write model.safetensors; or several files and their index, if it would grow too large."""
    shards, room = [{}], max_shard_bytes
    for name, tensor in tensors.items():
        size = tensor.numel() * (dtype or tensor.dtype).itemsize
        if size > room and shards[-1]:
            shards.append({})
            room = max_shard_bytes
        shards[-1][name] = tensor
        room -= size
    if len(shards) == 1:
        save_safetensors(Path(folder) / "model.safetensors", shards[0], dtype)
        return
    weight_map, total = {}, 0
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_safetensors(Path(folder) / file, shard, dtype)
        weight_map |= dict.fromkeys(shard, file)
        total += sum(t.numel() * (dtype or t.dtype).itemsize for t in shard.values())
    save_json(Path(folder) / "model.safetensors.index.json",
              {"metadata": {"total_size": total}, "weight_map": weight_map})
