"""Fingerprints for the practice: which tests and worked cases fail for each planted bug of a topic.

    python tests/planted_bugs.py --fingerprints                  the topics that are out of date
    python tests/planted_bugs.py --fingerprints --only part_3    those of one part

They are kept in part_0/practice_room/fingerprints.json; a test says which are out of date. For each
topic: (1) the tests of its files that fail when its functions are empty are its tests, if they are
quick; (2) each planted bug that lies inside its functions is put in, and what fails is written down.
"""

import ast
import copy
import hashlib
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "part_0")]

import mutants  # noqa: E402
from practice_room import attempt, checking, diagnosis  # noqa: E402
from practice_room.catalogue import all_topics  # noqa: E402
from practice_room.topics import Topic, functions_of  # noqa: E402
from zygote import PRELOADED  # noqa: E402

MOST_CHANGES = 50  # small changes that are tried, of a topic
KEPT: dict[str, str] = {}  # text of a function -> its meaning
SLOWEST, TOGETHER, MOST = 2.0, 4.0, 40  # seconds of a test, of all of a topic; how many tests


def span_of(topic: Topic, bug) -> str | None:
    """The file in the part where a bug lies inside one of the topic's functions, or None."""
    name = bug.file.removeprefix(f"{topic.part}/")
    if name == bug.file or name not in topic.hints:
        return None
    source = (ROOT / bug.file).read_text(encoding="utf-8")
    at = source.find(bug.old)
    begin = len(os.path.commonprefix([bug.old, bug.new]))  # what stays the same does not count
    end = len(bug.old) - len(os.path.commonprefix([bug.old[begin:][::-1], bug.new[begin:][::-1]]))
    first = source[:at + begin].count("\n") + 1
    last = first + source[at + begin:at + max(begin, end)].rstrip("\n").count("\n")
    nodes = functions_of(source)
    inside = any(nodes[f].lineno <= first and last <= nodes[f].end_lineno for f in topic.hints[name])
    return name if at >= 0 and inside else None


def bugs_of(topic: Topic, bugs: list) -> list:
    """The bugs inside a topic's functions; one that changes a comment alone is none."""
    return [bug for bug in bugs if bug.practised and span_of(topic, bug) and stamp_of_bug(topic, bug) != stamp_of_bug(
        topic, replace(bug, new=bug.old))]


def meaning(node: ast.AST) -> str:
    """A text of the code alone: comments, blanks, docstrings and the names of its own variables do
    not count."""
    node = copy.deepcopy(node)
    own = {}
    for inner in ast.walk(node):
        if isinstance(inner, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(inner):
            inner.body = inner.body[1:] or [ast.Pass()]
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            own.setdefault(inner.id, f"v{len(own)}")
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            inner.id = own.get(inner.id, inner.id)
    return ast.dump(node)


@cache
def meanings(source: str) -> dict[str, str]:
    """Name of each function in a file -> its meaning. A function's is worked out once, in how many
    versions of its file it may stand."""
    lines, found = source.splitlines(), {}
    for name, node in functions_of(source).items():
        first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
        text = "\n".join(lines[first - 1:node.end_lineno])
        if text not in KEPT:
            KEPT[text] = meaning(node)
        found[name] = KEPT[text]
    return found


@cache
def cases_in(path: Path) -> list[tuple[list[str], bool, str]]:
    """For each statement of a file of worked cases: its marks, is it a definition, its meaning."""
    return [([ast.unparse(mark) for mark in getattr(node, "decorator_list", [])],
             isinstance(node, (ast.FunctionDef, ast.ClassDef)), meaning(node))
            for node in ast.parse(path.read_text(encoding="utf-8")).body]


def short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def stamp_of(topic: Topic, tests: list[str]) -> str:
    """Changes when the topic's functions, tests or worked cases do."""
    parts = []
    for name, functions in topic.hints.items():
        found = meanings((ROOT / topic.part / name).read_text(encoding="utf-8"))
        parts += [found[function] for function in functions]
    wanted = {}
    for test in tests:
        file, _, name = test.partition("::")
        wanted.setdefault(file, set()).add(name.partition("[")[0])
    for file, names in sorted(wanted.items()):
        found = meanings((ROOT / file).read_text(encoding="utf-8"))
        parts += [found.get(name, f"no {name}") for name in sorted(names)]
    for path in sorted((ROOT / "tests" / topic.part).glob("cases*.py")):
        for marks, is_definition, code in cases_in(path):
            mine = [mark for mark in marks if mark.startswith(f"case('{topic.name}',")]
            others = [mark for mark in marks if mark.startswith("case(")]
            if mine or (is_definition and not others):
                parts.append(code)
    return short("\n".join(parts))


def stamp_of_bug(topic: Topic, bug) -> str:
    """Changes when what the bug does changes, not when its text does."""
    name = bug.file.removeprefix(f"{topic.part}/")
    source = (ROOT / bug.file).read_text(encoding="utf-8").replace(bug.old, bug.new)
    found = meanings(source)
    return short("\n".join(found[f] for f in topic.hints[name] if f in found))


def is_stale(topic: Topic, bugs: list, one: dict | None) -> bool:
    """Are the fingerprints of a topic missing or out of date?"""
    if one is None or one["stamp"] != stamp_of(topic, one["tests"]) or "changes" not in one:
        return True
    return {bug.name: stamp_of_bug(topic, bug) for bug in bugs_of(topic, bugs)} != {
        name: pattern["stamp"] for name, pattern in one["bugs"].items()}


def stale_topics(bugs: list) -> list[str]:
    """The topics whose fingerprints are missing or out of date."""
    known = checking.read_fingerprints()
    return [name for name, topic in all_topics().items() if is_stale(topic, bugs, known.get(name))]


class Forks:
    """Runs jobs in children of a process that has imported torch and pytest already."""

    def __init__(self, topic: Topic, place: Path):
        import attempt_run
        for name in PRELOADED:
            importlib.import_module(name)
        self.runner, self.topic, self.place = attempt_run, topic, place
        self.tree = checking.make_tree(place, topic)
        self.original = {name: (ROOT / topic.part / name).read_text(encoding="utf-8")
                         for name in topic.hints}

    def run(self, files: dict[str, str], tests: list[str] | None,
            stalled: float = checking.STALLED) -> checking.Result:
        """As checking.check, without starting an interpreter."""
        result = checking.Result(syntax=checking.syntax_error(files))
        out = self.place / "records"
        out.unlink(missing_ok=True)
        checking.put(files, self.topic, self.tree)
        job = checking.job_of(self.topic, self.tree, files, out, tests) | {
            "options": ["--assert=plain"]}  # quicker: nobody reads the messages
        begin = time.time()
        child = os.fork()
        if child == 0:
            self.become(job)
        result.stalled = not wait_for(child, out, stalled)
        checking.put(self.original, self.topic, self.tree)
        for name in set(files) - set(self.original):
            (self.tree / self.topic.part / name).unlink(missing_ok=True)
        result.seconds = time.time() - begin
        return checking.read_records(out, result)

    def changes(self) -> list[str]:
        """What comes of small changes: "code 0:3fa,4:b02", see diagnosis.outline."""
        todo = []
        for name, hints in self.topic.hints.items():
            share = MOST_CHANGES * len(hints) // len(self.topic.functions)
            todo += [(code, name, text) for code, text in mutants.changed(
                self.original[name], list(hints), share)]
        found, first, out = {}, 0, self.place / "changes"
        while first < len(todo):
            out.unlink(missing_ok=True)
            job = checking.job_of(self.topic, self.tree, {}, out, []) | {"changes": [
                [i, *todo[i][1:]] for i in range(first, len(todo))]}
            child = os.fork()
            if child == 0:
                self.become(job)
            wait_for(child, out, 20)
            checking.put(self.original, self.topic, self.tree)
            for line in out.read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                first = max(first, int(record.get("what", record.get("number", 0))) + 1)
                if record["kind"] == "change" and record["cases"] and not record["error"]:
                    short = diagnosis.outline(record, record["names"])
                    found.setdefault(f"{todo[record['number']][0]} {short}")
        return list(found)

    def become(self, job: dict) -> None:
        """In the child: run the job, and never come back."""
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(quiet, number)
        os.environ.update(PYTHONDONTWRITEBYTECODE="1", MPLBACKEND="Agg", TMPDIR=str(self.place))
        tempfile.tempdir = str(self.place)
        try:
            (self.runner.run_changes if "changes" in job else self.runner.run)(job)
        finally:
            os._exit(0)


def wait_for(child: int, out: Path, stalled: float) -> bool:
    """Wait for the child -> False where nothing went on for `stalled` seconds, and it was ended."""
    size, since = -1, time.time()
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        now = out.stat().st_size if out.exists() else 0
        if now != size:
            size, since = now, time.time()
        if time.time() - since > (stalled if now > 0 else max(stalled, checking.STARTING)):
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(0.01)
    return True


def tests_for(topic: Topic, forks: Forks) -> list[str]:
    """The quick tests that pass with the part's own code and fail where nothing is written."""
    clean = forks.run(forks.original, None, 120)
    seconds = {test["id"]: test["seconds"] for test in clean.tests if test["outcome"] == "passed"}
    if not clean.ended or clean.wrong_cases or clean.failed:
        raise ValueError(f"{topic.name}: the part's own code fails: {clean.doing} "
                         f"{[c['name'] for c in clean.wrong_cases]} {clean.failed[:2]}")
    empty = {name: attempt.emptied(forks.original[name], topic, hints, False)
             for name, hints in topic.hints.items()}
    nothing = forks.run(empty, None, 120)
    ran = {test["id"] for test in nothing.tests} if nothing.broken else set(seconds)
    failed = [test["id"] for test in nothing.failed if test["id"] in seconds]
    failed += [test for test in seconds if test not in ran]  # of files that could not be read
    found, total, often = [], 0.0, Counter()
    turn = {}  # the first case of each test function before all second ones
    for test in failed:
        function = test.partition("[")[0]
        turn[test] = often[function]
        often[function] += 1
    for test in sorted(failed, key=lambda test: (turn[test], seconds[test])):
        total += seconds[test]
        if seconds[test] > SLOWEST or total > TOGETHER:
            total -= seconds[test]
            continue
        if len(found) == MOST:
            break
        found.append(test)
    return [test for test in failed if test in set(found)]


def with_bug(forks: Forks, bug, name: str) -> dict[str, str]:
    source = forks.original[name]
    assert source.count(bug.old) == 1, bug.name
    return {**forks.original, name: source.replace(bug.old, bug.new)}


def fingerprint(topic: Topic, bugs: list, old: dict | None) -> dict:
    """The topic's tests, and the pattern of each of its planted bugs. What is in `old` and not out
    of date is kept."""
    with tempfile.TemporaryDirectory(prefix="fingerprints_", ignore_cleanup_errors=True) as place:
        forks = Forks(topic, Path(place))
        kept = {}
        if old is not None and old["stamp"] == stamp_of(topic, old["tests"]):
            tests, kept = old["tests"], old["bugs"]
        else:
            old, tests = None, tests_for(topic, forks)
        changes = old.get("changes") if old else None
        changes = forks.changes() if changes is None else changes
        patterns, begin = {}, time.time()
        for bug in bugs_of(topic, bugs):
            if kept.get(bug.name, {}).get("stamp") == stamp_of_bug(topic, bug):
                patterns[bug.name] = kept[bug.name]
                continue
            result = forks.run(with_bug(forks, bug, span_of(topic, bug)), tests)
            pattern = diagnosis.pattern_of(result, tests)
            if result.passed:
                print(f"  SURVIVES in {topic.name}: {bug.name}", flush=True)
            elif not pattern["tests"] and not result.stalled:
                print(f"  no test fails in {topic.name}: {bug.name}", flush=True)
            patterns[bug.name] = {"stamp": stamp_of_bug(topic, bug), **pattern}
    print(f"{topic.name:6s} {len(tests):3d} tests, {len(patterns):2d} mistakes, "
          f"{len(changes):2d} changes, {time.time() - begin:.0f} s", flush=True)
    return {"stamp": stamp_of(topic, tests), "tests": tests, "changes": changes, "bugs": patterns}


def save(found: dict) -> None:
    """One topic, and one bug, a line: so that differences can be read."""
    lines = []
    for name, one in sorted(found.items(), key=lambda item: list(all_topics()).index(item[0])):
        bugs = ",\n".join(f"   {json.dumps(bug, ensure_ascii=False)}: "
                          f"{json.dumps(pattern, separators=(',', ':'))}"
                          for bug, pattern in one["bugs"].items())
        lines.append(f' {json.dumps(name)}: {{"stamp": {json.dumps(one["stamp"])},\n  "tests": '
                     f'{json.dumps(one["tests"])},\n  "changes": {json.dumps(one.get("changes", []))},\n'
                     f'  "bugs": {{\n{bugs}}}}}')
    checking.FINGERPRINTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def make(bugs: list, only: str) -> int:
    """Make what is out of date -> the exit status."""
    stale = [name for name in stale_topics(bugs) if only in all_topics()[name].part]
    print(f"{len(stale)} topics are out of date")
    for name in stale:
        known = {n: f for n, f in checking.read_fingerprints().items() if n in all_topics()}
        one = fingerprint(all_topics()[name], bugs, known.get(name))
        save({**known, name: one})
    return 0
