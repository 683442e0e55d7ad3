"""Thinking longer without learning: steps, majority votes, best of k, pass@k; and what they cost.

Math   pass@k = 1 − C(n − c, k) / C(n, k)   from n samples of which c are right         (eq. 9.6)
       majority: the answer that most of k samples give; a tie goes to the one drawn first
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
from sft.skill_form import ANSWER_MARK, final_answer
from text.tokenizer import Tokenizer

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
    """k replies to each problem at a temperature above 0, as long as the context has room."""
    prompts = [encode_prompt(p.messages, tokenizer) for p in problems]
    longest = room_for(model, max(prompts, key=len), longest)
    rollout = roll_out(model, prompts, longest, end=tokenizer.end, pad=tokenizer.pad, copies=k,
                       temperature=temperature, generator=torch.Generator().manual_seed(seed),
                       runtime=runtime)
    texts = [decode_reply(ids, tokenizer) for ids in rollout.replies()]
    ended = rollout.ended.tolist()
    return Samples([texts[i:i + k] for i in range(0, len(texts), k)],
                   [ended[i:i + k] for i in range(0, len(ended), k)],
                   float(rollout.rows.is_response.sum()) / len(problems))


def majority(texts: list[str]) -> str:
    """The answer that most replies give. Replies without an answer's mark have no vote, unless none
    has one."""
    voters = [text for text in texts if ANSWER_MARK in text] or texts
    votes = Counter(final_answer(text) for text in voters)
    return votes.most_common(1)[0][0]  # the first of those with most votes


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
    return 1 - math.comb(n - right, k) / math.comb(n, k)  # eq. 9.6


def right_counts(problems: list[Problem], samples: Samples) -> list[int]:
    """How many samples of each problem are right."""
    return [sum(is_right(p, text) for text in texts) for p, texts in zip(problems, samples.texts)]


def pass_rate(k: int, problems: list[Problem], samples: Samples) -> float:
    """pass@k, the mean over problems."""
    counts = right_counts(problems, samples)
    return sum(pass_at(k, len(texts), c) for c, texts in zip(counts, samples.texts)) / len(counts)


def voted_right(k: int, problems: list[Problem], samples: Samples) -> float:
    """Share of problems whose majority of the first k samples is right."""
    votes = [majority(texts[:k]) for texts in samples.texts]
    return sum(is_right(p, f"{ANSWER_MARK}{vote}") for p, vote in zip(problems, votes)) / len(votes)
