"""DPO and PPO move a model with experts; what they save is read by all that reads a dense one."""

import json

import evaluate_ppo
import export_weights
import pytest
import torch
import train_dpo
import train_ppo
from gpt.generate import generate
from reward.checkpoint import save_reward
from reward.model import RewardModel
from rl.policy import frozen_copy, response_logp
from rl.rollout import roll_out
from stop_and_go import goes_on_to_the_same_bytes
from tiny_mixture import biases, check_cached_equals_whole, loaded, mixture_of

PPO = ("--steps", 4, "--pool", 6, "--kept", 0.5, "--prompts", 2, "--copies", 2, "--minibatch", 4,
       "--micro-rows", 2, "--max-new", 6, "--amp", "float32", "--no-tensorboard", "--eval-prompts", 0,
       "--peak", 0.001)


@pytest.fixture(scope="module")
def moe(tiny_sft, tmp_path_factory):
    return mixture_of(tiny_sft, tmp_path_factory.mktemp("moe"))


@pytest.fixture(scope="module")
def reward(moe):
    model, tokenizer = loaded(moe)
    save_reward(moe.with_name("reward.pt"), RewardModel(model), tokenizer, mean=0.1, std=2.0,
                settings={}, metrics={})
    return moe.with_name("reward.pt")


def check_it_learnt(moe, path) -> None:
    """Experts and routers moved, the biases did not: they are moved where the whole world is read."""
    old, new = loaded(moe)[0], loaded(path)[0]
    assert new.moe_config == old.moe_config
    for one, other in zip(old.moes, new.moes):
        assert not torch.equal(one.experts.gate_up, other.experts.gate_up)
        assert not torch.equal(one.router.weight, other.router.weight)
    assert not biases(path).any()
    check_cached_equals_whole(new)


def test_dpo_moves_a_mixture_and_goes_on_after_a_stop(moe, reward, tmp_path, capsys):
    pairs = [{"prompt": f"What is {n} + 1?", "chosen": str(n + 1), "rejected": f"{n}, I think"}
             for n in range(22)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    flags = ("--sft", moe, "--data", tmp_path / "pairs.jsonl", "--pairs-a-step", 5,
             "--eval-prompts", 0, "--amp", "float32")
    goes_on_to_the_same_bytes(train_dpo.main, flags, tmp_path, "dpo.pt")
    check_it_learnt(moe, tmp_path / "a" / "dpo.pt")
    evaluate_ppo.main(["--sft", str(moe), "--policy", str(tmp_path / "a" / "dpo.pt"), "--reward",
                       str(reward), "--prompts", "2", "--samples", "1", "--exact", "0", "--show", "0",
                       "--out", str(tmp_path)])
    with pytest.raises(ValueError, match="balance='bias'"):
        export_weights.main([str(tmp_path / "a" / "dpo.pt"), str(tmp_path / "folder")])


def test_ppo_moves_a_mixture_and_goes_on_after_a_stop(moe, reward, tmp_path):
    flags = (*PPO, "--sft", moe, "--reward", reward)
    goes_on_to_the_same_bytes(train_ppo.main, flags, tmp_path, "ppo.pt")
    check_it_learnt(moe, tmp_path / "a" / "ppo.pt")
    log = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert [line["first_ratio"] for line in log] == [1.0] * 4, "what was measured is what is learnt"
    assert max(line["sampler_gap"] for line in log) < 1e-3, "drawn through the cache"


def test_replies_are_drawn_as_if_each_were_alone_and_measured_as_they_were_drawn(moe, runtime):
    model, tokenizer = loaded(moe)
    prompts = [tokenizer.encode(text) for text in ("Tom has a bell", "A day", "3 + 4 =")]
    drawn = roll_out(model, prompts, 6, end=tokenizer.end, pad=tokenizer.pad, copies=2,
                     generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        measured = response_logp(frozen_copy(model), drawn.rows)
    torch.testing.assert_close(measured, drawn.logp, rtol=1e-3, atol=1e-4)
    assert generate(model, prompts, 6) == [generate(model, [one], 6)[0] for one in prompts]
