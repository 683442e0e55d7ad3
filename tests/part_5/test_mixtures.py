"""Mixtures of others: numbers and greedy replies equal the original's, on the way in and out.

data/released.json holds what `transformers` (5.24, float32) says of the folders that
tests/mixture_folders.py makes, and of those that our export has written; data/make_released.py makes
it again. Tokenizers and templates are those of part 4, where they are tested.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gpt.generate import generate
from gpt.model import GPTConfig
from mixture_folders import MIXTURES, make_mixture, own_mixtures
from moe.hybrid import HybridConfig, HybridGPT
from moe.layer import MoEConfig
from pretrained.config import from_config, to_config
from pretrained.export import export_model, with_scale_1
from pretrained_folders import random_weights, write_file
from released_folders import ANSWERED, ASKED, TEXTS
from run.checkpoint import load_checkpoint, save_checkpoint
from run.optim import make_optimizer

DATA = Path(__file__).resolve().parent / "data"
FIGURES = json.loads((DATA / "released.json").read_text(encoding="utf-8"))
OWN = own_mixtures()
REMAKE = "the export writes other files than `transformers` has read; run data/make_released.py"


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """released("mixtral") -> (model, tokenizer, folder), made once."""
    made = {}

    def get(name):
        if name not in made:
            folder = make_mixture(tmp_path_factory.mktemp("mixtures") / name, name)
            made[name] = (*load_checkpoint(folder)[:2], folder)
        return made[name]
    return get


@torch.no_grad()
def farthest(model, figures: dict) -> float:
    logits = model(torch.tensor([figures["row"]]))[0][0, [0, -1], :40]
    return float((logits - torch.tensor(figures["logits"])).abs().max())


def checksums(folder: Path) -> dict:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            for path in folder.iterdir()}


# ---------------------------------------------------------------- in

@pytest.mark.parametrize("name", MIXTURES)
def test_logits_equal_the_originals_however_the_experts_are_computed(released, name):
    model = released(name)[0]
    assert isinstance(model, HybridGPT) and model.moes
    for form in ("auto", "loop"):
        for moe in model.moes:
            moe.experts.form = form
        assert farthest(model, FIGURES[name]) < 5e-5


@pytest.mark.parametrize("name", MIXTURES)
def test_64_greedy_tokens_equal_the_originals_with_a_cache_and_past_a_window(released, name):
    """The row is longer than the windows; it is read whole, in chunks of 7, and beside a shorter one."""
    model, figures = released(name)[0], FIGURES[name]
    for chunk in (None, 7):
        assert generate(model, [figures["row"]], 64, prefill_chunk=chunk) == [figures["greedy"]]
    assert generate(model, [figures["row"], figures["row"][:3]], 64)[0] == figures["greedy"]


@pytest.mark.parametrize("name,change", [
    ("mixtral", {"renormalize": False}), ("mixtral", {"n_active": 3}),
    ("qwen2_moe", {"renormalize": True}), ("qwen3_moe", {"renormalize": False}),
    ("qwen3_moe_window", {"renormalize": True})])
def test_the_figures_would_show_a_setting_of_the_experts_that_is_off(released, name, change):
    model = released(name)[0]
    other = HybridGPT(replace(model.config, moe=replace(model.config.moe, **change))).eval()
    other.load_state_dict(model.state_dict())
    assert farthest(other, FIGURES[name]) > 1e-3


def test_the_settings_are_those_of_the_folder(released):
    def said(name):
        moe = released(name)[0].config.moe
        return (moe.n_expert, moe.n_active, moe.n_hidden, moe.n_shared, moe.renormalize,
                moe.shared_gate, moe.layers)
    assert said("mixtral") == (4, 2, 48, 0, True, False, "every")
    assert said("qwen2_moe") == (6, 3, 24, 2, False, True, "dmm")
    assert said("qwen3_moe") == (6, 2, 24, 0, True, False, "dmdm")
    silent, window = (released(name)[0].config for name in ("mixtral_silent", "qwen3_moe_window"))
    assert (silent.rope_theta, silent.norm_eps, silent.window) == (1e6, 1e-5, None)
    assert (window.window, window.head_dim) == (8, 8)


def test_a_newer_name_for_the_number_of_experts_is_read(tmp_path):
    config = MIXTURES["qwen3_moe"][0]
    newer = {key: value for key, value in config.items() if key != "num_experts"}
    assert to_config(newer | {"num_local_experts": 6}) == to_config(config)
    with pytest.raises(ValueError, match=r"num_experts=6 \(only 5\)"):
        to_config(config | {"num_local_experts": 5})


def test_ids_of_conversations_are_the_originals(released):
    from pretrained.chat_forms import encode_parts
    for name in ("mixtral", "qwen2_moe", "qwen3_moe"):
        tokenizer, figures = released(name)[1], FIGURES[name]
        for text, ids in zip(TEXTS, figures["texts"], strict=True):
            assert [*tokenizer.prefix, *tokenizer.encode(text, allowed_special="all")] == ids
        for chats, key, reply in ((ASKED, "asked", True), (ANSWERED, "answered", False)):
            for chat, ids in zip(chats, figures[key], strict=True):
                assert encode_parts(tokenizer.chat.parts(chat, reply=reply), tokenizer)[0] == ids


def test_tuned_as_it_came_the_loss_is_the_plain_one_and_all_weights_learn(released):
    """A released mixture has no loss that keeps the load even; ours would add one by default."""
    model, _, folder = released("qwen2_moe")
    model = load_checkpoint(folder)[0]
    ids = torch.tensor([FIGURES["qwen2_moe"]["row"] * 3])
    plain = model(ids[:, :-1], ids[:, 1:])[1]
    tuned = model.train()(ids[:, :-1], ids[:, 1:])[1]
    assert torch.equal(tuned, plain)
    tuned.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    make_optimizer(model, weight_decay=0.1, betas=(0.9, 0.99), muon=2.0).step()


def test_a_checkpoint_holds_it_as_any_other_mixture(released, tmp_path):
    model, tokenizer, _ = released("qwen2_moe")
    save_checkpoint(tmp_path / "x.pt", weights=model.state_dict(), config=model.config,
                    tokenizer=tokenizer, step=0, settings={}, metrics={})
    again = load_checkpoint(tmp_path / "x.pt")[0]
    assert again.config == model.config and farthest(again, FIGURES["qwen2_moe"]) < 5e-5


# ---------------------------------------------------------------- out

@pytest.mark.parametrize("name", MIXTURES)
def test_a_released_mixture_leaves_as_it_came(released, tmp_path, name):
    model, tokenizer, folder = released(name)
    export_model(model, tokenizer, tmp_path / "x")
    assert checksums(tmp_path / "x") == FIGURES[f"again_{name}"]["files"], REMAKE
    again = load_checkpoint(tmp_path / "x")[0]
    assert again.config == model.config
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
    told = json.loads((tmp_path / "x" / "config.json").read_text())
    assert told["model_type"] == MIXTURES[name][0]["model_type"]


@pytest.mark.parametrize("name", OWN)
def test_our_mixtures_leave_as_files_that_transformers_has_read(tmp_path, name):
    model, tokenizer = OWN[name]
    figures = FIGURES[f"own_{name}"]
    export_model(model, tokenizer, tmp_path / "x", max_shard_bytes=10**9)
    assert checksums(tmp_path / "x") == figures["files"], REMAKE
    assert farthest(model, figures) < 5e-5
    assert generate(model, [figures["row"]], 64) == [figures["greedy"]]
    assert [tokenizer.begun(text) for text in TEXTS] == figures["texts"]
    assert farthest(load_checkpoint(tmp_path / "x")[0], figures) < 5e-5


def test_a_scale_goes_into_the_experts_last_matrices_and_the_model_stays_as_it_was():
    model = OWN["as_trained"][0]
    before = {name: x.clone() for name, x in model.state_dict().items()}
    plain = with_scale_1(model)
    assert model.config.moe.scale == 2.0 and plain.config.moe.scale == 1.0
    for name, x in model.state_dict().items():
        assert torch.equal(x, before[name])
        factor = 2.0 if name.endswith("experts.down") else 1.0
        assert torch.equal(plain.state_dict()[name], factor * x)
    assert with_scale_1(plain) is plain


@pytest.mark.parametrize("dense,experts,reason", [
    ({}, {"gate": "sigmoid"}, "gate='sigmoid'"),
    ({}, {"balance": "bias"}, "balance='bias'"),
    ({"qk_norm": True}, {"layers": "blend"}, "blend"),
    ({"qkv_bias": True}, {"n_shared": 1}, "shared experts without a gate"),
    ({}, {"n_shared": 1, "shared_gate": True}, "without qkv_bias"),
    ({"qkv_bias": True, "window": 8}, {"n_shared": 1, "shared_gate": True}, "with a window"),
    ({"qkv_bias": True}, {}, "none shared"),
    ({}, {"layers": "alternate"}, "some layers without qk_norm"),
    ({}, {"renormalize": False}, "do not sum to 1"),
    ({"qkv_bias": True}, {"n_shared": 1, "shared_gate": True}, "ids would differ")])
def test_experts_that_no_released_architecture_has_are_not_written(tmp_path, dense, experts, reason):
    config = GPTConfig(vocab_size=300, block_size=32, n_layer=2, n_head=2, n_embd=32, **dense)
    with pytest.raises(ValueError, match=reason):
        export_model(HybridGPT(config, MoEConfig(**experts)), OWN["as_trained"][1], tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_settings_of_experts_come_back():
    for dense, experts in (
            ({}, {"n_expert": 5, "n_active": 1, "renormalize": True}),
            ({"qk_norm": True}, {"n_active": 1, "renormalize": False, "layers": "dmmd"}),
            ({"qkv_bias": True}, {"n_shared": 3, "shared_gate": True, "renormalize": True})):
        moe = MoEConfig(n_hidden=40, balance="none", z_weight=0.0, **experts)
        config = HybridConfig(n_embd=64, n_hidden=40, moe=moe, **dense)
        assert to_config(from_config(config)) == config


# ---------------------------------------------------------------- what is refused

@pytest.mark.parametrize("name,change,reason", [
    ("mixtral", {"num_local_experts": 5}, r"\(5, 32\).*missing: .*experts\.4\.w1\.weight"),
    ("mixtral", {"num_local_experts": 3}, r"left over: .*experts\.3\.w1\.weight"),
    ("mixtral", {"num_local_experts": None}, "num_local_experts=None"),
    ("mixtral", {"num_experts_per_tok": 5}, "n_active=5 of n_expert=4"),
    ("mixtral", {"num_experts_per_tok": 0}, "num_experts_per_tok=0"),
    ("mixtral", {"hidden_act": "gelu"}, "hidden_act='gelu'"),
    ("qwen2_moe", {"mlp_only_layers": []}, "missing: .*layers.0.mlp.experts.0"),
    ("qwen2_moe", {"mlp_only_layers": [3]}, "mlp_only_layers=.*from 0 to 2"),
    ("qwen2_moe", {"mlp_only_layers": "0"}, "mlp_only_layers='0'"),
    ("qwen2_moe", {"decoder_sparse_step": 4}, "no layer of the 3 has experts"),
    ("qwen2_moe", {"decoder_sparse_step": 0}, "decoder_sparse_step=0"),
    ("qwen2_moe", {"shared_expert_intermediate_size": 40}, "40 is no multiple of .*24"),
    ("qwen2_moe", {"use_sliding_window": True}, "use_sliding_window=True"),
    ("qwen2_moe", {"qkv_bias": False}, "qkv_bias=False"),
    ("qwen2_moe", {"norm_topk_prob": "no"}, "norm_topk_prob='no'"),
    ("qwen3_moe", {"moe_intermediate_size": None}, "moe_intermediate_size=None"),
    ("qwen3_moe", {"moe_intermediate_size": 16}, "do not fit config.json"),
    ("qwen3_moe", {"model_type": "deepseek_v3"}, "'deepseek_v3' is not known .*mixtral")])
def test_what_does_not_fit_is_refused_by_name(tmp_path, name, change, reason):
    with pytest.raises(ValueError, match=reason):
        load_checkpoint(make_mixture(tmp_path, name, **change))


def test_a_missing_expert_and_a_file_cut_short_are_named(tmp_path):
    folder = make_mixture(tmp_path, "qwen3_moe")
    weights = random_weights(MIXTURES["qwen3_moe"][0])
    del weights["model.layers.3.mlp.experts.5.up_proj.weight"]
    weights["model.layers.1.mlp.gate.weight"] = np.zeros((5, 32), np.float32)
    write_file(folder / "model.safetensors", weights)
    with pytest.raises(ValueError, match=r"wrong: model.layers.1.mlp.gate.weight.*missing: "
                                         r"model.layers.3.mlp.experts.5.up_proj.weight$"):
        load_checkpoint(folder)
    whole = (make_mixture(tmp_path, "mixtral") / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-40])
    with pytest.raises(ValueError, match="cut short"):
        load_checkpoint(folder)


# ---------------------------------------------------------------- the commands

@pytest.mark.scripts
def test_export_by_command(tmp_path, run_script):
    model, tokenizer = OWN["as_trained"]
    save_checkpoint(tmp_path / "moe.pt", weights=model.state_dict(), config=model.config,
                    tokenizer=tokenizer, step=0, settings={}, metrics={})
    run_script("part_5/export_weights.py", tmp_path / "moe.pt", tmp_path / "x")
    assert checksums(tmp_path / "x") == FIGURES["own_as_trained"]["files"], REMAKE
    run_script("part_5/export_weights.py", tmp_path / "moe.pt", tmp_path / "y", "--dtype", "bfloat16")
    sizes = [(tmp_path / x / "model.safetensors").stat().st_size for x in "xy"]
    assert sizes[1] < 0.6 * sizes[0]
    bad = run_script("part_5/export_weights.py", tmp_path / "moe.pt", tmp_path / "z", "--adapter",
                     check=False)
    assert bad.returncode == 2 and "no LoRA" in bad.stderr and not (tmp_path / "z").exists()


@pytest.mark.scripts
def test_a_released_mixture_shows_which_expert_takes_which_kind_of_token(tmp_path, run_script):
    folder = make_mixture(tmp_path / "a", "mixtral")
    done = run_script("part_5/demo_moe.py", "--checkpoint", folder, "--quick", "--out",
                      tmp_path / "out")
    assert "expert" in done.stdout
