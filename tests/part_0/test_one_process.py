"""Scripts of a part that run one after another in one process."""

import asking
import pytest
from one_process import PartProcess

COUNTING = '''
import os, sys
import kept
kept.times += 1
print(kept.times, os.getpid(), sys.argv[1:], input(), os.environ["OMP_NUM_THREADS"])
os.write(1, b"a library's own words\\n")
'''


@pytest.fixture
def part(tmp_path, monkeypatch):
    """A folder with scripts that count, complain, die and stop."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    scripts = {"kept.py": "times = 0\n", "count.py": COUNTING,
               "say.py": "import kept\nraise SystemExit('one\\nerror: two')",
               "break.py": "1 / 0", "two.py": "import sys; print('x' * 10**6); sys.exit(2)",
               "die.py": "import os; os._exit(7)", "stop.py": "raise SystemExit(130)"}
    for name, source in scripts.items():
        (tmp_path / name).write_text(source)
    return tmp_path


@pytest.fixture
def process(part):
    made = PartProcess(part, 3)
    yield made
    made.close()


def test_modules_stay_loaded_and_each_script_has_its_own_flags_and_text(process):
    first = process.run("count.py", "--a", "ä", text="Grüße\nmore").split()
    assert first == ["1", str(process.process.pid), "['--a',", "'ä']", "Grüße", "3"]
    assert process.run("count.py", text="x\n").split()[::2] == ["2", "[]", "3"]


@pytest.mark.parametrize("script, words", [
    ("say.py", "error: two"), ("break.py", "ZeroDivisionError: division by zero"),
    ("two.py", "it ended with status 2"), ("die.py", "it ended with status 7")])
def test_what_fails_is_an_error_with_its_last_line(process, script, words):
    with pytest.raises(ValueError, match=words):
        process.run(script)


def test_a_script_that_fails_leaves_the_process_to_the_next(process):
    with pytest.raises(ValueError):
        process.run("break.py")
    assert process.run("count.py", text="x")[0] == "1"


def test_a_stopped_script_is_a_stop(process):
    with pytest.raises(KeyboardInterrupt):
        process.run("stop.py")


def test_a_process_that_has_died_is_told_again(process):
    for _ in range(2):
        with pytest.raises(ValueError, match="status 7"):
            process.run("die.py")


def test_one_process_runs_what_is_run_one_after_another_and_none_is_left(house):
    (house.root / "part_6" / "who.py").write_text("import os; print(os.getpid())")
    assert len({asking.run_quietly("part_6/who.py") for _ in range(3)}) == 1
    [[idle]] = asking.waiting.values()
    asking.end_waiting()
    assert idle.process.poll() is not None and not asking.waiting
