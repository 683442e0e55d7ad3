"""What the practice prints: 80 columns, plain words, colour only in a terminal.

Used   practice.py
"""

import os
import re
import sys
import textwrap
from pathlib import Path

from practice_room.checking import Result
from practice_room.diagnosis import CHANGES, KINDS, Diagnosis, mistakes
from practice_room.topics import REPOSITORY, Topic, section_title

WIDTH = 80
COLOURS = {"red": 31, "green": 32, "yellow": 33, "bold": 1, "grey": 90}


def in_colour(text: str, colour: str) -> str:
    """Text in a colour, where the output is a terminal and nobody forbids it."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{COLOURS[colour]}m{text}\033[0m"


def say(label: str, text: str, colour: str = "") -> None:
    """A label of ten letters, and a text beside it, folded to the width (but no command)."""
    lines = []
    for line in text.splitlines() or [""]:
        blanks = line[:len(line) - len(line.lstrip())]
        folded = textwrap.wrap(line, WIDTH - 10, break_on_hyphens=False, subsequent_indent=blanks)
        lines += [line] if line.startswith("python ") else folded or [""]
    for i, line in enumerate(lines):
        head = f"{label if i == 0 else '':10s}"
        print((in_colour(head, colour) if colour else head) + line)


def nice(path: Path) -> str:
    """A path from where one stands, if that is shorter."""
    try:
        near = os.path.relpath(path)
    except ValueError:  # another drive
        return str(path)
    return min(near, str(path), key=len)


def as_sentence(test: str) -> str:
    """tests/part_3/test_rope.py::test_lengths_are_kept[4] -> "lengths are kept [4]"."""
    name = test.partition("::")[2].removeprefix("test_")
    return re.sub(r"\[", " [", name.replace("_", " "), count=1)


def show_list(topics: list[Topic], state_of) -> None:
    """A line for each topic; `state_of(topic)` says how its attempt stands."""
    part = 0
    for topic in topics:
        if topic.number != part:
            part = topic.number
            heading = (REPOSITORY / topic.part / "README.md").read_text("utf-8").splitlines()[0]
            print(("\n" if topic is not topics[0] else "") + in_colour(heading[2:WIDTH], "bold"))
        state = state_of(topic)
        colour = {"passed": "green", "failing": "red"}.get(state, "yellow")
        print(f"  {topic.name:6s}{topic.title:48.48s}{topic.minutes:4d} min  "
              + (in_colour(state, colour) if state else "-"))


def show_started(topic: Topic, files: list[Path], folder: Path) -> None:
    print(in_colour(f"{topic.name}  {topic.title}", "bold") + f"  (about {topic.minutes} minutes)")
    for path, functions in zip(files, topic.hints.values()):
        say("write", "\n".join(functions))
        say("in", nice(path))
    say("read", f"part_{topic.number}/README.md, section {section_title(topic)}")
    say("then", f"python part_0/practice.py check {topic.name}" + to_flag(topic, folder))


def to_flag(topic: Topic, folder: Path) -> str:
    usual = REPOSITORY / "practice" / topic.name
    return "" if folder == usual else f' --to "{folder}"'


def show_result(topic: Topic, result: Result, diagnosis: Diagnosis | None) -> None:
    """The verdict; then what is wrong first, and which mistake it looks like."""
    print(in_colour(f"{topic.name}  {topic.title}", "bold"))
    if result.passed:
        say("passed", f"{len(result.cases)} worked cases and {len(result.tests)} tests of the "
            f"part, in {result.seconds:.0f} s", "green")
        return
    if result.syntax:
        say("not yet", "this is no Python yet, so nothing was run", "red")
        say("", result.syntax)
        return
    if result.cheats:
        say("no", "the attempt reads the part's own code; that does not count:", "red")
        say("", "\n".join(sorted({short(path) for path in result.cheats})))
        say("", "write it yourself; when you have done what you can, look at ours with:\n"
            f"python part_0/practice.py solution {topic.name}")
        return
    show_wrong(result)
    if diagnosis:
        show_diagnosis(topic, diagnosis)
    elif unwritten(result):
        say("hint", f"python part_0/practice.py hint {topic.name}")


def short(path: str) -> str:
    match = re.search(r"part_\d.*$", path)
    return match[0] if match else path


def show_wrong(result: Result) -> None:
    """How much fails, and the first thing that does: a worked case, or else a test."""
    counts = (f"{len(result.wrong_cases)} of {len(result.cases)} worked cases and "
              f"{len(result.failed)} of {len(result.tests)} tests fail ({result.seconds:.0f} s)")
    say("not yet", counts, "red")
    if result.stalled:
        say("hangs", f"nothing went on any more, so it was ended, in {doing(result)}", "red")
    elif not result.ended:
        say("ends", f"the attempt ended the whole process, in {doing(result)}", "red")
        say("", result.errors.strip()[-300:])
    print()
    if result.wrong_cases:
        case = next((case for case in result.wrong_cases if case["raised"] != "NotImplementedError"),
                    result.wrong_cases[0])
        say("put in", case["told"])
        say("expected", case["expected"])
        say("got", case["got"] + way_of(case))
        if case["said"]:
            say("printed", case["said"].strip()[-200:])
    elif result.failed:
        test = result.failed[0]
        say("claim", f"{as_sentence(test['id'])}: this does not hold")
        say("because", f"{test['error']}: {test['message'].strip() or 'the values differ'}"[:300])
        say("test", test["id"])
    elif result.broken:
        say("import", result.broken[0][-300:])


def doing(result: Result) -> str:
    return f'the test "{as_sentence(result.doing)}"' if "::" in result.doing else result.doing


def way_of(case: dict) -> str:
    """What the wrong value looks like, if one can say."""
    return {"negated": "\nthat is the right value with the wrong sign",
            "scaled": "\nthat is the right value times a factor",
            "infinite": "\ninfinite (-inf or inf) at other places",
            "reordered": "\nthese are the right numbers in another order",
            "shape": "\nthe shape is another one"}.get(case["status"], "")


def unwritten(result: Result) -> list[str]:
    """The functions that have no body yet, as their stubs say."""
    found = [case["got"] for case in result.wrong_cases if case["raised"] == "NotImplementedError"]
    return sorted({match[1] for got in found if (match := re.search(r"write (\S+)", got))})


def show_diagnosis(topic: Topic, diagnosis: Diagnosis) -> None:
    """The mistake it looks like, or the kind, or that nobody knows."""
    print()
    if diagnosis.named:
        more = mistakes().get(diagnosis.named, ("", ""))[1]
        say("looks", f"like a known mistake: {diagnosis.named}", "yellow")
        if more:
            say("", more)
    else:
        say("not sure", "which mistake it is; the two nearest that are known:", "yellow")
        for one in diagnosis.nearest[:2]:
            say("", f"- {one.name} ({one.score:.0%} alike)")
    if diagnosis.change:
        say("as when", CHANGES[diagnosis.change][1])
    if diagnosis.kind:
        say("kind", KINDS[diagnosis.kind])
    say("read", f"part_{topic.number}/README.md, section {section_title(topic)}")
