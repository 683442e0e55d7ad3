"""Which pictures, and which figures of the lessons, were made by today's code and data?

A picture depends on the script that draws it, on every file of its part that this imports (through
others too), on the text files these name, and on the scripts that made the checkpoints they name. The
fingerprint is a hash of all that; comments, docstrings and blank lines are left out, for they change
nothing. screenshots/fingerprints.json holds the fingerprints of the day on which things were made:

    {"pictures": {"part_3_rope.png": "5c1f…"}, "figures": {"part_3/demo_rope.py": "5c1f…"}}

"figures" are the numbers that a lesson gives as printed by a script. The times of files do not count.
Used   generate_screenshots.py (--check, --stamp, and after every demo that it runs)
"""

import ast
import hashlib
import io
import json
import os
import re
import tokenize
from functools import cache
from pathlib import Path

MAIN = 'if __name__ == "__main__":'
MADE_BY = {    # checkpoint -> the script that trains it; gpt.pt is of the part that names it
    "base.pt": "part_4/train.py", "moe.pt": "part_5/train_moe.py", "sft.pt": "part_6/train_sft.py",
    "reward.pt": "part_7/train_reward.py", "ppo.pt": "part_8/train_ppo.py",
    "dpo.pt": "part_8/train_dpo.py", "cold.pt": "part_9/cold_start.py",
    "grpo.pt": "part_9/train_grpo.py", "tools.pt": "part_9/train_tools.py", "gpt.pt": "train_gpt.py"}


def code_of(source: str) -> str:
    """The source without comments, docstrings and blank lines."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            first = node.body[0]
            lines[first.lineno - 1:first.end_lineno] = [""] * (first.end_lineno - first.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


@cache
def facts_of(source: str) -> tuple[frozenset[str], frozenset[str], str]:
    """What a file imports, the files that its strings name, and the hash of its code.

    Kept by content: the parts hold the same rooms, so most files are read once for all of them.
    """
    names, files = set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:    # of a module, or of a room
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            files |= set(re.findall(r"^[\w-]+\.(?:txt|json|jsonl|csv|pt)$", node.value))
    code = hashlib.sha256(code_of(source).encode()).hexdigest()
    return frozenset(names), frozenset(files), code


def depends_on(script: Path, root: Path) -> list[Path]:
    """Every file that decides what a script prints and draws, itself included."""
    found, left = set(), [script]
    while left:
        path = left.pop()
        if path in found:
            continue
        found.add(path)
        if path.suffix == ".py":
            part = root / path.relative_to(root).parts[0]
            names, files, _ = facts_of(path.read_text(encoding="utf-8"))
            near = [part / f"{name.replace('.', '/')}.py" for name in names]
            near += [part / MADE_BY.get(file, file) for file in files]
            near += [root / MADE_BY[file] for file in files if file in MADE_BY]
            left += [file for file in near if file.is_file()]
    return sorted(found)


def fingerprint(script: Path, root: Path) -> str:
    """16 hexadecimal digits of the code and data that a script depends on."""
    digest = hashlib.sha256()
    for path in depends_on(script, root):
        content = path.read_bytes()
        code = facts_of(content.decode())[2] if path.suffix == ".py" else ""
        code = code or hashlib.sha256(content).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()} {code}\n".encode())
    return digest.hexdigest()[:16]


def figures_of(root: Path) -> dict[str, Path]:
    """Scripts of which a lesson gives figures: those it tells to run that need no other's name."""
    found = {}
    for lesson in sorted(root.glob("part_[0-9]/README.md")):
        names = re.findall(r"python (?:part_\d/)?(\w+\.py)", lesson.read_text(encoding="utf-8"))
        for name in names:
            path = lesson.parent / name
            if path.is_file() and MAIN in path.read_text(encoding="utf-8"):
                found[f"{lesson.parent.name}/{name}"] = path
    return found


def agrees(printed: str, lesson: str) -> bool:
    """Does a lesson hold every line of the tables that a script printed?"""
    lines = [line.rstrip() for line in printed.splitlines()]
    rules = [i for i, line in enumerate(lines) if re.fullmatch(r"-{2,}( +-{2,})+", line)]
    rows = []
    for rule in rules:    # the head above the rule, and the rows below it
        end = next((i for i in range(rule, len(lines)) if not lines[i]), len(lines))
        rows += [lines[rule - 1], *lines[rule + 1:end]]
    held = {line.rstrip() for line in lesson.splitlines()}
    return bool(rows) and all(row in held or row.startswith("picture ") for row in rows)


def load(path: Path) -> dict[str, dict[str, str]]:
    """The fingerprints on file; none where there is no file."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {kind: dict(found.get(kind, {})) for kind in ("pictures", "figures")}


def store(path: Path, book: dict) -> None:
    text = json.dumps({kind: dict(sorted(book[kind].items())) for kind in sorted(book)}, indent=1)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, path)


def out_of_date(book: dict, made_by: dict[str, dict[str, Path | None]], root: Path) -> list[str]:
    """A line for everything whose fingerprint is missing or not today's.

    `made_by`: kind -> {picture or script's name: the script behind it, None where none is known}.
    """
    lines, today = [], {}
    for kind, names in made_by.items():
        for name, script in sorted(names.items()):
            what = f"{kind[:-1]} {name}" if kind == "pictures" else f"figures of {name}"
            if script is None:
                lines.append(f"{what}: no script draws it")
                continue
            if script not in today:
                today[script] = fingerprint(script, root)
            if name not in book[kind]:
                lines.append(f"{what}: no fingerprint")
            elif book[kind][name] != today[script]:
                lines.append(f"{what}: made by other code or data ({script.relative_to(root)})")
    for kind, names in book.items():
        lines += [f"{kind} {name}: on file, but there is none"
                  for name in sorted(set(names) - set(made_by[kind]))]
    return lines
