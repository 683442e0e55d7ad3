"""DPO and PPO are killed and go on to the same bytes, with the data and weights they began with only."""

import json
from pathlib import Path

import pytest
import torch
import train_dpo
import train_ppo
from stop_and_go import goes_on_to_the_same_bytes, is_refused, survives_many_kills

ROOT = Path(__file__).resolve().parents[2]
THRIFT = ("--recompute", "--compile")
PPO = ("--steps", 4, "--pool", 8, "--kept", 0.5, "--prompts", 2, "--copies", 2, "--minibatch", 2,
       "--micro-rows", 2, "--max-new", 5, "--amp", "float32", "--no-tensorboard", "--eval-prompts", 0)


@pytest.fixture
def dpo_flags(tiny_sft, tiny_reward, tmp_path):
    pairs = [{"prompt": f"What is {n} + 1?", "chosen": str(n + 1), "rejected": f"{n}, I think"}
             for n in range(18)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    return ("--sft", tiny_sft, "--reward", tiny_reward, "--data", tmp_path / "pairs.jsonl",
            "--pairs-a-step", 4, "--eval-prompts", 0, "--amp", "float32")


def other_weights(path: Path, folder: Path) -> Path:
    """The same model with its weights moved."""
    content = torch.load(path, weights_only=True)
    content["weights"] = {name: 1.01 * x for name, x in content["weights"].items()}
    torch.save(content, folder / path.name)
    return folder / path.name


def test_dpo_that_was_killed_goes_on_to_the_same_bytes(dpo_flags, tiny_sft, tmp_path):
    goes_on_to_the_same_bytes(train_dpo.main, dpo_flags, tmp_path, "dpo.pt", *THRIFT)
    is_refused(train_dpo.main, [*dpo_flags, "--beta", 0.3], tmp_path, "beta: was 0.1, now 0.3")
    moved = other_weights(tiny_sft, tmp_path)
    is_refused(train_dpo.main, [*dpo_flags, "--sft", moved], tmp_path, "weights: was")
    text = (tmp_path / "pairs.jsonl").read_text()
    (tmp_path / "pairs.jsonl").write_text(text.replace("I think", "perhaps"))
    is_refused(train_dpo.main, dpo_flags, tmp_path, "data: was")


def test_ppo_that_was_killed_goes_on_to_the_same_bytes(tiny_sft, tiny_reward, tmp_path):
    flags = (*PPO, "--sft", tiny_sft, "--reward", tiny_reward)
    goes_on_to_the_same_bytes(train_ppo.main, flags, tmp_path, "ppo.pt", *THRIFT)
    moved = other_weights(tiny_reward, tmp_path)
    is_refused(train_ppo.main, [*flags, "--reward", moved], tmp_path, "reward: was")


@pytest.mark.slow
def test_twenty_kills_cost_nothing(dpo_flags, tiny_sft, tiny_reward, tmp_path):
    survives_many_kills(ROOT / "part_8" / "train_dpo.py", dpo_flags, tmp_path / "dpo", "dpo.pt")
    survives_many_kills(ROOT / "part_8" / "train_ppo.py", (*PPO, "--sft", tiny_sft, "--reward",
                                                           tiny_reward), tmp_path / "ppo", "ppo.pt")
