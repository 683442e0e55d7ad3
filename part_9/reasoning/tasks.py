"""Reasoning tasks without end: chains of sums, stories of some steps, and a countdown game.

A Problem takes 2 to 4 steps (a countdown's search up to 6); each step is one small sum that uses
the result of the one before.
    train          known operands, 2 to 4 steps, known wordings
    new_operands   sets of numbers in no training problem of the same family (a tenth, by hash)
    longer         5 steps: longer chains than any that is trained on
    new_wordings   new operands, asked in the two wordings of a family that are kept aside
Used   reasoning/rewards.py, train_grpo.py, evaluate_reasoning.py, the demos
Source GSM8K's file format: Cobbe et al. 2021, "Training Verifiers to Solve Math Word Problems"
"""

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

from files.records import read_records
from run.runtime import replacing
from sft.chat_format import Message
from sft.skill_form import ANSWER_MARK
from sft.skills import DIRECT_ASKED, hash_of

from reasoning.answers import plain, read_answer, read_sum, terms_of
from reasoning.task_families import FAMILIES, LONGER_STEPS, TRAINED_STEPS

SPLITS = ("train", "new_operands", "longer", "new_wordings")
TEST_SPLITS = SPLITS[1:]
HELD_OUT_WORDINGS = 2  # the last ones of every family


@dataclass(frozen=True)
class Problem:
    """One task, with everything that is needed to judge a reply."""

    family: str
    question: str
    answer: str  # the final answer alone
    steps: tuple[str, ...]  # "12 + 9 = 21", …; of a file: the lines of its solution
    numbers: tuple[int, ...]  # what the question gives
    wording: int = 0
    target: int | None = None  # countdown: what the expression has to make

    @property
    def gold(self) -> str:
        """The worked reply."""
        said = (step + (" " if step.endswith((".", "!", "?")) else ". ") for step in self.steps)
        return "".join(said) + f"{ANSWER_MARK}{self.answer}."

    @property
    def messages(self) -> list[Message]:
        return [Message("user", self.question)]


def is_held_out(name: str, numbers: tuple[int, ...]) -> bool:
    """A tenth of all sets of operands, by the hash: they are never trained on, in any order."""
    return hash_of(f"{name} {sorted(numbers)}") % 10 == 0


def draw_problem(name: str, split: str, rng: random.Random) -> Problem:
    """One problem of a family; what belongs to another split is drawn again."""
    kind = FAMILIES[name]
    trained = len(kind.wordings) - HELD_OUT_WORDINGS
    while True:
        n_steps = rng.choice(LONGER_STEPS if split == "longer" else TRAINED_STEPS)
        slots, answer, steps, numbers, target = kind.draw(rng, n_steps)
        if is_held_out(name, numbers) == (split != "train"):
            break
    wording = rng.randrange(trained)
    if split == "new_wordings":
        wording = trained + rng.randrange(HELD_OUT_WORDINGS)
    return Problem(name, kind.wordings[wording].format(**slots), answer, tuple(steps), numbers,
                   wording, target)


def check_names(split: str, families: tuple[str, ...]) -> None:
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: choose from {', '.join(SPLITS)}")
    unknown = [name for name in families if name not in FAMILIES]
    if unknown or not families:
        raise ValueError(f"families {unknown or 'none'}: choose from {', '.join(FAMILIES)}")


def problems(n: int, split: str = "train", seed: int = 0,
             families: tuple[str, ...] | None = None) -> list[Problem]:
    """n problems, the families in turn, no question twice; the same for the same seed.

    Raises ValueError for a split or a family that does not exist.
    """
    families = tuple(FAMILIES) if families is None else tuple(families)
    check_names(split, families)
    rng, by_question = random.Random(f"tasks {split} {seed}"), {}
    for turn in range(50 * n + 1000):
        problem = draw_problem(families[turn % len(families)], split, rng)
        by_question.setdefault(problem.question, problem)
        if len(by_question) == n:
            break
    return list(by_question.values())


def direct(problem: Problem, rng: random.Random) -> Problem:
    """The same problem, to be answered at once: no steps."""
    question = rng.choice(DIRECT_ASKED).format(problem.question)
    return Problem(problem.family, question, problem.answer, (), problem.numbers, problem.wording,
                   problem.target)


MARK = "####"  # GSM8K: the worked solution, then this, then the answer
BOXED = "\\boxed"  # others put the answer in a box at the end


def read_gsm8k(path: Path) -> list[Problem]:
    """{"question", "answer": "… #### 42"} records -> problems, with the lines of their solutions.

    The answer is read as a reply's is (reasoning/answers.py): "$1,200.00" is 1200; "10 + 4 - 3", as this
    script writes countdown, asks for any sum of these numbers with that value; words stay words.
    Raises ValueError, naming the line, for a record without question or without a final answer.
    """
    given = []
    for number, record in read_records(path):
        question = record.get("question") if isinstance(record, dict) else None
        answer = record.get("answer") if isinstance(record, dict) else None
        if not isinstance(question, str) or not isinstance(answer, str) or \
                not question.strip() or (MARK not in answer and BOXED not in answer):
            raise ValueError(f'{path}, line {number}: needs a text "question", and a text "answer" '
                             f'that ends in "{MARK} 42" or in {BOXED}{{42}}')
        given.append(as_problem(question.strip(), answer, f"{path}, line {number}"))
    if not given:
        raise ValueError(f"{path}: there is no problem in it")
    return given


def as_problem(question: str, answer: str, where: str) -> Problem:
    """A question and its solution, which ends in the answer."""
    solution, mark, final = answer.rpartition(MARK)
    reply, final = (f"{MARK} {final}", final.strip()) if mark else (answer, answer.strip())
    value = read_answer(reply)
    if value is None:
        raise ValueError(f"{where}: the answer {final[-40:]!r} is no number, sum or text; it may "
                         "not be empty, or hold two numbers")
    steps = tuple(line.strip() for line in solution.splitlines() if line.strip())
    if re.fullmatch(r"\d+( [+-] \d+)+", final):
        terms = terms_of(read_sum(reply))
        return Problem("file", question, final, steps, tuple(map(abs, terms)), target=sum(terms))
    text = final if mark else value
    return Problem("file", question, text if isinstance(value, str) else plain(value), steps, ())


def write_gsm8k(path: Path, given: list[Problem]) -> None:
    """One problem a line, as GSM8K has it: each step on its own line, its sum marked for a
    calculator (12 + 9 = <<12+9=21>>21), then #### and the answer."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for problem in given:
            steps = [step if "<<" in step else
                     re.sub(r"(\d+) ([+-]) (\d+) = (-?\d+)", r"\1 \2 \3 = <<\1\2\3=\4>>\4", step)
                     for step in problem.steps]
            answer = "\n".join([*steps, f"{MARK} {problem.answer}"])
            file.write(json.dumps({"question": problem.question, "answer": answer}) + "\n")


@dataclass(frozen=True)
class Split:
    """Problems of a file: what is learnt from, what is held out, and what was left out."""

    learnt: list[Problem]
    held_out: list[Problem]
    repeated: int  # asked before in the same words: only the first is kept
    too_long: int


def split_by_question(given: list[Problem], fits) -> Split:
    """A tenth of the questions, by the hash of their words, is held out, at least one: no question
    is on both sides, however often or with whatever blanks the file asks it.

    `fits(problem)` says whether there is room for it. Raises ValueError where fewer than two remain.
    """
    asked: dict[str, Problem] = {}
    for problem in given:
        asked.setdefault(" ".join(problem.question.casefold().split()), problem)
    kept = {words: problem for words, problem in asked.items() if fits(problem)}
    if len(kept) < 2:
        raise ValueError(f"{len(kept)} of {len(given)} problems have room in the context and are "
                         "different: at least two are needed, one to learn from and one held out; "
                         "lower --max-new, or give more")
    order = sorted(kept, key=lambda words: (hash_of(f"held out {words}") % 10 != 0, words))
    count = sum(hash_of(f"held out {words}") % 10 == 0 for words in kept)
    aside = set(order[:min(max(count, 1), len(kept) - 1)])
    return Split([p for words, p in kept.items() if words not in aside],
                 [p for words, p in kept.items() if words in aside],
                 len(given) - len(asked), len(asked) - len(kept))
