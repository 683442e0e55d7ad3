"""Thinking longer without learning: steps, majority votes, best of k, pass@k; and what they cost.

Math   pass@k = 1 − C(n − c, k) / C(n, k)   from n samples of which c are right         (eq. 9.7)
       majority: the answer that most of k samples give; a tie goes to the one drawn first. 7 and
       7.0 are one answer, and so are equal sums; a reply that was cut off or says nothing, or two
       numbers, has no vote.
Used   train_grpo.py, evaluate_reasoning.py, demo_self_consistency.py
Source Wei et al. 2022 (chain of thought); Wang et al. 2022 (self-consistency); Chen et al. 2021
       (the unbiased pass@k)
Shapes P problems, K samples each
"""

import math
from collections import Counter
from dataclasses import dataclass

import torch
from rl.rollout import roll_out
from sft.chat_format import decode_reply, encode_prompt
from sft.evaluation import room_for
from sft.skill_form import final_answer
from text.tokenizer import Tokenizer

from reasoning.answers import is_marked, read_answer, read_sum
from reasoning.rewards import is_right
from reasoning.tasks import Problem

LONGEST = 250  # tokens of a reply; a search of 14 sums and 8 comparisons takes 242


@dataclass(frozen=True)
class Samples:
    """K replies to each problem."""

    texts: list[list[str]]  # [P][K]
    ended: list[list[bool]]
    tokens: float  # mean number of tokens drawn per problem: the cost


def draw_samples(model, tokenizer: Tokenizer, problems: list[Problem], runtime, *, k: int = 1,
                 temperature: float = 1.0, longest: int = LONGEST, seed: int = 0) -> Samples:
    """k replies to each problem at a temperature above 0, each as long as the context has room for
    behind its own prompt. Behind a prompt that fills the context nothing is said."""
    prompts = [encode_prompt(p.messages, tokenizer) for p in problems]
    rooms = [room_for(model, prompt, longest) for prompt in prompts]
    asked = [i for i, room in enumerate(rooms) if room > 0]
    texts, ended, tokens = [[""] * k for _ in prompts], [[False] * k for _ in prompts], 0
    if asked:
        rollout = roll_out(model, [prompts[i] for i in asked], [rooms[i] for i in asked],
                           end=tokenizer.end, pad=tokenizer.pad, copies=k, temperature=temperature,
                           generator=torch.Generator().manual_seed(seed), runtime=runtime)
        said = [decode_reply(ids, tokenizer) for ids in rollout.replies()]
        ends, tokens = rollout.ended.tolist(), float(rollout.rows.is_response.sum())
        for place, i in enumerate(asked):
            texts[i], ended[i] = (x[place * k:(place + 1) * k] for x in (said, ends))
    return Samples(texts, ended, tokens / len(problems))


def elected(texts: list[str], ended: list[bool], is_sum: bool = False) -> int | None:
    """Which reply gives the answer that most give, the first of those that give it; None: no vote.

    Replies that do not mark their answer vote only where none does. `is_sum`: as countdown asks.
    """
    read = (lambda text: read_sum(text) or read_answer(text)) if is_sum else read_answer
    answers = {i: answer for i, (text, e) in enumerate(zip(texts, ended, strict=True))
               if e and (answer := read(text)) is not None}
    voters = [i for i in answers if is_marked(texts[i])] or list(answers)
    if not voters:
        return None
    most = Counter(answers[i] for i in voters).most_common(1)[0][0]  # the first with most votes
    return next(i for i in voters if answers[i] == most)


def majority(texts: list[str], ended: list[bool] | None = None) -> str:
    """The answer that most replies give, as the first of them says it; "" where none has a vote."""
    place = elected(texts, ended or [True] * len(texts))
    return "" if place is None else final_answer(texts[place])


def best_of(texts: list[str], scores: list[float]) -> str:
    """The reply with the highest score; a tie goes to the first."""
    return texts[max(range(len(texts)), key=lambda i: scores[i])]


def pass_at(k: int, n: int, right: int) -> float:
    """The chance that at least one of k is right, of n samples drawn, `right` of them right."""
    if not 1 <= k <= n or not 0 <= right <= n:
        raise ValueError(f"pass@{k} from n={n} samples, {right} of them right: k must be from 1 to "
                         "n, and no more can be right than were drawn")
    if n - right < k:
        return 1.0
    return 1 - math.comb(n - right, k) / math.comb(n, k)  # eq. 9.7


def right_counts(problems: list[Problem], samples: Samples) -> list[int]:
    """How many samples of each problem are right: ended, too."""
    return [sum(map(is_right, [p] * len(texts), texts, ended)) for p, texts, ended
            in zip(problems, samples.texts, samples.ended, strict=True)]


def pass_rate(k: int, problems: list[Problem], samples: Samples) -> float:
    """pass@k, the mean over problems."""
    counts = right_counts(problems, samples)
    return sum(pass_at(k, len(texts), c) for c, texts in zip(counts, samples.texts)) / len(counts)


def voted_right(k: int, problems: list[Problem], samples: Samples) -> float:
    """Share of problems whose majority of the first k samples is right."""
    right = 0
    for p, texts, ended in zip(problems, samples.texts, samples.ended, strict=True):
        place = elected(texts[:k], ended[:k], p.target is not None)
        right += place is not None and is_right(p, texts[place], ended[place])
    return right / len(problems)
