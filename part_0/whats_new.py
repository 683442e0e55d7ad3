"""What is new in a part? Compares its code with the parts before it, definition by definition.

    python part_0/whats_new.py 5            the listing, with the differences
    python part_0/whats_new.py 5 --brief    the listing alone

Each part copies the code of the parts before it and extends it (lesson 0.1). A definition
(top-level class, function or constant) is identical to its nearest ancestor, unless the line above
it says "# NEW in part 5" or "# CHANGED in part 5: why". A file that has an ancestor of the same
name and no such tag is byte for byte the same. The exit status is 1 where that is not so.

The nearest ancestor is looked for in the file of the same name in the part before, then the part
before that, and so on. A file whose name is new may have been put together from several older ones:
its classes and functions are looked for by name in all modules of those parts, and one that reads
alike (or is tagged CHANGED) is the ancestor. Two unrelated things may share a name.
"""

import argparse
import ast
import difflib
import re
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TAG = re.compile(r"#\s*(NEW|CHANGED) in part (\d+)(?::\s*(\S.*))?\s*$")
COMPARED_IN_SAME_FILE_ONLY = {"main", "parse_args"}
ALIKE = 0.6  # share of equal text from which on a namesake counts as the same thing, moved


@dataclass(frozen=True)
class Definition:
    """One top-level class, function or constant, as text."""

    name: str
    file: str
    text: str  # without the tag line
    line: int
    tag: str | None = None  # "NEW" or "CHANGED"
    tag_part: int | None = None
    why: str | None = None


@dataclass
class Listing:
    """What `compare` found out about one part."""

    part: int
    same: list[str] = field(default_factory=list)
    changed: list[tuple[Definition, Definition]] = field(default_factory=list)  # (new, ancestor)
    new: list[Definition] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


def names_of(node: ast.stmt) -> list[str]:
    """The names that a top-level statement defines; [] for imports, docstrings, calls."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else (
        [node.target] if isinstance(node, ast.AnnAssign) else [])
    return [leaf.id for target in targets for leaf in ast.walk(target)
            if isinstance(leaf, ast.Name)]


def definitions(path: Path) -> dict[str, Definition]:
    """Name -> definition, for every top-level definition of a Python file."""
    return definitions_in(path.read_text(encoding="utf-8"), path.name)


@cache  # the same old files are asked for once for every new definition
def definitions_in(source: str, file: str) -> dict[str, Definition]:
    lines = source.splitlines()
    found = {}
    for node in ast.parse(source, file).body:
        names = names_of(node)
        if not names:
            continue
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(d.lineno for d in decorators)])
        above = lines[first - 2].strip() if first >= 2 else ""
        match = TAG.fullmatch(above)
        kind, tag_part, why = match.groups() if match else (None, None, None)
        text = "\n".join(line.rstrip() for line in lines[first - 1:node.end_lineno])
        for name in names:
            found[name] = Definition(name, file, text, first, kind,
                                     int(tag_part) if tag_part else None, why)
    return found


def part_files(part: int, root: Path) -> dict[str, Path]:
    """File name -> path, for the Python files of a part."""
    return {path.name: path for path in sorted((root / f"part_{part}").glob("*.py"))}


def is_script(file: str) -> bool:
    return file.startswith(("demo_", "train", "benchmark_"))


def find_ancestor(definition: Definition, part: int, root: Path) -> tuple[int, Definition] | None:
    """The nearest earlier definition of the same name -> (its part, it), or None."""
    earlier = [(p, part_files(p, root)) for p in range(part - 1, -1, -1)]
    has_same_file = any(definition.file in files for _, files in earlier)
    private = definition.name.startswith("_") or definition.name in COMPARED_IN_SAME_FILE_ONLY
    for p, files in earlier:
        if has_same_file:
            candidates = [files[definition.file]] if definition.file in files else []
        elif private or is_script(definition.file):
            candidates = []
        else:
            candidates = [path for name, path in files.items() if not is_script(name)]
        for path in candidates:
            found = definitions(path).get(definition.name)
            if found and (has_same_file or is_moved(definition, found)):
                return p, found
    return None


def is_moved(definition: Definition, older: Definition) -> bool:
    """True when a definition in a file of a new name is `older`, moved and perhaps changed."""
    if definition.tag == "CHANGED" or definition.text == older.text:
        return True
    if not re.match(r"@|def |class |async ", definition.text):
        return False  # a constant: short ones read alike by chance
    alike = difflib.SequenceMatcher(None, older.text, definition.text, autojunk=False).ratio()
    return alike >= ALIKE


def check_tags(path: Path, part: int) -> list[str]:
    """Tags of another part, and tags that stand above nothing."""
    problems = []
    used = {d.line - 1 for d in definitions(path).values() if d.tag}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = TAG.fullmatch(line.strip())
        if not match:
            continue
        where = f"part_{part}/{path.name}:{number}"
        if int(match[2]) != part:
            problems.append(f"{where}: a tag of part {match[2]}; drop it when copying")
        elif number not in used:
            problems.append(f"{where}: the tag stands above no top-level definition")
        elif match[1] == "CHANGED" and not match[3]:
            problems.append(f'{where}: say why: "# CHANGED in part {part}: why"')
    return problems


def compare_file(path: Path, part: int, root: Path, listing: Listing) -> None:
    """Sort the definitions of one file into same, changed and new; note every violation."""
    ancestor_part, ancestor_path = next(
        ((p, part_files(p, root)[path.name]) for p in range(part - 1, -1, -1)
         if path.name in part_files(p, root)), (None, None))
    if ancestor_path and ancestor_path.read_bytes() == path.read_bytes():
        listing.same.append(f"{path.name} (the file of part {ancestor_part})")
        return
    found = definitions(path)
    problems = check_tags(path, part)
    for definition in found.values():
        where = f"part_{part}/{path.name}:{definition.line}: {definition.name}"
        hit = find_ancestor(definition, part, root)
        if hit is None:
            if definition.tag == "CHANGED":
                problems.append(f"{where} says CHANGED but has no ancestor")
            elif definition.tag is None and ancestor_path:
                problems.append(f"{where} is new and has no tag: # NEW in part {part}")
            listing.new.append(definition)
        elif hit[1].text == definition.text:
            if definition.tag:
                problems.append(f"{where} says {definition.tag} but equals part {hit[0]}")
            listing.same.append(f"{path.name}: {definition.name}")
        else:
            if definition.tag != "CHANGED":
                problems.append(f"{where} differs from part_{hit[0]}/{hit[1].file} without "
                                f"the tag: # CHANGED in part {part}: why")
            listing.changed.append((definition, hit[1]))
    if ancestor_path:
        listing.dropped += [f"{path.name}: {name}" for name in definitions(ancestor_path)
                            if name not in found]
        if not any(d.tag for d in found.values()):
            problems.append(f"part_{part}/{path.name} differs from part_{ancestor_part}, "
                            "but carries no tag")
    listing.violations += problems


def compare(part: int, root: Path = REPOSITORY) -> Listing:
    """Compare every file of a part with its ancestors.

    Raises ValueError when the part is not there.
    """
    files = part_files(part, root)
    if not files:
        there = [p.name for p in sorted(root.glob("part_*"))]
        raise ValueError(f"part {part} has no Python files; there are: {', '.join(there)}")
    listing = Listing(part)
    for path in files.values():
        compare_file(path, part, root, listing)
    if part > 0:
        listing.dropped += [f"{name} (whole file)" for name in part_files(part - 1, root)
                            if name not in files and not is_script(name)]
    return listing


def show(listing: Listing, brief: bool) -> None:
    """Print a listing, and the differences of what changed."""
    counts = (f"{len(listing.new)} new, {len(listing.changed)} changed, "
              f"{len(listing.same)} the same, {len(listing.dropped)} dropped")
    print(f"part {listing.part}: {counts}")
    for file in dict.fromkeys(d.file for d in listing.new):
        print(f"  new      {file}: {', '.join(d.name for d in listing.new if d.file == file)}")
    for definition, ancestor in listing.changed:
        print(f"  changed  {definition.file}: {definition.name}: {definition.why or '(no reason)'}")
        if not brief:
            lines = difflib.unified_diff(ancestor.text.splitlines(), definition.text.splitlines(),
                                         "before", "now", lineterm="", n=2)
            print("\n".join(f"           {line}" for line in list(lines)[2:]))
    for title, names in (("same", listing.same), ("dropped", listing.dropped)):
        for name in names:
            print(f"  {title:8s} {name}")
    for problem in listing.violations:
        print(f"  WRONG    {problem}")


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", type=int, help="the number of a part, from 0 to 9")
    parser.add_argument("--brief", action="store_true", help="no differences (default: off)")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    try:
        listing = compare(args.part)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(listing, args.brief)
    return 1 if listing.violations else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # the reader left, as `head` does
        sys.stderr.close()
