"""Rough use of part 2: two runs in a folder, no memory, closed terminals and pipes, odd data."""

import gzip
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import train_gpt
from data import read_bytes
from evaluation import evaluate
from interrupt import StopOnSignal
from lock import only_run_in
from memory import check_memory, least_bytes, limit_of_group
from model import GPT, GPTConfig
from presets import Settings

PART = Path(train_gpt.__file__).resolve().parent
SMALL = ["--layers", "1", "--heads", "2", "--width", "16", "--block-size", "16", "--batch-size", "2",
         "--amp", "float32", "--device", "cpu"]
HOLD = """
import sys, time
sys.path.insert(0, {part!r})
from lock import only_run_in
with only_run_in({folder!r}):
    print("held", flush=True)
    time.sleep(600)
"""


# ---------------------------------------------------------------- two runs in one folder

@pytest.fixture
def holder(tmp_path):
    """Another process that works in tmp_path."""
    process = subprocess.Popen([sys.executable, "-c", HOLD.format(part=str(PART),
                                folder=str(tmp_path))], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_run_in_a_folder_is_refused_until_the_first_has_ended(tmp_path, holder):
    with pytest.raises(ValueError, match=rf"another run is at work there \(process {holder.pid}\)"):
        with only_run_in(tmp_path):
            pytest.fail("both run")
    holder.kill()  # as a crash or a power cut does: nothing tidies up
    holder.wait()
    with only_run_in(tmp_path):
        assert (tmp_path / ".running").read_text() == f"{os.getpid()}\n"


def test_one_run_after_the_other_is_fine_and_another_folder_is_free(tmp_path, holder):
    (tmp_path / "b").mkdir()
    for _ in range(2):
        with only_run_in(tmp_path / "b"):
            assert (tmp_path / "b" / ".running").is_file()
        assert list((tmp_path / "b").iterdir()) == []


def test_the_training_script_is_refused_before_it_touches_anything(run_script, tmp_path, holder):
    done = run_script("part_2/train_gpt.py", *SMALL, "--steps", 2, "--out", tmp_path, check=False)
    assert done.returncode == 2 and "another run is at work" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".running"]


# ---------------------------------------------------------------- memory

def test_the_least_that_a_training_needs_by_hand():
    needs = least_bytes(layers=2, width=10, vocab=100, rows=3, context=5)
    assert needs["weights"] == 16 * (2 * 10 * 100 + 1000) + 2 * 20_000
    assert needs["activations"] == 15 * (40 * 2 * 10 + 800) and needs["masks"] == 0
    assert least_bytes(layers=2, width=10, vocab=0, rows=3, context=5, masks=True)["masks"] == 75


def test_a_training_is_never_refused_that_would_fit():
    """The estimate is below what a real one takes: of weights, and of values kept for the way back."""
    config = GPTConfig(n_layer=2, n_embd=32, n_head=2, block_size=16)
    needs = least_bytes(layers=2, width=32, vocab=256, rows=4, context=16)
    kept = []
    model = GPT(config)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        model(*torch.randint(256, (2, 4, 16)))
    own = {p.data_ptr() for p in model.parameters()}
    sizes = {t.data_ptr(): t.numel() * t.element_size() for t in kept if t.data_ptr() not in own}
    assert needs["activations"] < sum(sizes.values()) + 2 * 4 * 16 * 256 * 4
    assert needs["weights"] - 2 * 20_000 < 16 * sum(p.numel() for p in model.parameters())


def test_what_cannot_fit_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr("memory.memory_of", lambda device: 8 * 10**9)
    needs = {"weights": 10**9, "activations": 23 * 10**9}
    with pytest.raises(ValueError, match="needs 24 GB at least .23 GB for activations., cpu has "
                                         "8.0 GB; lower --width"):
        check_memory(needs, torch.device("cpu"), "--width")
    check_memory({"weights": 10**9}, torch.device("cpu"), "--width")


def test_the_memory_of_a_container_counts(tmp_path):
    assert limit_of_group(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    assert limit_of_group(tmp_path) is None
    (tmp_path / "memory.max").write_text("123456\n")
    assert limit_of_group(tmp_path) == 123456


def test_the_training_script_asks_before_it_starts(tmp_path):
    with pytest.raises(ValueError, match="lower --block-size, --batch-size, --width or --layers"):
        train_gpt.main([*SMALL, "--out", str(tmp_path), "--width", "2000000"])


# ---------------------------------------------------------------- signals and pipes

@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
def test_a_closed_terminal_stops_a_run_like_ctrl_c_but_not_under_nohup():
    with StopOnSignal() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert stop.requested
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with StopOnSignal() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow  # part 4's training, which has the same edges, is tried in the quick form
def test_training_ends_with_a_model_although_nobody_reads_its_output(tmp_path):
    """As in `train_gpt.py 2>&1 | head -1`."""
    process = subprocess.Popen(
        [sys.executable, str(PART / "train_gpt.py"), *SMALL, "--steps", "30", "--out", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    assert (tmp_path / "gpt.pt").is_file() and (tmp_path / "gpt.json").is_file()


def test_output_that_is_not_utf_8_does_not_end_a_script(run_script, tmp_path):
    env = {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = run_script("part_2/demo_label_shift.py", "--quick", "--out", tmp_path, env=env, fresh=True)
    assert "charmap" not in done.stderr


# ---------------------------------------------------------------- flags and data

@pytest.mark.parametrize("change", [{"weight_decay": -1.0}, {"weight_decay": float("nan")},
                                    {"lr": float("inf")}, {"minutes": float("nan"), "steps": None},
                                    {"clip": 0.0}, {"evaluations": 0}])
def test_settings_that_make_no_sense_are_refused(change):
    with pytest.raises(ValueError, match=f"--{next(iter(change)).replace('_', '-')} "):
        Settings(**change)


def test_a_stride_of_zero_is_refused():
    model = GPT(GPTConfig(n_layer=1, n_embd=16, n_head=2, block_size=8))
    with pytest.raises(ValueError, match="--stride 0"):
        evaluate(model, torch.zeros(20, dtype=torch.uint8), stride=0)


@pytest.mark.parametrize("data, says", [
    ("", "--data is empty"), ("link", "a link to something that is not there"),
    ("x" * 300, "too long"), ("bad.gz", "cannot be read")])
def test_data_that_cannot_be_read_is_named(tmp_path, monkeypatch, data, says):
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("nowhere")
    Path("bad.gz").write_bytes(b"no gzip")
    with pytest.raises((ValueError, OSError), match=re.escape(says)) as refused:
        read_bytes(data)
    assert not data or data[:200] in str(refused.value)


def test_of_a_folder_all_texts_count_whatever_they_are_called(tmp_path):
    for name, content in (("a.TXT", b"one"), ("b", b"two"), (".hidden.txt", b"three"),
                          ("c.txt", b"\xff\xfe\0"), ("d.gz", gzip.compress(b"four"))):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "corpus.md").mkdir()
    assert read_bytes(tmp_path) == b"one\ntwo\nfour"
    assert read_bytes(tmp_path / "d.gz") == b"four"


def test_a_flag_that_was_given_counts_with_quick_too(monkeypatch):
    """--quick sets what was not given, in all parts."""
    for path in sorted(PART.parent.glob("part_[1-9]/**/*.py")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"if args\.quick else \(?(?:[\w.]+, )*args\.", text), path
        assert not re.search(r"if args\.quick:\n\s+args\.", text), path


def test_a_run_that_ends_early_lets_the_folder_go(tmp_path):
    start = time.perf_counter()
    with pytest.raises(RuntimeError), only_run_in(tmp_path):
        raise RuntimeError("power cut")
    with only_run_in(tmp_path):
        assert time.perf_counter() - start < 5
