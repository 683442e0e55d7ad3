"""The reward model's training is killed and goes on to the same bytes, with what it began with only."""

import json
from pathlib import Path

import pytest
import train_reward
from run.lock import only_run_in
from stop_and_go import goes_on_to_the_same_bytes, is_refused, survives_many_kills

ROOT = Path(__file__).resolve().parents[2]
THRIFT = ("--recompute", "--compile")


@pytest.fixture
def flags(tiny_base, tmp_path):
    pairs = [{"prompt": f"What is {n} + 1?", "chosen": str(n + 1), "rejected": f"{n}, I think"}
             for n in range(14)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    return ("--sft", tiny_base, "--data", tmp_path / "pairs.jsonl", "--rows", 4, "--amp", "float32",
            "--no-tensorboard", "--save-every", 2)


def test_a_killed_training_goes_on_to_the_same_bytes(flags, tmp_path):
    goes_on_to_the_same_bytes(train_reward.main, flags, tmp_path, "reward.pt", *THRIFT)
    is_refused(train_reward.main, [*flags, "--peak", 1e-4], tmp_path, "peak: was 0.0003, now 0.0001")
    text = (tmp_path / "pairs.jsonl").read_text()
    (tmp_path / "pairs.jsonl").write_text(text.replace("I think", "perhaps"))
    is_refused(train_reward.main, flags, tmp_path, "data: was")


def test_a_second_run_in_the_folder_is_refused(flags, tmp_path):
    with only_run_in(tmp_path), pytest.raises(ValueError, match="another run is at work there"):
        train_reward.main([*map(str, flags), "--out", str(tmp_path)])


def test_stopped_it_says_how_to_go_on_and_writes_no_model(flags, tmp_path, capsys):
    train_reward.main([*map(str, flags), "--out", str(tmp_path), "--stop-at", "2"])
    assert "stopped after step 2; go on with --resume" in capsys.readouterr().out
    assert (tmp_path / "checkpoints" / "step_00000002.pt").exists()
    assert not (tmp_path / "reward.pt").exists()


@pytest.mark.slow
def test_twenty_kills_cost_nothing(flags, tmp_path):
    survives_many_kills(ROOT / "part_7" / "train_reward.py", flags, tmp_path, "reward.pt")
