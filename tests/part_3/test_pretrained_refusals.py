"""Folders that do not fit are refused, and the message names what is wrong.

The folders are the small random ones of tests/pretrained_folders.py, each with one thing changed.
"""

import numpy as np
import pytest
import torch
from pretrained.config import to_config
from pretrained.loading import load_pretrained
from pretrained.safetensors_io import open_safetensors
from pretrained_folders import CONFIGS, make_folder, random_weights, write_file


@pytest.mark.parametrize("name,change,reason", [
    ("llama", lambda w: w.pop("model.layers.1.self_attn.k_proj.weight"),
     r"missing: model\.layers\.1\.self_attn\.k_proj\.weight$"),
    ("llama", lambda w: w.pop("lm_head.weight"), r"missing: lm_head\.weight"),
    ("llama", lambda w: w.update({"model.layers.0.extra.weight": w["model.norm.weight"]}),
     r"left over: model\.layers\.0\.extra\.weight"),
    ("llama", lambda w: w.update({"model.layers.3.mlp.up_proj.weight": w["model.norm.weight"]}),
     r"left over: model\.layers\.3\.mlp\.up_proj\.weight"),
    ("llama", lambda w: w.update({"model.layers.0.self_attn.q_proj.bias": w["model.norm.weight"]}),
     r"left over: .*q_proj\.bias"),
    ("llama", lambda w: w.update({"layers.0.mlp.up_proj.weight":
                                  w["model.layers.0.mlp.up_proj.weight"]}),
     r"there twice: model\.layers\.0\.mlp\.up_proj\.weight"),
    ("llama", lambda w: w.update({"model.norm.weight": np.ones(31, np.float32)}),
     r"model\.norm\.weight \(torch\.float32 \(31,\), must be floats \(32,\)\)"),
    ("llama", lambda w: w.update({"model.layers.0.mlp.down_proj.weight":
                                  w["model.layers.0.mlp.down_proj.weight"].T}),
     r"down_proj\.weight .*\(48, 32\), must be floats \(32, 48\)"),
    ("qwen2", lambda w: w.pop("model.layers.0.self_attn.v_proj.bias"), r"missing: .*v_proj\.bias"),
    ("qwen3", lambda w: w.pop("model.layers.0.self_attn.q_norm.weight"), "missing: .*q_norm"),
    ("qwen3", lambda w: w.update({"lm_head.weight": w["model.embed_tokens.weight"] + 1}),
     r"lm_head\.weight \(config\.json says it is tied"),
    ("gpt2", lambda w: w.pop("transformer.h.1.ln_2.bias"), r"missing: transformer\.h\.1\.ln_2"),
])
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path, name, change, reason):
    make_folder(tmp_path, name)
    weights = random_weights(CONFIGS[name])
    change(weights)
    write_file(tmp_path / "model.safetensors", weights)
    with pytest.raises(ValueError, match=reason) as error:
        load_pretrained(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_whole_numbers_are_no_weights_and_numbers_beyond_float16_are_told(tmp_path):
    make_folder(tmp_path, "llama")
    tensors = open_safetensors(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    torch.save(tensors | {"model.norm.weight": torch.ones(32, dtype=torch.int64)},
               tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"model\.norm\.weight \(torch\.int64"):
        load_pretrained(tmp_path)
    torch.save(tensors | {"model.norm.weight": torch.full((32,), 1e5)},
               tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"model\.norm\.weight \(beyond float16"):
        load_pretrained(tmp_path, torch.float16)
    assert load_pretrained(tmp_path, torch.bfloat16) is not None


@pytest.mark.parametrize("name,change,reason", [
    ("llama", {"model_type": "gemma"}, "model_type='gemma'"),
    ("llama", {"model_type": None}, "model_type"),
    ("llama", {"hidden_act": "gelu"}, "hidden_act='gelu'"),
    ("llama", {"hidden_size": None}, "hidden_size=None"),
    ("llama", {"hidden_size": "32"}, "hidden_size='32'"),
    ("llama", {"num_hidden_layers": True}, "num_hidden_layers=True"),
    ("llama", {"num_attention_heads": 0}, "num_attention_heads=0"),
    ("llama", {"num_key_value_heads": 3}, "n_kv_head=3"),
    ("llama", {"rms_norm_eps": -1}, "rms_norm_eps=-1"),
    ("llama", {"attention_bias": True}, "attention_bias=True"),
    ("llama", {"quantization_config": {"bits": 4}}, "quantization_config"),
    ("llama", {"sliding_window": 4}, "sliding_window=4"),
    ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
    ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "'yarn'"),
    ("llama", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "'dynamic'"),
    ("llama", {"rope_scaling": {"type": "linear"}}, "factor=0.0"),
    ("llama", {"rope_scaling": {"type": "default", "mrope_section": [1]}}, "mrope_section"),
    ("llama", {"rope_parameters": {"rope_theta": 7.0}}, "rope_theta"),
    ("llama", {"rope_parameters": {"full_attention": {}}}, "full_attention"),
    ("llama", {"rope_parameters": [1]}, "rope_parameters"),
    ("qwen2_window", {"max_window_layers": 1}, "max_window_layers=1"),
    ("qwen2_window", {"layer_types": ["full_attention", "sliding_attention"]}, "some layers only"),
    ("mistral", {"sliding_window": 0}, "sliding_window=0"),
    ("mistral", {"num_key_value_heads": None}, "num_key_value_heads=None"),
    ("gpt2", {"activation_function": "relu"}, "'relu'"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
])
def test_settings_that_the_model_cannot_do_are_refused_by_name(tmp_path, name, change, reason):
    with pytest.raises(ValueError, match=reason):
        load_pretrained(make_folder(tmp_path, name, **change))


def test_a_folder_without_config_or_weights_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load_pretrained(tmp_path)
    (make_folder(tmp_path, "llama") / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        load_pretrained(tmp_path)


def test_a_window_of_all_layers_is_known_in_each_spelling():
    qwen = CONFIGS["qwen2_window"]
    assert to_config(qwen).window == 6
    assert to_config(qwen | {"layer_types": ["sliding_attention"] * 2}).window == 6
    assert to_config(qwen | {"use_sliding_window": False}).window is None
    assert to_config(qwen | {"max_window_layers": 2}).window is None
    assert to_config(CONFIGS["mistral"] | {"sliding_window": None}).window is None
    missing = {k: v for k, v in CONFIGS["mistral"].items() if k != "sliding_window"}
    assert to_config(missing | {"max_position_embeddings": 8192}).window == 4096
