"""A model with experts is tuned as a dense one is: it stays one, keeps its balance, and answers."""

import json
from pathlib import Path

import chat
import evaluate
import export_weights
import pytest
import show_experts
import torch
import train_sft
from gpt.generate import generate
from moe.hybrid import HybridGPT
from moe.layer import MoEConfig
from moe.router import bias_step, max_load
from run.checkpoint import load_checkpoint, save_checkpoint
from run.loop import train_step
from run.optim import make_optimizer, orthogonal
from several import processes
from sft.lora import add_lora, merge_lora
from stop_and_go import same_weights
from tiny_mixture import biases, check_cached_equals_whole, loaded, mixture_of

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--examples", 40, "--steps", 4, "--rows", 4, "--replay", 0.2, "--eval-every", 2, "--amp",
         "float32", "--eval-items", 0, "--no-tensorboard", "--muon", 0.006)


@pytest.fixture(scope="module")
def moe(tiny_base, tmp_path_factory):
    return mixture_of(tiny_base, tmp_path_factory.mktemp("moe"))


@pytest.fixture(scope="module")
def tuned(moe, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned")
    train_sft.main(flags(moe, out))
    return out / "sft.pt"


def flags(base, out, *more) -> list[str]:
    return [str(x) for x in (*SMALL, "--base", base, "--out", out, *more)]


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_a_tuned_mixture_is_a_mixture_in_balance_and_loads_again(moe, tuned):
    before, (after, tokenizer) = loaded(moe)[0], loaded(tuned)
    assert after.moe_config == before.moe_config
    assert after.config.vocab_size == tokenizer.vocab_size == before.config.vocab_size + 3
    old, new = before.state_dict(), after.state_dict()
    for name in old:
        if old[name].shape == new[name].shape and name != "table.turns":
            assert not torch.equal(old[name], new[name]) or "norm" in name, f"{name} learnt nothing"
    steps = biases(tuned)  # 4 steps, each up or down by one
    torch.testing.assert_close(steps, steps.round())
    assert 0 < steps.abs().max() <= 4
    check_cached_equals_whole(after)


def test_it_is_talked_to_and_evaluated_as_a_dense_one(tuned, capsys, tmp_path):
    chat.main(["--checkpoint", str(tuned), "--prompt", "What is 3 + 4?", "--longest", "4"])
    evaluate.main(["--checkpoint", str(tuned), "--items", "3", "--out", str(tmp_path)])
    assert "right" in capsys.readouterr().out


def test_the_load_of_its_experts_is_shown(moe, tuned, tiny_base, runtime, capsys):
    show_experts.main([str(moe), str(tuned), "--items", "60", "--amp", "float32"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if ".pt" in line]
    assert [line[0] for line in lines] == 2 * [str(moe)] + 2 * [str(tuned)]
    model, tokenizer = loaded(tuned)
    loads = show_experts.loads_on_chats(model, tokenizer, runtime, 60, 0)
    one_pass = show_experts.ROWS * 128 * 2  # two choices of each token
    assert loads.shape == (2, 4) and (loads.sum(1) == loads[0].sum()).all()
    assert loads[0].sum() >= 2 * one_pass and loads[0].sum() % one_pass == 0, "all passes count"
    assert float(lines[2][2]) == pytest.approx(max_load(loads[0]), abs=0.01)
    with pytest.raises(ValueError, match="--items 0"):
        show_experts.main([str(moe), "--items", "0"])
    with pytest.raises(ValueError, match="base.pt: a model without experts"):
        show_experts.main([str(tiny_base)])


def test_from_scratch_it_has_experts_too(moe, tmp_path):
    train_sft.main(flags(moe, tmp_path, "--from-scratch", "--steps", 1))
    model = loaded(tmp_path / "sft.pt")[0]
    assert model.moes[0].router.weight.std() < 0.1, "the trained router's is 0.3"


def test_it_stops_and_goes_on_to_the_same_bytes(moe, tuned, tmp_path):
    train_sft.main(flags(moe, tmp_path, "--stop-at", 2))
    train_sft.main(flags(moe, tmp_path, "--resume"))
    assert same_weights(tuned, tmp_path / "sft.pt")


@pytest.mark.scripts
def test_two_processes_tune_a_mixture_as_one_does(moe, tuned, tmp_path, run_script):
    """The biases follow the load of both."""
    processes(run_script, tmp_path, ROOT / "part_6/train_sft.py", *flags(moe, tmp_path / "b"))
    one, two = (losses(folder) for folder in (tuned.parent, tmp_path / "b"))
    assert two == pytest.approx(one, abs=3e-5) and len(one) == 4
    assert torch.equal(biases(tuned), biases(tmp_path / "b" / "sft.pt"))


def test_the_biases_follow_the_load_of_all_micro_batches_once_a_step(moe, runtime):
    model = loaded(moe)[0].train()
    ids = torch.randint(0, 260, (4, 16))
    with torch.no_grad():
        model(ids)
    expected = [bias_step(moe.router.bias, moe.router.load.clone(), 0.0625) for moe in model.moes]
    for router in (moe.router for moe in model.moes):
        router.load.zero_()
    train_step(model, make_optimizer(model, weight_decay=0.0, betas=(0.9, 0.98)), ids,
               ids.roll(-1, 1), runtime=runtime, scaler=runtime.grad_scaler(), rate=1e-3, micro_rows=1)
    for one, bias in zip(model.moes, expected):
        torch.testing.assert_close(one.router.bias, bias)
        assert one.router.load.sum() == 0 and bias.abs().max() > 0


def test_muon_takes_each_expert_s_matrices_apart_and_leaves_the_router_to_adam(moe):
    model = loaded(moe)[0].train()
    optimizer = make_optimizer(model, weight_decay=0.0, betas=(0.9, 0.98), muon=1.0)
    ids = torch.randint(0, 260, (2, 16))
    model(ids, ids.roll(-1, 1))[1].backward()
    experts, router = model.moes[1].experts, model.moes[1].router.weight
    old, grads = experts.gate_up.detach().clone(), experts.gate_up.grad.clone()
    optimizer.step()
    halves = grads[2].chunk(2)  # expert 2: gate and up
    update = torch.cat([orthogonal(half[None], torch.float32)[0] * max(1, half.size(0) / half.size(1))
                        ** 0.5 for half in halves])
    torch.testing.assert_close(experts.gate_up[2], old[2] - 1e-3 * update, rtol=1e-3, atol=1e-6)
    assert set(optimizer.state[router]) == {"step", "exp_avg", "exp_avg_sq"}


def test_lora_stands_beside_the_attention_and_leaves_experts_and_routers_alone(moe, runtime):
    model, ids = loaded(moe)[0], torch.randint(0, 260, (2, 16))
    old = {name: value.clone() for name, value in model.state_dict().items()}
    add_lora(model, 4).train()
    optimizer = make_optimizer(model, weight_decay=0.0, betas=(0.9, 0.98))
    for _ in range(2):
        train_step(model, optimizer, ids, ids.roll(-1, 1), runtime=runtime,
                   scaler=runtime.grad_scaler(), rate=1e-2)
    new = merge_lora(model).state_dict()
    moved = {name for name in old if not torch.equal(old[name], new[name])}
    assert moved == {"token_embedding.weight", "head.weight"} | {
        f"blocks.{n}.attention.{name}.weight" for n in range(2) for name in ("qkv", "project")}


def test_nothing_is_dropped_in_use_so_a_reply_does_not_depend_on_its_neighbours(moe):
    model, tokenizer = loaded(moe)
    full = HybridGPT(model.config, MoEConfig(n_expert=4, capacity=0.3)).eval()
    full.load_state_dict(model.state_dict())
    prompts = [tokenizer.encode(text) for text in ("Tom has a bell", "A day", "3 + 4 =")]
    assert generate(full, prompts, 6) == [generate(full, [one], 6)[0] for one in prompts]
    check_cached_equals_whole(full)


def test_a_file_of_before_is_read_and_a_copy_holds_nothing_of_the_last_pass(moe, tmp_path):
    """Part 5 kept the experts' settings in a field of their own at first."""
    import copy
    content = torch.load(moe, weights_only=True)
    experts = content["config"].pop("moe")
    del content["training"]
    torch.save(content | {"format": 1, "kind": "moe of part 5", "moe": experts}, tmp_path / "old.pt")
    model = loaded(tmp_path / "old.pt")[0]
    assert model.config == loaded(moe)[0].config
    model(torch.tensor([[5, 6, 7]]))
    assert copy.deepcopy(model).moes[0].routing is None and model.moes[0].routing is not None


def test_the_export_refuses_biases_that_choose_experts_by_name(tuned, tmp_path):
    with pytest.raises(ValueError, match="balance='bias'"):
        export_weights.main([str(tuned), str(tmp_path / "folder")])
    assert not (tmp_path / "folder").exists()


def test_settings_of_experts_that_fit_no_model_are_refused_by_name(moe, tmp_path):
    model, tokenizer, content = load_checkpoint(moe)
    for odd in (None, {"n_expert": 5}, {"luck": 1}, {"n_expert": "4"}):
        config = {**content["config"], "moe": odd}
        torch.save(content | {"config": config}, tmp_path / "odd.pt")
        with pytest.raises(ValueError, match="odd.pt"):
            load_checkpoint(tmp_path / "odd.pt")
    save_checkpoint(tmp_path / "odd.pt", weights=model.state_dict(), config=model.config,
                    tokenizer=tokenizer, step=0, settings={}, metrics={})
    assert loaded(tmp_path / "odd.pt")
