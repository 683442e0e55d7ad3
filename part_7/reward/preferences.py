"""Preferences: which of two replies to one prompt is better, as people say it: mostly rightly.

Idea   Replies are drawn from the tuned model and made from the gold answer with a fault worked in.
       The judge, who is known, orders them; a share of the labels is flipped, as people err.
       Held out are prompts (content never tuned or trained on) and kinds of fault.
Math   With a share f of the labels flipped, no model is right on more than 1 − f of them: (eq. 7.2)
       the accuracy ceiling.
Used   train_reward.py, evaluate_reward.py, and DPO in the part after this one
See it python part_7/show_pairs.py
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

from files.reading import Reading, read_file
from files.records import write_text
from sft.chat_format import Message, check_messages, message_record, messages_of
from sft.manners import in_manner, is_held_out_manner, last_line
from sft.skills import Item, items

from reward.faults import WORKED, Reply, spoil
from reward.judge import judge_reply
from reward.pair_shapes import PairShape, pair_of

FLIPPED = 0.1  # of the labels
LEAST_GAP = 0.1  # of value, between the two replies of a pair
WORKED_IN = 2  # replies with a fault beside those that the model gave
LEFT_OUT = ("telling a story",)  # too long for pairs by the thousand


@dataclass(frozen=True)
class Pair:
    """One comparison. `chosen` is the reply that was preferred, rightly or not."""

    prompt: tuple[Message, ...]  # the conversation up to the reply
    chosen: Reply
    rejected: Reply
    kind: str = ""  # the fault that tells them apart; "" where it is unknown
    gap: float = 0.0  # of true value, chosen − rejected: below 0 where the label is flipped
    item: Item | None = None  # what it was made from, in the world


def make_pair(item: Item, one: Reply, other: Reply, kind: str, flip: bool) -> Pair | None:
    """The judge's order, turned round if `flip`; None where the two are too close to call."""
    gap = (judge_reply(item, one.text, one.ended).value
           - judge_reply(item, other.text, other.ended).value)
    if abs(gap) < LEAST_GAP or one.text == other.text:
        return None
    if (gap < 0) != flip:
        one, other, gap = other, one, -gap
    return Pair(tuple(messages_of(item)), one, other, kind, gap, item)


def candidates(item: Item, drawn: list[Reply], faults: tuple[str, ...], rng: random.Random):
    """Different replies to one item -> [(kind, reply)]: the gold one, the model's, two faults.

    A fault comes in some manner too: else plainness would be a sign of faults.
    """
    kinds = {Reply(item.answer): "gold"}
    kinds.update({reply: "model" for reply in drawn if reply.text.strip() and reply not in kinds})
    for fault in rng.sample(faults, WORKED_IN):
        reply = spoil(fault, item, rng)
        if fault in ("wrong", "off the question"):
            reply = Reply(in_trained_manner(reply.text, item, rng))
        kinds.setdefault(reply, fault)
    return [(kind, reply) for reply, kind in kinds.items()]


def in_trained_manner(answer: str, item: Item, rng: random.Random) -> str:
    """The answer in a manner that is not held out."""
    while is_held_out_manner(text := in_manner(answer, last_line(item.prompt), rng)):
        pass
    return text


def world_pairs(asked: list[Item], drawn: list[list[Reply]], *, seed: int,
                faults: tuple[str, ...] = WORKED, flipped: float = FLIPPED,
                per_item: int = 3) -> list[Pair]:
    """Up to `per_item` pairs for each item, at random among all that can be made of its candidates.
    drawn[i]: the model's replies to asked[i], or []; those in a held-out manner are left out."""
    if not 0 <= flipped < 0.5:
        raise ValueError(f"flipped={flipped} must be at least 0 and below 0.5")
    rng, pairs = random.Random(f"pairs {seed}"), []
    for item, replies in zip(asked, drawn, strict=True):
        replies = [reply for reply in replies if not is_held_out_manner(reply.text)]
        options = candidates(item, replies, faults, rng)
        both = [(a, b) for i, a in enumerate(options) for b in options[i + 1:]]
        rng.shuffle(both)
        made = 0
        for (kind_a, a), (kind_b, b) in both:
            kind = kind_b if kind_b in faults else kind_a if kind_a in faults else "model"
            pair = make_pair(item, a, b, kind, rng.random() < flipped)
            if pair is not None:
                pairs.append(pair)
                made += 1
            if made == per_item:
                break
    rng.shuffle(pairs)
    return pairs


def asked_items(n: int, split: str, seed: int, left_out: tuple[str, ...] = ()) -> list[Item]:
    """Items whose replies are short enough for pairs, but for those of the skills in `left_out`."""
    return items(n, split, seed=seed, left_out=(*LEFT_OUT, *left_out))


def unusable_pair(pair: PairShape) -> str:
    """Why a pair is left out, or "". To say nothing may be the worse reply, never the better one."""
    check_messages([Message(*turn) for turn in pair.turns], answered=False)
    if not pair.chosen.strip():
        return "the preferred reply is empty"
    return "both replies are the same" if pair.chosen.strip() == pair.rejected.strip() else ""


def read_pair_file(path: Path) -> tuple[list[Pair], Reading]:
    """Records with `chosen` and `rejected` of any form that reward/pair_shapes.py knows -> the pairs,
    and what to tell of the file. A record of another shape is an error that names file and place."""
    reading = read_file(path, pair_of, unusable_pair)
    pairs = [Pair(tuple(Message(*turn) for turn in pair.turns), Reply(pair.chosen),
                  Reply(pair.rejected)) for pair in reading.kept]
    if not pairs:
        why = f"; {reading.skipped[0]}" if reading.skipped else ""
        raise ValueError(f"{path}: no pair to learn from ({len(reading.skipped)} were left out{why})")
    return pairs, reading


def read_pairs(path: Path) -> tuple[list[Pair], list[str]]:
    """-> (the pairs of a file, what was left out and why). As read_pair_file."""
    pairs, reading = read_pair_file(path)
    return pairs, reading.skipped


def write_pairs(path: Path, pairs: list[Pair]) -> None:
    """Whole conversations on both sides, one pair a line; gzip where the name ends in .gz."""
    lines = []
    for pair in pairs:
        sides = {name: [message_record(m) for m in (*pair.prompt, Message("assistant", reply.text))]
                 for name, reply in (("chosen", pair.chosen), ("rejected", pair.rejected))}
        lines.append(json.dumps(sides, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))
