"""What is new in a part? Compares its code with the parts before it, definition by definition.

    python part_0/whats_new.py 5            the listing, with the differences
    python part_0/whats_new.py 5 --brief    rooms, new files and changed definitions, on one screen

Each part copies the code of the parts before it and extends it (lesson 0.1). From part 4 on its
modules lie in rooms (gpt/, text/, …), which keep their names in all parts. A definition
(top-level class, function or constant) is identical to its nearest ancestor, unless the line above
it says "# NEW in part 5" or "# CHANGED in part 5: why". A file that has an ancestor of the same
name and no such tag is byte for byte the same. The exit status is 1 where that is not so.

The nearest ancestor is looked for in the file of the same name and room in the part before, then
the part before that, and so on; in parts without rooms, in the file of the same name. A file whose
name is new may have been put together from several older ones:
its classes and functions are looked for by name in all modules of those parts, and one that reads
alike (or is tagged CHANGED) is the ancestor. Two unrelated things may share a name.
"""

import argparse
import ast
import difflib
import re
import sys
import textwrap
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TAG = re.compile(r"#\s*(NEW|CHANGED) in part (\d+)(?::\s*(\S.*))?\s*$")
COMPARED_IN_SAME_FILE_ONLY = {"main", "parse_args"}
ROOMS_OF_FLAT_FILES = ("gpt", "text", "run", "pretrained")  # their first files lay side by side
ROOMS_BEGIN = 4  # the part from which on every module lies in a room
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
    new_files: list[str] = field(default_factory=list)  # without a file of that name before
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
    return definitions_in(path.read_text(encoding="utf-8"), name_of(path))


@cache  # the same old files are asked for once for every new definition
def definitions_in(source: str, file: str) -> dict[str, Definition]:
    lines = source.splitlines()
    defined = {}
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
            defined[name] = Definition(name, file, text, first, kind,
                                       int(tag_part) if tag_part else None, why)
    return defined


def name_of(path: Path) -> str:
    """A file's name in its part, with its room: "ppo.py", "rl/ppo.py"."""
    return path.name if path.parent.name.startswith("part_") else f"{path.parent.name}/{path.name}"


def part_files(part: int, root: Path) -> dict[str, Path]:
    """Name with room -> path, for the Python files of a part."""
    folder = root / f"part_{part}"
    paths = [*folder.glob("*.py"), *(p for p in folder.glob("*/*.py") if p.parent.name != "out")]
    return {name_of(path): path for path in sorted(paths)}


def holders_of(files: dict[str, Path]) -> dict[str, list[Path]]:
    """Name of a definition -> the modules among a part's files that hold one of that name."""
    found = {}
    for file, path in files.items():
        for name in definitions(path) if not is_script(file) else ():
            found.setdefault(name, []).append(path)
    return found


def part_of(path: Path) -> int:
    """The number of the part in which a file lies."""
    return int(next(name[5:] for name in reversed(path.parts) if name.startswith("part_")))


def room_of(file: str) -> str:
    """"rl/ppo.py" -> "rl"; "" for what lies at the top of a part."""
    return file.rpartition("/")[0]


def is_script(file: str) -> bool:
    return file.startswith(("demo_", "train", "benchmark_"))


def same_file(file: str, files: dict[str, Path]) -> Path | None:
    """The file of the same name among those of another part, which may have no rooms yet."""
    room, _, name = file.rpartition("/")
    flat = name if room in ROOMS_OF_FLAT_FILES and name != "__init__.py" else file
    return files.get(file) or files.get(flat)


def find_ancestor(definition: Definition, earlier: list) -> tuple[int, Definition] | None:
    """The nearest earlier definition of the same name -> (its part, it), or None. `earlier`: the parts
    before, the nearest first, with their files and what these define."""
    has_same_file = any(same_file(definition.file, files) for _, files, _ in earlier)
    private = definition.name.startswith("_") or definition.name in COMPARED_IN_SAME_FILE_ONLY
    for p, files, holders in earlier:
        if has_same_file:
            candidates = [path for path in [same_file(definition.file, files)] if path]
        elif private or is_script(definition.file):
            candidates = []
        else:
            candidates = holders.get(definition.name, [])
        for path in candidates:
            namesake = definitions(path).get(definition.name)
            if namesake and (has_same_file or is_moved(definition, namesake)):
                return p, namesake
    return None


def is_moved(definition: Definition, older: Definition) -> bool:
    """True when a definition in a file of a new name is `older`, moved and perhaps changed."""
    if definition.tag == "CHANGED" or definition.text == older.text:
        return True
    if not re.match(r"@|def |class |async ", definition.text):
        return False  # a constant: short ones read alike by chance
    alike = difflib.SequenceMatcher(None, older.text, definition.text, autojunk=False)
    return all(share() >= ALIKE for share in  # the first two are quick, and never too low
               (alike.real_quick_ratio, alike.quick_ratio, alike.ratio))


@cache
def bare(path: Path) -> str:
    """A file's text without its imports and without the rooms in the names of files: what is left of
    a module does not change when it, or one that it imports, moves into a room."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    for node in ast.parse(text).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            lines[node.lineno - 1:node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    text = "".join(line for line in lines if line.strip())
    return re.sub(rf"\b(?:{'|'.join(ROOMS_OF_FLAT_FILES)})/(?=\w+\.py)", "", text)


def is_copy(path: Path, old: Path) -> bool:
    """Byte for byte the same; where rooms began, but for the names of rooms."""
    return path.read_bytes() == old.read_bytes() or (
        part_of(old) < ROOMS_BEGIN and bare(path) == bare(old))


def check_tags(path: Path, part: int) -> list[str]:
    """Tags of another part, and tags that stand above nothing."""
    problems = []
    used = {d.line - 1 for d in definitions(path).values() if d.tag}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = TAG.fullmatch(line.strip())
        if not match:
            continue
        where = f"part_{part}/{name_of(path)}:{number}"
        if int(match[2]) != part:
            problems.append(f"{where}: a tag of part {match[2]}; drop it when copying")
        elif number not in used:
            problems.append(f"{where}: the tag stands above no top-level definition")
        elif match[1] == "CHANGED" and not match[3]:
            problems.append(f'{where}: say why: "# CHANGED in part {part}: why"')
    return problems


def compare_file(path: Path, part: int, earlier: list, listing: Listing) -> None:
    """Sort the definitions of one file into same, changed and new; note every violation."""
    name = name_of(path)
    ancestor_part, ancestor_path = next(
        ((p, old) for p, files, _ in earlier if (old := same_file(name, files))), (None, None))
    if ancestor_path and is_copy(path, ancestor_path):
        listing.same.append(f"{name} (the file of part {ancestor_part})")
        return
    if ancestor_path is None:
        listing.new_files.append(name)
    defined = definitions(path)
    problems = check_tags(path, part)
    for definition in defined.values():
        where = f"part_{part}/{name}:{definition.line}: {definition.name}"
        hit = find_ancestor(definition, earlier)
        if hit is None:
            if definition.tag == "CHANGED":
                problems.append(f"{where} says CHANGED but has no ancestor")
            elif definition.tag is None and ancestor_path:
                problems.append(f"{where} is new and has no tag: # NEW in part {part}")
            listing.new.append(definition)
        elif hit[1].text == definition.text:
            if definition.tag:
                problems.append(f"{where} says {definition.tag} but equals part {hit[0]}")
            listing.same.append(f"{name}: {definition.name}")
        else:
            if definition.tag != "CHANGED":
                problems.append(f"{where} differs from part_{hit[0]}/{hit[1].file} without "
                                f"the tag: # CHANGED in part {part}: why")
            listing.changed.append((definition, hit[1]))
    if ancestor_path:
        listing.dropped += [f"{name}: {gone}" for gone in definitions(ancestor_path)
                            if gone not in defined]
        if not any(d.tag for d in defined.values()):
            problems.append(f"part_{part}/{name} differs from part_{ancestor_part}, "
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
    earlier = [(p, old, holders_of(old)) for p in range(part - 1, -1, -1)
               for old in [part_files(p, root)]]
    for path in files.values():
        compare_file(path, part, earlier, listing)
    if part > 0:
        listing.dropped += [f"{name} (whole file)" for name in part_files(part - 1, root)
                            if name not in files and not is_script(name)]
    return listing


def rooms(part: int, root: Path = REPOSITORY) -> list[str]:
    """A line for each kind of room: "gpt, run: as in part 6", "new: reward, 14 files"."""
    files, lines = part_files(part, root), {}
    for room in dict.fromkeys(room_of(file) for file in files if room_of(file)):
        mine = {file for file in files if room_of(file) == room}
        before = next((p for p in range(part - 1, -1, -1)
                       if any(room_of(file) == room for file in part_files(p, root))), None)
        if before is None:
            lines[f"new: {room}, {len(mine)} files"] = None
            continue
        old = part_files(before, root)
        theirs = {file for file in old if room_of(file) == room}
        other = {file for file in mine & theirs if not is_copy(files[file], old[file])}
        again = {file for file in mine - theirs for p in range(before)
                 if (older := same_file(file, part_files(p, root))) and is_copy(files[file], older)}
        said = f"as in part {before}"
        for word, some in (("without", theirs - mine), ("again with", again),
                           ("new in it", mine - theirs - again), ("changed", other)):
            if some:
                said += f", {word} {', '.join(sorted(name.rpartition('/')[2] for name in some))}"
        lines.setdefault(said, []).append(room)
    return [said if names is None else f"{', '.join(names)}: {said}"
            for said, names in lines.items()]


def first_line(path: Path) -> str:
    """The first line of a file's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def show(listing: Listing, brief: bool, root: Path = REPOSITORY) -> None:
    """Print a listing; in full, with all names and the differences of what changed."""
    counts = (f"{len(listing.new)} new, {len(listing.changed)} changed, "
              f"{len(listing.same)} the same, {len(listing.dropped)} dropped")
    print(f"part {listing.part}: {counts}")
    def say(title: str, text: str) -> None:
        print(textwrap.fill(f"  {title:8s} {text}", 100, subsequent_indent=" " * 13))

    for line in rooms(listing.part, root):
        say("rooms", line)
    if brief:
        files = part_files(listing.part, root)
        width = max(map(len, listing.new_files), default=0)
        for file in listing.new_files:
            if not file.endswith("__init__.py"):
                text = textwrap.shorten(first_line(files[file]), 87 - width, placeholder=" …")
                print(f"  {'new':8s} {file:{width}s}  {text}")
    for file in dict.fromkeys(d.file for d in listing.new):
        if not brief or file not in listing.new_files:
            names = ", ".join(d.name for d in listing.new if d.file == file)
            say("new", f"{file}: {names}")
    for definition, ancestor in listing.changed:
        say("changed", f"{definition.file}: {definition.name}: {definition.why or '(no reason)'}")
        if not brief:
            lines = difflib.unified_diff(ancestor.text.splitlines(), definition.text.splitlines(),
                                         "before", "now", lineterm="", n=2)
            print("\n".join(f"           {line}" for line in list(lines)[2:]))
    for title, names in (("same", listing.same), ("dropped", listing.dropped)):
        for name in names if not brief else ():
            print(f"  {title:8s} {name}")
    for problem in listing.violations:
        print(f"  WRONG    {problem}")


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", type=int, help="the number of a part, from 0 to 9")
    parser.add_argument("--brief", action="store_true",
                        help="on one screen: no differences, no copies (default: off)")
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
