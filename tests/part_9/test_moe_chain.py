"""The last stages move a model with experts, and chat, judge and page read what they save."""

import json

import chat
import cold_start
import evaluate_reasoning
import pytest
import torch
import train_grpo
import train_tools
from reward.checkpoint import save_reward
from reward.model import RewardModel
from rl.policy import Policy
from run.checkpoint import save_checkpoint
from seeing.models import Models
from stop_and_go import goes_on_to_the_same_bytes
from tiny_mixture import biases, check_cached_equals_whole, loaded, mixture_of

COLD = ("--examples", 24, "--steps", 4, "--rows", 2, "--amp", "float32")
GRPO = ("--steps", 4, "--prompts", 2, "--group", 2, "--max-new", 8, "--keep-rows", 2, "--amp",
        "float32", "--no-tensorboard", "--no-drop-equal", "--look-every", 0, "--eval-problems", 1,
        "--eval-exact", 0, "--longest", 2, "--micro-rows", 2, "--epochs", 2, "--peak", 0.003,
        "--soft-length", 8)


@pytest.fixture(scope="module")
def moe(tiny_sft, tmp_path_factory):
    return mixture_of(tiny_sft, tmp_path_factory.mktemp("moe"))


def test_a_cold_start_moves_a_mixture_in_balance(moe, tmp_path):
    goes_on_to_the_same_bytes(cold_start.main, (*COLD, "--sft", moe), tmp_path, "cold.pt")
    steps = biases(tmp_path / "a" / "cold.pt")
    torch.testing.assert_close(steps, steps.round())
    assert 0 < steps.abs().max() <= 4
    check_cached_equals_whole(loaded(tmp_path / "a" / "cold.pt")[0])


def test_grpo_moves_a_mixture_and_its_old_files_are_read_by_chat_and_judge(moe, tmp_path, capsys):
    goes_on_to_the_same_bytes(train_grpo.main, (*GRPO, "--model", moe), tmp_path, "grpo.pt")
    path = tmp_path / "a" / "grpo.pt"
    old, new = loaded(moe)[0].moes[0], loaded(path)[0].moes[0]
    assert not torch.equal(old.experts.gate_up, new.experts.gate_up)
    assert not torch.equal(old.router.weight, new.router.weight) and not biases(path).any()
    log = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert [line["first_ratio"] for line in log if "reward" in line] == [1.0] * 4
    chat.main(["--checkpoint", str(path), "--prompt", "What is 3 + 4?", "--longest", "3"])
    evaluate_reasoning.main(["--checkpoint", str(path), "--problems", "1", "--out", str(tmp_path),
                             "--longest", "2"])
    assert capsys.readouterr().out


def test_a_mixture_learns_to_call_tools(moe, tmp_path):
    train_tools.main([*map(str, COLD), "--steps", "1", "--model", str(moe), "--out", str(tmp_path)])
    model, tokenizer = loaded(tmp_path / "tools.pt")
    assert model.config.vocab_size == tokenizer.vocab_size > loaded(moe)[0].config.vocab_size


def test_the_page_shows_mixtures_in_every_place(moe, tmp_path):
    model, tokenizer = loaded(moe)
    save_reward(tmp_path / "reward.pt", RewardModel(model), tokenizer, mean=0.0, std=1.0, settings={},
                metrics={})
    policy = Policy(model)
    save_checkpoint(tmp_path / "values.pt", weights=policy.state_dict(), config=model.config,
                    tokenizer=tokenizer, step=0, settings={}, metrics={})
    paths = {"base": moe, "moe": moe, "sft": moe, "mine": moe, "reward": tmp_path / "reward.pt",
             "values": tmp_path / "values.pt"}
    found = Models(paths, "cpu", "auto")
    found.read()
    assert not found.missing
    shown = {row["name"]: row["experts"] for row in found.listing()["models"]}
    assert shown == {name: 4 for name in ("base", "moe", "sft", "mine")}
    assert found.values_for(tokenizer).body.moe_config == model.moe_config
    assert found.scorer()[0].body.moe_config == model.moe_config
