"""Do the tests catch bugs? Plants each of a list of plausible bugs, runs the tests, restores.

    python tests/planted_bugs.py                    all parts
    python tests/planted_bugs.py --only part_2      one part
    python tests/planted_bugs.py --name window      bugs whose name holds a word
    python tests/planted_bugs.py --list             the list, nothing is run
    python tests/planted_bugs.py --fingerprints     what fails for each, for part_0/practice.py

The working tree is never touched: bugs are planted in a copy in a temporary folder. The exit status
is 0 when at least 95% are caught; survivors are named.
"""

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = 0.95
LEFT_OUT = shutil.ignore_patterns("out", ".git", "__pycache__", ".venv", "*.png", "*.pt", "practice")


def load_bugs(only: str, name: str) -> list:
    """All bugs of tests/part_N/bugs*.py and tests/bugs*.py that the filters let through."""
    sys.path.insert(0, str(ROOT / "tests"))
    bugs = []
    for path in sorted((ROOT / "tests").glob("**/bugs*.py")):
        name_of_module = f"bugs_of_{path.parent.name}_{path.stem}"
        spec = importlib.util.spec_from_file_location(name_of_module, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        bugs += module.BUGS
    return [bug for bug in bugs if only in bug.file and name in bug.name]


def misplaced(bugs: list) -> list[str]:
    """Bugs whose `old` text does not occur exactly once: the list has drifted from the code."""
    problems = []
    for bug in bugs:
        count = (ROOT / bug.file).read_text(encoding="utf-8").count(bug.old)
        if count != 1:
            problems.append(f"{bug.name}: the old text occurs {count} times in {bug.file}")
    return problems


def run_tests(tree: Path, test: str, timeout: float) -> tuple[bool, str]:
    """Run one test file in `tree` -> (some test failed, the line that says which)."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", test]
    try:
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=timeout,
                              check=False)
    except subprocess.TimeoutExpired:
        return True, f"ran past {timeout:.0f} s"
    if done.returncode not in (0, 1, 2):
        raise ValueError(f"{test}: pytest failed to run:\n{done.stdout[-1500:]}{done.stderr}")
    line = re.search(r"^(FAILED|ERROR) .*$", done.stdout, re.MULTILINE)
    return done.returncode != 0, line[0] if line else ""


def plant(bug, timeout: float) -> tuple[bool, str, float]:
    """Copy the repository, plant one bug, run its tests -> (caught, by which test, seconds)."""
    start = time.time()
    with tempfile.TemporaryDirectory(prefix="planted_") as folder:
        tree = Path(folder) / "repository"
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        path = tree / bug.file
        source = path.read_text(encoding="utf-8")
        path.write_text(source.replace(bug.old, bug.new), encoding="utf-8")
        caught, line = run_tests(tree, bug.test, timeout)
    return caught, line, time.time() - start


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only bugs whose file holds this (default: all)")
    parser.add_argument("--name", default="", help="only bugs whose name holds this (default: all)")
    parser.add_argument("--list", action="store_true", help="print the list only (default: off)")
    parser.add_argument("--fingerprints", action="store_true",
                        help="write down which tests fail for which bug, where the practice's "
                             "file is out of date (default: off)")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (default: 2)")
    parser.add_argument("--timeout", type=float, default=300,
                        help="seconds for one run of tests (default: 300)")
    parser.add_argument("--no-clean-run", action="store_true",
                        help="skip the check that the tests pass without a bug (default: off)")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    if args.fingerprints:
        import fingerprints
        return fingerprints.make(load_bugs("", ""), args.only)
    bugs = load_bugs(args.only, args.name)
    if not bugs:
        print("no bug matches", file=sys.stderr)
        return 2
    problems = misplaced(bugs)
    for problem in problems:
        print(f"MISPLACED {problem}")
    if args.list or problems:
        for bug in bugs:
            print(f"{bug.file:32s} {bug.name}")
        return 1 if problems else 0
    if not args.no_clean_run:
        for test in dict.fromkeys(bug.test for bug in bugs):
            failed, line = run_tests(ROOT, test, args.timeout)
            if failed:
                print(f"{test} fails without any bug: {line}", file=sys.stderr)
                return 2
    survivors = []
    with ThreadPoolExecutor(args.jobs) as pool:
        outcomes = pool.map(lambda bug: plant(bug, args.timeout), bugs)
        for bug, (caught, line, seconds) in zip(bugs, outcomes):
            verdict = "caught  " if caught else "SURVIVED"
            print(f"{verdict} {seconds:5.1f} s  {bug.name}  {line[:90]}", flush=True)
            survivors += [] if caught else [bug]
    share = 1 - len(survivors) / len(bugs)
    print(f"\n{len(bugs) - len(survivors)} of {len(bugs)} planted bugs caught ({share:.0%})")
    for bug in survivors:
        print(f"survived: {bug.name} ({bug.file})")
    return 0 if share >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
