"""Reads the lessons' exercises and part_N/SOLUTIONS.md, and runs what the solutions say was run.

    python tests/solutions.py part_1             run its blocks, say where the output differs
    python tests/solutions.py part_1 --name 1.3  only solutions whose title holds a word
    python tests/solutions.py part_1 --write     put what was printed into the file

A solution may hold, in this order: changes (```diff part_1/attention.py, lines with - and +),
code (```python quick) with what it prints (```text), and commands (```console, lines with "$ ") with
what they print. Of pytest's output the failed tests are kept, cases of one test in one line, and how
many failed. Everything runs in a copy of the repository, from its root, with the part on the path.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = shutil.ignore_patterns("out", ".git", "__pycache__", ".venv", "*.pt")
BLOCK = re.compile(r"^```(\w*)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Solution:
    title: str               # "3.2, exercise 1"
    body: str                # everything up to the next heading
    blocks: tuple            # (language, word behind it, text) of each fenced block


def exercises_of(lesson: str) -> list[str]:
    """Titles "3.2, exercise 1" of a lesson's exercises, in reading order.

    Forms: "**Exercises.** 1. … 2. …" in a line or as a list, "(1) … (2) …", "**Exercise.** …", and a
    section of its own, "## Exercises", which counts as the whole part's.
    """
    titles = []
    for name, few in found_in(lesson):
        number = re.match(r"\d\.\d", name)
        name = re.search(r"# Part (\d)", lesson)[1] if name == "Exercises" else name
        titles += [f"{number[0] if number else name}, exercise {n}"
                   for n in range(1, 1 + max(1, count_of(few)))]
    return titles


def sections_with_exercises(lesson: str) -> list[str]:
    return [name for name, _ in found_in(lesson)]


def found_in(lesson: str) -> list[tuple[str, str]]:
    """[(heading of the section, text of its exercises)]"""
    found = []
    for section in re.split(r"^## ", lesson, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if heading == "Exercises":
            text = f"**Exercises.**\n{text}"
        found += [(heading, few) for few in re.findall(
            r"^\*\*Exercises?\.\*\*(.*?)(?=^\*\*|^#|^!\[|^```|\Z)", text, re.DOTALL | re.MULTILINE)]
    return found


def count_of(text: str) -> int:
    """How far a text counts: "1. … 2. …" or "(1) … (2) …" -> 2."""
    n, at = 0, 0
    while found := re.compile(rf"(?:(?<=\s)|^)(?:\({n + 1}\)|{n + 1}\.) ").search(text, at):
        n, at = n + 1, found.end()
    return n


def solutions_of(page: str) -> list[Solution]:
    page = re.sub(r"^## .*$", "### end", page, flags=re.MULTILINE)
    parts = re.split(r"^### (?=end$|.*, exercise \d+$)", page, flags=re.MULTILINE)[1:]
    pairs = [(part.partition("\n")[0].strip(), part.partition("\n")[2]) for part in parts]
    return [Solution(title, body, tuple(BLOCK.findall(body))) for title, body in pairs
            if title != "end"]


def change(source: str, diff: str) -> str:
    """Apply a solution's diff: the text of its "-" lines stands there once, "+" lines replace it.

    A line that begins with neither stays, and shows where the change is.
    """
    lines = diff.rstrip("\n").split("\n")
    old = "".join(line[1:] + "\n" for line in lines if line[:1] != "+")
    new = "".join(line[1:] + "\n" for line in lines if line[:1] != "-")
    if source.count(old) != 1:
        raise ValueError(f"these lines occur {source.count(old)} times, not once:\n{old}")
    return source.replace(old, new)


def shortened(printed: str) -> str:
    """Of pytest's output: each failed test with the number of its cases, and the summary."""
    failed = re.findall(r"^(?:FAILED|ERROR) ([^\s\[]+)", printed, re.MULTILINE)
    summary = re.findall(r"^=* ?(.*(?:passed|failed|error).*?) in [\d.]+", printed, re.MULTILINE)
    lines = [f"FAILED {test}" + (f" ({count} cases)" if count > 1 else "")
             for test, count in Counter(failed).items()]
    counts = summary[-1].split(", ") if summary else []
    broken = [count for count in counts if "failed" in count or "error" in count]
    kept = broken or [count for count in counts if "passed" in count]  # those change too often
    return "\n".join([*lines, ", ".join(kept)]) + "\n"


def run(command: list[str], tree: Path, part: str, given: str = "") -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree / part), "TQDM_DISABLE": "1"}
    done = subprocess.run(command, cwd=tree, input=given, capture_output=True, text=True,
                          env=environment, check=False, timeout=900)
    return done.stdout if done.stdout.strip() else done.stderr.strip().split("\n")[-1] + "\n"


def printed_by(solution: Solution, part: str, *, commands: bool = True) -> dict[int, str]:
    """Place of each block of output -> what is printed now. Commands: pytest's alone unless asked."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="solutions_") as folder:
        tree = Path(folder) / "repository"
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        for place, (language, word, text) in enumerate(solution.blocks):
            if language == "diff":
                path = tree / word
                path.write_text(change(path.read_text("utf-8"), text), encoding="utf-8")
            elif language == "python" and word == "quick":
                found[place + 1] = run([sys.executable, "-"], tree, part, text)
            elif language == "console":
                output = ""
                for line in re.findall(r"^\$ (.*)$", text, re.MULTILINE):
                    words = line.split()
                    if words[0] == "pytest":
                        more = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p",
                                "no:cacheprovider", *words[1:]]
                        output += f"$ {line}\n{shortened(run(more, tree, part))}"
                    elif commands:
                        output += f"$ {line}\n{run([sys.executable, *words[1:]], tree, part)}"
                if output:
                    found[place] = output
    return found


def blocks_with(text: str, found: dict[int, str]) -> str:
    """The text of a solution with the outputs that were found in their places."""
    places = iter(range(text.count("```")))

    def fill(match: re.Match) -> str:
        place = next(places)
        head = match[0].split("\n")[0]
        return f"{head}\n{found[place].rstrip()}\n```" if place in found else match[0]

    return BLOCK.sub(fill, text)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", help="part_0 … part_9")
    parser.add_argument("--name", default="", help="only titles that hold this (default: all)")
    parser.add_argument("--todo", action="store_true",
                        help="only solutions with an output that is a lone ? (default: off)")
    parser.add_argument("--commands", action="store_true",
                        help="run commands other than pytest too: minutes (default: off)")
    parser.add_argument("--write", action="store_true",
                        help="put what is printed into the file (default: off)")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    page = ROOT / args.part / "SOLUTIONS.md"
    different = 0
    for solution in solutions_of(page.read_text(encoding="utf-8")):
        if args.name not in solution.title or args.todo and "\n?\n```" not in solution.body:
            continue
        found = printed_by(solution, args.part, commands=args.commands)
        new = blocks_with(solution.body, found)
        if new != solution.body:
            different += 1
            for place, output in found.items():
                if output.rstrip() != solution.blocks[place][2].rstrip():
                    print(f"{solution.title}: prints\n{output}", flush=True)
            if args.write:
                text = page.read_text(encoding="utf-8")
                page.write_text(text.replace(solution.body, new), encoding="utf-8")
    print(f"{different} solutions print something else than they say")
    return 0 if args.write or not different else 1


if __name__ == "__main__":
    sys.exit(main())
