"""The suite in two processes: every test runs once, and what failed is said (tests/two_processes.py)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
TWO = sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1
CONFTEST = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from two_processes import pytest_runtestloop

def pytest_addoption(parser):
    parser.addoption("--full", action="store_true")
    parser.addoption("--one-process", action="store_true")
"""
ONE = """
import os, time, pytest

COLLECTED_BY = os.getpid()

@pytest.mark.parametrize("case", range(3))
def test_notes_where_it_ran(case):
    time.sleep(0.02)
    with open({log!r}, "a") as log:
        log.write(f"{name} {{case}} {{os.getpid()}}\\n")
    {last}
"""


@pytest.fixture
def suite(tmp_path):
    """suite(last="") -> (exit status, output, [(file, case, process)]) of ten files of three tests, which
    end with the line `last`."""
    def run(last: str = "", *flags: str):
        (tmp_path / "conftest.py").write_text(CONFTEST)
        log = tmp_path / "log"
        for number in range(10):
            text = ONE.format(log=str(log), name=number, last=last)
            (tmp_path / f"test_{number}.py").write_text(text)
        done = subprocess.run([sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider",
                               "--rootdir", str(tmp_path), str(tmp_path), *flags],
                              capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, done.stdout + done.stderr, [
            tuple(line.split()) for line in log.read_text().splitlines()]
    return run


def test_every_test_runs_once_and_both_processes_take_some(suite):
    status, output, ran = suite()
    assert status == 0 and "30 passed" in output, output
    assert len(ran) == len({(file, case) for file, case, _ in ran}) == 30
    assert len({process for *_, process in ran}) == (2 if TWO else 1)


def test_a_failure_in_either_process_is_reported_and_is_the_exit_status(suite):
    status, output, ran = suite("assert case == 1, f'wrong by {case}'")
    assert status == 1 and "20 failed, 10 passed" in output and "wrong by 2" in output, output
    assert len(ran) == 30


@pytest.mark.slow
def test_what_is_skipped_in_either_process_is_counted_with_its_reason(suite):
    status, output, ran = suite("pytest.skip(f'no {case}')", "-ra")
    assert status == 0 and "30 skipped" in output and len(ran) == 30, output
    assert output.count("no 2") == 10, output  # one line for each file


@pytest.mark.skipif(not TWO, reason="two processes need Linux and two cores")
def test_a_process_that_dies_does_not_pass_for_a_run(suite):
    status, output, _ = suite("os._exit(0) if os.getpid() != COLLECTED_BY else None")
    assert status == 3 and "the second process ended with 0" in output, output


@pytest.mark.slow
def test_one_process_when_asked(suite):
    status, output, ran = suite("", "--one-process")
    assert status == 0 and len({process for *_, process in ran}) == 1
