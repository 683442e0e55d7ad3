"""The numbers of the README's "Three ways through" are those of the lessons and of the code."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = README.split("## Three ways through")[1].split("\n## ")[0]


def row(name: str) -> list[int]:
    line = re.search(rf"^\| {name} \|(.*)\|$", GUIDE, re.MULTILINE)[1]
    return [int(cell.replace(",", "") or 0) for cell in map(str.strip, line.split("|"))]


def test_reading_is_the_words_of_a_lesson_at_150_a_minute():
    for n, minutes in enumerate(row("reading, minutes")):
        words = len((ROOT / f"part_{n}" / "README.md").read_text(encoding="utf-8").split())
        assert minutes == pytest.approx(words / 150, rel=0.15), f"part {n}: {words / 150:.0f} minutes"


def test_writing_is_the_sum_of_the_practice(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "part_0"))
    from practice_room.catalogue import all_topics
    minutes = [0] * 10
    for topic in all_topics().values():
        minutes[int(topic.name[0])] += topic.minutes
    assert row("writing, minutes") == minutes


def test_new_code_is_what_the_parts_before_did_not_have():
    before = {}
    for n, lines in enumerate(row("new code, lines")):
        here = {path.relative_to(ROOT / f"part_{n}"): path.read_text(encoding="utf-8")
                for path in (ROOT / f"part_{n}").rglob("*.py") if "out" not in path.parts}
        new = sum(text.count("\n") for name, text in here.items() if before.get(name) != text)
        assert lines == pytest.approx(new, rel=0.1), f"part {n}: {new} lines"
        before |= here


def test_every_topic_of_the_course_can_be_practised(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "part_0"))
    from practice_room.catalogue import all_topics
    evenings = re.findall(r"^\| (\d+) \| .*? \| (.*?) \|$", GUIDE, re.MULTILINE)
    assert [int(n) for n, _ in evenings] == list(range(1, 13))
    for name in re.findall(r"\d\.\d", " ".join(topics for _, topics in evenings)):
        assert name in all_topics(), name
