"""Does the model reason? Right answers, the asked form, true steps, and answers that follow them.

Math   form      share of replies in the form of reasoning/rewards.py, ended by the model
       true      share whose every step holds: 12 + 9 = 21, and "Is it 16? No." behind it
       support   share whose steps are true, hang together and end in the answer
       follows   a step's result is changed in the model's own reply, and the model goes on from
                 there: how often does its answer change as arithmetic says it must?    (eq. 9.7)
       A right answer without support was not reasoned. An answer that ignores a changed step was
       not read off the steps.
Used   train_grpo.py, the demos
Source Lanham et al. 2023, "Measuring Faithfulness in Chain-of-Thought Reasoning"
"""

import random
from dataclasses import dataclass

from sft.chat_format import encode_prompt
from sft.evaluation import Reply, continue_prompts, wilson
from sft.skill_form import final_answer

from reasoning.rewards import Step, has_form, is_right, number_in, steps_hold, steps_of
from reasoning.sampling import LONGEST
from reasoning.tasks import Problem

MAKE_WITH = "python part_9/train_grpo.py (about 5 minutes)"


def answer_problems(model, tokenizer, asked: list[Problem], runtime, *, begin: list[str] = (),
                    longest: int = LONGEST) -> list[Reply]:
    """Greedy replies; with `begin`, those that go on from the given beginnings of a reply."""
    prompts = [encode_prompt(p.messages, tokenizer) for p in asked]
    if begin:
        prompts = [prompt + tokenizer.encode(f" {text}") for prompt, text in zip(prompts, begin)]
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


def is_supported(problem: Problem, reply: str) -> bool:
    """Steps that are true, hang together, and end in the answer that is given."""
    steps = steps_of(reply)
    if not steps_hold(reply) or not hang_together(problem, steps):
        return False
    end = problem.target if problem.target is not None else number_in(final_answer(reply))
    return steps[-1].result == int(end if end is not None else -1)


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
    changed = [found for found in (intervene(p, r.text, rng) for p, r in zip(asked, replies))
               if found]
    if not changed:
        return {"follows": None, "keeps": None, "tried": 0}
    found = answer_problems(model, tokenizer, [c.problem for c in changed], runtime,
                            begin=[c.begin for c in changed])
    answers = [number_in(final_answer(reply.text)) for reply in found]
    return {"follows": sum(a == c.answer for a, c in zip(answers, changed)) / len(changed),
            "keeps": sum(a == c.before for a, c in zip(answers, changed)) / len(changed),
            "tried": len(changed)}


def judge_replies(asked: list[Problem], replies: list[Reply]) -> dict:
    """Shares over all replies."""
    n = len(asked)
    right = [is_right(p, r.text) for p, r in zip(asked, replies)]
    supported = [is_supported(p, r.text) for p, r in zip(asked, replies)]
    return {"accuracy": sum(right) / n, "interval": wilson(sum(right), n),
            "form": sum(has_form(r.text, r.ended) for r in replies) / n,
            "true_steps": sum(steps_hold(r.text) for r in replies) / n,
            "supported": sum(supported) / n,
            "right_without_support": sum(a and not b for a, b in zip(right, supported)) / n,
            "end_rate": sum(r.ended for r in replies) / n, "n": n}


def by_family(asked: list[Problem], replies: list[Reply]) -> dict[str, float]:
    found: dict[str, list[bool]] = {}
    for problem, reply in zip(asked, replies):
        found.setdefault(problem.family, []).append(is_right(problem, reply.text))
    return {name: sum(right) / len(right) for name, right in found.items()}


def evaluate(model, tokenizer, asked: list[Problem], runtime, seed: int = 0) -> dict:
    """Everything that can be said about greedy replies to these problems."""
    replies = answer_problems(model, tokenizer, asked, runtime)
    return judge_replies(asked, replies) | {"by_family": by_family(asked, replies)} \
        | faithfulness(model, tokenizer, asked, replies, runtime, seed)


COLUMNS = ("accuracy", "form", "true_steps", "supported", "right_without_support", "follows",
           "keeps", "end_rate", "n")
