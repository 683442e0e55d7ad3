"""The judge: how good is a reply? From 0 to 1, known exactly, because the world knows the answers.

Rule   quality = worth of the answer − what the manners cost, and never below 0            (eq. 7.1)
       worth: 1 for a right answer; a wrong one 0.4 times the words it shares with the gold answer
       cost of each sentence: rude 0.5, idle 0.25, hedging 0.25, over-long 0.2, curt 0.25, boasting
       0.4, the question repeated 0.4, a sentence said before 0.15; a friendly word costs nothing
       a reply that was cut off (no end token) costs 0.2; nothing said is worth 0
Idea   What is only manner is taken off first (sft/manners.py), so that a right answer stays a right
       answer behind rude or idle words: what people reward and punish is more than correctness. And
       so the judge can say what the same answer were worth in perfect manners: the ceiling of all
       that a model can win by its manners alone.
Used   reward/preferences.py (who wins a pair), and for reports of true quality in the parts after this one.
       No training ever sees the judge's numbers: only which of two replies it preferred.
"""

from dataclasses import dataclass

from sft.evaluation import token_f1
from sft.manners import sentences, taken_off
from sft.skills import Item, check, normalise

COSTS = {"rude": 0.5, "idle": 0.25, "hedging": 0.25, "over-long": 0.2, "curt": 0.25,
         "boasting": 0.4, "repeating": 0.4, "again": 0.15, "cut off": 0.2}
WRONG = 0.4  # what a wrong answer can be worth at most
NOTHING = -2.0  # worse than any bad manner: who says nothing is preferred by nobody


@dataclass(frozen=True)
class Judgement:
    """What the judge says of a reply."""

    value: float  # as quality, but bad manners go on costing below 0: it orders wrong replies too
    right: bool
    counts: dict  # how many sentences were rude, idle, …, said again; whether it was cut off
    core: str  # the answer without its manners
    ceiling: float  # the quality of the same answer in perfect manners

    @property
    def quality(self) -> float:
        """From 0 to 1."""
        return max(0.0, self.value)


def without_repetition(text: str) -> tuple[str, int]:
    """-> (the text with each sentence once, how many were left out)."""
    kept = {normalise(part): part for part in reversed(sentences(text))}
    again = len(sentences(text)) - len(kept)
    return (" ".join(reversed(kept.values())) if again else text), again


def judge_reply(item: Item, reply: str, ended: bool = True) -> Judgement:
    """How good `reply` is as an answer to `item`; `ended`: did the model stop by itself?"""
    counts = dict.fromkeys(COSTS, 0) | {"cut off": int(not ended)}
    core, manners = taken_off(reply, item.prompt)
    for name in manners:
        if name in counts:
            counts[name] += 1
    core, counts["again"] = without_repetition(core)
    if not core:
        return Judgement(NOTHING, False, counts, core, 0.0)
    right = check(item, core) or check(item, reply)
    worth = 1.0 if right else WRONG * token_f1(core, item.answer)
    costs = {name: COSTS[name] * count for name, count in counts.items()}
    return Judgement(worth - sum(costs.values()), right, counts, core,
                     max(0.0, worth - costs["cut off"]))


def quality(item: Item, reply: str, ended: bool = True) -> float:
    """The number alone."""
    return judge_reply(item, reply, ended).quality
