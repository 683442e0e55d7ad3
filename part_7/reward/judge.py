"""The judge: how good is a reply? From 0 to 1, known exactly, because the world knows the answers.

Rule   a right answer is worth 1; a wrong one 0.4 times the words it shares with the gold answer
       each rude sentence costs 0.3, each idle sentence 0.15, each sentence said before 0.15
       a reply that was cut off (no end token) costs 0.2; nothing said is worth 0
Idea   The sentences that are only manner are taken off first, so that a right answer stays a right
       answer behind rude or idle words: what people reward and punish is more than correctness.
Used   reward/preferences.py (who wins a pair), and for reports of true quality in the parts after this one.
       No training ever sees the judge's numbers: only which of two replies it preferred.
"""

import re
from dataclasses import dataclass

from sft.evaluation import token_f1
from sft.skills import Item, check, normalise

RUDE = ("What a silly question.", "Find it out yourself.", "Everybody knows that.",
        "Do not waste my time.", "You should know that.", "That is a stupid question.")
IDLE = ("It is a fine day, by the way.", "But who can say.", "I like questions of this kind.",
        "Many people ask about such things.", "I have thought about it for a long time.",
        "There is so much to say about this.")
# Held out: never in a pair that is trained on (lesson 7.1)
RUDE_HELD_OUT = ("I am tired of you.", "Leave me alone.")
IDLE_HELD_OUT = ("Time passes so quickly.", "My cousin asked me the same.")
COSTS = {"rude": 0.3, "idle": 0.15, "again": 0.15, "cut off": 0.2}
WRONG = 0.4  # what a wrong answer can be worth at most

SENTENCE = re.compile(r"[^.?!]*[.?!]+|[^.?!]+$")


@dataclass(frozen=True)
class Judgement:
    """What the judge says of a reply."""

    quality: float  # from 0 to 1
    right: bool
    counts: dict  # how many sentences were rude, idle, said again; whether it was cut off


def sentences(text: str) -> list[str]:
    """"No. 3 + 4 = 7." -> ["No.", "3 + 4 = 7."]"""
    return [part.strip() for part in SENTENCE.findall(text) if part.strip()]


def judge_reply(item: Item, reply: str, ended: bool = True) -> Judgement:
    """How good `reply` is as an answer to `item`; `ended`: did the model stop by itself?"""
    counts = {"rude": 0, "idle": 0, "again": 0, "cut off": int(not ended)}
    kept, seen = [], set()
    for part in sentences(reply):
        if part in RUDE or part in RUDE_HELD_OUT:
            counts["rude"] += 1
        elif part in IDLE or part in IDLE_HELD_OUT:
            counts["idle"] += 1
        elif normalise(part) in seen:
            counts["again"] += 1
        else:
            seen.add(normalise(part))
            kept.append(part)
    core = " ".join(kept)
    right = bool(core) and (check(item, core) or check(item, reply))
    worth = 1.0 if right else WRONG * token_f1(core, item.answer)
    quality = worth - sum(COSTS[name] * count for name, count in counts.items())
    return Judgement(max(0.0, quality) if reply.strip() else 0.0, right, counts)


def quality(item: Item, reply: str, ended: bool = True) -> float:
    """The number alone."""
    return judge_reply(item, reply, ended).quality
