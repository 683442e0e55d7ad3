"""The same twelve questions to the model of every stage, and how much of each skill it has.

Each model is asked by scripts of the parts, in processes of those parts: part 6's chat (a base model
knows no chat: part 4's sample goes on with the question), and part 6's evaluate for the skills. What
was asked once is not asked again until the model, the scripts or the questions change.
Used    demo_pipeline.py
"""

import json
import os
import tempfile
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from one_process import PartProcess
from pipeline import ROOT, Chain, Stage, fingerprint, load_json, note_of, write_note

CHAT, WRITE, EVALUATE = "part_6/chat.py", "part_4/sample.py", "part_6/evaluate.py"
LONGEST_OF_BASE = 60  # tokens: a base model does not know where its answer ends
ITEMS = {"smoke": 42, "quick": 105, "full": 420, "gpu": 420}  # questions of each split for the skills
SPLITS = {"smoke": ("new_items",), "quick": ("new_items",)}  # the others: all of part 6's
ASK_SECONDS = 2  # for one model, on the machine that the lessons name, with the quick number
MARK = "The answer is "  # part 6's models put it before the answer of a worked solution


@dataclass(frozen=True)
class Question:
    """One of the twelve. Its content is kept aside by part 6: no model was tuned on it."""

    skill: str
    key: str  # what part 6 knows this content by
    text: str
    answer: str  # "" where there is no single right one


QUESTIONS = (
    Question("addition", "18 33", "What is 33 + 18?", "51"),
    Question("subtraction", "77 11", "Take 11 away from 77.", "66"),
    Question("word problem", "5 + 8", "There were 5 marbles in the bag of Hugo. Hugo found 8 more. "
             "How many are in the bag now?", "13"),
    Question("sorting", "36 66 94", "Sort these from small to large: 94, 36, 66.", "36, 66, 94"),
    Question("series", "28 by 4", "What comes next: 28, 32, 36, 40?", "44"),
    Question("backwards", "peach", "Spell peach backwards.", "h c a e p"),
    Question("counting letters", "broom", "How many letters are in broom?", "5"),
    Question("opposites", "early", "What is the opposite of early?", "late"),
    Question("kinds", "trumpet", "What kind of thing is a trumpet?", "instrument"),
    Question("capital cities", "Greece", "What is the capital of Greece?", "Athens"),
    Question("days and months", "Wednesday", "Which day comes after Wednesday?", "Thursday"),
    Question("telling a story", "Greta trumpet",
             "Please tell a short story about Greta and a trumpet.", ""),
)


def is_right(question: Question, reply: str) -> bool | None:
    """Does the reply give the answer? None where there is no single right one."""
    if not question.answer:
        return None
    said = " ".join(reply.rpartition(MARK)[2].split()).rstrip(".")
    return said.lower() == question.answer.lower()


waiting: dict[Path, list[PartProcess]] = {}  # folder of a part -> processes without work


def run_quietly(script: str, *flags: str, text: str = "") -> str:
    """Run a script of a part, in a process that waits for it or a new one -> what it printed.

    The process has half of the processor: two work at once, and would wait for each other's threads.
    Raises ValueError when the script fails; then the process is not used again.
    """
    part, name = script.split("/")
    idle = waiting.setdefault(ROOT / part, [])
    process = idle.pop() if idle else PartProcess(ROOT / part, max(1, (os.cpu_count() or 1) // 2))
    with ExitStack() as failed:
        failed.callback(process.close)
        try:
            output = process.run(name, *flags, text=text)
        except ValueError as error:
            raise ValueError(f"{script} failed: {error}") from None
        failed.pop_all()
    idle.append(process)
    return output


def end_waiting() -> None:
    """End the processes that wait for work."""
    while waiting:
        for process in waiting.popitem()[1]:
            process.close()


def chat_answers(model: Path, common: tuple[str, ...]) -> list[str]:
    """A chat model's answers, each in a conversation of its own; "" where it says nothing."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.jsonl" for number in range(len(QUESTIONS))]
        lines = [f"{question.text}\n/save {file}\n/reset\n"
                 for question, file in zip(QUESTIONS, files)]
        run_quietly(CHAT, "--checkpoint", str(model), *common, text="".join(lines))
        texts = [file.read_text(encoding="utf-8") if file.is_file() else "" for file in files]
    return [json.loads(text)["messages"][-1]["content"] if text else "" for text in texts]


def base_answers(model: Path, common: tuple[str, ...]) -> list[str]:
    """What a base model writes after each question, up to the end of the line."""
    prompts = [text for question in QUESTIONS for text in ("--prompt", question.text)]
    left = run_quietly(WRITE, "--checkpoint", str(model), *prompts, "--samples", "1",
                       "--temperature", "0", "--count", str(LONGEST_OF_BASE), *common)
    answers = []
    for question, following in zip(QUESTIONS, [*QUESTIONS[1:], None]):  # printed in this order
        left = left.partition(question.text)[2]
        own = left.partition(following.text)[0] if following else left
        answers.append(next(iter(own.strip().splitlines()), ""))
    return answers


def skills_of(model: Path, preset: str, common: tuple[str, ...]) -> dict:
    """Split -> {answer_right, exact_match, interval, end_rate, f1, by_skill}, by part 6's checkers."""
    splits = ("--splits", *SPLITS[preset]) if preset in SPLITS else ()
    with tempfile.TemporaryDirectory() as folder:
        run_quietly(EVALUATE, "--checkpoint", str(model), "--items", str(ITEMS[preset]), *splits,
                    "--show", "0", "--out", folder, *common)
        evaluation = load_json(Path(folder) / "evaluate.json")
    if not evaluation:
        raise ValueError(f"{EVALUATE} left no evaluate.json for {model}")
    return evaluation


def key_of_asking(stage: Stage, chain: Chain) -> str:
    """Changes with the model, the scripts that ask, and the questions."""
    settings = [[question.text for question in QUESTIONS], ITEMS[chain.preset],
                SPLITS.get(chain.preset), chain.common]
    return fingerprint(settings, [WRITE if stage.speaks == "text" else CHAT, EVALUATE],
                       [chain.file(stage.checkpoint)])


def is_asked(stage: Stage, chain: Chain) -> bool:
    """True when the notes hold what this very model answers to these questions."""
    asked = note_of(stage, chain).get("asked", {})
    return asked.get("key") == key_of_asking(stage, chain)


def begin_asking(stage: Stage, chain: Chain, pool: Executor) -> tuple[Future, Future] | None:
    """Both processes that ask a stage's model -> (skills, answers) to come; None where the notes
    hold them."""
    if is_asked(stage, chain):
        return None
    model = chain.file(stage.checkpoint).resolve()  # the scripts work in their own folder
    speak = base_answers if stage.speaks == "text" else chat_answers
    return (pool.submit(skills_of, model, chain.preset, chain.common),
            pool.submit(speak, model, chain.common))


def asked_of(stage: Stage, chain: Chain, begun: tuple[Future, Future] | None) -> dict:
    """{"answers": […], "skills": {…}} of a stage's model, which are written into the notes.

    Raises ValueError, with the last line of the script that failed.
    """
    note = note_of(stage, chain)
    if begun is not None:
        skills, answers = begun
        note["asked"] = {"key": key_of_asking(stage, chain), "answers": answers.result(),
                         "skills": skills.result()}
        write_note(stage, chain, note)
    return note["asked"]


def ask_models(models: list[tuple[Stage, Chain]]) -> tuple[list[dict | None], list[str]]:
    """-> (what `asked_of` says of each, None where it could not be asked; what went wrong).

    Two processes run at once, whichever models they belong to, and go on with the next model.
    """
    asked, problems = [], []
    with ExitStack() as last, ThreadPoolExecutor(2) as pool:
        last.callback(end_waiting)
        begun = [begin_asking(stage, chain, pool) for stage, chain in models]
        try:
            for (stage, chain), one in zip(models, begun):
                try:
                    asked.append(asked_of(stage, chain, one))
                except ValueError as error:
                    asked.append(None)
                    problems.append(f"the model of {stage.name} could not be asked: {error}")
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return asked, problems
