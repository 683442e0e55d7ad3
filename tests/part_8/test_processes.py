"""Two processes learn what one learns, from pairs and with PPO; a resume may change their number."""

import json
from pathlib import Path

import pytest
import torch
import train_dpo
import train_ppo
from several import holds, processes

ROOT = Path(__file__).resolve().parents[2]

PPO = ("--steps", 3, "--pool", 10, "--kept", 0.5, "--prompts", 4, "--copies", 2, "--minibatch", 4,
       "--micro-rows", 2, "--max-new", 6, "--amp", "float32", "--no-tensorboard", "--eval-prompts", 0,
       "--peak", 0.001)


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
@pytest.mark.parametrize("more", [(), ("--shard",)])
def test_two_processes_learn_from_pairs_what_one_learns(more, flags, tmp_path, run_script):
    if more:  # a step of one pair leaves a process without any
        flags = (*flags, "--pairs-a-step", 1)
    train_dpo.main([*map(str, flags), "--out", str(tmp_path / "a")])
    out = ("--out", tmp_path / "b")
    processes(run_script, tmp_path, ROOT / "part_8/train_dpo.py", *flags, *out, "--stop-at", 2,
              *more)
    assert holds(tmp_path, 4, tmp_path / "a" / "dpo.json", bool(more)), "a reference, and two moments"
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


@pytest.mark.scripts
@pytest.mark.parametrize("many, more", [(2, ()), (2, ("--shard",)), pytest.param(4, (), marks=pytest.mark.slow),
                                        pytest.param(2, ("--stop-kl", 1e-9), marks=pytest.mark.slow)])
def test_several_processes_draw_whiten_and_decide_as_one_does(many, more, tiny_sft, tiny_reward,
                                                              tmp_path, run_script):
    flags = (*PPO, *more, "--sft", tiny_sft, "--reward", tiny_reward)
    processes(run_script, tmp_path, ROOT / "part_8/train_ppo.py", *flags, "--out", tmp_path / "b",
              many=many)
    train_ppo.main([*map(str, flags), "--out", str(tmp_path / "a")])
    one, two = ([json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
                for name in "ab")
    assert len(one) == 3 and two == [pytest.approx(line, abs=1e-4) for line in one]
    if many == 2:  # policy, reference, reward model, two moments
        assert holds(tmp_path, 5, tmp_path / "a" / "ppo.json", "--shard" in more)
