"""Every exercise of a lesson has one worked solution, and what it says was run can be run.

The fast tests compare titles, links, commands, changes and the names of tests with the repository.
With `pytest --full` everything quick is run again, and what it prints must be what is written.
"""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MUST_HAVE = tuple(f"part_{n}" for n in range(10))


def load(name: str):
    """A module of tests/, by its path: it is no part's."""
    spec = importlib.util.spec_from_file_location(f"tests_{name}", ROOT / "tests" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool, house = load("solutions"), load("test_house")
PAGES = sorted(ROOT.glob("part_[0-9]/SOLUTIONS.md"))
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)


def solutions(page: Path) -> list:
    return tool.solutions_of(page.read_text(encoding="utf-8"))


def test_the_parts_that_must_have_solutions_have_them():
    assert set(MUST_HAVE) <= {page.parent.name for page in PAGES}


@by_page
def test_every_exercise_has_one_solution_in_the_lessons_order_and_there_is_no_other(page):
    lesson = (page.parent / "README.md").read_text(encoding="utf-8")
    solved = [one.title for one in solutions(page)]
    assert solved == tool.exercises_of(lesson)


@by_page
def test_lesson_and_solutions_lead_to_each_other_section_by_section(page):
    lesson, text = ((page.parent / name).read_text(encoding="utf-8")
                    for name in ("README.md", page.name))
    sections = tool.sections_with_exercises(lesson)
    there = re.findall(r"\(\[solutions\]\(SOLUTIONS\.md#([^)]+)\)\)", lesson, re.IGNORECASE)
    back = re.findall(r"^\[The lesson's section\]\(README\.md#([^)]+)\)", text, re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-") for name in sections]
    assert there == anchors and back == anchors


@by_page
def test_links_and_commands_of_the_solutions_are_real(page):
    assert house.links_of(page)
    house.test_every_link_of_a_lesson_leads_somewhere(page)
    house.test_every_command_of_a_lesson_names_a_script_and_flags_that_exist(page)


@by_page
def test_a_solution_repeats_its_question_and_shows_what_was_run(page):
    for one in solutions(page):
        question = re.match(r"\s*\*[^*\n].*\*\n\n", one.body)
        assert question and one.blocks, f"{one.title}: the question in italics, what was run"
        assert not re.search(r"^\?$", one.body, re.MULTILINE), f"{one.title}: no output yet"
        for place, (language, word, _) in enumerate(one.blocks):
            assert language in ("python", "text", "console", "diff", ""), one.title
            if language == "python":
                assert one.blocks[place + 1][0] == "text" and word in ("", "quick"), one.title


@by_page
def test_the_changes_of_a_solution_fit_the_code(page):
    for one in solutions(page):
        changed = {}
        for language, file, text in one.blocks:
            if language == "diff":
                source = changed.get(file) or (ROOT / file).read_text(encoding="utf-8")
                changed[file] = tool.change(source, text)
                compile(changed[file], f"{one.title}: {file}", "exec")
                assert changed[file] != source


def runs_of_pytest(one) -> list[str]:
    """"pytest …" and what it printed, of each such command of a solution."""
    return [run for language, _, text in one.blocks if language == "console"
            for run in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:] if run.startswith("pytest ")]


@by_page
def test_the_tests_that_a_solution_names_exist_and_are_counted_right(page):
    for one in solutions(page):
        for run in runs_of_pytest(one):
            files = re.findall(r"tests/\S+\.py", run.partition("\n")[0])
            assert files and all((ROOT / file).is_file() for file in files), one.title
            failed = re.findall(r"^FAILED (\S+?)::(\w+)(?: \((\d+) cases\))?$", run, re.MULTILINE)
            for file, name, _ in failed:
                there = (ROOT / file).read_text(encoding="utf-8")
                assert file in files and f"def {name}(" in there, f"{one.title}: {name}"
            told = re.search(r"^(\d+) (failed|passed)$", run, re.MULTILINE)
            assert told and bool(failed) == (told[2] == "failed"), f"{one.title}: {run}"
            assert not failed or sum(int(n or 1) for *_, n in failed) == int(told[1]), one.title


QUICK = [(page, one) for page in PAGES for one in solutions(page)
         if runs_of_pytest(one) or any(word == "quick" for _, word, _ in one.blocks)]


@pytest.mark.slow
@pytest.mark.scripts
@pytest.mark.parametrize("page, solution", QUICK,
                         ids=[f"{page.parent.name} {one.title}" for page, one in QUICK])
def test_what_a_solution_says_was_printed_is_printed(page, solution):
    for place, printed in tool.printed_by(solution, page.parent.name, commands=False).items():
        assert printed.rstrip() == solution.blocks[place][2].rstrip()


# ---------------------------------------------------------------- the tool itself

@pytest.mark.parametrize("lesson, titles", [
    ("## 3.2 RoPE\n**Exercises.** 1. One of 2. Then 2. Two:\nmore 3. Three\n\n**Sources.** 4. No.",
     ["3.2, exercise 1", "3.2, exercise 2", "3.2, exercise 3"]),
    ("## 2.1 Bytes\n**Exercises.** (1) One, eq. 2.9 (2) Two\n", ["2.1, exercise 1", "2.1, exercise 2"]),
    ("## The data\n**Exercise.** One.\n## 1.1 No\nText 1. 2.\n", ["The data, exercise 1"]),
    ("## 1.0 Text\n**Exercises.**\n1. One\n2. Two\n", ["1.0, exercise 1", "1.0, exercise 2"]),
    ("# Part 0: x\n## 0.1 A\n## Exercises\n\n1. One\n\n2. Two\n## End\n",
     ["0, exercise 1", "0, exercise 2"])])
def test_exercises_are_counted_in_every_form_that_lessons_use(lesson, titles):
    assert tool.exercises_of(lesson) == titles


def test_a_change_must_fit_exactly_once():
    assert tool.change("a\nb\nc\n", " a\n-b\n+x\n") == "a\nx\nc\n"
    for source in ("a\nc\n", "b\nb\n"):
        with pytest.raises(ValueError, match="times, not once"):
            tool.change(source, "-b\n+x\n")


def test_of_pytests_output_failed_tests_and_counts_are_kept():
    printed = ("F..\nFAILED tests/a.py::test_x[1] - no\nFAILED tests/a.py::test_x[2-y z] - no\n"
               "FAILED tests/a.py::test_y\n3 failed, 2 passed, 1 warning in 0.12s\n")
    assert tool.shortened(printed) == ("FAILED tests/a.py::test_x (2 cases)\n"
                                       "FAILED tests/a.py::test_y\n3 failed\n")
    assert tool.shortened("...\n3 passed, 4 deselected in 0.12s\n") == "3 passed\n"


def test_output_goes_into_its_own_block():
    text = "*Q*\n\n```python quick\nprint(1)\n```\n\n```text\n?\n```\n\n```text\nkept\n```\n"
    blocks = tool.solutions_of("### 1.1, exercise 1\n" + text)[0].blocks
    assert [block[0] for block in blocks] == ["python", "text", "text"]
    assert tool.blocks_with(text, {1: "1\n"}) == text.replace("?", "1")
