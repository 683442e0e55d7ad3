"""Real weights: the numbers of released architectures, refusals by name, export and back.

data/logits.npz holds what the `transformers` package (5.23, float32, "eager" attention) computes
for the small random folders of tests/pretrained_folders.py: at 5 positions of one row of 24 ids,
longer than every window. data/make_reference.py makes it again; here nothing but torch is needed.
The folders' weights come from a seed, so they are not stored.
"""

import json
from dataclasses import replace
from pathlib import Path

import load_pretrained as load_pretrained_script
import numpy as np
import pytest
import torch
from load_pretrained import continue_greedily, end_tokens
from model import GPT, GPTConfig
from pretrained.config import from_config, to_config
from pretrained.loading import export_pretrained, load_pretrained
from pretrained.safetensors_io import open_safetensors
from pretrained.weight_places import empty_model
from pretrained_folders import CONFIGS, IDS, POSITIONS, make_folder, random_weights, write_file

DATA = Path(__file__).resolve().parent / "data"
REFERENCE = dict(np.load(DATA / "logits.npz"))
ROW = torch.tensor([IDS])


@pytest.fixture(autouse=True)
def one_thread():
    """The models are so small that a second thread would cost more than it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@torch.no_grad()
def logits_of(model) -> torch.Tensor:
    return model(ROW)[0][0]


def difference(model, name: str) -> float:
    return float((logits_of(model)[POSITIONS].float() - torch.tensor(REFERENCE[name])).abs().max())


# ---------------------------------------------------------------- numbers

@pytest.mark.parametrize("name", CONFIGS)
def test_logits_equal_the_released_architecture(tmp_path, name):
    assert difference(load_pretrained(make_folder(tmp_path, name)), name) < 2e-5


@pytest.mark.parametrize("name", CONFIGS)
def test_token_by_token_with_the_cache_gives_the_same_logits(tmp_path, name):
    model = load_pretrained(make_folder(tmp_path, name))
    cache = model.make_cache(1, len(IDS))
    with torch.no_grad():
        steps = [model(ROW[:, t:t + 1], cache=cache)[0][0, 0] for t in range(len(IDS))]
    got = torch.stack(steps)[POSITIONS]
    assert (got - torch.tensor(REFERENCE[name])).abs().max() < 5e-5


@pytest.mark.parametrize("name,change", [
    ("llama", {"rope_theta": 600.0}), ("llama", {"norm_eps": 1e-5}), ("mistral", {"window": 9}),
    ("mistral", {"window": None}), ("qwen2", {"window": 8}), ("qwen2_window", {"window": None}),
    ("llama3_rope", {"rope_scaling": None}), ("llama3_rope", {"rope_trained": 32}),
    ("llama_linear_biases", {"rope_factor": 2.0}), ("gpt2", {"gelu": "exact"})])
def test_the_figures_would_show_a_setting_that_is_off(tmp_path, name, change):
    assert difference(load_pretrained(make_folder(tmp_path, name), **change), name) > 1e-4


def test_both_spellings_of_rope_in_config_json_mean_the_same():
    base = {k: v for k, v in CONFIGS["llama3_rope"].items() if not k.startswith("rope")}
    old = CONFIGS["llama3_rope"]
    new = base | {"rope_parameters": old["rope_scaling"] | {"rope_theta": old["rope_theta"]}}
    assert to_config(old) == to_config(new) != to_config(base | {"rope_theta": 500.0})


@pytest.mark.parametrize("dtype,limit", [(torch.bfloat16, 0.3), (torch.float16, 0.03)])
def test_weights_can_be_held_in_sixteen_bits(tmp_path, dtype, limit):
    model = load_pretrained(make_folder(tmp_path, "llama"), dtype)
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert 1e-4 < difference(model, "llama") < limit
    assert torch.get_default_dtype() == torch.float32


def test_loading_moves_nobodys_random_numbers_and_leaves_the_model_in_eval_mode(tmp_path):
    make_folder(tmp_path, "llama")
    before = torch.get_rng_state()
    model = load_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), before) and not model.training


def test_an_empty_model_costs_no_random_numbers_and_still_has_its_rope_tables():
    with torch.no_grad():
        model = empty_model(GPT, GPTConfig(n_layer=1), torch.bfloat16)
    assert model.table.frequency[0] == 1 and model.table.frequency.dtype == torch.float64
    assert all(p.dtype == torch.bfloat16 for p in model.parameters())


def test_a_shorter_context_can_be_asked_for(tmp_path):
    make_folder(tmp_path, "llama")
    assert difference(load_pretrained(tmp_path, block_size=24), "llama") < 2e-5
    with pytest.raises(ValueError, match="24 tokens"):
        logits_of(load_pretrained(tmp_path, block_size=23))
    make_folder(tmp_path / "m", "mistral")
    assert load_pretrained(tmp_path / "m", block_size=6).config.window is None


# ---------------------------------------------------------------- forms of a folder

FORMS = ["shards", "bin", "bin shards", "bare names", "tied copy", "tables"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_folder_gives_the_same_model(tmp_path, form, capsys):
    name = "qwen3" if form == "tied copy" else "llama"
    make_folder(tmp_path, name)
    weights = random_weights(CONFIGS[name])
    if form == "tied copy":
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    if form == "tables":
        weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(4, np.float32)
    if form == "bare names":
        weights = {key.removeprefix("model."): value for key, value in weights.items()}
    write_file(tmp_path / "model.safetensors", weights)
    tensors = {key: torch.from_numpy(value) for key, value in weights.items()}
    if form in ("shards", "bin", "bin shards"):
        (tmp_path / "model.safetensors").unlink()
    if form == "bin":
        torch.save(tensors, tmp_path / "pytorch_model.bin")
    if "shards" in form:
        half = len(tensors) // 2
        parts = [dict(list(tensors.items())[:half]), dict(list(tensors.items())[half:])]
        end, stem = ("bin", "pytorch_model.bin") if "bin" in form else (
            "safetensors", "model.safetensors")
        for number, part in enumerate(parts):
            if end == "bin":
                torch.save(part, tmp_path / f"{number}.bin")
            else:
                write_file(tmp_path / f"{number}.safetensors",
                           {key: value.numpy() for key, value in part.items()})
        where = {key: f"{number}.{end}" for number, part in enumerate(parts) for key in part}
        (tmp_path / f"{stem}.index.json").write_text(json.dumps({"weight_map": where}))
    assert difference(load_pretrained(tmp_path), name) < 2e-5
    assert ("rotary_emb.inv_freq" in capsys.readouterr().out) == (form == "tables")


# ---------------------------------------------------------------- export

@pytest.mark.parametrize("name", CONFIGS)
def test_exported_and_loaded_again_nothing_has_changed(tmp_path, name):
    model = load_pretrained(make_folder(tmp_path / "a", name))
    export_pretrained(model, tmp_path / "b", max_shard_bytes=20_000)
    again = load_pretrained(tmp_path / "b")
    assert again.config == model.config
    assert torch.equal(logits_of(again), logits_of(model))
    told = json.loads((tmp_path / "b" / "config.json").read_text())
    assert told["model_type"] == CONFIGS[name]["model_type"]


def test_an_export_holds_the_released_names_and_numbers_and_no_more(tmp_path):
    for name in ("qwen3", "mistral", "gpt2"):
        model = load_pretrained(make_folder(tmp_path / name, name))
        export_pretrained(model, tmp_path / f"{name}_b")
        written = open_safetensors(tmp_path / f"{name}_b" / "model.safetensors")
        weights = random_weights(CONFIGS[name])
        assert set(written) == set(weights)
        assert all(np.array_equal(written[key], weights[key]) for key in weights)


@pytest.mark.parametrize("change", [
    {}, {"n_kv_head": 1, "tied": False}, {"window": 8}, {"qkv_bias": True}, {"qk_norm": True},
    {"qkv_bias": True, "window": 8}, {"qk_norm": True, "window": 8}, {"bias": True},
    {"head_dim": 10}, {"rope_scaling": "linear", "rope_factor": 2.0},
    {"rope_scaling": "llama3", "rope_factor": 2.0, "rope_trained": 16},
    {"norm": "layer", "positions": "learned", "mlp": "gelu", "bias": True},
    {"norm": "layer", "positions": "learned", "mlp": "gelu", "bias": True, "n_hidden": 40}])
def test_a_model_made_here_comes_back_from_its_export(tmp_path, change):
    config = GPTConfig(vocab_size=96, block_size=32, n_layer=2, n_head=4, n_embd=32, **change)
    model = GPT(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    export_pretrained(model, tmp_path / "x")
    again = load_pretrained(tmp_path / "x")
    assert torch.equal(logits_of(again), logits_of(model))
    assert replace(again.config, qkv_bias=config.qkv_bias) == config


@pytest.mark.parametrize("change,reason", [
    ({"attention": "mla"}, "attention"), ({"window": 8, "sink": 2}, "sink=2"),
    ({"rope_scaling": "ntk", "rope_factor": 2.0}, "'ntk'"), ({"mlp": "gelu"}, "mlp='gelu'"),
    ({"norm": "layer"}, "positions='rope'"), ({"qk_norm": True, "qkv_bias": True}, "qkv_bias"),
    ({"bias": True, "window": 8}, "window=8"),
    ({"norm": "layer", "positions": "learned", "mlp": "gelu", "bias": True, "n_kv_head": 1},
     "n_kv_head=1")])
def test_what_no_released_architecture_has_is_not_exported(tmp_path, change, reason):
    config = GPTConfig(vocab_size=96, block_size=32, n_layer=1, n_head=4, n_embd=32, **change)
    with pytest.raises(ValueError, match=reason):
        from_config(config)
    with pytest.raises(ValueError, match=reason):
        export_pretrained(GPT(config), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_export_leaves_a_folder_with_a_model_alone(tmp_path):
    model = load_pretrained(make_folder(tmp_path, "llama"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="holds a model already"):
        export_pretrained(model, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_export_in_bfloat16_halves_the_file_and_tells_so(tmp_path):
    model = load_pretrained(make_folder(tmp_path / "a", "llama"))
    export_pretrained(model, tmp_path / "b", torch.bfloat16, eos_token_id=5)
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    assert (config["torch_dtype"], config["eos_token_id"]) == ("bfloat16", 5)
    sizes = [(tmp_path / x / "model.safetensors").stat().st_size for x in "ab"]
    assert sizes[1] < 0.6 * sizes[0]
    rounded = load_pretrained(tmp_path / "b")
    assert all(torch.equal(p, q.bfloat16().float())
               for p, q in zip(rounded.parameters(), model.parameters(), strict=True))


# ---------------------------------------------------------------- the command

def test_a_greedy_continuation_is_the_uncached_one_and_stops_at_an_end_token(tmp_path):
    model = load_pretrained(make_folder(tmp_path, "mistral"))
    row = list(IDS)
    with torch.no_grad():
        for _ in range(12):
            row.append(int(model(torch.tensor([row]))[0][0, -1].argmax()))
    new = row[len(IDS):]
    assert continue_greedily(model, IDS, 12, set()) == new
    assert continue_greedily(model, IDS, 12, {new[3]}) == new[:new.index(new[3]) + 1]
    assert continue_greedily(model, IDS, 0, set()) == []
    assert [end_tokens(c) for c in ({}, {"eos_token_id": 3}, {"eos_token_id": [3, 4]})] == [
        set(), {3}, {3, 4}]


@pytest.mark.scripts
def test_the_script_tells_what_it_loaded_and_continues_a_prompt(tmp_path, run_script, capsys):
    folder = tmp_path / "model"
    config = to_config(CONFIGS["qwen2"], vocab_size=410)
    export_pretrained(GPT(config), folder)
    (folder / "tokenizer.json").write_bytes((DATA / "tokenizer.json").read_bytes())
    done = run_script("part_3/load_pretrained.py", folder, "--prompt", "the fox", "--tokens", 5,
                      "--device", "cpu", "--export", tmp_path / "again")
    assert "qkv_bias=True" in done.stdout and "41,888 parameters, float32" in done.stdout
    assert done.stdout.split("again\n")[1].startswith("the fox")
    assert (tmp_path / "again" / "config.json").is_file()
    load_pretrained_script.main([str(folder), "--prompt", "the fox", "--tokens", "100000",
                                 "--device", "cpu"])
    said = capsys.readouterr().out
    assert "the fox" in said and f"the context of {config.block_size} is full" in said
    bad = run_script("part_3/load_pretrained.py", tmp_path, check=False)
    assert bad.returncode == 2 and "config.json is missing" in bad.stderr
    assert "Traceback" not in bad.stderr


@pytest.mark.scripts
def test_the_script_writes_the_weights_again_in_the_number_format_that_is_asked(tmp_path,
                                                                                run_script):
    done = run_script("part_3/load_pretrained.py", make_folder(tmp_path / "a", "llama"), "--dtype",
                      "bfloat16", "--export", tmp_path / "b", "--device", "cpu")
    assert "parameters, bfloat16" in done.stdout
    assert json.loads((tmp_path / "b" / "config.json").read_text())["torch_dtype"] == "bfloat16"
    rounded = load_pretrained(tmp_path / "a", torch.bfloat16).state_dict()
    for name, weight in load_pretrained(tmp_path / "b").state_dict().items():
        torch.testing.assert_close(weight, rounded[name].float(), rtol=0, atol=0)
