"""Token shards: texts turned into numbers once, and read from disk as if they were an array.

Used   text/data.py writes and reads them.
Format 128 bytes of header, then the tokens as little-endian uint16 (uint32 above 65,536 tokens).
       The header says which tokenizer made them, how many there are, how many documents and bytes
       of text they stand for, and a checksum (CRC-32) of all that follows.

A wrong tokenizer gives text-like nonsense and a loss that looks almost right; a file cut short
gives a crash at the end of a night. Both are refused here, when the file is opened.
"""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from run.runtime import replacing

MAGIC = b"LLMSHARD"
SHARD_FORMAT = 1
HEADER = struct.Struct("<8sIIQQQII64s")  # magic, format, width, 3 counts, crc, vocab, fingerprint
HEADER_BYTES = 128


@dataclass(frozen=True)
class Shard:
    """One open file: its tokens (memory-mapped, nothing is read until it is used) and header."""

    path: Path
    tokens: np.ndarray      # (count,) uint16 or uint32
    documents: int
    text_bytes: int         # UTF-8 bytes of the texts: turns a loss per token into one per byte
    fingerprint: str        # of the tokenizer


def token_type(vocab_size: int) -> type:
    """The smallest type that holds every id."""
    return np.uint16 if vocab_size <= 2**16 else np.uint32


def write_shard(path: Path, tokens: np.ndarray, *, documents: int, text_bytes: int,
                vocab_size: int, fingerprint: str) -> None:
    """Write one shard, whole or not at all."""
    if len(tokens) and int(tokens.max()) >= vocab_size:
        raise ValueError(f"token {int(tokens.max())} does not fit a vocabulary of {vocab_size}")
    tokens = np.ascontiguousarray(tokens, dtype=np.dtype(token_type(vocab_size)).newbyteorder("<"))
    header = HEADER.pack(MAGIC, SHARD_FORMAT, tokens.itemsize, len(tokens), documents, text_bytes,
                         zlib.crc32(tokens), vocab_size, fingerprint.encode())
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            file.write(header.ljust(HEADER_BYTES, b"\0"))
            tokens.tofile(file)
    except OSError as error:  # numpy's own message says how many bytes were written
        raise OSError(f"{path}: the tokens could not be written ({error.strerror or error}); free "
                      "some space there, or choose another folder with --out") from None


def open_shard(path: Path, fingerprint: str, *, verify: bool = True) -> Shard:
    """Open a shard and check that it is whole and was made by the tokenizer at hand.

    `verify` reads the file once for its checksum, about a second per gigabyte.
    """
    path = Path(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES or header[:8] != MAGIC:
        raise ValueError(f"{path} is not a token shard; delete it and prepare the data again")
    fields = HEADER.unpack(header[:HEADER.size])
    _, number, width, count, documents, text_bytes, crc, _, made_by = fields
    if number != SHARD_FORMAT:
        raise ValueError(f"{path} has shard format {number}, this code reads {SHARD_FORMAT}; "
                         "delete it and prepare the data again")
    if size != HEADER_BYTES + width * count:
        raise ValueError(f"{path} is cut or damaged: {size:,} bytes, its header says "
                         f"{HEADER_BYTES + width * count:,}; delete it and prepare the data again")
    made_by = made_by.rstrip(b"\0").decode()
    if made_by != fingerprint:
        raise ValueError(f"{path} was made with another tokenizer ({made_by[:12]}, not "
                         f"{fingerprint[:12]}); delete it and prepare the data again")
    tokens = np.memmap(path, dtype=f"<u{width}", mode="r", offset=HEADER_BYTES, shape=(count,)) \
        if count else np.zeros(0, dtype=f"<u{width}")
    if verify and zlib.crc32(tokens) != crc:
        raise ValueError(f"{path} is damaged: its checksum is wrong; "
                         "delete it and prepare the data again")
    return Shard(path, tokens, documents, text_bytes, made_by)
