"""A policy that learns by LoRA: its reference is the same weights without the detours."""

import json
from dataclasses import replace

import pytest
import torch
from released_folders import make_released
from rl.dpo_pairs import PairTokens, pair_rows
from rl.policy import frozen_copy, reference_of, response_logp
from rl.ppo_loop import PPO
from rl.ppo_settings import PPOSettings
from run.checkpoint import load_checkpoint
from run.distributed import Processes
from run.optim import model_state
from run.runtime import Runtime
from sft.lora import LoRALinear, merged_weights
from stop_and_go import goes_on_to_the_same_bytes
from train_dpo import DPOSettings, learn_from, train

CPU = Runtime(torch.device("cpu"), None, "", "")
PAIRS = [PairTokens([1, n], [n, 3, 10], [n, 4, 10]) for n in range(1, 9)] * 4
DPO = DPOSettings(pairs_a_step=8, peak=3e-2, gold_weight=0.0, lora=2)
SMALL = PPOSettings(steps=4, prompts=4, copies=2, max_new=6, epochs=2, minibatch=4, micro_rows=2,
                    peak=1e-2, stop_kl=0.0, lora=2)


class Marks:
    end, pad = 10, 11


def logp_of(model):
    with torch.no_grad():
        return response_logp(model, pair_rows(PAIRS, Marks.end, Marks.pad, "cpu"))


def detours(name: str) -> bool:
    return name.endswith((".a", ".b"))


def bytes_of(*models) -> int:
    """Each tensor once, however many models read it; gradients too."""
    tensors = [x for model in models for x in model.parameters()]
    tensors += [p.grad for p in tensors if p.grad is not None]
    return sum({x.data_ptr(): x.numel() * x.element_size() for x in tensors}.values())


def test_slices_and_detours_do_not_go_together(tiny):
    with pytest.raises(ValueError, match="--shard with --lora: .*use one of the two"):
        reference_of(tiny, DPO, processes=Processes(world=2, shards=True))
    assert not any(isinstance(m, LoRALinear) for m in tiny.modules()), "nothing was changed"


def test_the_reference_says_what_the_model_said_and_shares_its_weights(tiny):
    before = logp_of(tiny)
    reference = reference_of(tiny, DPO)
    assert torch.equal(logp_of(reference), before) and torch.equal(logp_of(tiny), before)
    own = dict(tiny.named_parameters())
    for name, weight in reference.named_parameters():
        at, _, kind = name.rpartition(".")
        other = own.get(name, own.get(f"{at}.base.{kind}"))
        assert other.data_ptr() == weight.data_ptr() and not weight.requires_grad
    assert not any(isinstance(m, LoRALinear) for m in reference.modules())
    with torch.no_grad():
        for name, p in tiny.named_parameters():
            if name.endswith(".b"):
                p.add_(0.1)
    assert torch.equal(logp_of(reference), before) and not torch.equal(logp_of(tiny), before)


def test_detours_are_those_of_the_seed_whatever_was_drawn_before(tiny):
    found = []
    for seed in (0, 0, 1):
        model = frozen_copy(tiny)
        torch.rand(1 + len(found))
        reference_of(model, DPO, seed)
        found.append(model.blocks[0].mlp.project.a)
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_dpo_moves_the_detours_alone_and_they_are_folded_into_what_is_saved(tiny, weights):
    reference = reference_of(tiny, replace(DPO, weights=weights))
    before, was = logp_of(reference), {n: p.clone() for n, p in tiny.named_parameters()}
    learn_from(PAIRS[:8], PAIRS[:8], tiny, reference, CPU.grad_scaler(), Marks, CPU, DPO)
    learns = {n for n, p in tiny.named_parameters() if p.grad is not None}
    assert learns == set(filter(detours, was))
    assert {p.dtype for n, p in tiny.named_parameters() if detours(n)} == {torch.float32}
    tiny.zero_grad()
    log = train(tiny, reference, PAIRS, Marks, CPU, DPO, seed=0)
    assert log[0]["accuracy"] == 0.5 and log[-1]["accuracy"] == 1.0
    moved = {n for n, p in tiny.named_parameters() if not torch.equal(p, was[n])}
    assert moved == set(filter(detours, was)) and torch.equal(logp_of(reference), before)
    saved = merged_weights(tiny, model_state(tiny))
    assert {x.dtype for x in saved.values()} == {torch.float32}
    plain = frozen_copy(reference).float()
    plain.load_state_dict(saved)
    near = 1e-4 if weights == "float32" else 0.08  # logits of bfloat16 weights are rounded
    torch.testing.assert_close(logp_of(plain), logp_of(tiny), atol=near, rtol=0)
    assert (logp_of(plain) - before).abs().max() > 2 * near
    assert torch.equal(logp_of(reference), before), "saving does not touch the reference"


def test_ppo_with_lora_begins_at_the_reference_and_moves_detours_and_value_head(tiny):
    ppo = PPO(tiny, lambda rollout: torch.tensor([float(r.count(3)) for r in rollout.replies()]),
              SMALL, end=10, pad=11, runtime=CPU)
    was = {n: p.clone() for n, p in ppo.policy.named_parameters()}
    asked = [[1, 2, 3], [4], [5, 6, 7], [8]]
    found = [ppo.step(asked) for _ in range(2)]
    assert found[0]["kl"] == 0.0 and found[0]["first_ratio"] == 1.0 and found[1]["kl"] != 0.0
    moved = {n for n, p in ppo.policy.named_parameters() if not torch.equal(p, was[n])}
    assert moved == {n for n in was if detours(n) or n.startswith("value_head.")}


def test_ppo_takes_weights_in_bfloat16(tiny):
    ppo = PPO(tiny, lambda rollout: torch.rand(8), replace(SMALL, weights="bfloat16"), end=10,
              pad=11, runtime=CPU)
    found = ppo.step([[1, 2, 3], [4], [5, 6, 7], [8]])
    assert found["kl"] == 0.0 and found["first_ratio"] == 1.0 and found["value_loss"] > 0


def test_lora_takes_less_memory_and_bfloat16_still_less():
    from gpt.model import GPT, GPTConfig
    sizes = {}
    for lora, weights in ((0, "float32"), (2, "float32"), (2, "bfloat16")):
        torch.manual_seed(0)
        model = GPT(GPTConfig(vocab_size=12, block_size=24, n_layer=2, n_head=2, n_embd=64)).eval()
        plain = sum(4 * p.numel() for p in model.parameters())
        settings = replace(DPO, lora=lora, weights=weights)
        reference = reference_of(model, settings)
        learn_from(PAIRS[:8], PAIRS[:8], model, reference, CPU.grad_scaler(), Marks, CPU, settings)
        sizes[lora, weights] = bytes_of(model, reference) / plain
    assert sizes[0, "float32"] == 3  # weights, their copy, their gradients
    assert 1 < sizes[2, "float32"] < 1.4 and 0.5 < sizes[2, "bfloat16"] < 0.9


@pytest.mark.parametrize("settings", [DPOSettings, PPOSettings])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match="--lora -1"):
        settings(lora=-1)
    with pytest.raises(ValueError, match="give --lora too"):
        settings(weights="bfloat16")
    with pytest.raises(ValueError, match="--weights int4"):
        settings(weights="int4", lora=2)


# ---------------------------------------------------------------- the commands

@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"the fox {i}", "chosen": "the crow waits",
                                        "rejected": "no cheese"}) + "\n" for i in range(24)))
    return path


def test_dpo_with_lora_goes_on_to_the_same_bytes_and_leaves_as_an_adapter(tmp_path, pairs):
    import train_dpo
    from export_weights import main as export_weights
    from pretrained.safetensors_io import open_safetensors
    folder = make_released(tmp_path / "released", "smollm2")
    flags = ("--sft", folder, "--data", pairs, "--eval-prompts", 0, "--pairs-a-step", 4,
             "--lora", 2, "--weights", "bfloat16", "--peak", 0.01, "--amp", "float32")
    goes_on_to_the_same_bytes(train_dpo.main, flags, tmp_path, "dpo.pt")
    path = tmp_path / "b" / "dpo.pt"
    model, _, content = load_checkpoint(path)
    lora = content["training"]["lora"]
    assert (lora["rank"], lora["alpha"], lora["base"]) == (2, 4, str(folder))
    assert all(b.abs().max() > 0 for name, b in lora["weights"].items() if name.endswith(".b"))
    base = load_checkpoint(folder)[0].to(torch.bfloat16).float()
    at = "blocks.0.mlp.project"
    change = 2 * lora["weights"][f"{at}.b"] @ lora["weights"][f"{at}.a"]
    torch.testing.assert_close(model.state_dict()[f"{at}.weight"],
                               base.state_dict()[f"{at}.weight"] + change)
    export_weights([str(path), str(tmp_path / "adapter"), "--adapter"])
    assert len(open_safetensors(tmp_path / "adapter" / "adapter_model.safetensors")) == 28


def test_ppo_with_lora_goes_on_to_the_same_bytes(tiny_sft, tiny_reward, tmp_path):
    import train_ppo
    goes_on_to_the_same_bytes(train_ppo.main, (
        "--steps", 4, "--pool", 8, "--prompts", 2, "--copies", 2, "--minibatch", 2, "--max-new", 5,
        "--micro-rows", 2, "--amp", "float32", "--no-tensorboard", "--eval-prompts", 0,
        "--sft", tiny_sft, "--reward", tiny_reward, "--lora", 2, "--weights", "bfloat16"), tmp_path, "ppo.pt")
