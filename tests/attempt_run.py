"""Runs the cases and tests of one topic against an attempt, and writes down what happens as it does.

    python tests/attempt_run.py JOB.json      (part_0/practice.py starts it; nobody else needs to)

The job names a copy of the repository in which the attempt stands (`tree`), the repository itself
(`original`: what the cases expect is worked out there), the part, the topic, and the tests. The
records go to `out`, one JSON object a line, so that one sees where an attempt hung or ended us.
"""

import contextlib
import importlib
import io
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from worked_cases import Raised, cases_of, relation, shown, signature  # noqa: E402

sys.dont_write_bytecode = True


class Records:
    """Writes one JSON object a line, at once."""

    def __init__(self, path: str):
        self.file = open(path, "a", encoding="utf-8")  # noqa: SIM115
        self.open = open  # an attempt may put something else in its place

    def add(self, kind: str, **what) -> None:
        self.file.write(json.dumps({"kind": kind, **what}) + "\n")
        self.file.flush()


@contextlib.contextmanager
def importing_from(folder: Path):
    """Inside, imports mean the modules below `folder`; afterwards they are forgotten."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).resolve().is_relative_to(folder.resolve()):
                del sys.modules[name]


def outcome(run, load):
    """What a case returns, or the exception it ends in; and what it printed."""
    torch.manual_seed(0)
    random.seed(0)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            value = run(load)
            signature(value)  # a value that cannot be read is an error of the case
    except (Exception, SystemExit) as error:  # whatever an attempt does  # noqa: BLE001
        value = Raised(error)
    return value, said.getvalue()


def run_cases(job: dict, records: Records) -> None:
    """Each case twice: by the part's own code, and by the attempt's."""
    original, tree = Path(job["original"]), Path(job["tree"])
    cases = cases_of(job["part"], job["topic"], original / "tests")
    with importing_from(original / job["part"]) as load:
        expected = [outcome(case.run, load)[0] for case in cases]
    watch(job, records)
    with importing_from(tree / job["part"]) as load:
        for case, want in zip(cases, expected):
            records.add("begin", what=f"the case: {case.told}")
            got, said = outcome(case.run, load)
            status = relation(want, got)
            records.add("case", name=case.name, told=case.told, status=status, said=said[-400:],
                        expected=shown(want), got=shown(got),
                        signature=[] if isinstance(got, Raised) else signature(got),
                        raised=got.kind if isinstance(got, Raised) else "")


def watch(job: dict, records: Records) -> None:
    """From here on, note where the attempt reads the part itself, or a copy of it in another part."""
    original, tree = Path(job["original"]), Path(job["tree"])
    own = {str(tree / job["part"] / name) for name in job["files"]}
    seen = set()

    def is_foreign(path: str) -> bool:
        if path.startswith(str(original / "part_")):
            return True
        return path.startswith(str(tree / "part_")) and not path.startswith(str(tree / job["part"]))

    def hook(event, args):
        if event != "open" or not isinstance(args[0], str) or args[0] in seen:
            return
        if not args[0].endswith((".py", ".pyc")) or not is_foreign(os.path.abspath(args[0])):
            return
        frame = sys._getframe()
        while frame:
            if frame.f_code.co_filename in own:
                seen.add(args[0])
                records.add("cheat", path=args[0])
                return
            frame = frame.f_back
    sys.addaudithook(hook)


class Recorder:
    """A plugin of pytest: keeps the wanted tests, and writes down how each ended."""

    def __init__(self, records: Records, wanted: list[str] | None):
        self.records, self.wanted = records, None if wanted is None else set(wanted)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        if self.wanted is not None:
            items[:] = [item for item in items if item.nodeid in self.wanted]

    def pytest_collectreport(self, report):
        if report.failed:
            self.records.add("collect", id=report.nodeid, message=str(report.longrepr)[-600:])

    def pytest_runtest_logstart(self, nodeid):
        self.records.add("begin", what=nodeid)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = (yield).get_result()
        if report.when != "call" and not report.failed:
            return
        kind, message = "", ""
        if call.excinfo is not None and not report.skipped:
            kind, message = call.excinfo.typename, str(call.excinfo.value)[:300]
        self.records.add("test", id=item.nodeid, outcome=report.outcome, error=kind,
                         message=message, seconds=round(report.duration, 2))


def run_tests(job: dict, records: Records) -> None:
    tree = Path(job["tree"])
    files = sorted({test.partition("::")[0] for test in job["tests"]} if job["tests"] is not None
                   else job["test_files"])
    os.chdir(tree)
    if files:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(tree), "-c",
                         str(tree / "pyproject.toml"), *job.get("options", []), *files],
                        plugins=[Recorder(records, job["tests"])])


class TooLong(BaseException):
    """A changed function that does not end."""


def run_changes(job: dict) -> None:
    """The cases for each of job["changes"], [number, file, text], one after the other."""
    records, original, tree = Records(job["out"]), Path(job["original"]), Path(job["tree"])
    cases = cases_of(job["part"], job["topic"], original / "tests")
    with importing_from(original / job["part"]) as load:
        expected = [outcome(case.run, load)[0] for case in cases]

    def too_long(*_):
        raise TooLong
    signal.signal(signal.SIGALRM, too_long)
    sys.dont_write_bytecode = False  # the other modules are compiled once, in the temporary folder
    sys.pycache_prefix = str(tree.parent / "compiled")
    for number, file, text in job["changes"]:
        records.add("begin", what=str(number))
        path = tree / job["part"] / file
        before = path.read_text(encoding="utf-8")
        path.write_text(text, encoding="utf-8")
        os.utime(path, (10**9 + 10 * number,) * 2)  # its own time: never taken for another change
        wrong, error = {}, ""
        signal.setitimer(signal.ITIMER_REAL, 4)
        try:
            with importing_from(tree / job["part"]) as load:
                for case, want in zip(cases, expected):
                    got = outcome(case.run, load)[0]
                    status = relation(want, got)
                    if status != "same":
                        wrong[case.name] = [status, [] if isinstance(got, Raised) else signature(got)]
        except TooLong:
            error = "too long"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            path.write_text(before, encoding="utf-8")
        records.add("change", number=number, cases=wrong, names=[case.name for case in cases],
                    error=error)


def run(job: dict) -> None:
    records = Records(job["out"])
    run_cases(job, records)
    run_tests(job, records)
    records.add("end")


if __name__ == "__main__":
    run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
