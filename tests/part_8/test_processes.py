"""Two processes learn from pairs what one learns; a resume may change their number."""

import json
from pathlib import Path

import pytest
import torch
import train_dpo
from several import processes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def flags(tiny_sft, tmp_path):
    pairs = [{"prompt": f"What is {n} + 1?", "chosen": str(n + 1) * (1 + n % 3),
              "rejected": f"{n}, I think"} for n in range(22)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    return ("--sft", tiny_sft, "--data", tmp_path / "pairs.jsonl", "--pairs-a-step", 5,
            "--eval-prompts", 0, "--amp", "float32")


def log_of(folder: Path) -> list[list[float]]:
    newest = sorted((folder / "checkpoints_dpo").glob("step_*.pt"))[-1]
    return [list(line.values()) for line in torch.load(newest, weights_only=True)["training"]["log"]]


@pytest.mark.scripts
def test_two_processes_learn_from_pairs_what_one_learns(flags, tmp_path, run_script):
    train_dpo.main([*map(str, flags), "--out", str(tmp_path / "a")])
    out = ("--out", tmp_path / "b")
    processes(run_script, tmp_path, ROOT / "part_8/train_dpo.py", *flags, *out, "--stop-at", 2)
    assert not (tmp_path / "b" / "dpo.pt").exists()
    train_dpo.main([*map(str, (*flags, *out)), "--resume"])
    one, two = (log_of(tmp_path / name) for name in "ab")
    assert len(one) >= 4 and two == [pytest.approx(line, abs=3e-5) for line in one]


@pytest.mark.slow
@pytest.mark.scripts
def test_four_processes_learn_from_pairs_what_one_learns(flags, tmp_path, run_script):
    train_dpo.main([*map(str, flags), "--out", str(tmp_path / "a")])
    processes(run_script, tmp_path, ROOT / "part_8/train_dpo.py", *flags, "--out", tmp_path / "b",
              many=4)
    one, two = (log_of(tmp_path / name) for name in "ab")
    assert two == [pytest.approx(line, abs=3e-5) for line in one]
