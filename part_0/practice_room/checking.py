"""Run a topic's worked cases and tests against an attempt, where it can do no harm.

The attempt is put into a copy of the repository in a temporary folder, and run there by
tests/attempt_run.py in a process of its own: what prints is kept, what hangs or ends the process is
told, what reads the part's own code is found. Nothing outside of the copy is written.

Used   practice.py, tests/fingerprints.py
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from practice_room.topics import REPOSITORY, Topic

FINGERPRINTS = Path(__file__).resolve().parent / "fingerprints.json"
STALLED = 20   # seconds without any progress: it hangs
STARTING = 90  # seconds for importing torch, on a busy machine
LEFT_OUT = shutil.ignore_patterns("out", "__pycache__", "*.pt", "*.png", "pretrained_cache")


@dataclass
class Result:
    """What a run of the cases and tests found out about an attempt."""

    cases: list[dict] = field(default_factory=list)    # as attempt_run.py writes them
    tests: list[dict] = field(default_factory=list)
    cheats: list[str] = field(default_factory=list)    # files of the part that the attempt read
    broken: list[str] = field(default_factory=list)    # why test files could not be read
    ended: bool = False                                # did the run come to its end?
    stalled: bool = False
    doing: str = ""                                    # what was going on last
    syntax: str = ""                                   # where the attempt is no Python
    errors: str = ""                                   # the last of what the process said
    seconds: float = 0.0

    @property
    def wrong_cases(self) -> list[dict]:
        return [case for case in self.cases if case["status"] != "same"]

    @property
    def failed(self) -> list[dict]:
        return [test for test in self.tests if test["outcome"] == "failed"]

    @property
    def passed(self) -> bool:
        return bool(self.ended and (self.cases or self.tests) and not (
            self.wrong_cases or self.failed or self.cheats or self.broken or self.syntax))


def read_fingerprints() -> dict:
    """Topic -> its tests, and what fails for each known mistake; {} where none were made."""
    if not FINGERPRINTS.is_file():
        return {}
    return json.loads(FINGERPRINTS.read_text(encoding="utf-8"))


def tests_of(topic: Topic) -> list[str]:
    """The tests that `check` runs: those that see the topic's functions, and are quick."""
    found = read_fingerprints().get(topic.name)
    return found["tests"] if found else []


def make_tree(place: Path, topic: Topic) -> Path:
    """A copy of the repository's parts and of the tests of one part."""
    tree = place / "repository"
    tree.mkdir()
    shutil.copy(REPOSITORY / "pyproject.toml", tree)
    for path in sorted(REPOSITORY.glob("part_[0-9]")):
        shutil.copytree(path, tree / path.name, ignore=LEFT_OUT)
    (tree / "tests").mkdir()
    for path in (REPOSITORY / "tests").glob("*.py"):
        if not path.name.startswith("test_"):
            shutil.copy(path, tree / "tests")
    shutil.copytree(REPOSITORY / "tests" / topic.part, tree / "tests" / topic.part, ignore=LEFT_OUT)
    return tree


def put(files: dict[str, str], topic: Topic, tree: Path) -> None:
    """Put the attempt's files in the place of the part's."""
    for name, text in files.items():
        path = tree / topic.part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def job_of(topic: Topic, tree: Path, files: dict[str, str], out: Path,
           tests: list[str] | None) -> dict:
    """What attempt_run.py is told. `tests` None: all tests of the topic's files."""
    return {"tree": str(tree), "original": str(REPOSITORY), "part": topic.part,
            "topic": topic.name, "files": sorted(files), "out": str(out), "tests": tests,
            "test_files": [f"tests/{topic.part}/{name}" for name in topic.tests]}


def syntax_error(files: dict[str, str]) -> str:
    """Where one of the files is no Python: "rope.py, line 12: invalid syntax", or ""."""
    for name, text in files.items():
        try:
            compile(text, name, "exec", dont_inherit=True)
        except SyntaxError as error:
            shown = (error.text or "").rstrip()
            return f"{name}, line {error.lineno}: {error.msg}" + (f"\n    {shown}" if shown else "")
        except ValueError as error:  # a zero byte
            return f"{name}: {error}"
    return ""


def wait_for(process: subprocess.Popen, out: Path, stalled: float) -> bool:
    """Wait for the end -> False where nothing went on for `stalled` seconds, and it was ended."""
    size, since = -1, time.time()
    while process.poll() is None:
        now = out.stat().st_size if out.exists() else 0
        if now != size:
            size, since = now, time.time()
        if time.time() - since > (stalled if now > 0 else max(stalled, STARTING)):
            stop(process)
            return False
        time.sleep(0.05)
    return True


def stop(process: subprocess.Popen) -> None:
    """End the process and what it started."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def read_records(out: Path, result: Result) -> Result:
    """Fill a result with the lines that the run wrote."""
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # cut off by the end of the process
            continue
        kind = record.pop("kind")
        if kind == "begin":
            result.doing = record["what"]
        elif kind == "case":
            result.cases.append(record)
        elif kind == "test":
            result.tests.append(record)
        elif kind == "cheat":
            result.cheats.append(record["path"])
        elif kind == "collect":
            result.broken.append(record["message"])
        elif kind == "end":
            result.ended = True
    return result


def check(topic: Topic, files: dict[str, str], tests: list[str] | None,
          stalled: float = STALLED) -> Result:
    """Run the topic's cases and `tests` against an attempt's files."""
    result, begin = Result(syntax=syntax_error(files)), time.time()
    if result.syntax:
        return result
    with tempfile.TemporaryDirectory(prefix="practice_", ignore_cleanup_errors=True) as place:
        tree = make_tree(Path(place), topic)
        put(files, topic, tree)
        out, job = Path(place) / "records", Path(place) / "job.json"
        job.write_text(json.dumps(job_of(topic, tree, files, out, tests)), encoding="utf-8")
        said = Path(place) / "said"
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg",
                       "TMPDIR": place}
        with open(said, "w", encoding="utf-8") as file:
            process = subprocess.Popen(
                [sys.executable, str(REPOSITORY / "tests" / "attempt_run.py"), str(job)],
                cwd=place, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=environment, start_new_session=True)
            try:
                result.stalled = not wait_for(process, out, stalled)
            finally:
                if process.poll() is None:  # Ctrl-C
                    stop(process)
        read_records(out, result)
        result.errors = said.read_text(encoding="utf-8", errors="replace")[-2000:]
    result.seconds = time.time() - begin
    return result
