"""Can a reward model be trusted? Checks that a good one passes and a bad one often does not.

    padding     appending pads changes no score
    prompt      the same reply scores lower under another question
    bad         "banana banana banana", nothing, a reply cut off, the question copied, a polite but
                wrong reply: each below a right answer
    steps       a good reply made worse step by step: the scores fall step by step
    length      correlation of score and length; accuracy where both replies are equally long
Used   demo_sanity.py.   Lesson 7.4
"""

import random
from dataclasses import dataclass

from sft.chat_format import messages_of
from sft.manners import joined

from reward.faults import Reply, cut, degraded, wrong_answer
from reward.model import encode_reply, score_rows
from reward.scores import accuracy, pearson

BAD = ("banana", "nothing", "cut off", "copied question", "polite but wrong")


@dataclass(frozen=True)
class Scorer:
    """A reward model with all that it needs to score replies."""

    model: object
    tokenizer: object
    runtime: object
    mean: float = 0.0  # of the scores of the tuned model's own replies
    std: float = 1.0

    def ids(self, item, reply: Reply) -> list[int]:
        return encode_reply(messages_of(item), reply, self.tokenizer,
                            self.model.config.block_size)

    def __call__(self, items: list, replies: list[Reply]) -> list[float]:
        """The score of each reply to each item, in standard deviations from the mean."""
        rows = [self.ids(item, reply) for item, reply in zip(items, replies, strict=True)]
        return self.scaled(score_rows(self.model, rows, self.tokenizer.pad, self.runtime))

    def scaled(self, scores) -> list[float]:
        """Raw scores -> in standard deviations from the mean."""
        return ((scores - self.mean) / self.std).tolist()


def bad_reply(kind: str, item, rng: random.Random) -> Reply:
    """A reply that no judge would take for a right one."""
    if kind == "banana":
        return Reply("banana banana banana")
    if kind == "nothing":
        return Reply("")
    if kind == "cut off":
        return Reply(cut(item.answer, rng), ended=False)
    if kind == "copied question":
        return Reply(item.prompt.split("\n")[-1])
    if kind == "polite but wrong":
        return Reply(joined("Thank you for asking", wrong_answer(item, rng)))
    raise ValueError(f"kind={kind!r}: choose from {', '.join(BAD)}")


def padding_error(scorer: Scorer, items: list) -> float:
    """The largest change of a raw score when rows stand in a batch with much longer ones."""
    rows = [scorer.ids(item, Reply(item.answer)) for item in items]
    pad, context = scorer.tokenizer.pad, scorer.model.config.block_size
    alone = [float(score_rows(scorer.model, [row], pad, scorer.runtime)) for row in rows]
    long_one = (max(rows, key=len) * context)[:context]
    together = score_rows(scorer.model, [*rows, long_one], pad, scorer.runtime)[:-1].tolist()
    return max(abs(a - b) for a, b in zip(alone, together))


def other_prompt_rate(scorer: Scorer, items: list) -> float:
    """Share of gold replies that score lower under the question of the next item."""
    replies = [Reply(item.answer) for item in items]
    own = scorer(items, replies)
    other = scorer([*items[1:], items[0]], replies)
    pairs = [(a, b) for a, b, one, two in zip(own, other, items, [*items[1:], items[0]])
             if one.skill != two.skill]
    return accuracy(*zip(*pairs))


def bad_rates(scorer: Scorer, items: list, seed: int) -> dict[str, float]:
    """For each kind of bad reply: how often it scores below the right answer."""
    rng = random.Random(f"bad {seed}")
    gold = scorer(items, [Reply(item.answer) for item in items])
    return {kind: accuracy(gold, scorer(items, [bad_reply(kind, item, rng) for item in items]))
            for kind in BAD}


def step_rates(scorer: Scorer, items: list, seed: int) -> tuple[list[float], float]:
    """-> (mean score at each step of getting worse, share of single steps that fall)."""
    rng = random.Random(f"steps {seed}")
    series = [degraded(item, rng) for item in items]
    flat = [(item, reply) for item, replies in zip(items, series) for reply in replies]
    scores = scorer([item for item, _ in flat], [reply for _, reply in flat])
    size = len(series[0])
    table = [scores[i:i + size] for i in range(0, len(scores), size)]
    means = [sum(row[i] for row in table) / len(table) for i in range(size)]
    falls = [accuracy([row[i]], [row[i + 1]]) for row in table for i in range(size - 1)]
    return means, sum(falls) / len(falls)


def length_check(scorer: Scorer, pairs: list) -> tuple[float, float, int]:
    """-> (correlation of score and tokens in the reply, accuracy where both replies of a pair are
    equally long, give or take one token, how many such pairs)."""
    items = [pair.item for pair in pairs]
    chosen = scorer(items, [pair.chosen for pair in pairs])
    rejected = scorer(items, [pair.rejected for pair in pairs])
    count = [[len(scorer.tokenizer.encode(reply.text)) for reply in (pair.chosen, pair.rejected)]
             for pair in pairs]
    correlation = pearson(chosen + rejected, [a for a, _ in count] + [b for _, b in count])
    matched = [(a, b) for a, b, (one, two), pair in zip(chosen, rejected, count, pairs)
               if abs(one - two) <= 1 and pair.gap > 0]
    return correlation, accuracy(*zip(*matched)) if matched else 0.5, len(matched)
