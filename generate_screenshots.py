"""Runs the demos whose pictures are missing or out of date, and collects every picture.

    python generate_screenshots.py                 what is missing or made by other code or data
    python generate_screenshots.py --all           everything anew
    python generate_screenshots.py --only part_3   one part (or one demo: --only demo_rope)
    python generate_screenshots.py --collect-only  run nothing, collect what is there
    python generate_screenshots.py --check         list what is out of date: pictures, and figures
                                                   that the lessons give; status 1 if anything is
    python generate_screenshots.py --stamp eval    what holds this word has been made anew by hand

Pictures end in screenshots/ as part_3_rope.png, with an index page (screenshots/index.html) and a
list (screenshots/README.md). A demo that fails is reported with its last lines, the others still
run, and the exit status is 1. A picture that is there is only replaced by a complete new one.
"""

import argparse
import ast
import html
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from tqdm import tqdm

ROOT = Path(__file__).resolve().parent
SCREENSHOTS = ROOT / "screenshots"
fingerprints = SimpleNamespace(**runpy.run_path(str(SCREENSHOTS / "fingerprints.py")))
MAIN = 'if __name__ == "__main__":'
TIMEOUT = 1800  # seconds for one demo; the quickest machine we know needs under 60
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")  # as in picture_page.py
NOT_BY_ITSELF = {"demo_pipeline.py"}  # runs for minutes; with --all or by name only
MADE_BY = {"demo_tool_use.py": ("tools.pt", "train_tools.py")}  # a model that the chain lacks


@dataclass(frozen=True)
class Failure:
    """A demo that did not end well, and its last lines."""

    demo: Path
    status: str
    lines: str


def find_demos(only: str = "", root: Path = ROOT) -> list[Path]:
    """All demo_*.py, part by part, and what takes pictures in a browser, where there is one; `only`
    keeps those whose path holds it."""
    names = ("demo", "picture") if any(map(shutil.which, BROWSERS)) else ("demo",)
    return [path for name in names for path in sorted(root.glob(f"part_[0-9]/{name}_*.py"))
            if only in str(path.relative_to(root))]


def pictures_of(demo: Path) -> list[str]:
    """Names of the PNG files that a demo writes: the string constants ending in .png."""
    tree = ast.parse(demo.read_text(encoding="utf-8"))
    names = [node.value for node in ast.walk(tree)
             if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return sorted({name for name in names if name.endswith(".png") and "/" not in name
                   and " " not in name and len(name) > 4})


def is_stale(demo: Path) -> bool:
    """True when a picture of the demo is missing, or was made by other code or data."""
    today, book = fingerprints.House(ROOT).fingerprint(demo), fingerprints.load(book_path())
    names = [f"{demo.parent.name}_{name}" for name in pictures_of(demo)]
    return not names or not all((SCREENSHOTS / name).is_file() and book["pictures"].get(name) == today
                                for name in names)


def book_path() -> Path:
    return SCREENSHOTS / "fingerprints.json"


def made_by() -> dict[str, dict[str, Path | None]]:
    """Every committed picture, and every script with figures in a lesson -> the script behind it."""
    pictures = {}
    for picture in sorted(SCREENSHOTS.glob("part_[0-9]_*.png")):
        command = caption_of(picture, ROOT)[1]
        pictures[picture.name] = ROOT / command.removeprefix("python ") if command else None
    return {"pictures": pictures, "figures": fingerprints.figures_of(ROOT)}


def check() -> int:
    """Print what is out of date -> the exit status."""
    known = made_by()
    lines = fingerprints.out_of_date(fingerprints.load(book_path()), known, ROOT)
    print("\n".join(lines + [f"{len(lines)} of {sum(map(len, known.values()))} out of date"]))
    return 1 if lines else 0


def stamp(kinds_and_names: list[tuple[str, str]]) -> None:
    """Put today's fingerprints on file for these: ("pictures", "part_3_rope.png") …"""
    book, known, house = fingerprints.load(book_path()), made_by(), fingerprints.House(ROOT)
    for kind, name in kinds_and_names:
        if known[kind].get(name) is not None:
            book[kind][name] = house.fingerprint(known[kind][name])
    for kind, names in book.items():    # what is gone is forgotten
        book[kind] = {name: names[name] for name in names if name in known[kind]}
    fingerprints.store(book_path(), book)


def stamp_by_hand(word: str) -> int:
    """--stamp: everything whose name holds the word -> the exit status."""
    names = [(kind, name) for kind, found in made_by().items() for name in found if word in name]
    if not names:
        print(f"error: --stamp {word}: no picture and no script's figures hold that",
              file=sys.stderr)
        return 2
    stamp(names)
    print("\n".join(f"stamped {kind}: {name}" for kind, name in names))
    return 0


def stamp_demos(printed: dict[Path, str]) -> None:
    """After demos have run: their pictures, and their figures where the lesson gives the same."""
    names = []
    for demo, text in printed.items():
        lesson = demo.parent / "README.md"
        names += [("pictures", f"{demo.parent.name}_{name}") for name in pictures_of(demo)]
        if lesson.is_file() and fingerprints.agrees(text, lesson.read_text(encoding="utf-8")):
            names.append(("figures", f"{demo.parent.name}/{demo.name}"))
    stamp(names)


def flags_of(demo: Path) -> list[str]:
    """None, but for the main job: where a chain has left results, its picture is drawn of those."""
    report = demo.parent / "out" / "report.json"
    if demo.name not in NOT_BY_ITSELF or not report.is_file():
        return []
    preset = json.loads(report.read_text(encoding="utf-8")).get("preset", "mixed")
    return ["--report"] if preset == "mixed" else ["--report", "--preset", preset]


def scripts_of(demo: Path) -> list[Path]:
    """The demo, and before it the script that makes its model, where that is missing."""
    model, maker = MADE_BY.get(demo.name, ("", ""))
    is_missing = maker and not (demo.parent / "out" / model).is_file()
    return [demo.with_name(maker), demo] if is_missing else [demo]


def run_demo(demo: Path, timeout: float = TIMEOUT, printed: dict | None = None) -> Failure | None:
    """Run one demo in a process of its own -> None, or what went wrong. `printed[demo]`: its text."""
    for script in scripts_of(demo):
        try:
            done = subprocess.run([sys.executable, str(script), *flags_of(script)],
                                  cwd=demo.parent, capture_output=True, text=True,
                                  timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            return Failure(demo, f"{script.name} ran past {timeout:.0f} s", "")
        if done.returncode != 0:
            lines = (done.stdout + done.stderr).strip().splitlines()[-12:]
            return Failure(demo, f"exit status {done.returncode}", "\n".join(lines))
    if printed is not None:
        printed[demo] = done.stdout
    return None


def replace_with_copy(source: Path, target: Path) -> None:
    """Copy to a temporary name, then move into place: never half a picture."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(source, temporary)
    os.replace(temporary, target)


def collect(root: Path = ROOT, folder: Path = SCREENSHOTS) -> list[Path]:
    """Copy every complete PNG of part_N/out/ to screenshots/part_N_<subject>.png; that of a longer
    run, out/medium/, to part_N_medium_<subject>.png."""
    folder.mkdir(exist_ok=True)
    for picture in sorted([*root.glob("part_[0-9]/out/*.png"),
                           *root.glob("part_[0-9]/out/medium/*.png")]):
        content = picture.read_bytes()
        is_complete = content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82")
        part, _, *subject = picture.relative_to(root).parts  # part_N, out, the rest
        target = folder / "_".join([part, *subject])
        if is_complete and (not target.exists() or target.read_bytes() != content):
            replace_with_copy(picture, target)
    return sorted(folder.glob("part_[0-9]_*.png"))


def caption_of(picture: Path, root: Path = ROOT) -> tuple[str, str]:
    """A picture's (question, command): the first docstring line of the script that draws it.

    The script holds the picture's name, or its beginning: f"compare_{data}.png"; or it is the first
    that imports the module which does.
    """
    part, name = picture.name[:6], picture.name[7:].removeprefix("medium_")
    beginning = f'f"{name.rpartition("_")[0] or name}_{{'
    files = [*(root / part).glob("*.py"), *(root / part).glob("*/*.py")]
    sources = {path: path.read_text(encoding="utf-8")
               for path in sorted(files, reverse=True)}  # train_… before demo_…
    for path in sorted(sources):
        if any(text in sources[path] for text in (f'"{name}"', f"'{name}'", beginning)):
            module = ".".join(path.relative_to(root / part).with_suffix("").parts)
            users = [path] if MAIN in sources[path] else \
                [user for user, text in sources.items()
                 if MAIN in text and f"from {module} import" in text]
            if users:
                first = (ast.get_docstring(ast.parse(sources[users[0]])) or "").strip().splitlines()
                return (first[0] if first else users[0].stem), f"python {part}/{users[0].name}"
    stem = name.removesuffix(".png")
    for path, source in sources.items():    # or a script whose docstring says that it writes it
        words = ast.get_docstring(ast.parse(source)) if MAIN in source else None
        if words and ".png" in words and re.search(rf"\b{stem}\b", words):
            return words.splitlines()[0], f"python {part}/{path.name}"
    return picture.stem.replace("_", " "), ""


def write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


PAGE = (SCREENSHOTS / "page.html").read_text(encoding="utf-8")  # its places: {count} {links} {body}


def write_index(pictures: list[Path], folder: Path = SCREENSHOTS, root: Path = ROOT) -> None:
    """Write screenshots/index.html and screenshots/README.md."""
    parts = sorted({picture.name[:6] for picture in pictures})
    blocks = []
    lines = ["# The pictures", "",
             "Made by `python generate_screenshots.py`. On one page: [index.html](index.html)", ""]
    for part in parts:
        name = part.replace("_", " ").capitalize()
        blocks.append(f'<h2 id="{part}">{name}</h2>')
        lines += [f"## {name}", "", "| picture | question | command |", "|---|---|---|"]
        for picture in pictures:
            if picture.name[:6] != part:
                continue
            question, command = caption_of(picture, root)
            blocks.append(f'<figure><img src="{picture.name}" loading="lazy" '
                          f'alt="{html.escape(question, quote=True)}">'
                          f"<figcaption>{html.escape(question)}<br><code>{command}</code>"
                          "</figcaption></figure>")
            cells = [f"[{picture.name}]({picture.name})", question.replace("|", "/"), f"`{command}`"]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    links = " ".join(f'<a href="#{p}">{p.replace("_", " ").capitalize()}</a>' for p in parts)
    write(folder / "index.html", PAGE.format(count=len(pictures), links=links,
                                             body="\n".join(blocks)))
    write(folder / "README.md", "\n".join(lines))


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="run every demo (default: stale ones)")
    parser.add_argument("--only", default="", help="demos whose path holds this (default: all)")
    parser.add_argument("--collect-only", action="store_true", help="run nothing (default: off)")
    parser.add_argument("--check", action="store_true",
                        help="run nothing, list what is out of date (default: off)")
    parser.add_argument("--stamp", default="", metavar="WORD", help="pictures and figures whose name "
                        "holds this were made anew by hand (default: none)")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    if args.check or args.stamp:
        return check() if args.check else stamp_by_hand(args.stamp)
    demos = find_demos(args.only)
    if not demos:
        print(f"error: --only {args.only}: no demo's path holds that", file=sys.stderr)
        return 2
    if args.collect_only:
        demos = []
    elif not args.all:
        demos = [demo for demo in demos if is_stale(demo)
                 and (demo.name not in NOT_BY_ITSELF or args.only)]
    if SCREENSHOTS.exists() and not os.access(SCREENSHOTS, os.W_OK):
        print(f"error: {SCREENSHOTS}: cannot write there", file=sys.stderr)
        return 2
    failures, printed = [], {}
    with tqdm(demos, unit="demo", disable=not demos) as bar:
        for demo in bar:
            bar.set_description(f"{demo.parent.name}/{demo.name}")
            start = time.time()
            failure = run_demo(demo, printed=printed)
            verdict = failure.status if failure else "done"
            tqdm.write(f"{verdict:16s} {time.time() - start:6.1f} s  {demo.relative_to(ROOT)}")
            failures += [failure] if failure else []
    pictures = collect()
    write_index(pictures)
    stamp_demos(printed)
    print(f"{len(demos)} demos run, {len(pictures)} pictures in {SCREENSHOTS.name}/")
    for failure in failures:
        print(f"\nFAILED {failure.demo.relative_to(ROOT)}: {failure.status}\n{failure.lines}",
              file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
