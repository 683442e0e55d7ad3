"""Every script of part 2 as a user runs it: results, pictures, bad input, Ctrl-C."""

import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent.parent
TINY = ("--layers", 1, "--width", 16, "--heads", 2, "--block-size", 16, "--batch-size", 4,
        "--evaluations", 2, "--amp", "float32")
TEXT = "the owl and the fox went over the hill and under the hedge — naïvely. " * 30
pytestmark = pytest.mark.scripts


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with text.txt and, in out/, a model trained on it for 40 steps."""
    import train_gpt
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    arguments = ["--data", folder / "text.txt", "--steps", 40, "--out", folder / "out", *TINY]
    train_gpt.main([str(argument) for argument in arguments])
    return folder


def error_of(done) -> str:
    """The message of a run that was refused: status 2, one clear message, no traceback."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    return done.stderr[done.stderr.index("error: "):]


def test_training_writes_everything_to_out(trained):
    names = {path.name for path in (trained / "out").iterdir()}
    assert names == {"gpt.pt", "gpt.json", "training_curves.png", "runs"}
    assert list((trained / "out" / "runs").rglob("events.out.tfevents.*"))
    results = json.loads((trained / "out" / "gpt.json").read_text())
    assert set(results) == {"name", "preset", "seed", "device", "amp", "torch", "seconds", "tokens",
                            "tokens_per_second", "parameters", "peak_memory_mb", "metrics"}
    assert results["tokens"] == 40 * 4 * 16
    metrics = results["metrics"]
    assert set(metrics) == {"val_loss", "bits_per_byte"} and metrics["val_loss"] < 5
    assert metrics["bits_per_byte"] == pytest.approx(metrics["val_loss"] / math.log(2))


def test_the_loss_reported_is_the_loss_of_the_checkpoint_on_the_last_tenth(trained, run_script):
    done = run_script("part_2/eval_loss.py", "--checkpoint", trained / "out" / "gpt.pt",
                      "--out", trained / "eval")
    measured = json.loads((trained / "eval" / "eval_loss.json").read_text())
    reported = json.loads((trained / "out" / "gpt.json").read_text())["metrics"]
    assert measured["val_loss"] == pytest.approx(reported["val_loss"], rel=1e-5)
    assert measured["bytes"] == len(TEXT.encode()) - int(0.9 * len(TEXT.encode()))
    assert "LZMA" in done.stdout and "guessing evenly" in done.stdout


def test_eval_loss_of_another_text_and_with_a_stride(trained, run_script):
    (trained / "other.txt").write_text("zebra zither quartz " * 20)
    common = ("--checkpoint", trained / "out" / "gpt.pt", "--out", trained / "other")
    run_script("part_2/eval_loss.py", *common, "--data", trained / "other.txt", "--split", "all",
               "--stride", 4)
    measured = json.loads((trained / "other" / "eval_loss.json").read_text())
    assert (measured["bytes"], measured["stride"], measured["split"]) == (400, 4, "all")


def test_samples_stream_are_reproducible_and_are_written_to_out(trained, run_script):
    common = ("--checkpoint", trained / "out" / "gpt.pt", "--length", 40, "--samples", 2,
              "--prompt", "thé ")
    runs = [run_script("part_2/sample.py", *common, "--out", trained / name).stdout
            for name in ("s1", "s2")]
    assert runs[0].replace("s1", "s2") == runs[1]
    texts = (trained / "s1" / "samples.txt").read_bytes()
    assert texts.count("thé ".encode()) == 2
    assert [f"--- seed {seed}" in runs[0] for seed in (0, 1, 2)] == [True, True, False]


def test_sample_measures_what_was_copied(trained, run_script):
    done = run_script("part_2/sample.py", "--checkpoint", trained / "out" / "gpt.pt", "--length",
                      20, "--samples", 1, "--copied", trained / "text.txt", "--top-k", 5,
                      "--top-p", 0.9, "--temperature", 0.5)
    assert re.search(r"longest run copied from text.txt: \d+ bytes", done.stdout)


def test_longest_copy_and_letters_of_several_bytes():
    from sample import longest_copy, write_out
    assert longest_copy(b"the old cat", b"an old cup") == b" old c"
    assert longest_copy(b"xyz", b"abc") == b""
    shown = []
    written = write_out("aé🦉".encode(), show=lambda text, **_: shown.append(text))
    assert written == "aé🦉".encode()
    assert "".join(shown) == "aé🦉" and "\ufffd" not in "".join(shown)


def test_two_runs_with_one_seed_leave_the_same_weights(trained, run_script):
    weights = []
    for name in ("r1", "r2"):
        run_script("part_2/train_gpt.py", "--data", trained / "text.txt", "--steps", 12, "--out",
                   trained / name, "--dropout", 0.1, *TINY)
        weights.append(torch.load(trained / name / "gpt.pt", weights_only=True)["weights"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert ((trained / "r1" / "training_curves.png").stat().st_size > 5000)


@pytest.mark.parametrize("flags, says", [
    (("--data", "nowhere.txt"), "nowhere.txt: there is no such file or folder"),
    (("--data", "empty.txt"), "empty.txt: the file is empty"),
    (("--data", "short.txt"), "needs at least 17: give more text, or a smaller --block-size"),
    (("--data", "folder"), "holds no text file"),
    (("--heads", 3), "n_embd=16 must be a multiple of n_head=3"),
    (("--width", 0), "n_embd=0 must be at least 1"),
    (("--block-size", 5000), "with --block-size 5000 it needs at least 5001"),
    (("--steps", 0), "--steps 0: must be above 0"),
    (("--dropout", 1.5), "dropout=1.5 must be at least 0 and below 1"),
    (("--device", "tpu"), "--device tpu: unknown; choose one of auto, cpu"),
    (("--seed", -1), "--seed -1: must be from 0"),
    (("--out", "text.txt/deeper"), "cannot write there")])
def test_training_refuses_bad_input_with_a_clear_message(flags, says, run_script, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "short.txt").write_text("too short")
    (tmp_path / "folder").mkdir()
    done = run_script("part_2/train_gpt.py", "--data", "text.txt", "--steps", 2, "--out", "out",
                      *TINY, *flags, check=False)
    assert says in error_of(done)
    assert not (tmp_path / "out" / "gpt.pt").exists()


@pytest.mark.parametrize("script, flags, says", [
    ("sample", ("--temperature", -1), "--temperature -1.0: must be 0"),
    ("sample", ("--top-k", 0), "--top-k 0: must be at least 1"),
    ("sample", ("--top-p", 1.2), "--top-p 1.2: must be above 0 and at most 1"),
    ("sample", ("--length", 0), "--length 0: must be at least 1"),
    ("sample", ("--prompt", ""), "the prompt is empty"),
    ("sample", ("--device", "cuda:99"), "--device cuda:99"),
    ("sample", ("--checkpoint", "none.pt"), "no such checkpoint; make it with: python part_2"),
    ("sample", ("--checkpoint", "cut.pt"), "cut short or damaged"),
    ("eval_loss", ("--checkpoint", "text.pt"), "this is no checkpoint file"),
    ("eval_loss", ("--checkpoint", "other.pt"), "no checkpoint of this part"),
    ("eval_loss", ("--stride", 17), "--stride 17: must be from 1 to the block size, 16"),
    ("eval_loss", ("--data", "none.txt"), "none.txt: there is no such file")])
def test_sampling_and_evaluation_refuse_bad_input(script, flags, says, trained, run_script,
                                                  tmp_path):
    good = (trained / "out" / "gpt.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(good[:len(good) // 2])
    (tmp_path / "text.pt").write_text("only text")
    torch.save({"a": 1}, tmp_path / "other.pt")
    done = run_script(f"part_2/{script}.py", "--checkpoint", trained / "out" / "gpt.pt", *flags,
                      check=False)
    assert says in error_of(done)


def test_bytes_that_are_no_utf8_can_be_trained_on(run_script, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, 2000, dtype=np.uint8)
    (tmp_path / "any.bin").write_bytes(noise.tobytes())
    done = run_script("part_2/train_gpt.py", "--data", "any.bin", "--steps", 3, "--out", "out",
                      *TINY)
    assert "1,800 bytes to train, 200 to validate" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="signals are sent another way on Windows")
def test_ctrl_c_saves_says_where_and_ends_cleanly(tmp_path, trained):
    command = [sys.executable, str(ROOT / "part_2" / "train_gpt.py"), "--data",
               trained / "text.txt", "--steps", 10**7, "--out", tmp_path / "out", *TINY]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    seen = ""
    while "loss" not in seen:  # the bar shows a loss: the loop is running
        piece = process.stderr.read(1)
        assert piece, seen
        seen += piece
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr
    step = int(re.search(r"stopped by Ctrl-C after step (\d+); the model is saved", stdout)[1])
    assert f"model   {tmp_path / 'out' / 'gpt.pt'}" in stdout
    checkpoint = torch.load(tmp_path / "out" / "gpt.pt", weights_only=True)
    results = json.loads((tmp_path / "out" / "gpt.json").read_text())
    assert checkpoint["step"] == step >= 10 and results["tokens"] == step * 4 * 16
    assert checkpoint["metrics"] == results["metrics"]


def test_benchmark_times_ours_a_textbook_and_a_peer(run_script, tmp_path):
    peer = tmp_path / "peer.py"
    peer.write_text("import sys; sys.path.insert(0, sys.argv[0].rsplit('/', 1)[0])\n"
                    "from dataclasses import dataclass\nimport model\n"
                    "@dataclass\nclass GPTConfig:\n    block_size: int\n    vocab_size: int\n"
                    "    n_layer: int\n    n_head: int\n    n_embd: int\n    dropout: float\n"
                    "    bias: bool\n"
                    "def GPT(c):\n    return model.GPT(model.GPTConfig(**vars(c)))\n")
    done = run_script("part_2/benchmark.py", "--shapes", "a", "--seconds", 0.1, "--peer", peer,
                      "--out", tmp_path)
    rates = json.loads((tmp_path / "benchmark.json").read_text())["a"]
    formats = ("float32", "bfloat16")[:1 if "bfloat16 is left out" in done.stdout else 2]
    assert set(rates) == {f"{name}, {amp}" for name in ("ours", "textbook", "peer")
                          for amp in formats}
    assert min(rates.values()) > 100 and "tokens a second" in done.stdout
    assert (tmp_path / "benchmark.png").is_file()


def test_where_bfloat16_is_slow_the_benchmark_does_without(modules_of, monkeypatch, tmp_path):
    benchmark = modules_of("part_2", "benchmark").benchmark
    monkeypatch.setattr(benchmark, "formats_to_time", lambda device: {"float32": None})
    benchmark.main(["--shapes", "a", "--seconds", "0.1", "--device", "cpu", "--out", str(tmp_path)])
    assert set(json.loads((tmp_path / "benchmark.json").read_text())["a"]) == {
        "ours, float32", "textbook, float32"}
    assert (tmp_path / "benchmark.png").is_file()


@pytest.mark.parametrize("flags, says", [(("--shapes", "ax"), "--shapes ax: choose from ab"),
                                         (("--peer", "none.py"), "--peer none.py: there is no"),
                                         (("--seconds", 0), "--seconds 0.0: must be above 0")])
def test_benchmark_refuses_bad_input(flags, says, run_script):
    done = run_script("part_2/benchmark.py", "--shapes", "a", "--seconds", 0.1, *flags, check=False)
    assert says in error_of(done)


def test_the_flags_of_training_reach_the_loop(trained, modules_of, watch, tmp_path):
    train_gpt = modules_of("part_2", "train_gpt").train_gpt
    rates, looks = watch(train_gpt, "learning_rate"), watch(train_gpt, "check_progress")
    groups, runs = watch(train_gpt.GPT, "parameter_groups"), watch(train_gpt, "train")
    text = trained / "text.txt"
    flags = (*TINY, "--steps", 6, "--evaluations", 3, "--lr", 0.02, "--weight-decay", 0.5,
             "--dropout", 0.25, "--data", text, "--out", tmp_path)
    train_gpt.main([str(flag) for flag in flags])
    assert {call.peak for call in rates} == {0.02} and len(rates) == 6 and len(looks) == 3
    assert groups[0].weight_decay == 0.5 and runs[0].model.config.dropout == 0.25


def test_a_trained_model_takes_the_place_of_the_demos_own(trained, modules_of, watch, tmp_path):
    demo = modules_of("part_2", "demo_sampling").demo_sampling
    training, written = watch(demo, "train_with_shift"), watch(demo, "write_rows")
    demo.main(["--quick", "--checkpoint", str(trained / "out" / "gpt.pt"), "--out", str(tmp_path)])
    assert training == [] and {call.model.config.n_embd for call in written} == {16}


@pytest.mark.slow
def test_the_compiled_model_trains_to_the_same_loss(trained, run_script):
    losses = []
    for name, flags in (("plain", ()), ("compiled", ("--compile",))):
        run_script("part_2/train_gpt.py", "--data", trained / "text.txt", "--steps", 20, "--out",
                   trained / name, *TINY, *flags)
        results = json.loads((trained / name / "gpt.json").read_text())
        losses.append(results["metrics"]["val_loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
