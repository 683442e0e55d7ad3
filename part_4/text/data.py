"""Tokens for training: made once, packed into full rows, in an order that is a function of the step.

    documents -> [begin] tokens [end] [begin] tokens [end] … -> shards -> rows of whole documents
    -> batches

Math   batch at step s = rows perm_e(i - e*E) for i = s*R, …, s*R + R - 1, where e = i // E is the
       epoch, E its rows and perm_e a permutation drawn from (seed, e). Nothing needs to be
       remembered to resume.  (eq. 4.6)
Used   train.py, eval.py.
Shapes R rows a step (over all processes), T context, B rows of one micro-batch
"""

import json
import math
import shutil
from bisect import bisect_left, insort
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from run.runtime import save_json

from text.rows import IGNORED, pad_rows
from text.shards import Shard, open_shard, token_type, write_shard
from text.sources import names_of, read_source, stamp_of
from text.tokenizer import Tokenizer

# NEW in part 4
SHARD_TOKENS = 2**25            # a shard is closed when it holds so many
# NEW in part 4
BATCH_TEXTS = 512               # texts encoded at once
# NEW in part 4
SPLITS = ("train", "validation")


# NEW in part 4
@dataclass(frozen=True)
class DataPlan:
    """What to prepare. Two equal plans give the same bytes, so prepared data is found again."""

    source: str = "world"           # see text/sources.py
    vocab_size: int = 1024          # tokens, the three special ones included
    world_megabytes: float = 8.0    # how much of the world to write for training
    tokenizer_megabytes: float = 2.0  # how much training text the tokenizer is learnt from
    seed: int = 0
    stories: float = 0.0            # their share of the world's training texts; 0: the world's own

    def __post_init__(self):
        if not 0 <= self.world_megabytes < math.inf:
            raise ValueError(f"--world-megabytes {self.world_megabytes}: must not be below 0, and "
                             "finite")
        if not 0 < self.tokenizer_megabytes < math.inf:
            raise ValueError(f"tokenizer_megabytes={self.tokenizer_megabytes}: must be above 0")
        if not 0 <= self.stories < 1:
            raise ValueError(f"--stories {self.stories}: a share, at least 0 and below 1")


# NEW in part 4
def prepare(plan: DataPlan, folder: Path, cache: Path) -> tuple[Tokenizer, dict]:
    """Texts -> tokenizer.json and shards in `folder` -> (tokenizer, what was made).

    If the folder already holds the data of an equal plan, of texts that have not changed since,
    nothing is made.
    """
    folder, wanted = Path(folder), {"plan": asdict(plan), "texts": stamp_of(plan.source)}
    note = folder / "data.json"
    made = read_note(note)
    if made.get("texts") == wanted["texts"] and \
            {**made["plan"], "source": plan.source} == wanted["plan"]:  # "./x" is "x"
        return Tokenizer.load(folder / "tokenizer.json"), made
    folder.mkdir(parents=True, exist_ok=True)
    check_room(plan, folder)
    note.unlink(missing_ok=True)  # from here on the folder is not complete until it is
    for old in folder.glob("*.bin"):
        old.unlink()
    sizes = {"train": int(plan.world_megabytes * 1e6), "validation": 200_000}

    def texts(split):
        return read_source(plan.source, split, seed=plan.seed, world_bytes=sizes[split], cache=cache,
                           stories=plan.stories if split == "train" else 0.0)

    tokenizer = Tokenizer.train(some_of(texts("train"), plan.tokenizer_megabytes * 1e6),
                                plan.vocab_size)
    tokenizer.save(folder / "tokenizer.json")
    made = {**wanted, "tokenizer": tokenizer.fingerprint}
    for split in SPLITS:
        made[split] = write_split(texts(split), tokenizer, folder, split)
    save_json(note, made)
    return tokenizer, made


# NEW in part 4
def read_note(path: Path) -> dict:
    """What data.json says; {} where it is missing, or none: then the data is made anew."""
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return made if isinstance(made, dict) and isinstance(made.get("plan"), dict) else {}


# NEW in part 4
def check_room(plan: DataPlan, folder: Path) -> None:
    """Raise ValueError where the world's tokens will certainly not fit on the disk."""
    least, free = plan.world_megabytes * 1e6 / 8, shutil.disk_usage(folder).free
    if "world" in names_of(plan.source) and least > free:
        raise ValueError(f"--world-megabytes {plan.world_megabytes:g}: the tokens take "
                         f"{least / 1e9:,.1f} GB at least, {folder} has {free / 1e9:,.1f} GB free; "
                         "lower it")


# NEW in part 4
def some_of(texts, size: float):
    """An even sample of documents of about `size` bytes in all."""
    texts = list(texts)
    total = sum(len(text) for text in texts)
    every = max(1, round(total / size))
    return texts[::every]


# NEW in part 4
def write_split(texts, tokenizer: Tokenizer, folder: Path, split: str) -> dict:
    """Documents -> shards <split>_000.bin, _001.bin, … -> counts of tokens, documents, bytes."""
    total = {"shards": 0, "tokens": 0, "documents": 0, "text_bytes": 0}
    held, batch = {"parts": [], "tokens": 0, "documents": 0, "text_bytes": 0}, []
    dtype = token_type(tokenizer.vocab_size)

    def close_batch():  # a few hundred texts at once: the encoder works on them in threads
        for ids, text in zip(tokenizer.encode_batch(batch), batch):
            held["parts"].append(np.array([tokenizer.begin, *ids, tokenizer.end], dtype))
            held["tokens"] += len(ids) + 2
            held["documents"] += 1
            held["text_bytes"] += len(text.encode())
        batch.clear()

    def close_shard():
        tokens = np.concatenate(held["parts"]) if held["parts"] else np.zeros(0, dtype)
        write_shard(folder / f"{split}_{total['shards']:03d}.bin", tokens,
                    documents=held["documents"], text_bytes=held["text_bytes"],
                    vocab_size=tokenizer.vocab_size, fingerprint=tokenizer.fingerprint)
        total["shards"] += 1
        for key in ("tokens", "documents", "text_bytes"):
            total[key] += held[key]
            held[key] = 0
        held["parts"] = []

    for text in texts:
        batch.append(text)
        if len(batch) == BATCH_TEXTS:
            close_batch()
            if held["tokens"] >= SHARD_TOKENS:
                close_shard()
    close_batch()
    if held["documents"] or not total["shards"]:
        close_shard()
    return total


# NEW in part 4
def open_shards(folder: Path, split: str, tokenizer: Tokenizer) -> list[Shard]:
    """All shards of a split, checked."""
    paths = sorted(Path(folder).glob(f"{split}_*.bin"))
    if not paths:
        raise FileNotFoundError(f"{folder} has no shards {split}_*.bin; prepare the data first")
    return [open_shard(path, tokenizer.fingerprint) for path in paths]


# NEW in part 4
def find_documents(tokens: np.ndarray, begin: int, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the documents of a shard start and how long they are: (N,), (N,) int64.

    A document of more than `longest` tokens comes in pieces. The last token of a piece is the
    first of the next: a target in the one, read in the other.
    """
    edges = np.unique([0, *np.flatnonzero(tokens == begin), len(tokens)])
    starts, lengths = [], []
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist()):
        for first in range(start, max(end - 1, start + 1), longest - 1):
            starts.append(first)
            lengths.append(min(longest, end - first))
    return np.array(starts, np.int64), np.array(lengths, np.int64)


# NEW in part 4
def pack(lengths, is_first, size: int, open_rows: int = 64) -> list[list[int]]:
    """Documents -> rows of at most `size` tokens, each a list of document numbers (best fit).

    A document goes into the fullest of the open rows that has room for it. One that does not
    begin with `begin` (not `is_first`) may only open a row.

    >>> pack([5, 4, 3, 2], [True] * 4, size=7)
    [[0, 3], [1, 2]]
    """
    done, rows = [], []  # rows: (room left, number of the row), sorted
    for number, (length, may_follow) in enumerate(zip(lengths, is_first)):
        place = bisect_left(rows, (length, -1)) if may_follow else len(rows)
        if place < len(rows):
            room, row = rows.pop(place)
        else:
            room, row = size, len(done)
            done.append([])
            if len(rows) == open_rows:
                rows.pop(0)  # the fullest is closed
        done[row].append(number)
        insort(rows, (room - length, row))
    return done


# NEW in part 4
class TokenRows:
    """Rows of T + 1 tokens that hold whole documents, in a shuffled order without end.

    A document is cut only where it is longer than a row. What is left of a row is filled with
    `begin`, which is never a target.
    """

    def __init__(self, shards: list[Shard], context: int, *, begin: int, seed: int = 0,
                 name: str = "data"):
        self.shards, self.context, self.begin, self.seed = shards, context, begin, seed
        documents = [find_documents(np.asarray(shard.tokens), begin, context + 1)
                     for shard in shards]
        shard_of = np.repeat(np.arange(len(shards)), [len(starts) for starts, _ in documents])
        shuffled = np.random.default_rng([seed]).permutation(len(shard_of))
        starts, lengths = (np.concatenate(column)[shuffled] for column in zip(*documents))
        self.places = np.stack([shard_of[shuffled], starts, starts + lengths], axis=1)
        is_first = [shards[i].tokens[start] == begin for i, start, _ in self.places]
        self.packed = pack(lengths.tolist(), is_first, context + 1)
        self.epoch_rows = len(self.packed)
        self.fill = float((lengths - 1).sum()) / max(1, self.epoch_rows * context)
        self._order = (-1, None)  # the epoch at hand and its permutation
        if self.epoch_rows == 0:
            raise ValueError(f"the {name} has no documents; give more text")

    def order(self, epoch: int) -> np.ndarray:
        """The permutation of an epoch: a pure function of (seed, epoch)."""
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self.seed, epoch])
                           .permutation(self.epoch_rows))
        return self._order[1]

    def packed_row(self, number: int) -> np.ndarray:
        """The row as it was packed: T + 1 tokens."""
        row = np.full(self.context + 1, self.begin, np.int64)
        at = 0
        for shard, start, end in self.places[self.packed[number]]:
            row[at:at + end - start] = self.shards[shard].tokens[start:end]
            at += end - start
        return row

    def row(self, index: int) -> np.ndarray:
        """The `index`-th row of the endless order."""
        epoch, place = divmod(index, self.epoch_rows)
        return self.packed_row(int(self.order(epoch)[place]))

    def batch(self, step: int, rows: int, rank: int = 0, world: int = 1):
        """The rows of process `rank` at a step -> (ids, targets), both (rows / world, T) int64.

        `rows` counts all processes: with 1 process or 4, a step sees the same rows.
        """
        if rows > self.epoch_rows:
            raise ValueError(f"a step takes {rows} rows of {self.context} tokens, the data has only "
                             f"{self.epoch_rows}; give more text, or lower --rows or --context")
        share = rows // world
        first = step * rows + rank * share
        tokens = torch.from_numpy(np.stack([self.row(i) for i in range(first, first + share)]))
        return tokens[:, :-1], mask_begin(tokens[:, 1:], self.begin)


# NEW in part 4
def mask_begin(targets: torch.Tensor, begin: int) -> torch.Tensor:
    """The step from one document into the next is no text: a target `begin` does not count."""
    return targets.masked_fill(targets == begin, IGNORED)


# NEW in part 4
def pad_documents(documents: list[list[int]], pad: int,
                  width: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole documents, one a row, filled up on the right -> (ids, targets), (B, width or the
    longest - 1).

    Padding on the right needs no mask: causal attention never looks that way, targets ignore it.
    """
    rows = pad_rows(documents, pad, width and width + 1)
    is_pad = torch.arange(1, rows.size(1)) >= torch.tensor([[len(d)] for d in documents])
    return rows[:, :-1], rows[:, 1:].masked_fill(is_pad, IGNORED)
