"""What can be practised: a topic names the functions to write, with hints and where it is taught.

Used   part_1.py … part_9.py, catalogue.py, attempt.py, checking.py, screens.py
Add    a topic: put a Topic into the file of its part, a few worked cases into tests/part_N/cases.py,
       planted bugs into tests/part_N/bugs*.py, then run: python tests/planted_bugs.py --fingerprints
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Topic:
    """One thing to write: `hints` says which functions, and what to tell about each, in order."""

    name: str                                     # "3.2": the section of the lesson; "3.2b"
    title: str
    minutes: int                                  # about how long people need
    hints: dict[str, dict[str, tuple[str, ...]]]  # file in the part -> function -> lines
    tests: tuple[str, ...]                        # test files of the part that can see it
    demo: tuple[str, ...] = ()                    # script of the part and its flags

    @property
    def number(self) -> int:
        return int(self.name[0])

    @property
    def part(self) -> str:
        return f"part_{self.number}"

    @property
    def section(self) -> str:
        """The lesson's section: topic 3.2b belongs to section 3.2."""
        return self.name.rstrip("abcdefgh")

    @property
    def functions(self) -> list[str]:
        return [function for functions in self.hints.values() for function in functions]

    @property
    def hint_lines(self) -> list[tuple[str, str]]:
        """(function, line) in the order in which `hint` tells them."""
        return [(function, line) for functions in self.hints.values()
                for function, lines in functions.items() for line in lines]


def functions_of(source: str) -> dict[str, ast.FunctionDef]:
    """Qualified name -> node, of all functions and methods at the top of a file and its classes."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}": inner for inner in node.body
                      if isinstance(inner, ast.FunctionDef)}
    return found


def section_title(topic: Topic) -> str:
    """The heading of the topic's section in its lesson: "3.2 RoPE"."""
    text = (REPOSITORY / topic.part / "README.md").read_text(encoding="utf-8")
    match = re.search(rf"^## ({re.escape(topic.section)} .*)$", text, re.MULTILINE)
    return match[1] if match else topic.section
