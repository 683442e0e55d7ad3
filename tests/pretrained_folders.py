"""Small folders of weights as released models have them, made again from a seed: test material.

Used by tests/part_2/test_load_pretrained.py, tests/part_3/test_load_pretrained.py and by
tests/part_3/data/make_reference.py, which asks the `transformers` package for the logits of these
very folders. The weights are NumPy's, so that they need not be stored; the file is written here by
hand, in ten lines, and not by the code under test.
"""

import json
import struct
from pathlib import Path

import numpy as np

IDS = [int(i) for i in np.random.RandomState(7).randint(0, 96, 24)]  # longer than every window
POSITIONS = [0, 5, 8, 16, 23]  # whose logits are stored
COMMON = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
          "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
          "max_position_embeddings": 64, "tie_word_embeddings": False}
# rms_norm_eps is far larger than in released models, so that a wrong one shows
CONFIGS = {
    "llama": COMMON | {"model_type": "llama", "rms_norm_eps": 0.05, "rope_theta": 500.0,
                       "num_hidden_layers": 3},
    "llama_mha_tied": COMMON | {
        "model_type": "llama", "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
        "num_key_value_heads": 4, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    "llama3_rope": COMMON | {
        "model_type": "llama", "rms_norm_eps": 1e-5, "rope_theta": 500.0, "rope_scaling": {
            "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 16}},
    "llama_linear_biases": COMMON | {
        "model_type": "llama", "rms_norm_eps": 1e-5, "rope_theta": 1000.0, "attention_bias": True,
        "mlp_bias": True, "rope_scaling": {"type": "linear", "factor": 3.0}},
    "mistral": COMMON | {"model_type": "mistral", "rms_norm_eps": 1e-5, "sliding_window": 8,
                         "rope_theta": 10000.0, "head_dim": 12},
    "qwen2": COMMON | {"model_type": "qwen2", "rms_norm_eps": 1e-6, "rope_theta": 1e6,
                       "use_sliding_window": False, "sliding_window": 8, "max_window_layers": 2},
    "qwen2_window": COMMON | {"model_type": "qwen2", "rms_norm_eps": 1e-6, "rope_theta": 100.0,
                              "use_sliding_window": True, "sliding_window": 6,
                              "max_window_layers": 0},
    "qwen3": COMMON | {"model_type": "qwen3", "rms_norm_eps": 0.02, "rope_theta": 1e6,
                       "head_dim": 16, "attention_bias": False, "use_sliding_window": False,
                       "sliding_window": None, "max_window_layers": 2,
                       "tie_word_embeddings": True},
    "gpt2": {"model_type": "gpt2", "vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4,
             "n_positions": 32, "n_inner": None, "activation_function": "gelu_new",
             "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True},
}


def shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the tensors that a folder with this config.json holds."""
    if config["model_type"] == "gpt2":
        return gpt2_shapes(config)
    C, F = config["hidden_size"], config["intermediate_size"]
    H, K = config["num_attention_heads"], config["num_key_value_heads"]
    D = config.get("head_dim") or C // H
    found = {"model.embed_tokens.weight": (config["vocab_size"], C), "model.norm.weight": (C,)}
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (config["vocab_size"], C)
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        found |= {at + "self_attn.q_proj.weight": (H * D, C),
                  at + "self_attn.k_proj.weight": (K * D, C),
                  at + "self_attn.v_proj.weight": (K * D, C),
                  at + "self_attn.o_proj.weight": (C, H * D), **mlp_shapes(config, i, at, C, F),
                  at + "input_layernorm.weight": (C,),
                  at + "post_attention_layernorm.weight": (C,)}
        if config["model_type"] in ("qwen2", "qwen2_moe") or config.get("attention_bias"):
            found |= {f"{at}self_attn.{letter}_proj.bias": (heads * D,)
                      for letter, heads in (("q", H), ("k", K), ("v", K))}
        if config.get("mlp_bias"):
            found |= {at + "self_attn.o_proj.bias": (C,), at + "mlp.gate_proj.bias": (F,),
                      at + "mlp.up_proj.bias": (F,), at + "mlp.down_proj.bias": (C,)}
        if config["model_type"] in ("qwen3", "qwen3_moe"):
            found |= {at + "self_attn.q_norm.weight": (D,), at + "self_attn.k_norm.weight": (D,)}
    return found


def mlp_shapes(config: dict, i: int, at: str, C: int, F: int) -> dict[str, tuple[int, ...]]:
    """Those of layer i's MLP, or of what stands in its place."""
    kind = config["model_type"]
    def three(where, width, names=("gate_proj", "up_proj", "down_proj")):
        return {f"{at}{where}.{name}.weight": (C, width) if name == names[2] else (width, C)
                for name in names}

    if kind == "mixtral":
        found = {at + "block_sparse_moe.gate.weight": (config["num_local_experts"], C)}
        for e in range(config["num_local_experts"]):
            found |= three(f"block_sparse_moe.experts.{e}", F, ("w1", "w3", "w2"))
        return found
    if not kind.endswith("_moe") or i in config.get("mlp_only_layers", ()) or \
            (i + 1) % config.get("decoder_sparse_step", 1):
        return three("mlp", F)
    found = {at + "mlp.gate.weight": (config["num_experts"], C)}
    for e in range(config["num_experts"]):
        found |= three(f"mlp.experts.{e}", config["moe_intermediate_size"])
    if kind == "qwen2_moe":
        found |= three("mlp.shared_expert", config["shared_expert_intermediate_size"])
        found[at + "mlp.shared_expert_gate.weight"] = (1, C)
    return found


def gpt2_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """GPT-2's: its matrices lie as [in, out]."""
    C = config["n_embd"]
    found = {"wte.weight": (config["vocab_size"], C), "wpe.weight": (config["n_positions"], C),
             "ln_f.weight": (C,), "ln_f.bias": (C,)}
    for i in range(config["n_layer"]):
        for name, shape in {"attn.c_attn": (C, 3 * C), "attn.c_proj": (C, C),
                            "mlp.c_fc": (C, 4 * C), "mlp.c_proj": (4 * C, C),
                            "ln_1": (C,), "ln_2": (C,)}.items():
            found |= {f"h.{i}.{name}.weight": shape, f"h.{i}.{name}.bias": shape[-1:]}
    return {f"transformer.{name}": shape for name, shape in found.items()}


def random_weights(config: dict, seed: int = 0) -> dict[str, np.ndarray]:
    """Name -> float32 numbers. Large enough that attention is far from even, and biases count."""
    random = np.random.RandomState(seed)
    weights = {}
    for name, shape in sorted(shapes(config).items()):
        values = random.standard_normal(shape)
        if name.endswith("bias"):
            values *= 0.5
        elif len(shape) == 1:  # the scale of a norm
            values = 1 + 0.3 * values
        else:
            values *= 1.5 / np.sqrt(config.get("hidden_size") or config["n_embd"])
        weights[name] = values.astype(np.float32)
    return weights


def write_file(path: Path, weights: dict[str, np.ndarray]) -> None:
    """The safetensors format, written down as its description says."""
    header, place = {}, 0
    for name, values in weights.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape),
                        "data_offsets": [place, place + values.nbytes]}
        place += values.nbytes
    text = json.dumps(header).encode()
    body = b"".join(np.ascontiguousarray(values).tobytes() for values in weights.values())
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + body)


def make_folder(folder: Path, name: str, **changes) -> Path:
    """Write config.json and model.safetensors of CONFIGS[name]; `changes` go into the config."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = CONFIGS[name] | changes
    (folder / "config.json").write_text(json.dumps(config))
    write_file(folder / "model.safetensors", random_weights(CONFIGS[name]))
    return folder
