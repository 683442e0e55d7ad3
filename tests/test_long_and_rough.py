"""The check of long runs itself: it sees a leak, it sees a difference, and it counts kills."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("long_and_rough", ROOT / "tests/long_and_rough.py")
rough = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rough)


def test_memory_of_a_few_steps_is_measured(run_script):
    done = run_script("tests/long_and_rough.py", "--minutes", 0, "--steps", 50, "--tokens", 100,
                      "--slack", 500)
    assert "50 training steps" in done.stdout and "100 tokens" in done.stdout


LEAK = """
import sys
sys.path[:0] = [{tests!r}, {part_4!r}]
import long_and_rough

def work(kept):
    while True:
        kept.append(bytearray(b"x" * {size}))
        yield

early, late = long_and_rough.growth(work([]), 50)
print(f"grew by {{late - early:.1f}} MB")
"""


@pytest.mark.parametrize("size, least, most", [(4_000_000, 100, 400), (1_000, -1, 4)],
                         ids=["a leak", "steady"])
def test_a_leak_is_seen_and_steady_work_is_none(run_script, tmp_path, size, least, most):
    script = tmp_path / "leak.py"
    script.write_text(LEAK.format(tests=str(ROOT / "tests"), part_4=str(ROOT / "part_4"), size=size))
    grown = float(re.search(r"grew by (.+) MB", run_script(script).stdout)[1])
    assert least < grown < most


def fake_runs(monkeypatch, second: str) -> None:
    """Runs that end at once: the first writes 'same', the other `second`."""
    def command(out, steps, *more):
        text = second if "killed" in str(out) else "same"
        return [sys.executable, "-S", "-c", "import pathlib, sys\n"
                f"out = pathlib.Path({str(out)!r})\nout.mkdir(exist_ok=True)\n"
                f"[(out / name).write_text({text!r}) for name in ('base.pt', 'log.jsonl')]"]
    monkeypatch.setattr(rough, "train_command", command)
    monkeypatch.setattr(rough, "steps_for", lambda seconds, folder: 100)


@pytest.mark.parametrize("second, same", [("same", True), ("other", False)])
def test_a_difference_is_seen(monkeypatch, tmp_path, second, same):
    fake_runs(monkeypatch, second)
    found = rough.kill_for(1, 60, tmp_path)
    assert found["same"] == same and found["kills"] == 0 and found["steps"] == 100


def test_a_run_that_is_too_slow_is_killed_and_started_again(monkeypatch, tmp_path):
    """The fake run ends only when it is started the third time."""
    code = ("import pathlib, sys, time\n"
            f"path = pathlib.Path({str(tmp_path / 'starts')!r})\n"
            "with open(path, 'a') as file: file.write('x')\n"
            "time.sleep(0 if len(path.read_text()) > 2 else 60)")
    monkeypatch.setattr(rough, "train_command", lambda *_: [sys.executable, "-S", "-c", code])
    assert rough.run_with_kills(tmp_path, 100, 1.0) == 2


def test_a_run_that_fails_is_no_success(monkeypatch, tmp_path):
    monkeypatch.setattr(rough, "train_command",
                        lambda *_: [sys.executable, "-S", "-c", "raise SystemExit('no disk')"])
    with pytest.raises(ValueError, match="no disk"):
        rough.run_with_kills(tmp_path, 100, 60.0)


def test_a_run_that_says_much_is_not_stopped_by_it():
    """Far more than a pipe holds, as the progress bar of an hour is."""
    code = "import sys; sys.stderr.write('x' * 1_000_000)"
    process = rough.start([sys.executable, "-S", "-c", code])
    try:
        assert process.wait(20) == 0
    finally:
        process.kill()
    rough.end_well(process)


@pytest.mark.slow
def test_three_minutes_of_kills_lose_nothing_and_memory_is_flat(run_script, tmp_path):
    done = run_script("tests/long_and_rough.py", "--minutes", 3, "--every", 10, timeout=3000)
    assert re.search(r"with \d\d kills .*the same bytes as without one", done.stdout)
