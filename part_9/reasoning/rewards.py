"""Rewards that can be verified: is the answer right, and is the reply in the form that was asked?

Form   "12 + 9 = 21. 21 - 4 = 17. The answer is 17." and an end token: at least one step, each of
       them a sum, then the answer, and nothing else. A sum may be compared with a target:
       "21 + 5 = 26. Is it 16? No."
Math   reward = right + w [form]                                                        (eq. 9.1)
       "Right" is one rule for rewards, accuracy, votes and pass@k: the answer has the gold one's
       value (reasoning/answers.py), and the model ended the reply itself. What was cut off is right nowhere.
       Whether the steps are *true* is not rewarded. It is measured (lesson 9.8): a model that is
       paid for answers may come to them by steps that do not hold.
Used   train_grpo.py, evaluate_reasoning.py, reasoning/sampling.py
"""

import re
from dataclasses import dataclass

import torch
from rl.rollout import Rollout
from sft.chat_format import decode_reply
from sft.skill_form import ANSWER_MARK
from text.tokenizer import Tokenizer

from reasoning.answers import is_same, read_sum, terms_of
from reasoning.tasks import Problem

STEP = re.compile(r"(\d+) ([+-]) (\d+) = (-?\d+)\.")
COMPARED = re.compile(r"= (-?\d+)\. Is it (\d+)\? (Yes|No)\.")
FORM = re.compile(rf"({STEP.pattern} (Is it \d+\? (Yes|No)\. )?)+{ANSWER_MARK}([^.]|\.(?=\d))+\.")


@dataclass(frozen=True)
class Step:
    """One written sum: left sign right = result."""

    left: int
    sign: str
    right: int
    result: int

    @property
    def holds(self) -> bool:
        return self.result == self.left + (self.right if self.sign == "+" else -self.right)


def steps_of(reply: str) -> list[Step]:
    """"12 + 9 = 21. The answer is 21." -> [Step(12, "+", 9, 21)]"""
    return [Step(int(a), sign, int(b), int(c)) for a, sign, b, c in STEP.findall(reply)]


def steps_hold(reply: str) -> bool:
    """Are there steps, and is all that they say true: every sum and every comparison?"""
    steps = steps_of(reply)
    return bool(steps) and all(step.holds for step in steps) and all(
        (result == target) == (said == "Yes") for result, target, said in COMPARED.findall(reply))


def is_right(problem: Problem, reply: str, ended: bool = True) -> bool:
    """Is the final answer right? A reply without one, with two, or without an end is wrong, no error.

    Countdown: every sum counts that uses each number once and makes the target.
    """
    if not ended:
        return False
    if problem.target is None:
        return is_same(problem.answer, reply)
    terms = terms_of(read_sum(reply) or "")
    return sorted(map(abs, terms)) == sorted(problem.numbers) and sum(terms) == problem.target


def has_form(reply: str, ended: bool = True) -> bool:
    """Are there steps, then the answer, then the end, and nothing beside them?"""
    return ended and FORM.fullmatch(reply) is not None


@dataclass(frozen=True)
class Checker:
    """Rollout -> rewards (N,) on the CPU; row i answers problems[i // copies]."""

    tokenizer: Tokenizer
    form_weight: float = 0.2

    def __call__(self, rollout: Rollout, problems: list[Problem]) -> torch.Tensor:
        replies = [decode_reply(ids, self.tokenizer) for ids in rollout.replies()]
        copies = len(replies) // len(problems)
        assert copies * len(problems) == len(replies)
        return torch.tensor([self.reward(problems[i // copies], reply, bool(ended))
                             for i, (reply, ended) in enumerate(zip(replies, rollout.ended))])

    def reward(self, problem: Problem, reply: str, ended: bool) -> float:
        """eq. 9.1; what was not ended is neither right nor in form, whatever it says."""
        return float(is_right(problem, reply, ended)) + self.form_weight * has_form(reply, ended)
