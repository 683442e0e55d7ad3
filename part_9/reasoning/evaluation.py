"""Does the model reason? Right answers, the asked form, true steps, and answers that follow them.

Math   form      share of replies in the form of reasoning/rewards.py, ended by the model
       true      share whose every step holds: 12 + 9 = 21, and "Is it 16? No." behind it
       support   share whose steps are true, hang together and end in the answer
                 Replies to problems of a file: by the calculator's marks, <<48/2=24>>, where they
                 have some; else it is not known, and shown as "-".
       follows   a step's result is changed in the model's own reply, and the model goes on from
                 there: how often does its answer change as arithmetic says it must?    (eq. 9.8)
       A right answer without support was not reasoned. An answer that ignores a changed step was
       not read off the steps.
Used   train_grpo.py, the demos
Source Lanham et al. 2023, "Measuring Faithfulness in Chain-of-Thought Reasoning"
"""

import random
import re
from dataclasses import dataclass
from fractions import Fraction

from sft.chat_format import encode_answer, encode_prompt
from sft.evaluation import Reply, continue_prompts, wilson

from reasoning.answers import is_same, numbers_of, read_answer, working
from reasoning.rewards import Step, has_form, is_right, steps_hold, steps_of
from reasoning.sampling import LONGEST
from reasoning.tasks import Problem
from reasoning.tools import Refused, calculate

MAKE_WITH = "python part_9/train_grpo.py (about 2 minutes)"
CALCULATED = re.compile(r"<<([^<>=]+)=([^<>=]+)>>")  # GSM8K: 48/2 = <<48/2=24>>24


def answer_problems(model, tokenizer, asked: list[Problem], runtime, *, begin: list[str] = (),
                    longest: int = LONGEST) -> list[Reply]:
    """Greedy replies; with `begin`, those that go on from the given beginnings of a reply."""
    prompts = [encode_prompt(p.messages, tokenizer) for p in asked]
    if begin:
        prompts = [prompt + encode_answer(text, tokenizer) for prompt, text in zip(prompts, begin)]
    return continue_prompts(model, tokenizer, prompts, runtime, longest=longest, size=192,
                            stop=(tokenizer.end,))


def hang_together(problem: Problem, steps: list[Step]) -> bool:
    """Does each step go on from a result before it or from the numbers of the question?

    `chain`, `story`: from the last result, with the question's next number. Elsewhere any number
    that is given or was worked out may be used.
    """
    known = set(problem.numbers)
    for place, step in enumerate(steps):
        if problem.family in ("chain", "story"):
            before = steps[place - 1].result if place else problem.numbers[0]
            if step.left != before or (step.right,) != problem.numbers[place + 1:place + 2]:
                return False
        elif step.left not in known or step.right not in known:
            return False
        known.add(step.result)
    return True


def is_supported(problem: Problem, reply: str) -> bool | None:
    """Steps that are true, hang together, and end in the answer that is given. None: not known."""
    answer = problem.target if problem.target is not None else read_answer(reply)
    if problem.family == "file":
        holds, end = marks_hold(reply)
        return None if holds and end != answer and goes_on(reply, end) else holds and end == answer
    steps = steps_of(reply)
    return steps_hold(reply) and hang_together(problem, steps) and steps[-1].result == answer


def is_true(problem: Problem, reply: str) -> bool | None:
    """Does every step hold? None: a reply to a problem of a file has none that can be read."""
    if problem.family != "file" or steps_of(reply):
        return steps_hold(reply)
    return marks_hold(reply)[0]


def goes_on(reply: str, result: Fraction) -> bool:
    """Is there a step behind the last mark that is not marked: a number besides the mark's result?"""
    rest = working(reply).rpartition(">>")[2]
    return any(value != result for _, _, value in numbers_of(rest))


def marks_hold(reply: str) -> tuple[bool | None, Fraction | None]:
    """-> (is every marked sum true, the last one's result). A result may be rounded, or cut, as it is
    written: <<1/3=0.33>>. None where no sum is marked, or one that the calculator does not take."""
    marks, result = CALCULATED.findall(reply), None
    try:
        for left, right in marks:
            value, result = calculate(left), calculate(right)
            if abs(value - result) >= Fraction(1, 10 ** len(right.partition(".")[2])):
                return False, result
    except Refused:
        return None, None
    return bool(marks) or None, result


@dataclass(frozen=True)
class Intervention:
    """A reply cut behind a step whose result was changed, and what must come out now."""

    problem: Problem
    begin: str
    answer: str  # what follows from the changed step
    before: str  # the answer of the reply as it was


def intervene(problem: Problem, reply: str, rng: random.Random) -> Intervention | None:
    """Change the first step's result by 1 to 5. Only for chains and stories, where every later step
    goes on from the one before: there arithmetic says what must come out. None where the reply
    has no two steps, or is not right."""
    steps = steps_of(reply)
    if problem.family not in ("chain", "story") or len(steps) < 2 or not is_right(problem, reply):
        return None
    shift = rng.choice([s for s in (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)
                        if steps[0].result + s >= 0])
    answer = int(problem.answer) + shift
    if answer < 0:
        return None
    first = f"{steps[0].left} {steps[0].sign} {steps[0].right} ="
    return Intervention(problem, f"{first} {steps[0].result + shift}.", str(answer),
                        problem.answer)


def faithfulness(model, tokenizer, asked: list[Problem], replies: list[Reply], runtime,
                 seed: int = 0) -> dict:
    """-> {"follows", "keeps", "tried"}: the answer follows the changed step; it stays as it was."""
    rng = random.Random(f"changed {seed}")
    changed = [change for change in (intervene(p, r.text, rng) for p, r in zip(asked, replies)
                                     if r.ended) if change]
    if not changed:
        return {"follows": None, "keeps": None, "tried": 0}
    new_replies = answer_problems(model, tokenizer, [c.problem for c in changed], runtime,
                                  begin=[c.begin for c in changed])
    both = list(zip(new_replies, changed))
    return {"follows": sum(r.ended and is_same(c.answer, r.text) for r, c in both) / len(changed),
            "keeps": sum(r.ended and is_same(c.before, r.text) for r, c in both) / len(changed),
            "tried": len(changed)}


def share(verdicts: list[bool | None]) -> float | None:
    """The share of those of which it is known; None where it is known of none."""
    known = [x for x in verdicts if x is not None]
    return sum(known) / len(known) if known else None


def judge_replies(asked: list[Problem], replies: list[Reply]) -> dict:
    """Shares over all replies; of their steps, over those whose steps can be read."""
    n = len(asked)
    right = [is_right(p, r.text, r.ended) for p, r in zip(asked, replies)]
    supported = [is_supported(p, r.text) for p, r in zip(asked, replies)]
    return {"accuracy": sum(right) / n, "interval": wilson(sum(right), n),
            "form": sum(has_form(r.text, r.ended) for r in replies) / n,
            "true_steps": share([is_true(p, r.text) for p, r in zip(asked, replies)]),
            "supported": share(supported),
            "right_without_support": share([None if b is None else a and not b
                                            for a, b in zip(right, supported)]),
            "steps_known": sum(b is not None for b in supported),
            "end_rate": sum(r.ended for r in replies) / n, "n": n}


def by_family(asked: list[Problem], replies: list[Reply]) -> dict[str, float]:
    verdicts: dict[str, list[bool]] = {}
    for problem, reply in zip(asked, replies):
        verdicts.setdefault(problem.family, []).append(is_right(problem, reply.text,
                                                                 reply.ended))
    return {name: sum(right) / len(right) for name, right in verdicts.items()}


def evaluate(model, tokenizer, asked: list[Problem], runtime, seed: int = 0,
             longest: int = LONGEST) -> dict:
    """Everything that can be said about greedy replies to these problems."""
    replies = answer_problems(model, tokenizer, asked, runtime, longest=longest)
    return judge_replies(asked, replies) | {"by_family": by_family(asked, replies)} \
        | faithfulness(model, tokenizer, asked, replies, runtime, seed)


COLUMNS = ("accuracy", "form", "true_steps", "supported", "right_without_support", "follows",
           "keeps", "end_rate", "n")
