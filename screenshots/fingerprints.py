"""Which pictures, and which figures of the lessons, were made by today's code and data?

A picture depends on the script that draws it: on its main, and on every definition (function,
class, constant) that this reads, through others and other files of its part; on the data files that
these name, and on the scripts that made the checkpoints they name. The fingerprint is a hash of all
that. Left out is what changes no result: comments, docstrings, layout, the names of local variables,
where a definition stands, the texts of errors and of --help, and the files of EDGES.
screenshots/fingerprints.json holds the fingerprints of the day on which things were made:

    {"pictures": {"part_3_rope.png": "5c1f…"}, "figures": {"part_3/demo_rope.py": "5c1f…"}}

"figures" are the numbers that a lesson gives as printed by a script. Times of files do not count.
Used   generate_screenshots.py (--check, --stamp, and after every demo that it runs)
"""

import ast
import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

MAIN = 'if __name__ == "__main__":'
MADE_BY = {    # checkpoint -> the script that trains it; gpt.pt is of the part that names it
    "base.pt": "part_4/train.py", "moe.pt": "part_5/train_moe.py", "sft.pt": "part_6/train_sft.py",
    "reward.pt": "part_7/train_reward.py", "ppo.pt": "part_8/train_ppo.py",
    "dpo.pt": "part_8/train_dpo.py", "cold.pt": "part_9/cold_start.py",
    "grpo.pt": "part_9/train_grpo.py", "tools.pt": "part_9/train_tools.py", "gpt.pt": "train_gpt.py"}
# how threads wait, how a run is stopped, locked, written down, refused: no figure comes from there
EDGES = ("before_torch.py", "interrupt.py", "lock.py", "logger.py", "memory.py")
IMPORTS = (ast.Import, ast.ImportFrom)


# ---------------------------------------------------------------- what a file holds

@dataclass
class Piece:
    """Statements of a file that belong together: their meaning, and what they read."""

    code: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)    # "name", or "module.name"
    files: set[str] = field(default_factory=set)    # as strings: "fables.txt"


@dataclass
class Contents:
    """A file: its definitions by name, what it imports, what runs at import, and its main."""

    defined: dict[str, Piece] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> module, its name
    loose: Piece = field(default_factory=Piece)
    main: Piece = field(default_factory=Piece)


class Meaning(ast.NodeTransformer):
    """Takes out of a piece of code what changes no result."""

    def __init__(self):
        self.own = {}    # names of local variables -> v0, v1, …

    def visit_FunctionDef(self, node):
        if ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)

    visit_ClassDef = visit_FunctionDef

    def visit_Raise(self, node):
        return ast.Raise(exc=None, cause=None)

    def visit_Call(self, node):
        node.keywords = [one for one in node.keywords if one.arg not in ("help", "description")]
        return self.generic_visit(node)

    def visit_Name(self, node):
        return ast.copy_location(ast.Name(self.own.get(node.id, node.id), node.ctx), node)


def add(piece: Piece, node: ast.stmt) -> None:
    """Put a statement of a file's top level into a piece."""
    parts = list(ast.walk(node))
    in_attributes = {id(part.value) for part in parts if isinstance(part, ast.Attribute)}
    for part in parts:
        if isinstance(part, ast.Name) and id(part) not in in_attributes:
            piece.names.add(part.id)
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            piece.names.add(f"{part.value.id}.{part.attr}")
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            piece.files |= set(re.findall(r"^[\w-]+\.(?:txt|json|jsonl|csv|pt)$", part.value))
    meaning = Meaning()
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        for part in parts:
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                meaning.own.setdefault(part.id, f"v{len(meaning.own)}")
    piece.code.append(ast.unparse(ast.fix_missing_locations(meaning.visit(node))))


@cache
def contents_of(source: str) -> Contents:
    """What a file holds. Kept by content: the parts hold the same rooms."""
    found, tree = Contents(), ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.imported |= {one.asname or one.name: (one.name, "") for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.imported |= {one.asname or one.name: (node.module, one.name)
                               for one in node.names}
    for node in tree.body:
        if isinstance(node, IMPORTS):
            continue
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            add(found.defined.setdefault(node.name, Piece()), node)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            names = {part.id for part in ast.walk(node)
                     if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
            source_of_it = ast.unparse(node)
            for name in sorted(names) or [""]:
                piece = found.defined.setdefault(name, Piece()) if name else found.loose
                add(piece, ast.parse(source_of_it).body[0])
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
            add(found.main, node)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            add(found.loose, node)
    return found


# ---------------------------------------------------------------- what a script depends on

Place = tuple[Path, str]    # a definition in a file; "": what runs at import, MAIN: its main


class House:
    """The files under `root` as they are now, each read once."""

    def __init__(self, root: Path):
        self.root = root
        self.found: dict[Path, Contents] = {}
        self.near: dict[Place, tuple[set[Place], set[Path]]] = {}

    def contents(self, path: Path) -> Contents:
        if path not in self.found:
            self.found[path] = contents_of(path.read_text(encoding="utf-8"))
        return self.found[path]

    def piece(self, place: Place) -> Piece:
        contents = self.contents(place[0])
        return {"": contents.loose, MAIN: contents.main}.get(place[1]) or contents.defined[place[1]]

    def part(self, path: Path) -> Path:
        return self.root / path.relative_to(self.root).parts[0]

    def module(self, part: Path, name: str) -> Path | None:
        path = part / f"{name.replace('.', '/')}.py"
        return path if path.name not in EDGES and (path in self.found or path.is_file()) else None

    def meant(self, path: Path, name: str) -> set[Place]:
        """The definitions that a name means in a file; none for what is not of this part."""
        contents, (first, _, rest) = self.contents(path), name.partition(".")
        if first in contents.defined:
            return {(path, first)}
        if first not in contents.imported:
            return set()
        module, inner = contents.imported[first]
        file = self.module(self.part(path), module)
        if inner and file:
            return self.meant(file, inner)
        file = self.module(self.part(path), f"{module}.{inner}") if inner else file
        if file is None:
            return set()
        return self.meant(file, rest) if rest else {
            (file, one) for one in self.contents(file).defined}

    def next_to(self, place: Place) -> tuple[set[Place], set[Path]]:
        """The definitions and the data files that one definition reads."""
        if place not in self.near:
            (path, _), piece = place, self.piece(place)
            places = {(path, "")}.union(*(self.meant(path, one) for one in piece.names))
            files = {folder / MADE_BY.get(file, file) for file in piece.files
                     for folder in (self.root, self.part(path))}
            files = set(filter(Path.is_file, files))
            scripts = {file for file in files if file.suffix == ".py"}
            self.near[place] = places | {(file, MAIN) for file in scripts}, files - scripts
        return self.near[place]

    def depends_on(self, script: Path) -> tuple[set[Place], set[Path]]:
        """Every definition and every data file that decides what a script prints and draws."""
        found, data, left = set(), set(), {(script, MAIN)}
        while left:
            place = left.pop()
            found.add(place)
            places, files = self.next_to(place)
            left |= places - found
            data |= files
        return found, data

    def fingerprint(self, script: Path) -> str:
        """16 hexadecimal digits of the code and data that a script depends on."""
        found, data = self.depends_on(script)
        codes = {code for place in found for code in self.piece(place).code}
        codes |= {hashlib.sha256(path.read_bytes()).hexdigest() for path in data}
        return hashlib.sha256("\n".join(sorted(codes)).encode()).hexdigest()[:16]


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
    lines, today, house = [], {}, House(root)
    for kind, names in made_by.items():
        for name, script in sorted(names.items()):
            what = f"{kind[:-1]} {name}" if kind == "pictures" else f"figures of {name}"
            if script is None:
                lines.append(f"{what}: no script draws it")
                continue
            if script not in today:
                today[script] = house.fingerprint(script)
            if name not in book[kind]:
                lines.append(f"{what}: no fingerprint")
            elif book[kind][name] != today[script]:
                lines.append(f"{what}: made by other code or data ({script.relative_to(root)})")
    for kind, names in book.items():
        lines += [f"{kind} {name}: on file, but there is none"
                  for name in sorted(set(names) - set(made_by[kind]))]
    return lines
