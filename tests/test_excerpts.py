"""Code that a lesson quotes is the code's own.

A fenced block whose first line names a file (``` ```python plain_cache.py ```, the path from the
lesson's folder) is an excerpt: its lines stand in that file, one below the other. The indentation in
front of a whole piece may be dropped; a line that holds "…" alone leaves lines out.
"""

import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted(ROOT.glob("part_[0-9]/README.md"))
LEFT_OUT = re.compile(r"\s*(?:# )?…\s*")


def excerpts_of(text: str) -> list[tuple[str, str]]:
    """[(file, code)] of the blocks of a lesson that name a file."""
    return re.findall(r"^```python (\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def pieces_of(code: str) -> list[list[str]]:
    """The stretches of consecutive lines between two "…"."""
    pieces = [[]]
    for line in code.rstrip("\n").split("\n"):
        if LEFT_OUT.fullmatch(line):
            pieces.append([])
        else:
            pieces[-1].append(line.rstrip())
    return [textwrap.dedent("\n".join(piece)).strip("\n").split("\n") for piece in pieces if piece]


def place_of(piece: list[str], lines: list[str], start: int) -> int | None:
    """The line after the first place from `start` on where the piece stands, or None."""
    for first in range(start, len(lines) - len(piece) + 1):
        found = textwrap.dedent("\n".join(lines[first:first + len(piece)])).split("\n")
        if found == piece:
            return first + len(piece)
    return None


def misquoted(code: str, source: str) -> str | None:
    """The first piece of an excerpt that does not stand in the source, in this order; or None."""
    lines, at = [line.rstrip() for line in source.split("\n")], 0
    for piece in pieces_of(code):
        at = place_of(piece, lines, at)
        if at is None:
            return "\n".join(piece)
    return None


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.parent.name)
def test_every_excerpt_of_a_lesson_is_the_codes_own(lesson):
    for file, code in excerpts_of(lesson.read_text(encoding="utf-8")):
        path = lesson.parent / file
        assert path.is_file(), f"{lesson.parent.name}: no file {file}"
        wrong = misquoted(code, path.read_text(encoding="utf-8"))
        assert wrong is None, f"{lesson.parent.name}/{file} does not hold:\n{wrong}"


def test_the_lessons_quote_code():
    found = [file for lesson in LESSONS for file, _ in excerpts_of(lesson.read_text("utf-8"))]
    assert len(found) >= 6    # else the marker is misspelled everywhere


@pytest.mark.parametrize("code, is_right", [
    ("x = 1\ny = 2\n", True),
    ("y = 2\nif y:\n    z = 3\n", True),
    ("z = 3\n", True),                 # its own indentation dropped
    ("x = 1\n…\n    z = 3\n", True),
    ("z = 3\n…\nx = 1\n", False),      # out of order
    ("x = 1\nif y:\n", False),         # not one below the other
    ("if y:\nz = 3\n", False),         # indentation inside a piece counts
    ("x = 2\n", False),
])
def test_what_counts_as_an_excerpt(code, is_right):
    assert (misquoted(code, "x = 1\ny = 2\nif y:\n    z = 3\n") is None) == is_right


def test_only_blocks_that_name_a_file_are_excerpts():
    text = "```python a.py\nx = 1\n```\n\n```python\ny = 2\n```\n\n```\nz\n```\n"
    assert excerpts_of(text) == [("a.py", "x = 1\n")]
