"""The suite on two cores: two processes share the tests, each takes the next file that is free.

Why     Most of a test's time is Python and starting scripts, which a second thread does not help.
How     After collection the process forks. Who makes the file CLAIMS/7 first runs the tests of
        group 7; the child writes its reports down, the parent passes them on as if it had run the
        tests itself. So what is printed, and the exit status, are those of one process.
When    Linux, two cores, at least FEWEST files; not with --one-process, --full, --pdb or -x.
        Each process then computes on one thread, and tells the scripts that it starts so.
"""

import json
import os
import sys
from itertools import groupby
from pathlib import Path

import pytest
import torch

FEWEST = 8  # test files, from which a second process is worth its start
MOST = 50  # tests that are taken at once: a long file is shared too
FEW = 4    # of those that lie beside the parts' folders: they come last, most start a script


def is_wanted(session) -> bool:
    """Is the run large enough, and one that can be shared?"""
    option = session.config.option
    alone = (option.one_process or option.full or option.usepdb or option.maxfail
             or option.collectonly or session.testsfailed)
    return (not alone and sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1
            and len({item.path for item in session.items}) >= FEWEST)


def most_at_once(item) -> int:
    """How many tests of this file are taken together: few where they are long, so that no process
    is left alone with many at the end."""
    return FEW if item.path.parent == Path(__file__).resolve().parent else MOST


class Claims:
    """Groups of tests that two processes take one by one, none twice."""

    def __init__(self, folder: Path, items: list):
        self.folder = folder
        files = [list(group) for _, group in groupby(items, key=lambda item: item.path)]
        self.groups = [file[i:i + size] for file in files for size in [most_at_once(file[0])]
                       for i in range(0, len(file), size)]
        self.next = 0

    def take(self) -> list:
        """The tests of the first group that nobody has taken; [] where there is none."""
        while self.next < len(self.groups):
            number = self.next
            self.next += 1
            try:
                os.close(os.open(self.folder / str(number), os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            return self.groups[number]
        return []


def run_claimed(session, claims: Claims, after_each=lambda: None) -> None:
    """pytest's own loop over the groups that this process gets. The next group is taken before the
    last test of this one ends: what both need (the starter of scripts) then stays."""
    group = claims.take()
    while group:
        following = claims.take()
        for item, then in zip(group, [*group[1:], following[0] if following else None]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=then)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
        after_each()
        group = following


class Writer:
    """In the child: reports go into a file, one a line."""

    def __init__(self, config, path: Path):
        self.config, self.file = config, path.open("w", encoding="utf-8")

    def pytest_runtest_logreport(self, report):
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.file.write(json.dumps(data) + "\n")
        self.file.flush()


class Reader:
    """In the parent: passes on what the child has written since the last look."""

    def __init__(self, config, path: Path):
        self.config, self.path, self.at = config, path, 0

    def pass_on(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.at)
            lines = file.read().split(b"\n")[:-1]  # a line that is being written comes next time
        for line in lines:
            self.at += len(line) + 1
            report = self.config.hook.pytest_report_from_serializable(config=self.config,
                                                                      data=json.loads(line))
            if isinstance(report.longrepr, list):  # where and why it was skipped: JSON has no tuples
                report.longrepr = tuple(report.longrepr)
            self.config.hook.pytest_runtest_logreport(report=report)


def be_the_second(session, claims: Claims, folder: Path, ready: int) -> int:
    """The child's part -> its exit status."""
    plugins = session.config.pluginmanager
    capture = plugins.getplugin("capturemanager")
    capture.stop_global_capturing()  # its files are the parent's; that one waits until `ready`
    with open(folder / "output", "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    capture.start_global_capturing()
    plugins.unregister(plugins.getplugin("terminalreporter"))
    plugins.register(Writer(session.config, folder / "reports.jsonl"))
    os.write(ready, b"1")
    run_claimed(session, claims)
    (folder / "done").touch()  # a test that calls os._exit(0) does not come so far
    return 0


def pytest_runtestloop(session):
    """Instead of pytest's own loop, where two processes are wanted."""
    if not is_wanted(session):
        return None
    factory = session.config._tmp_path_factory
    folder = factory.mktemp("two_processes")
    (folder / "claims").mkdir()
    claims = Claims(folder / "claims", session.items)
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    ready, when_ready = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = be_the_second(session, claims, folder, when_ready)
        finally:
            os._exit(status)  # never into the parent's own ending
    os.close(when_ready)
    os.read(ready, 1)
    os.close(ready)
    reader = Reader(session.config, folder / "reports.jsonl")
    try:
        run_claimed(session, claims, reader.pass_on)
    finally:
        _, status = os.waitpid(child, 0)
    reader.pass_on()
    if status or not (folder / "done").exists():
        pytest.exit(f"the second process ended with {os.waitstatus_to_exitcode(status)}; what it "
                    f"said is in {folder / 'output'}; try --one-process", returncode=3)
    return True
