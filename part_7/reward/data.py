"""Pairs as tokens: what is left out, and batches that read every reply once.

Idea   All replies to one question are compared with each other in the same batch: six replies give
       up to fifteen pairs for six rows, not for thirty.
Used   train_reward.py, evaluate_reward.py
Shapes P pairs, R different rows among them, T time
Source Ouyang et al. 2022, "Training language models to follow instructions with human feedback",
       section 3.5: all comparisons of a prompt as one element of a batch
"""

import random
from dataclasses import dataclass

import torch
from text.rows import pad_rows
from text.tokenizer import Tokenizer

from reward.model import encode_reply


@dataclass(frozen=True)
class PairIds:
    """A pair as tokens."""

    chosen: tuple[int, ...]
    rejected: tuple[int, ...]


def encode_pairs(pairs: list, tokenizer: Tokenizer, context: int):
    """-> (PairIds and their pairs that can be told apart, how many were left out, by reason)."""
    encoded, kept, left_out = [], [], {"too long": 0, "the same": 0}
    for pair in pairs:
        try:
            ids = PairIds(*(tuple(encode_reply(pair.prompt, reply, tokenizer, context))
                            for reply in (pair.chosen, pair.rejected)))
        except ValueError:
            left_out["too long"] += 1
            continue
        if ids.chosen == ids.rejected:
            left_out["the same"] += 1
            continue
        encoded.append(ids)
        kept.append(pair)
    return encoded, kept, left_out


def pieces_of(group: list[int], encoded: list[PairIds], rows: int) -> list[list[int]]:
    """The pairs of one prompt in pieces of at most `rows` different replies, or one more."""
    pieces, different = [[]], set()
    for number in group:
        if len(different) >= rows:
            pieces.append([])
            different = set()
        pieces[-1].append(number)
        different |= {encoded[number].chosen, encoded[number].rejected}
    return pieces


def batches_of(pairs: list, encoded: list[PairIds], rows: int, seed: int) -> list[list[int]]:
    """Numbers of pairs, batch by batch. Pairs of one prompt stay together, as they share replies;
    prompts of like length stand together, as rows are padded to the longest; the batches come in
    random order. A batch is full when it has `rows` different replies; one that is not, the last,
    is left out unless it is the only one. A prompt with more replies than that fills several."""
    rng, groups = random.Random(f"order {seed}"), {}
    for number, pair in enumerate(pairs):
        groups.setdefault(pair.prompt, []).append(number)
    groups = [piece for group in groups.values() for piece in pieces_of(group, encoded, rows)]
    rng.shuffle(groups)  # ties at random
    groups.sort(key=lambda group: max(len(row) for i in group
                                      for row in (encoded[i].chosen, encoded[i].rejected)))
    batches, batch, different = [], [], set()
    for group in groups:
        batch += group
        different |= {row for i in group for row in (encoded[i].chosen, encoded[i].rejected)}
        if len(different) >= rows:
            batches.append(batch)
            batch, different = [], set()
    if not batches:
        batches = [batch]
    rng.shuffle(batches)
    return batches


@dataclass(frozen=True)
class Batch:
    """Some pairs, ready for the model."""

    rows: list[tuple[int, ...]]  # the different replies with their prompts
    ids: torch.Tensor  # (R, T), padded on the right
    last: torch.Tensor  # (R,) the last real token
    chosen: torch.Tensor  # (P,) the row of each pair's preferred reply
    rejected: torch.Tensor  # (P,)


def pair_batch(pairs: list[PairIds], pad: int, device=None) -> Batch:
    """Each different row once, and where the two sides of every pair are found among them."""
    place = {}
    for pair in pairs:
        for row in (pair.chosen, pair.rejected):
            place.setdefault(row, len(place))
    last = torch.tensor([len(row) - 1 for row in place])
    chosen, rejected = (torch.tensor([place[row] for row in side]) for side in
                        ([p.chosen for p in pairs], [p.rejected for p in pairs]))
    return Batch(list(place), pad_rows(list(place), pad).to(device), last.to(device),
                 chosen.to(device), rejected.to(device))
