"""Runs of part 4 under rough use: the weather, two at once, wrong files, closed pipes, no memory."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import benchmark_training
import pytest
import torch
import train
from base import run as pretraining
from base.settings import Settings
from run.checkpoint import Checkpoints
from run.distributed import start_processes
from run.lock import only_run_in
from run.runtime import Runtime, choose_runtime

sys.path.insert(0, str(Path(__file__).parent))
from runs import arguments, losses

PART = Path(train.__file__).resolve().parent
AUTO = ("--amp", "auto")


def without_amp(words: list[str]) -> list[str]:
    place = words.index("--amp")
    return words[:place] + words[place + 2:]


@pytest.fixture
def weather(monkeypatch):
    """weather("bfloat16"): what --amp auto measures from now on."""
    def set_weather(amp):
        def chosen(device, wanted, **more):
            return choose_runtime(device, amp if wanted == "auto" else wanted, **more)
        monkeypatch.setattr(pretraining, "choose_runtime", chosen)
    return set_weather


def test_with_amp_auto_the_checkpoint_s_format_counts(tmp_path, weather, capsys):
    weather("float32")
    train.main(without_amp(arguments(tmp_path, "--stop-at", 5)))
    weather("bfloat16")  # another process has come, or has gone
    train.main(without_amp(arguments(tmp_path, "--resume")))
    assert "as the checkpoint's run began" in capsys.readouterr().out
    assert len(losses(tmp_path)) == 12


def test_a_format_that_is_asked_for_must_still_be_the_checkpoint_s(tmp_path):
    train.main(arguments(tmp_path, "--stop-at", 5))
    with pytest.raises(ValueError, match="amp: was float32, now bfloat16"):
        train.main([*arguments(tmp_path, "--resume"), "--amp", "bfloat16"])


def test_a_resume_takes_the_number_of_threads_that_the_run_began_with(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(pretraining, "cores", lambda: 8)
    monkeypatch.setattr(pretraining.torch, "get_num_threads", lambda: 3)
    train.main(arguments(tmp_path, "--stop-at", 5))
    taken = []
    monkeypatch.setattr(pretraining.torch, "set_num_threads", taken.append)
    train.main(arguments(tmp_path, "--resume"))
    assert taken[-1] == 3


def test_a_touched_text_under_another_name_can_be_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.txt").write_text("\n".join(f"the owl saw {i} foxes on the hill" for i in range(900)))
    own = ("--data", "x.txt", "--context", 16, "--rows", 2)
    train.main(arguments("out", *own, "--stop-at", 5))
    os.utime("x.txt")
    train.main(arguments("out", *own, "--resume", "--data", "./x.txt"))
    assert len(losses(Path("out"))) == 12


def test_a_finished_model_among_the_checkpoints_is_passed_over(tmp_path, capsys):
    train.main(arguments(tmp_path))
    newest = sorted((tmp_path / "checkpoints").glob("*.pt"))[-1]
    shutil.copy(tmp_path / "base.pt", newest.with_name("step_00000099.pt"))
    path, _ = Checkpoints(tmp_path / "checkpoints").newest()
    assert path == newest
    assert "step_00000099.pt: a finished model" in capsys.readouterr().out


# ---------------------------------------------------------------- two at once, pipes, signals

def test_a_second_run_in_the_folder_is_refused(tmp_path):
    with only_run_in(tmp_path), pytest.raises(ValueError, match="another run is at work there"):
        train.main(arguments(tmp_path))
    assert not (tmp_path / "log.jsonl").exists()


def test_training_goes_on_when_the_reader_of_its_output_leaves(tmp_path):
    """As in `train.py 2>&1 | head -1`."""
    process = subprocess.Popen([sys.executable, str(PART / "train.py"), *arguments(tmp_path)],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=200) == 0
    assert (tmp_path / "base.pt").is_file()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
def test_a_closed_terminal_saves(tmp_path, monkeypatch):
    real, calls = train.train_step, []

    def hung_up(*rest, **settings):
        calls.append(1)
        if len(calls) == 6:
            signal.raise_signal(signal.SIGHUP)
        return real(*rest, **settings)
    monkeypatch.setattr(train, "train_step", hung_up)
    train.main(arguments(tmp_path))
    assert [p.name for p in (tmp_path / "checkpoints").glob("*6.pt")] == ["step_00000006.pt"]


# ---------------------------------------------------------------- refused before anything is made

def test_a_context_that_fills_the_memory_is_refused_first(tmp_path, monkeypatch):
    monkeypatch.setattr("run.memory.memory_of", lambda device: 16 * 10**9)
    with pytest.raises(ValueError, match="GB for masks.*lower --context"):
        train.main(arguments(tmp_path, "--context", 100_000))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("flags, says", [
    (("--stop-at", -5), "--stop-at -5"), (("--weight-decay", -1), "--weight-decay -1.0"),
    (("--beta-1", 1), "--beta-1 1.0"), (("--beta-2", -0.1), "--beta-2 -0.1"),
    (("--world-megabytes", -1), "--world-megabytes -1.0"),
    (("--eval-documents", 10**12), "--eval-documents"), (("--data", ""), "empty")])
def test_settings_that_make_no_sense_are_refused_in_one_line(tmp_path, flags, says):
    with pytest.raises(ValueError, match=says):
        train.main(arguments(tmp_path, *flags))


@pytest.mark.parametrize("name", ["weight_decay", "beta_1", "beta_2", "muon", "clip", "minutes",
                                  "dropout", "world_megabytes", "peak", "low", "warmup", "decay",
                                  "embedding_std"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_no_setting_is_no_number_or_below_its_limit(name, value):
    with pytest.raises(ValueError, match=name.replace("_", ".")):
        Settings(**{name: value})


@pytest.mark.parametrize("given", [{"WORLD_SIZE": "2"}, {"WORLD_SIZE": "two", "RANK": "0"}, {
    "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}])
def test_half_of_what_torchrun_sets_is_refused_by_name(monkeypatch, given):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="torchrun sets all three"):
        start_processes("cpu")


@pytest.mark.parametrize("flags, says", [(("--formats", "foo"), "--formats foo: unknown"),
                                         (("--rounds", "0"), "--rounds 0"), (("--rows", "-1"), "--rows")])
def test_the_benchmark_refuses_what_it_does_not_know(tmp_path, flags, says):
    with pytest.raises(ValueError, match=says):
        benchmark_training.main([*flags, "--out", str(tmp_path)])


def test_a_run_needs_less_memory_with_fewer_rows_at_a_time(monkeypatch):
    asked = []
    monkeypatch.setattr(pretraining, "check_memory", lambda needs, *rest: asked.append(needs))
    for micro_rows in (8, 2):
        run = SimpleNamespace(settings=Settings(micro_rows=micro_rows),
                              runtime=Runtime(torch.device("cpu"), None, "", ""))
        pretraining.Run.check_memory(run)
    assert asked[0]["masks"] == 4 * asked[1]["masks"]
