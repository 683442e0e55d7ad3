"""4.2 to 4.5: whole runs. Resume is exact, stops are safe, mistakes are told."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import train
from run.checkpoint import Checkpoints, read_checkpoint

sys.path.insert(0, str(Path(__file__).parent))
from runs import arguments, log_of, losses

TRAIN = Path(train.__file__)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Prepared data, made once: a run that finds it does not make it again."""
    folder = tmp_path_factory.mktemp("data")
    train.main(arguments(folder, "--stop-at", 1))
    return folder / "data"


@pytest.fixture
def out(data, tmp_path):
    """out("a") -> a new folder for a run, with the data in it."""
    def make(name):
        shutil.copytree(data, tmp_path / name / "data")
        return tmp_path / name
    return make


def same_training(one: Path, two: Path) -> None:
    """Weights, optimizer and log of two runs are equal in every byte."""
    assert (one / "base.pt").read_bytes() == (two / "base.pt").read_bytes()
    assert (one / "log.jsonl").read_bytes() == (two / "log.jsonl").read_bytes()
    states = [Checkpoints(out / "checkpoints").newest()[1]["training"] for out in (one, two)]
    for name, moments in states[0]["optimizer"].items():
        for key, value in moments.items():
            assert torch.equal(value, states[1]["optimizer"][name][key])


@pytest.mark.parametrize("settings", [
    ["--micro-rows", 2, "--dropout", 0.1], ["--amp", "bfloat16", "--schedule", "wsd"],
    ["--schedule", "linear", "--segments"]], ids=str)
def test_a_run_stopped_and_resumed_twice_equals_one_without_a_stop(out, settings):
    whole, parts = out("whole"), out("parts")
    train.main(arguments(whole, *settings))
    for more in (["--stop-at", 3], ["--resume", "--stop-at", 8], ["--resume"]):
        train.main(arguments(parts, *settings, *more))
    same_training(whole, parts)


SUICIDE = """
import os, random, runpy, signal, sys, threading, time
from pathlib import Path

script, checkpoints, furthest, delay, *sys.argv[1:] = sys.argv[1:]
sys.argv[0], sys.path[0] = script, str(Path(script).parent)

def kill():  # a moment after the first checkpoint beyond `furthest`
    while all(int(path.stem[5:]) <= int(furthest) for path in Path(checkpoints).glob("step_*.pt")):
        time.sleep(0.002)
    time.sleep(float(delay))
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill, daemon=True).start()
runpy.run_path(script, run_name="__main__")
"""


def kill_inside(run_script, folder):
    """SIGKILL that a thread of the run itself sends: no interpreter has to start."""
    script = folder / "suicide.py"
    script.write_text(SUICIDE)

    def start_and_kill(out, furthest, delay, arguments):
        run_script(script, TRAIN, out / "checkpoints", furthest, delay, *arguments, check=False)
    return start_and_kill


def kill_outside(out, furthest, delay, arguments):
    """SIGKILL that another process sends."""
    process = subprocess.Popen([sys.executable, str(TRAIN), *arguments],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.time() + 300
    while process.poll() is None and time.time() < until and steps_taken(out) <= furthest:
        time.sleep(0.01)
    time.sleep(delay)
    process.kill()
    process.wait()


def kill_again_and_again(start_and_kill, out, whole, kills: int, *settings) -> None:
    """Start, SIGKILL at a random moment after the first steps, start again, … then let it end."""
    random.seed(7)
    furthest = 0
    for _ in range(kills):
        start_and_kill(out, furthest, random.uniform(0, 0.15),
                       arguments(out, *settings, "--resume"))
        assert not (out / "base.pt").exists(), "the run ended before it was killed"
        found = Checkpoints(out / "checkpoints").newest()
        assert found and found[1]["step"] > furthest  # what was saved before is not lost
        furthest = found[1]["step"]
    train.main(arguments(out, *settings, "--resume"))
    same_training(whole, out)


def steps_taken(out) -> int:
    """The newest step that a checkpoint on disk is of; -1: none."""
    paths = Checkpoints(out / "checkpoints").paths()
    return int(paths[-1].stem[5:]) if paths else -1


@pytest.mark.scripts
def test_killed_at_random_moments_a_run_loses_nothing(out, run_script, tmp_path):
    settings = ["--steps", 200, "--save-every", 5, "--eval-every", 100, "--sample-every", 100]
    whole, killed = out("whole"), out("killed")
    train.main(arguments(whole, *settings))
    kill_again_and_again(kill_inside(run_script, tmp_path), killed, whole, 3, *settings)


@pytest.mark.slow
@pytest.mark.scripts
def test_killed_twenty_times_in_a_row_a_run_loses_nothing(out):
    settings = ["--steps", 3000, "--save-every", 5, "--eval-every", 200, "--sample-every", 1000,
                "--micro-rows", 4]
    whole, killed = out("whole"), out("killed")
    train.main(arguments(whole, *settings))
    kill_again_and_again(kill_outside, killed, whole, 20, *settings)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_ctrl_c_saves_and_the_run_can_go_on(out, monkeypatch, capsys, signal_number):
    """The signal comes in the middle of step 7: that step is finished and saved."""
    whole, stopped = out("whole"), out("stopped")
    train.main(arguments(whole))
    real = train.train_step

    def interrupted(*rest, **settings):
        if len(calls) == 6:
            signal.raise_signal(signal_number)
        calls.append(1)
        return real(*rest, **settings)
    calls = []
    monkeypatch.setattr(train, "train_step", interrupted)
    train.main(arguments(stopped))
    assert "stopped after step 7" in capsys.readouterr().out
    assert steps_taken(stopped) == 7 and not (stopped / "base.pt").exists()
    train.main(arguments(stopped, "--resume"))
    same_training(whole, stopped)


def test_a_resume_with_other_settings_lists_them_and_is_refused_or_forced(out, capsys):
    folder = out("a")
    train.main(arguments(folder, "--stop-at", 5))
    with pytest.raises(ValueError) as refusal:
        train.main(arguments(folder, "--resume", "--peak", 0.001, "--seed", 3))
    assert "peak: was 0.003, now 0.001" in str(refusal.value)
    assert "seed: was 0, now 3" in str(refusal.value) and "rows" not in str(refusal.value)
    train.main(arguments(folder, "--resume", "--peak", 0.001, "--force"))
    assert "forced  peak" in capsys.readouterr().out
    assert len(losses(folder)) == 12


def test_a_resume_over_texts_that_have_changed_is_refused(tmp_path):
    texts, folder = tmp_path / "mine", tmp_path / "out"
    texts.mkdir()
    for i in range(200):
        (texts / f"{i}.txt").write_text("\n".join(f"Owl {i} has {i * j} eggs." for j in range(9)))
    train.main([*arguments(folder), "--data", str(texts), "--stop-at", "5"])
    (texts / "7.txt").write_text("Owl 7 has flown.")
    with pytest.raises(ValueError, match="texts: was .*, now "):
        train.main([*arguments(folder), "--data", str(texts), "--resume"])
    with pytest.raises(ValueError, match="another tokenizer: the texts have changed.*--fresh"):
        train.main([*arguments(folder), "--data", str(texts), "--resume", "--force"])


def test_what_a_kill_left_in_the_log_after_the_checkpoint_is_dropped(out):
    whole, parts = out("whole"), out("parts")
    train.main(arguments(whole))
    train.main(arguments(parts, "--stop-at", 5))
    log = parts / "log.jsonl"
    before = log.read_bytes()
    log.write_bytes(before[:-1])
    with pytest.raises(ValueError, match="was changed or belongs to another run"):
        train.main(arguments(parts, "--resume"))
    log.write_bytes(before + b'{"step": 6, "loss": 1.0}\n{"step": 7, "lo')
    train.main(arguments(parts, "--resume"))
    same_training(whole, parts)


def test_micro_rows_may_change_at_a_resume(out):
    folder = out("a")
    train.main(arguments(folder, "--stop-at", 5))
    train.main(arguments(folder, "--resume", "--micro-rows", 2))
    assert len(losses(folder)) == 12


def test_an_unfinished_run_is_not_overwritten_but_a_finished_one_is(out):
    folder = out("a")
    train.main(arguments(folder, "--stop-at", 5))
    with pytest.raises(ValueError, match="--resume.*--fresh.*--out"):
        train.main(arguments(folder))
    train.main(arguments(folder, "--fresh"))
    before = (folder / "base.pt").read_bytes()
    train.main(arguments(folder))  # it had finished
    assert (folder / "base.pt").read_bytes() == before and len(losses(folder)) == 12


def test_a_loss_that_is_no_number_stops_with_step_batch_and_last_good_checkpoint(out, monkeypatch):
    folder = out("a")
    train.main(arguments(folder, "--stop-at", 6))
    real = train.train_step

    def breaks(model, *rest, **settings):
        with torch.no_grad():
            model.norm.weight.fill_(float("nan"))
        return real(model, *rest, **settings)
    monkeypatch.setattr(train, "train_step", breaks)
    with pytest.raises(ValueError) as error:
        train.main(arguments(folder, "--resume"))
    for part in ("step 7", "loss is nan", "rows 48 to 55", "step_00000006.pt", "--peak"):
        assert part in str(error.value)
    saved = read_checkpoint(folder / "checkpoints" / "step_00000006.pt")
    assert all(value.isfinite().all() for value in saved["weights"].values())


def test_a_data_set_smaller_than_a_batch_is_refused(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(200):
        (folder / f"{i}.txt").write_text(f"{i} " + "a few words " * 40)
    with pytest.raises(ValueError, match="takes 4000 rows.*has only"):
        train.main(arguments(tmp_path / "out", "--data", folder, "--rows", 4000))


@pytest.mark.parametrize("flags, message", [
    (["--rows", 0], "--rows 0"), (["--peak", -1], "peak"), (["--n-embd", 17], "17"),
    (["--data", "no_such_file"], "no_such_file"), (["--clip", 0], "--clip"),
    (["--wandb", "me"], "pip install wandb")])
def test_nonsense_is_refused_with_the_flag(out, flags, message):
    with pytest.raises(ValueError, match=message):
        train.main(arguments(out("a"), *flags))


def test_the_run_learns_and_leaves_results_picture_and_logs(out, tmp_path):
    folder = out("a")
    train.main([word for word in arguments(folder, "--steps", 60, "--eval-every", 20)
                if word != "--no-tensorboard"])
    curve = losses(folder)
    assert sum(curve[-5:]) / 5 < curve[0] - 0.8
    results = json.loads((folder / "base.json").read_text())
    assert {"val_loss", "bits_per_byte", "floor_bits_per_byte", "cloze_accuracy"} <= set(
        results["metrics"])
    assert results["metrics"]["bits_per_byte"] > results["metrics"]["floor_bits_per_byte"]
    assert results["tokens"] == 60 * 8 * 32 and results["preset"] == "tiny"
    assert (folder / "train.png").read_bytes()[:4] == b"\x89PNG"
    assert list((folder / "tensorboard").glob("events*"))
    first = log_of(folder)[0]
    assert {"loss", "gradient_norm", "rate", "labels"} <= set(first) and first["step"] == 1
    assert any("sample" in line for line in log_of(folder))
    timing = json.loads((folder / "timing.jsonl").read_text().splitlines()[-1])
    assert {"seconds", "data_seconds", "tokens_per_second", "memory_mb"} <= set(timing)


def test_a_run_of_given_length_ends_in_time_and_at_the_lowest_rate(out):
    folder = out("a")
    start = time.time()
    train.main(arguments(folder, "--minutes", 0.02, "--save-every", 10**6, "--eval-every", 10**6,
                         "--sample-every", 10**6))
    assert time.time() - start < 1.2 + 15
    rates = [line["rate"] for line in log_of(folder) if "rate" in line]
    assert max(rates) > 0.0025 and rates[-1] < 0.0005 and len(rates) > 12


@pytest.mark.slow
def test_the_compiled_model_learns_the_same(run_script, out):
    plain, compiled = out("plain"), out("compiled")
    run_script(TRAIN, *arguments(plain))
    run_script(TRAIN, *arguments(compiled, "--compile", "--recompute"))
    assert len(losses(plain)) == 12
    assert losses(compiled) == pytest.approx(losses(plain), abs=1e-3)
