"""A training of experts can be stopped at any step, by anything, and nothing is lost."""

import json
import signal

import benchmark_moe
import pytest
import torch
import train_moe
from moe import resuming
from moe.checkpoint import load_moe
from moe.resuming import read_training
from run.lock import only_run_in
from stop_and_go import recomputed_and_compiled
from train_moe import main

SMALL = ["--steps", "6", "--world-megabytes", "0.05", "--amp", "float32", "--device", "cpu",
         "--n-expert", "2", "--n-active", "1", "--save-every", "4"]
TINY = train_moe.Size(n_layer=2, n_head=2, n_kv_head=1, n_embd=16, context=32, vocab_size=280, rows=4)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(train_moe.PRESETS, "tiny", TINY)


def arguments(out, *more):
    return [*SMALL, "--out", str(out), *map(str, more)]


def same_training(one, other) -> bool:
    first, second = (load_moe(out / "moe.pt")[0].state_dict() for out in (one, other))
    logs = [(out / "moe_log/log.jsonl").read_bytes() for out in (one, other)]
    return all(torch.equal(first[name], second[name]) for name in first) and logs[0] == logs[1]


@pytest.mark.parametrize("balance", ["loss", "bias"])
def test_a_resumed_training_ends_with_the_same_bytes(tmp_path, balance):
    flags = ("--balance", balance)
    main(arguments(tmp_path / "whole", *flags))
    main(arguments(tmp_path / "stopped", *flags, "--stop-at", 3))
    assert not (tmp_path / "stopped/moe.pt").exists()
    with recomputed_and_compiled(True):
        main(arguments(tmp_path / "stopped", *flags, "--resume", "--recompute", "--compile"))
    assert same_training(tmp_path / "whole", tmp_path / "stopped")
    assert not (tmp_path / "stopped/moe_training.pt").exists()  # it is done
    assert [json.loads((tmp_path / name / "moe.json").read_text())["metrics"]
            for name in ("whole", "stopped")].count({}) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", 15)])
def test_ctrl_c_saves(tmp_path, monkeypatch, number, capsys):
    real = train_moe.learn

    def interrupted(*rest, **settings):
        for step, report in real(*rest, **settings):
            if step == 1:
                signal.raise_signal(number)
            yield step, report
    monkeypatch.setattr(train_moe, "learn", interrupted)
    main(arguments(tmp_path))
    assert "stopped after step 2" in capsys.readouterr().out
    assert read_training(tmp_path / "moe_training.pt")["step"] == 2


def test_a_loss_that_is_no_number_keeps_the_steps_before_it(tmp_path, monkeypatch):
    from moe import learning
    real, calls = learning.train_step, []

    def breaks(*rest, **settings):
        calls.append(1)
        if len(calls) == 4:
            raise FloatingPointError("the loss is nan")
        return real(*rest, **settings)
    monkeypatch.setattr(learning, "train_step", breaks)
    with pytest.raises(ValueError, match="step 4: the loss is nan.* The 3 steps before it are in"):
        main(arguments(tmp_path))
    assert read_training(tmp_path / "moe_training.pt")["step"] == 3


def test_a_full_disk_keeps_the_training_where_there_is_room(tmp_path, monkeypatch):
    real = resuming.write

    def full(path, state):
        if path.parent == tmp_path:
            raise OSError(28, "No space left on device")
        real(path, state)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(resuming, "write", full)
    monkeypatch.setattr(resuming.tempfile, "gettempdir", lambda: str(tmp_path / "elsewhere"))
    with pytest.raises(OSError, match="No space left.*rescued_moe_training.pt to it"):
        main(arguments(tmp_path))
    assert read_training(tmp_path / "elsewhere/rescued_moe_training.pt")["step"] == 4


def test_the_model_is_saved_before_it_is_measured(tmp_path, monkeypatch):
    def stopped(*rest, **settings):
        raise KeyboardInterrupt
    monkeypatch.setattr(train_moe, "held_out_loads", stopped)
    with pytest.raises(KeyboardInterrupt):
        main(arguments(tmp_path))
    assert load_moe(tmp_path / "moe.pt")[2]["metrics"] == {}
    monkeypatch.undo()
    monkeypatch.setitem(train_moe.PRESETS, "tiny", TINY)
    main(arguments(tmp_path, "--resume"))  # only what was not done yet
    assert set(load_moe(tmp_path / "moe.pt")[2]["metrics"]) == {"val_loss", "bits_per_byte", "max_load"}


def test_a_stopped_training_is_not_written_over(tmp_path):
    main(arguments(tmp_path, "--stop-at", 2))
    with pytest.raises(ValueError, match="stopped at step 2; go on with --resume"):
        main(arguments(tmp_path))
    main(arguments(tmp_path, "--fresh"))
    assert (tmp_path / "moe.pt").is_file()


def test_a_resume_with_other_settings_or_texts_is_refused(tmp_path):
    (tmp_path / "own.txt").write_text("\n".join(f"the owl saw {i} foxes" for i in range(2000)))
    own = ("--data", str(tmp_path / "own.txt"))
    main(arguments(tmp_path, *own, "--stop-at", 2))
    with pytest.raises(ValueError, match="balance: was loss, now bias"):
        main(arguments(tmp_path, *own, "--resume", "--balance", "bias"))
    (tmp_path / "own.txt").write_text("\n".join(f"the fox saw {i} owls" for i in range(2000)))
    with pytest.raises(ValueError, match="texts: was|texts have changed"):
        main(arguments(tmp_path, *own, "--resume"))


def test_with_amp_auto_the_saved_format_counts(tmp_path, monkeypatch):
    main(arguments(tmp_path, "--stop-at", 2))
    asked = []
    real = train_moe.choose_runtime

    def chosen(device, amp, **more):
        asked.append(amp)
        return real(device, amp, **more)
    monkeypatch.setattr(train_moe, "choose_runtime", chosen)
    words = arguments(tmp_path, "--resume")
    main([word for i, word in enumerate(words) if "--amp" not in words[max(0, i - 1):i + 1]])
    assert asked == ["float32"]


def test_a_second_training_in_the_folder_is_refused(tmp_path):
    with only_run_in(tmp_path), pytest.raises(ValueError, match="another run is at work there"):
        main(arguments(tmp_path))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\3\4 cut"])
def test_a_saved_training_that_is_damaged_is_named(tmp_path, content):
    (tmp_path / "moe_training.pt").write_bytes(content)
    with pytest.raises(ValueError, match="moe_training.pt"):
        main(arguments(tmp_path, "--resume"))


@pytest.mark.parametrize("flags, says", [(("--save-every", 0), "--save-every 0"),
                                         (("--stop-at", -1), "--stop-at -1"),
                                         (("--world-megabytes", -1), "--world-megabytes -1.0")])
def test_settings_that_make_no_sense_are_refused(tmp_path, flags, says):
    with pytest.raises(ValueError, match=says):
        main(arguments(tmp_path, *flags))


@pytest.mark.parametrize("flag", ["--n-embd", "--n-hidden"])
def test_the_benchmark_refuses_a_width_of_nothing(tmp_path, flag):
    with pytest.raises(ValueError, match=f"{flag} 0"):
        benchmark_moe.main([flag, "0", "--out", str(tmp_path)])
