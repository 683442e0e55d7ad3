"""Bytes in, batches out: a text is a row of numbers from 0 to 255, and nothing else is needed.

Math   a window of T + 1 bytes d[s … s+T] gives ids = d[s … s+T-1], targets = d[s+1 … s+T] (eq. 2.1)
Used   train_gpt.py, eval_loss.py, sample.py, the demos.   See it: python demo_label_shift.py
Shapes B batch, T time

Any file will do: bytes are read as they are, UTF-8 or not, text or not; what is packed by gzip is
unpacked. Of a folder the text files are read, in sorted order, whatever their names end in.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch

N_BYTES = 256  # the size of the vocabulary: every byte is a token


def encode(text: str) -> list[int]:
    """Text -> bytes as numbers. encode("aé") -> [97, 195, 169]: é takes two bytes in UTF-8."""
    return list(text.encode("utf-8"))


def decode(ids) -> str:
    """Numbers -> text. Bytes that are no valid UTF-8 show as U+FFFD, a question mark in a box."""
    return bytes(ids).decode("utf-8", errors="replace")


def read_file(path: Path, most: int = -1) -> bytes:
    """The bytes of a file, at most `most`; one that is packed by gzip (.gz) is unpacked.

    Raises ValueError that names the file where it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            if Path(path).suffix.lower() != ".gz":
                return file.read(most)
            with gzip.open(file) as unpacked:
                return unpacked.read(most)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"--data {path}: cannot be read ({reason})") from None


def is_text(path: Path) -> bool:
    """A file counts as text when its first 64 KB are UTF-8 and hold no zero byte."""
    head = read_file(path, 65536)
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 and len(head) == 65536  # a letter cut in two at the end
    return True


def text_files(folder: Path) -> list[Path]:
    """The text files in a folder and its subfolders, sorted by path; hidden ones are left out.

    What counts is what a file holds, not what its name ends in.
    """
    inside = sorted(path for path in folder.rglob("*") if path.is_file()
                    and not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return [path for path in inside if is_text(path)]


def read_bytes(path: str | Path) -> bytes:
    """All bytes of a file; of a folder: its text files in sorted order, a newline between them.

    Raises FileNotFoundError or ValueError when nothing is there to read.
    """
    if not str(path).strip():
        raise ValueError("--data is empty; name a file or a folder")
    path = Path(path).expanduser()
    try:
        is_there, is_link = path.exists(), path.is_symlink()
    except OSError as error:  # a name that is too long
        raise ValueError(f"--data {str(path)[:200]}: {error.strerror}") from None
    if not is_there:
        raise FileNotFoundError(f"--data {path}: " + (
            "a link to something that is not there" if is_link else
            "there is no such file or folder"))
    if not path.is_dir():
        data = read_file(path)
        if not data:
            raise ValueError(f"--data {path}: the file is empty; give one with some text in it")
        return data
    data = b"\n".join(read_file(file) for file in text_files(path))
    if not data.strip():
        raise ValueError(f"--data {path}: the folder holds no text file (UTF-8, not empty, "
                         "not hidden); name a file to read it whatever it holds")
    return data


def split_bytes(data: bytes, validation_share: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    """Bytes -> (the first part for training, the last for validation), as uint8 tensors.

    The two share no byte. 1,000 bytes and 0.1 give 900 and 100.
    """
    if not 0 < validation_share < 1:
        raise ValueError(f"validation_share={validation_share} must be between 0 and 1")
    whole = torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy())
    cut = int(len(whole) * (1 - validation_share))
    return whole[:cut], whole[cut:]


def check_enough(data: torch.Tensor, block_size: int, name: str) -> None:
    """Raise ValueError unless one window of block_size + 1 bytes fits."""
    if len(data) < block_size + 1:
        raise ValueError(f"the {name} text has {len(data)} bytes; with --block-size {block_size} "
                         f"it needs at least {block_size + 1}: give more text, or a smaller "
                         "--block-size")


def get_batch(data: torch.Tensor, batch_size: int, block_size: int,
              generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Random windows -> ids (B, T), targets (B, T), both int64, on the device of `data`.

    Every start is equally likely, the last possible one included: len(data) - T of them.
    """
    check_enough(data, block_size, "given")
    starts = torch.randint(len(data) - block_size, (batch_size, 1), generator=generator)
    steps = torch.arange(block_size + 1)
    windows = data[(starts + steps).to(data.device)].long()  # (B, T+1)
    return windows[:, :-1], windows[:, 1:]  # eq. 2.1: the answer to each byte is the next one
