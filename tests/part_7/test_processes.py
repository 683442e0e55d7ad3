"""Two processes learn the scores that one learns; a resume may change their number."""

import json
from pathlib import Path

import pytest
import train_reward
from several import holds, processes

ROOT = Path(__file__).resolve().parents[2]


def log_of(folder: Path, *names: str) -> list[list[float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [[line[name] for name in names] for line in lines if names[0] in line]


@pytest.fixture
def flags(tiny_base, tmp_path):
    pairs = [{"prompt": f"What is {n // 2} + 1?", "chosen": str(n), "rejected": f"{n}, I think"}
             for n in range(25)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    return ("--sft", tiny_base, "--data", tmp_path / "pairs.jsonl", "--rows", 8, "--amp", "float32",
            "--no-tensorboard", "--muon", 0)


@pytest.mark.scripts
@pytest.mark.parametrize("more", [(), ("--shard",)])
def test_two_processes_learn_what_one_learns(more, flags, tmp_path, run_script):
    if more:  # a step of one pair leaves a process without any
        flags = (*flags, "--rows", 2)
    train_reward.main([*map(str, flags), "--out", str(tmp_path / "a")])
    out = ("--out", tmp_path / "b")
    processes(run_script, tmp_path, ROOT / "part_7/train_reward.py", *flags, *out, "--stop-at", 2,
              *more)
    assert holds(tmp_path, 4, tmp_path / "a" / "reward.json", bool(more)), "a witness, and two moments"
    assert not (tmp_path / "b" / "reward.pt").exists()
    train_reward.main([*map(str, (*flags, *out)), "--resume"])
    one, two = (log_of(tmp_path / name, "loss", "right") for name in "ab")
    assert len(one) >= 3 and two == [pytest.approx(line, abs=2e-5) for line in one]


@pytest.mark.slow
@pytest.mark.scripts
def test_four_processes_learn_what_one_learns(flags, tmp_path, run_script):
    train_reward.main([*map(str, flags), "--out", str(tmp_path / "a")])
    processes(run_script, tmp_path, ROOT / "part_7/train_reward.py", *flags, "--out", tmp_path / "b",
              many=4)
    one, two = (log_of(tmp_path / name, "loss", "right") for name in "ab")
    assert two == [pytest.approx(line, abs=2e-5) for line in one]
