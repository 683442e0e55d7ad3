"""4.6: two processes learn what one learns, with DDP and with FSDP; a resume may change their number."""

import socket
import sys
from pathlib import Path

import pytest
import torch
import train
from run.checkpoint import Checkpoints
from run.distributed import Processes, longest_wait, part_of

sys.path.insert(0, str(Path(__file__).parent))
from runs import arguments, losses


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


TWICE = """
import os, runpy, sys
from pathlib import Path

script, *sys.argv[1:] = sys.argv[1:]
sys.argv[0], sys.path[0] = script, str(Path(script).parent)
child = os.fork()
os.environ["RANK"] = os.environ["LOCAL_RANK"] = "0" if child else "1"
try:
    runpy.run_path(script, run_name="__main__")
finally:
    if child and os.waitpid(child, 0)[1]:
        sys.exit("the other process failed")
"""


def two_processes(run_script, out, *more) -> None:
    """What torchrun --nproc_per_node=2 does, without the time that it takes to start."""
    script = out / "twice.py"
    script.write_text(TWICE)
    run_script(script, train.__file__, *arguments(out, "--micro-rows", 2, *more),
               env={"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1",
                    "MASTER_PORT": str(free_port())})


LOST = """
import os, sys, time, torch
from run.distributed import others_watched, start_processes, stop_processes
from run.runtime import run_main

child = os.fork()
os.environ["RANK"] = os.environ["LOCAL_RANK"] = "0" if child else "1"

def main():
    processes, _ = start_processes("cpu")
    with others_watched(processes):
        for step in range(3):
            if step == 1 and processes.rank == 1:
                os._exit(9) if sys.argv[1] == "dies" else time.sleep(20)
            processes.sum(torch.ones(1))

run_main(main, processes=True)
"""


def newest(out) -> dict:
    return Checkpoints(out / "checkpoints").newest()[1]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process, the whole run."""
    out = tmp_path_factory.mktemp("alone")
    train.main(arguments(out, "--micro-rows", 4))
    return out


@pytest.mark.scripts
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_then_one_give_the_curve_of_one(kind, alone, tmp_path, run_script):
    two_processes(run_script, tmp_path, "--parallel", kind, "--stop-at", 6)
    assert losses(tmp_path) == pytest.approx(losses(alone)[:6], abs=2e-5)
    train.main(arguments(tmp_path, "--micro-rows", 4, "--resume"))
    assert losses(tmp_path) == pytest.approx(losses(alone), abs=5e-5)
    one, two = newest(alone), newest(tmp_path)
    for name, value in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], value, rtol=0, atol=2e-3)


@pytest.mark.slow
@pytest.mark.scripts
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_one_process_then_two_give_the_curve_of_one(kind, alone, tmp_path, run_script):
    train.main(arguments(tmp_path, "--micro-rows", 4, "--stop-at", 6))
    two_processes(run_script, tmp_path, "--parallel", kind, "--resume")
    assert losses(tmp_path) == pytest.approx(losses(alone), abs=5e-5)
    assert (tmp_path / "base.pt").exists()


def test_rows_that_do_not_divide_among_the_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("train.start_processes",
                        lambda device: (Processes(0, 3), device))
    monkeypatch.setattr("run.distributed.dist.barrier", lambda **_: None)
    with pytest.raises(ValueError, match="--rows 8 must be a multiple of the 3 processes"):
        train.main(arguments(tmp_path))


@pytest.mark.parametrize("how", ["dies", "hangs"])
def test_a_process_that_dies_or_hangs_ends_the_job_and_is_named(how, tmp_path, run_script):
    part = Path(train.__file__).parent
    script = tmp_path / "lost.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(part)!r})\n{LOST}")
    done = run_script(script, how, check=False, timeout=60,
                      env={"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1",
                           "PROCESS_WAIT": "2", "MASTER_PORT": str(free_port())})
    assert done.returncode == 2 and "error: process 1 of 2 died or did not answer" in done.stderr


def test_a_wait_that_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("PROCESS_WAIT", "soon")
    with pytest.raises(ValueError, match="PROCESS_WAIT=soon: must be a whole number"):
        longest_wait()


@pytest.mark.parametrize("many", [1, 3, 8])
def test_the_parts_of_all_processes_are_the_whole_in_its_order(many):
    items = list(range(many))
    parts = [part_of(items, Processes(rank, 4)) for rank in range(4)]
    assert [item for part in parts for item in part] == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
