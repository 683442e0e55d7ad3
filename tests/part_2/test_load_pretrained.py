"""A GPT-2 folder becomes part 2's GPT: its numbers, its refusals, and back.

tests/part_3/data/logits.npz holds what the `transformers` package computes for the small random
GPT-2 of tests/pretrained_folders.py; tests/part_3/data/make_reference.py makes it again.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from load_pretrained import continue_greedily
from model import GPT, GPTConfig
from pretrained.config import from_config
from pretrained.loading import export_pretrained, load_pretrained
from pretrained.safetensors_io import open_safetensors
from pretrained_folders import CONFIGS, IDS, POSITIONS, make_folder, random_weights, write_file

DATA = Path(__file__).resolve().parent.parent / "part_3" / "data"
REFERENCE = torch.tensor(np.load(DATA / "logits.npz")["gpt2"])


@pytest.fixture(autouse=True)
def one_thread():
    """The models are so small that a second thread would cost more than it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@torch.no_grad()
def logits_of(model) -> torch.Tensor:
    return model(torch.tensor([IDS]))[0][0]


def difference(model) -> float:
    return float((logits_of(model)[POSITIONS] - REFERENCE).abs().max())


def test_logits_equal_gpt2(tmp_path):
    model = load_pretrained(make_folder(tmp_path, "gpt2"))
    assert difference(model) < 2e-5
    assert not model.training


@pytest.mark.parametrize("change", [{"gelu": "exact"}, {"norm_eps": 1e-2}])
def test_the_figures_would_show_a_setting_that_is_off(tmp_path, change):
    assert difference(load_pretrained(make_folder(tmp_path, "gpt2"), **change)) > 1e-4


@pytest.mark.parametrize("form", ["no prefix", "masks", "copy of the head", "bin"])
def test_every_form_of_the_folder_gives_the_same_model(tmp_path, form, capsys):
    make_folder(tmp_path, "gpt2")
    weights = random_weights(CONFIGS["gpt2"])
    if form == "no prefix":
        weights = {name.removeprefix("transformer."): value for name, value in weights.items()}
    if form == "masks":
        weights["transformer.h.0.attn.bias"] = np.ones((1, 1, 32, 32), np.float32)
        weights["transformer.h.1.attn.masked_bias"] = np.float32([-1e4])
    if form == "copy of the head":
        weights["lm_head.weight"] = weights["transformer.wte.weight"]
    write_file(tmp_path / "model.safetensors", weights)
    if form == "bin":
        torch.save(open_safetensors(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
    assert difference(load_pretrained(tmp_path)) < 2e-5
    told = capsys.readouterr().out
    assert ("transformer.h.0.attn.bias, transformer.h.1.attn.masked_bias" in told) == (
        form == "masks")


@pytest.mark.parametrize("change,reason", [
    (lambda w: w.pop("transformer.h.1.attn.c_attn.bias"), r"missing: transformer\.h\.1\.attn\.c_"),
    (lambda w: w.update({"transformer.h.2.ln_1.bias": w["transformer.ln_f.bias"]}),
     r"left over: transformer\.h\.2\.ln_1\.bias"),
    (lambda w: w.update({"transformer.h.0.mlp.c_fc.weight":
                         w["transformer.h.0.mlp.c_fc.weight"].T}),
     r"c_fc\.weight .*\(128, 32\), must be floats \(32, 128\)"),
    (lambda w: w.update({"wte.weight": w["transformer.wte.weight"]}), "there twice: .*wte"),
    (lambda w: w.update({"lm_head.weight": -w["transformer.wte.weight"]}), "lm_head.*it is tied")])
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path, change, reason):
    make_folder(tmp_path, "gpt2")
    weights = random_weights(CONFIGS["gpt2"])
    change(weights)
    write_file(tmp_path / "model.safetensors", weights)
    with pytest.raises(ValueError, match=reason):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("change,reason", [
    ({"model_type": "llama"}, "part_3/load_pretrained.py"), ({"n_inner": 64}, "n_inner=64"),
    ({"activation_function": "relu"}, "'relu'"), ({"n_embd": 32.0}, "n_embd=32.0"),
    ({"add_cross_attention": True}, "add_cross_attention=True"),
    ({"layer_norm_epsilon": "x"}, "layer_norm_epsilon='x'"), ({"n_head": 5}, "n_head=5")])
def test_settings_that_the_model_cannot_do_are_refused_by_name(tmp_path, change, reason):
    with pytest.raises(ValueError, match=reason):
        load_pretrained(make_folder(tmp_path, "gpt2", **change))


def test_an_export_holds_gpt2s_names_and_numbers_and_comes_back(tmp_path):
    model = load_pretrained(make_folder(tmp_path / "a", "gpt2"))
    export_pretrained(model, tmp_path / "b")
    written = open_safetensors(tmp_path / "b" / "model.safetensors")
    weights = random_weights(CONFIGS["gpt2"])
    assert set(written) == set(weights)
    assert all(np.array_equal(written[name], weights[name]) for name in weights)
    again = load_pretrained(tmp_path / "b")
    assert again.config == model.config and torch.equal(logits_of(again), logits_of(model))


def test_an_untied_model_of_this_part_comes_back_and_one_without_biases_is_refused(tmp_path):
    config = GPTConfig(vocab_size=96, block_size=32, n_layer=1, n_head=2, n_embd=16, bias=True,
                       tied=False, norm_eps=1e-3)
    model = GPT(config).eval()
    export_pretrained(model, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["activation_function"] == "gelu"
    again = load_pretrained(tmp_path)
    assert again.config == config and torch.equal(logits_of(again), logits_of(model))
    with pytest.raises(ValueError, match="bias=False"):
        from_config(GPTConfig())
    with pytest.raises(ValueError, match="holds a model already"):
        export_pretrained(model, tmp_path)


def test_a_greedy_continuation_takes_the_likeliest_and_slides_its_window(tmp_path):
    model = load_pretrained(make_folder(tmp_path, "gpt2"))
    row = list(IDS)
    with torch.no_grad():
        for _ in range(12):  # from 24 to 36 tokens: beyond block_size 32
            row.append(int(model(torch.tensor([row[-32:]]))[0][0, -1].argmax()))
    assert continue_greedily(model, IDS, 12) == row[24:]


@pytest.mark.scripts
def test_the_script_tells_what_it_loaded_and_continues_a_prompt(tmp_path, run_script):
    config = GPTConfig(vocab_size=410, block_size=32, n_layer=1, n_head=2, n_embd=16, bias=True)
    export_pretrained(GPT(config), tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_bytes((DATA / "tokenizer.json").read_bytes())
    done = run_script("part_2/load_pretrained.py", tmp_path / "model", "--prompt", "the fox",
                      "--tokens", 5, "--device", "cpu")
    # 16 * (410 + 32) embeddings, 12 * 16 * 16 + 13 * 16 the block, 2 * 16 the last norm
    assert "10,384 parameters, float32" in done.stdout
    assert done.stdout.split("float32\n")[1].startswith("the fox")
    bad = run_script("part_2/load_pretrained.py", tmp_path, check=False)
    assert bad.returncode == 2 and bad.stderr.startswith("error:")


@pytest.mark.scripts
def test_the_script_writes_the_weights_again_in_the_number_format_that_is_asked(tmp_path,
                                                                                run_script):
    done = run_script("part_2/load_pretrained.py", make_folder(tmp_path / "a", "gpt2"), "--dtype",
                      "bfloat16", "--export", tmp_path / "b", "--device", "cpu")
    assert "parameters, bfloat16" in done.stdout
    assert json.loads((tmp_path / "b" / "config.json").read_text())["torch_dtype"] == "bfloat16"
    rounded = load_pretrained(tmp_path / "a", torch.bfloat16).state_dict()
    for name, weight in load_pretrained(tmp_path / "b").state_dict().items():
        torch.testing.assert_close(weight, rounded[name].float(), rtol=0, atol=0)
