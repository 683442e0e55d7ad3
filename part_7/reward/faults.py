"""Faults: ways to make a good reply worse, one at a time, so that pairs cover what models rarely do.

    spoil("rude", item, rng)        -> Reply("12. Everybody knows that.", ended=True)
    degraded(item, rng)             -> the gold reply and ever worse ones

Split  `WORKED` faults are put into the pairs that are learnt from: the tuned model never says nothing,
       nor ends in the middle of a sentence. Bad manners (`NATURAL`) it has by itself, so they come
       into the pairs with its own replies. `HELD_OUT` kinds are in no pair, and neither are the
       held-out sentences of sft/manners.py, though the model knows them: does the reward model dislike
       what is bad, or what it has seen?
Used   reward/preferences.py, reward/sanity_checks.py
"""

import random
from dataclasses import dataclass

from sft.manners import (
    HELD_OUT_MANNERS,
    IDLE,
    IDLE_HELD_OUT,
    RUDE,
    RUDE_HELD_OUT,
    in_manner,
    joined,
    last_line,
)
from sft.skills import Item, check, sample

WORKED = ("wrong", "off the question", "cut off", "nothing")
NATURAL = ("rude", "rambling", "hedging", "curt", "repeating", "over-long")
TRAINED = WORKED + NATURAL
HELD_OUT = ("again and again", "copied question", "boasting", "new rudeness", "new rambling")


# CHANGED in part 7: without tokens, so that it can be written by hand
@dataclass(frozen=True)
class Reply:
    """What somebody said, and whether it was brought to an end."""

    text: str
    ended: bool = True


def wrong_answer(item: Item, rng: random.Random) -> str:
    """The gold reply to another item of the same skill, which is wrong here."""
    for other in sample(rng.randrange(10**9), "train", (item.skill,)):
        if not check(item, other.answer):
            return other.answer


def off_the_question(item: Item, rng: random.Random) -> str:
    """The gold reply to an item of another skill."""
    for other in sample(rng.randrange(10**9), "train"):
        if other.skill != item.skill and not check(item, other.answer):
            return other.answer


def cut(text: str, rng: random.Random) -> str:
    """The first part of a text: at least one letter less."""
    return text[:max(1, rng.randrange(len(text) // 4, max(len(text) * 3 // 4, 1) + 1))]


def said_with(core: str, sentences, count: int, rng: random.Random) -> str:
    """A reply with `count` of the sentences behind it, or in front."""
    extra = rng.sample(sentences, count)
    return joined(*extra, core) if rng.random() < 0.3 else joined(core, *extra)


def spoil(fault: str, item: Item, rng: random.Random, core: str | None = None) -> Reply:
    """The gold reply to `item`, with one fault. `core`: what bad manners are added to, where that
    is another reply; worked faults in a manner are the caller's. Raises ValueError for an unknown
    fault."""
    core = item.answer if core is None else core
    if fault == "wrong":
        return Reply(wrong_answer(item, rng))
    if fault == "off the question":
        return Reply(off_the_question(item, rng))
    if fault == "nothing":
        return Reply("")
    if fault == "cut off":
        return Reply(cut(item.answer, rng), ended=False)
    if fault == "rude":
        return Reply(said_with(core, RUDE, 1, rng))
    if fault == "new rudeness":
        return Reply(said_with(core, RUDE_HELD_OUT, 1, rng))
    if fault == "rambling":
        return Reply(said_with(core, IDLE, rng.randint(1, 3), rng))
    if fault == "new rambling":
        return Reply(said_with(core, IDLE_HELD_OUT, rng.randint(1, 2), rng))
    if fault in NATURAL or fault in HELD_OUT_MANNERS:
        return Reply(in_manner(core, last_line(item.prompt), rng, fault))
    if fault == "again and again":
        return Reply(joined(*[item.answer] * rng.randint(2, 4)))
    if fault == "copied question":
        return Reply(last_line(item.prompt))
    raise ValueError(f"fault={fault!r}: choose from {', '.join((*TRAINED, *HELD_OUT))}")


def degraded(item: Item, rng: random.Random) -> list[Reply]:
    """The gold reply, then the same with one, two, three idle sentences, then a wrong answer with
    them, then with a rude one too: each worse than the one before."""
    idle = rng.sample(IDLE, 3)
    wrong = wrong_answer(item, rng)
    return [Reply(item.answer), *(Reply(joined(item.answer, *idle[:n])) for n in (1, 2, 3)),
            Reply(joined(wrong, *idle)), Reply(joined(wrong, *idle, rng.choice(RUDE)))]
