"""What a training must survive: a kill at any moment, and --resume, to the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch


class Killed(BaseException):
    """The process is gone: nothing after this line is run."""


def die_in_step(monkeypatch, step: int) -> None:
    """The next training is killed in that step, counted from where it begins: learnt, not saved."""
    from run import progress

    left, real = [step], progress.Progress.step_done

    def step_done(self, *args):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return real(self, *args)
    monkeypatch.setattr(progress.Progress, "step_done", step_done)


def same_weights(one: Path, other: Path) -> bool:
    a, b = (torch.load(path, weights_only=True)["weights"] for path in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@contextmanager
def recomputed_and_compiled(yes: bool):
    """In here models must be recomputed and compiled, or must not. What "compiles" changes nothing."""
    from gpt import model
    from run import thrift

    again, fast = [], []
    checkpoint = model.checkpoint
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "checkpoint", lambda *args, **more: again.append(1) or checkpoint(
            *args, **more))
        patch.setattr(thrift.torch, "compile", lambda function: lambda *args: fast.append(
            1) or function(*args))
        yield
    assert bool(again) == bool(fast) == yes


def goes_on_to_the_same_bytes(main, flags, folder: Path, name: str, *thrift: str) -> None:
    """Undisturbed; and killed in its first step, after its third, and let be: then with `thrift`, the
    flags that recompute and compile."""
    flags = [*map(str, flags), "--save-every", "2"]
    main([*flags, "--out", str(folder / "a")])
    broken = [*flags, "--out", str(folder / "b"), "--resume"]
    for step in (1, 3):
        with pytest.MonkeyPatch.context() as patch:
            die_in_step(patch, step)
            with pytest.raises(Killed):
                main(broken)
    assert not (folder / "b" / name).exists(), "it was killed before its end"
    with recomputed_and_compiled(bool(thrift)):
        main([*broken, *thrift])
    assert same_weights(folder / "a" / name, folder / "b" / name)
    logs = [folder / run / "log.jsonl" for run in "ab"]
    if logs[0].exists():
        assert logs[0].read_bytes() == logs[1].read_bytes()


def is_refused(main, flags, folder: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        main([*map(str, flags), "--out", str(folder / "b"), "--resume"])


def survives_many_kills(script: Path, flags, folder: Path, name: str, kills: int = 20,
                        every: str = "--save-every") -> None:
    """The real thing: SIGKILL at a random moment, many times, and the same weights. Only kills of a
    training that has steps behind it count; one that came to its end is compared, and begun again."""
    command = [sys.executable, str(script), *map(str, flags), every, "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    subprocess.run([*command, "--out", str(folder / "a")], check=True, env=environment)
    took, rng, done = time.perf_counter() - start, random.Random(0), 0
    broken = [*command, "--out", str(folder / "b"), "--resume"]
    while done < kills:
        run = subprocess.Popen(broken, env=environment)
        try:
            assert run.wait(rng.uniform(0.3, 1.1) * took) == 0
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.wait()
            saved = (*folder.glob("b/checkpoints*/step_*.pt"), *folder.glob("b/*_training.pt"))
            done += bool(saved)
            took *= 1.0 if saved else 1.1  # the machine has become busier since it was timed
        if (folder / "b" / name).exists():
            subprocess.run(broken, check=True, env=environment)  # it may be killed while measuring
            assert same_weights(folder / "a" / name, folder / "b" / name)
            shutil.rmtree(folder / "b")
    subprocess.run(broken, check=True, env=environment)
    assert same_weights(folder / "a" / name, folder / "b" / name)
