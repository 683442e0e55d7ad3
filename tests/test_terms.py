"""No word of the field is used in a lesson before a lesson has said what it is.

tests/terms.txt holds the words, each with the words that explain it. The explanation must stand in
the lessons, read from part 0 to part 9, in an earlier section than the first use, or in the same.
An explanation may stand above a lesson's first section, but a use is not looked for there (it says
what is to come, with the table of "our words beside the field's"), nor in part 0's pages of
reference (practice, symptoms), exercises and sources, code, headings, file names, and in backquotes.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted(ROOT.glob("part_[0-9]/README.md"))
TO_LOOK_UP = ("0.3 Practice", "Symptom and cause", "Exercises", "Sources")
TOP = "what stands above its first section"
LEFT_OUT = re.compile(r"^```.*?^```$|^\*\*(?:Exercises?|Sources)\.\*\*.*?(?=^\*\*|^#|\Z)|`[^`\n]*`"
                      r"|^#.*?$|^!\[.*?$|\]\([^)]*\)|^\| .*\]\(\S+\.py\).*$", re.DOTALL | re.MULTILINE)
TERMS = [tuple(part.strip() for part in line.split("|", 1))
         for line in (ROOT / "tests" / "terms.txt").read_text(encoding="utf-8").splitlines()
         if line and not line.startswith("#")]


def sections_of(lessons: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """(name, lesson) -> [("part_1: 1.2 Attention by hand", its text), ...] in reading order."""
    sections = []
    for part, text in lessons:
        top, *rest = re.split(r"^## ", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL
                                              | re.MULTILINE), flags=re.MULTILINE)
        sections.append((f"{part}: {TOP}", top))
        for section in rest:
            heading = section.partition("\n")[0]
            if heading not in TO_LOOK_UP:
                sections.append((f"{part}: {heading}", section))
    return sections


def flat(text: str) -> str:
    return " ".join(text.split())


def too_early(term: str, explained: str, sections: list[tuple[str, str]]) -> str:
    """Where the term is used before it was explained, or "". Raises ValueError where no section
    explains it."""
    where = next((i for i, (_, text) in enumerate(sections) if explained in flat(text)), None)
    if where is None:
        raise ValueError(f"no lesson says “{explained}”, which is to explain “{term}”")
    use = re.compile(rf"(?<![\w/.-]){re.escape(term)}", re.IGNORECASE if term == term.lower() else 0)
    for name, text in sections[:where]:
        if not name.endswith(TOP) and (found := use.search(flat(LEFT_OUT.sub(" ", text)))):
            return f"{name}: …{found.string[max(0, found.start() - 60):found.end() + 40]}…"
    return ""


SECTIONS = sections_of([(path.parent.name, path.read_text(encoding="utf-8")) for path in LESSONS])


def test_there_are_120_words_and_none_twice():
    words = [term for term, _ in TERMS]
    assert len(words) >= 120 and len(set(words)) == len(words)


@pytest.mark.parametrize("term, explained", TERMS, ids=[term for term, _ in TERMS])
def test_a_word_is_explained_before_or_where_it_is_first_used(term, explained):
    assert not too_early(term, explained, SECTIONS)


def test_a_word_that_comes_too_early_is_named_with_its_place():
    lessons = sections_of([("part_1", "# top frobs\n## 1.1 One\nIt frobs `frob`.\n"
                            "**Exercises.** Frob.\n## 1.2 Two\nTo *frob* is to turn.")])
    assert "1.1 One" in too_early("frob", "To *frob* is to turn", lessons)
    assert not too_early("frob", "It frobs", lessons)
    with pytest.raises(ValueError, match="no lesson says"):
        too_early("frob", "a frob is", lessons)
