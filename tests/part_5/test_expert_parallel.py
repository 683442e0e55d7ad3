"""Several processes give what one gives; one that dies or hangs ends the job with a message."""

import json
import sys
import time

import pytest

CHECK = "tests/part_5/parallel_check.py"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo over a file needs POSIX")


def compare(run_script, tmp_path, world: int, case: str) -> None:
    done = run_script(CHECK, "equal", world, case, tmp_path / "found", timeout=120)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert len(found) == world
    for one in found:
        size, here, load = (one.pop(key) for key in ("size", "experts_here", "load_of_all"))
        assert here == 8 // world and size > 1
        assert load == (64 if case in ("top1", "skewed") else 128)
        for name, difference in one.items():
            assert difference < 1e-5, (name, difference)


@pytest.mark.parametrize("world, case", [(2, "sigmoid"), (4, "shared"), (2, "skewed")])
def test_processes_equal_one_in_outputs_gradients_and_biases(run_script, tmp_path, world, case):
    compare(run_script, tmp_path, world, case)


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2, 4, 8])
@pytest.mark.parametrize("case", ["softmax", "top1", "sigmoid", "shared", "skewed"])
def test_every_case_with_one_to_eight_processes(run_script, tmp_path, world, case):
    compare(run_script, tmp_path, world, case)


@pytest.mark.parametrize("how, says", [("die", "ended with status 13"),
                                       ("hang", "that has ended or hangs")])
def test_a_process_that_dies_or_hangs_ends_the_job_with_a_message(run_script, how, says):
    start = time.time()
    done = run_script(CHECK, how, 2, check=False, timeout=120)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and "nobody noticed" not in done.stdout
    assert says in done.stderr
    assert time.time() - start < 60


def test_experts_that_cannot_be_spread_evenly_are_refused(run_script):
    done = run_script(CHECK, "uneven", 3, check=False, timeout=120)
    assert done.returncode == 2
    assert "n_expert=8 experts cannot be spread evenly over 3 processes" in done.stderr
