"""The learner's folder: a copy of the part in which the functions of a topic have lost their bodies.

    practice/3.2/part_3/…      the copy: what is imported, run and shown is the learner's own
    practice/3.2/attempt.json  how many hints were told, and what the last check said

Used   practice.py, checking.py
"""

import ast
import difflib
import hashlib
import io
import json
import shutil
import tokenize
from pathlib import Path

from practice_room.topics import REPOSITORY, Topic, functions_of

STATE = "attempt.json"
SHOWN = 3  # lines of hint that stand in an emptied function
LEFT_OUT = shutil.ignore_patterns("out", "__pycache__", "*.pt", "*.png", "README.md")


def folder_of(topic: Topic, to: str | None) -> Path:
    """Where an attempt lies: practice/3.2 in the repository, or the folder given by --to."""
    return Path(to).expanduser().resolve() if to else REPOSITORY / "practice" / topic.name


def header_end(source: str, node: ast.FunctionDef) -> int:
    """The line on which a function's header ends, its colon."""
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.start[0] < node.lineno:
            continue
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.string, 0)
        if token.string == ":" and depth == 0:
            return token.start[0]
    raise AssertionError(f"{node.name} has no colon")


def body_lines(source: str, node: ast.FunctionDef) -> tuple[int, int]:
    """The first and last line of a function's body, from 1, its docstring left out."""
    has_docstring = ast.get_docstring(node, clean=False) is not None
    first = (node.body[0].end_lineno if has_docstring else header_end(source, node)) + 1
    return first, node.end_lineno


def emptied(source: str, topic: Topic, hints: dict[str, tuple[str, ...]], steps: bool) -> str:
    """A file's text whose functions in `hints` are to be written; `steps` leaves a skeleton."""
    lines = source.splitlines()
    nodes = functions_of(source)
    shown = {}
    for function, told in hints.items():
        left = len(told) if steps else max(0, SHOWN - sum(map(len, shown.values())))
        shown[function] = told[:left] if steps else told[:min(left, 1 if len(hints) > 1 else left)]
    for function in sorted(hints, key=lambda name: -nodes[name].lineno):
        node = nodes[function]
        first, last = body_lines(source, node)
        indent = " " * (node.col_offset + 4)
        label = "step" if steps else "hint"
        body = [f"{indent}# {label}{f' {i}' if steps else ''}: {line}"
                for i, line in enumerate(shown[function], 1)]
        body.append(f'{indent}raise NotImplementedError("write {function} (topic {topic.name})")')
        lines[first - 1:last] = body
    return "\n".join(lines) + "\n"


def start(topic: Topic, folder: Path, steps: bool = False) -> list[Path]:
    """Make the folder -> the files to write in. Raises ValueError where an attempt lies already."""
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is there already and not empty: go on in it, take it away, "
                         "or name another folder with --to")
    shutil.copytree(REPOSITORY / topic.part, folder / topic.part, ignore=LEFT_OUT)
    written = []
    for name, hints in topic.hints.items():
        path = folder / topic.part / name
        source = path.read_text(encoding="utf-8")
        path.write_text(emptied(source, topic, hints, steps), encoding="utf-8")
        written.append(path)
    save_state(folder, {"topic": topic.name, "hints": 0, "verdict": "open"})
    return written


def read_state(folder: Path) -> dict | None:
    """What attempt.json says, or None where nothing was started."""
    path = folder / STATE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def save_state(folder: Path, state: dict) -> None:
    (folder / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")


def started(topic: Topic, folder: Path) -> dict:
    """The state of an attempt; raises ValueError that says how to start one."""
    state = read_state(folder)
    if state is None or state.get("topic") != topic.name:
        raise ValueError(f"no attempt at {topic.name} in {folder}; start one with: "
                         f"python part_0/practice.py start {topic.name}")
    return state


def files_of(topic: Topic, folder: Path) -> dict[str, str]:
    """File -> text, of those in which the learner writes, and those that they added."""
    mine, ours = folder / topic.part, REPOSITORY / topic.part
    found = {name: (mine / name).read_text(encoding="utf-8") for name in topic.hints}
    for path in sorted(mine.rglob("*.py")):
        name = path.relative_to(mine).as_posix()
        if not (ours / name).exists() and "out" not in path.parts:
            found[name] = path.read_text(encoding="utf-8")
    return found


def stamp(files: dict[str, str]) -> str:
    """A short text that changes when the attempt does."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:12]


def solution(topic: Topic, folder: Path) -> str:
    """The difference from the attempt to the part, as a unified diff, functions of the topic only."""
    pieces = []
    for name, functions in topic.hints.items():
        ours = (REPOSITORY / topic.part / name).read_text(encoding="utf-8")
        mine = (folder / topic.part / name).read_text(encoding="utf-8")
        for function in functions:
            texts = [function_text(source, function) for source in (mine, ours)]
            pieces += difflib.unified_diff(*(text.splitlines() for text in texts), lineterm="",
                                           fromfile=f"yours: {name}: {function}",
                                           tofile=f"the part's: {name}: {function}", n=99)
    return "\n".join(pieces)


def function_text(source: str, function: str) -> str:
    """The text of a function, or all of the file where it cannot be read."""
    try:
        node = functions_of(source)[function]
    except (SyntaxError, KeyError):
        return source
    return "\n".join(source.splitlines()[node.lineno - 1:node.end_lineno])
