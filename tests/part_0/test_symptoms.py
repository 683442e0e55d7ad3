"""The table from symptom to cause in lesson 0: all that it names is there."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LESSON = ROOT / "part_0" / "README.md"
SECTION = LESSON.read_text(encoding="utf-8").partition("\n## Symptom and cause\n")[2]
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")]
        for line in SECTION.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]


@pytest.fixture(scope="module")
def planted() -> dict[str, set[str]]:
    """The names of the planted bugs, by part."""
    path = ROOT / "tests" / "planted_bugs.py"
    spec = importlib.util.spec_from_file_location("planted_bugs_of_symptoms", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {str(n): {bug.name for bug in module.load_bugs(f"part_{n}/", "")} for n in range(10)}


def bugs_in(cell: str) -> list[tuple[str, str]]:
    return re.findall(r"bug of part (\d): `([^`]+)`", cell)


def scripts_in(cell: str) -> list[str]:
    return re.findall(r"`(part_\d/\w+\.py)`", cell)


def test_the_table_has_its_rows_and_no_symptom_twice():
    assert len(ROWS) >= 15 and all(len(row) == 4 for row in ROWS)
    assert len({row[0] for row in ROWS}) == len(ROWS)


def test_every_row_shows_its_cause_by_a_planted_bug_or_a_script_that_is_there(planted):
    for symptom, _, shown, lesson in ROWS:
        bugs, scripts = bugs_in(shown), scripts_in(shown)
        assert bugs or scripts, symptom
        assert shown.count("`") == 2 * (len(bugs) + len(scripts)), f"{symptom}: told otherwise"
        missing = [name for part, name in bugs if name not in planted[part]]
        missing += [script for script in scripts if not (ROOT / script).is_file()]
        assert not missing, f"{symptom}: {missing}"
        sections = re.findall(r"\[([\d.]+)\]\(\.\./part_(\d)/README\.md#(\w[\w-]*)\)", lesson)
        assert sections, f"{symptom}: no lesson"
        for number, part, anchor in sections:
            assert number[0] == part and anchor.startswith(number.replace(".", "")), symptom


def test_the_bug_that_the_text_plants_as_an_example_is_one(planted):
    name = re.search(r'planted_bugs\.py --name "([^"]+)"', SECTION)[1]
    assert sum(name in bug for bugs in planted.values() for bug in bugs) >= 1


@pytest.mark.parametrize("part", ["part_2", "part_6", "part_8", "part_9"])
def test_lessons_where_one_trains_lead_to_the_table(part):
    text = (ROOT / part / "README.md").read_text(encoding="utf-8")
    assert "](../part_0/README.md#symptom-and-cause)" in text
