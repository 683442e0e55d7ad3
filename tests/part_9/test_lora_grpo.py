"""GRPO by LoRA: the reference is the same weights without the detours, no second copy."""

import copy
from dataclasses import replace

import pytest
import torch
import train_grpo
from reasoning.grpo_loop import GRPO
from reasoning.grpo_settings import GRPOSettings
from reasoning.toy_largest import END, PAD, SETTINGS, all_prompts, rewards, tuned_model
from run.checkpoint import load_checkpoint
from stop_and_go import goes_on_to_the_same_bytes

TRAINED, _ = all_prompts()
SMALL = replace(SETTINGS, steps=4, prompts=6, group=4, micro_rows=5, lora=2, beta=0.1, minibatch=8)


def detours(name: str) -> bool:
    return name.endswith((".a", ".b"))


@pytest.fixture(scope="module")
def start():
    return tuned_model(0)


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_grpo_begins_at_the_reference_and_moves_the_detours_alone(start, runtime, weights):
    settings = replace(SMALL, weights=weights)
    grpo = GRPO(copy.deepcopy(start), rewards, settings, end=END, pad=PAD, runtime=runtime)
    model, reference = grpo.model, grpo.reference
    ids = torch.tensor([TRAINED[0]])
    with torch.no_grad():
        before = reference(ids)[0].clone()
        assert torch.equal(model(ids)[0], before)
    was = {n: p.clone() for n, p in model.named_parameters()}
    stored = {p.data_ptr() for p in model.parameters()}
    assert {p.data_ptr() for p in reference.parameters()} < stored
    found = [grpo.step(TRAINED[:6], TRAINED[:6]) for _ in range(3)]
    assert found[0]["first_ratio"] == pytest.approx(1.0, abs=1e-7) and found[-1]["kl"] > 0
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, was[n])}
    assert moved == set(filter(detours, was))
    with torch.no_grad():
        assert torch.equal(reference(ids)[0], before) and not torch.equal(model(ids)[0], before)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="--lora -1"):
        GRPOSettings(lora=-1)
    with pytest.raises(ValueError, match="give --lora too"):
        GRPOSettings(weights="bfloat16")


def test_grpo_with_lora_goes_on_to_the_same_bytes_and_is_saved_merged(tiny_sft, tmp_path,
                                                                      monkeypatch):
    from reasoning.grpo_report import common, logged, save_model
    monkeypatch.setattr(train_grpo, "finish_checker",
                        lambda run: save_model(run, common(run, logged(run))))
    monkeypatch.setattr(train_grpo, "Checker", lambda *_: lambda rollout, tasks: torch.tensor(
        [float(r[0] % 2) for r in rollout.replies()]))  # else nothing would be learnt from
    flags = ("--steps", 4, "--prompts", 2, "--group", 2, "--max-new", 6, "--keep-rows", 0, "--amp",
             "float32", "--no-tensorboard", "--look-every", 0, "--model", tiny_sft, "--lora", 2,
             "--weights", "bfloat16", "--peak", 0.01, "--no-drop-equal")
    goes_on_to_the_same_bytes(train_grpo.main, flags, tmp_path, "grpo.pt")
    model, _, content = load_checkpoint(tmp_path / "a" / "grpo.pt")
    lora = content["training"]["lora"]
    assert (lora["rank"], lora["alpha"], lora["base"]) == (2, 4, str(tiny_sft))
    at, weights = "blocks.0.attention.qkv", lora["weights"]
    change = 2 * weights[f"{at}.b"] @ weights[f"{at}.a"]
    base = load_checkpoint(tiny_sft)[0].to(torch.bfloat16).float().state_dict()[f"{at}.weight"]
    assert change.abs().max() > 0
    torch.testing.assert_close(model.state_dict()[f"{at}.weight"], base + change)
