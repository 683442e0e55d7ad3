"""config.json of a released model, and this part's GPTConfig: each from the other.

Idea   Only what is known is let through. A setting that changes the computation and that this GPT
       has not is refused with its name and value; it is never passed over.
Used   load_pretrained.py   (lesson 3.8)
Names  hidden_size C, intermediate_size F, num_attention_heads H, num_key_value_heads K, head_dim D
"""

from pathlib import Path

from model import GPTConfig

from pretrained.safetensors_io import strict_json

_GELUS = {"gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "gelu": "exact"}

# NEW in part 3
FAMILY = ("llama", "mistral", "qwen2", "qwen3")  # one architecture, with small differences
# NEW in part 3
_ROPE_KEYS = {"rope_type", "type", "rope_theta", "factor", "low_freq_factor", "high_freq_factor",
              "original_max_position_embeddings", "partial_rotary_factor"}


def read_hf_config(folder: Path) -> dict:
    """config.json of a folder. Raises FileNotFoundError, or ValueError if it is no such thing."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: is {folder} the folder of a released model?")
    config = strict_json(path.read_text(encoding="utf-8"), str(path))
    if type(config) is not dict or type(config.get("model_type")) is not str:
        raise ValueError(f"{path}: names no model_type")
    return config


def _whole_number(config: dict, key: str) -> int:
    """config[key], which must be there and be a whole number of at least 1."""
    value = config.get(key)
    if type(value) is not int or value < 1:
        raise ValueError(f"config.json: {key}={value!r} must be a whole number of at least 1")
    return value


def _real_number(config: dict, key: str, default: float) -> float:
    """config[key], a number above 0; `default` where it is not there."""
    value = config.get(key, default)
    if type(value) not in (int, float) or not 0 < value < float("inf"):
        raise ValueError(f"config.json: {key}={value!r} must be a number above 0")
    return float(value)


def _refuse(config: dict, known: dict) -> None:
    """Raise ValueError that names every setting which is there and is not as in `known`."""
    odd = [f"{key}={config[key]!r} (only {value!r})" for key, value in known.items()
           if key in config and config[key] != value]
    if odd:
        raise ValueError(f"config.json: not known here: {', '.join(odd)}")


# CHANGED in part 3: the fields of this part's GPTConfig
def gpt2_config(config: dict) -> dict:
    """GPT-2's config.json -> fields of GPTConfig."""
    _refuse(config, {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False,
                     "add_cross_attention": False, "quantization_config": None})
    gelu = config.get("activation_function", "gelu_new")
    if gelu not in _GELUS:
        raise ValueError(f"config.json: activation_function={gelu!r}: known are {list(_GELUS)}")
    return {"vocab_size": _whole_number(config, "vocab_size"),
            "block_size": _whole_number(config, "n_positions"),
            "n_layer": _whole_number(config, "n_layer"), "n_head": _whole_number(config, "n_head"),
            "n_embd": _whole_number(config, "n_embd"),
            "n_hidden": None if config.get("n_inner") is None else _whole_number(config, "n_inner"),
            "norm_eps": _real_number(config, "layer_norm_epsilon", 1e-5), "bias": True,
            "norm": "layer", "positions": "learned", "mlp": "gelu", "gelu": _GELUS[gelu],
            "tied": bool(config.get("tie_word_embeddings", True))}


# NEW in part 3
def window_of(config: dict) -> int | None:
    """The sliding window of a config.json, or None. All layers must have the same."""
    kind = config["model_type"]
    if kind == "llama":
        _refuse(config, {"sliding_window": None})
        return None
    if kind.startswith("qwen") and not config.get("use_sliding_window", False):
        return None
    if config.get("sliding_window", 4096) is None:
        return None
    first = config.get("max_window_layers", 28) if kind.startswith("qwen") else 0
    layers = config.get("layer_types") or [
        "full_attention" if i < first else "sliding_attention"
        for i in range(_whole_number(config, "num_hidden_layers"))]
    if set(layers) == {"full_attention"}:
        return None
    if set(layers) != {"sliding_attention"}:
        raise ValueError("config.json: a window in some layers only is not known here: "
                         f"layer_types={config.get('layer_types')}, max_window_layers={first}")
    return _whole_number({"sliding_window": 4096, **config}, "sliding_window")


# NEW in part 3
def rope_of(config: dict) -> dict:
    """The fields rope_… of GPTConfig, from rope_theta and rope_scaling, or rope_parameters (the
    newer name of both). Kinds of scaling that are not known are refused by name."""
    old, new = config.get("rope_scaling") or {}, config.get("rope_parameters") or {}
    if type(old) is not dict or type(new) is not dict:
        raise ValueError(f"config.json: rope_scaling={old!r}, rope_parameters={new!r}: not known")
    rope = {**({"rope_theta": config["rope_theta"]} if "rope_theta" in config else {}), **old}
    differ = [key for key in rope if key in new and new[key] != rope[key]]
    rope |= new
    if differ or not set(rope) <= _ROPE_KEYS:
        raise ValueError("config.json: told twice and differently, or not known, of RoPE: "
                         f"{', '.join(differ or sorted(set(rope) - _ROPE_KEYS))}")
    _refuse(rope, {"partial_rotary_factor": 1.0})
    fields = {"rope_theta": _real_number(rope, "rope_theta", 10000.0)}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return fields
    if kind not in ("linear", "llama3"):
        raise ValueError(f"config.json: rope_type={kind!r} is not known here; "
                         "known are default, linear and llama3")
    fields |= {"rope_scaling": kind, "rope_factor": _real_number(rope, "factor", 0.0)}
    if kind == "llama3":
        fields |= {"rope_low": _real_number(rope, "low_freq_factor", 0.0),
                   "rope_high": _real_number(rope, "high_freq_factor", 0.0),
                   "rope_trained": _whole_number(rope, "original_max_position_embeddings")}
    return fields


# NEW in part 3
def family_config(config: dict) -> dict:
    """The config.json of a Llama, Mistral, Qwen2 or Qwen3 -> fields of GPTConfig."""
    kind = config["model_type"]
    _refuse(config, {"hidden_act": "silu", "quantization_config": None,
                     "partial_rotary_factor": 1.0})
    bias, mlp_bias = (bool(config.get(f"{where}_bias", False)) for where in ("attention", "mlp"))
    if bias != mlp_bias:
        raise ValueError(f"config.json: attention_bias={bias} with mlp_bias={mlp_bias} is not "
                         "known here: both or neither")
    heads = _whole_number(config, "num_attention_heads")
    shared = config.get("num_key_value_heads", heads if kind == "llama" else None)
    width = config.get("head_dim", 128 if kind == "qwen3" else None)
    return {"vocab_size": _whole_number(config, "vocab_size"),
            "block_size": _whole_number(config, "max_position_embeddings"),
            "n_layer": _whole_number(config, "num_hidden_layers"), "n_head": heads,
            "n_embd": _whole_number(config, "hidden_size"),
            "n_kv_head": _whole_number({"num_key_value_heads": shared}, "num_key_value_heads"),
            "head_dim": None if width is None else _whole_number({"head_dim": width}, "head_dim"),
            "n_hidden": _whole_number(config, "intermediate_size"), "bias": bias,
            "qkv_bias": kind == "qwen2", "qk_norm": kind == "qwen3",
            "norm_eps": _real_number(config, "rms_norm_eps", 1e-6),
            "tied": bool(config.get("tie_word_embeddings", False)),
            "window": window_of(config), **rope_of(config)}


# CHANGED in part 3: four architectures beside GPT-2
def to_config(config: dict, **changes) -> GPTConfig:
    """A config.json -> GPTConfig. ValueError names what this part's GPT has not."""
    kind = config["model_type"]
    if kind != "gpt2" and kind not in FAMILY:
        raise ValueError(f"model_type={kind!r} is not known here; "
                         f"known are gpt2, {', '.join(FAMILY)}")
    fields = (gpt2_config if kind == "gpt2" else family_config)(config) | changes
    if fields.get("window") and fields["window"] > fields["block_size"]:
        fields["window"] = None  # no sequence is so long that the window would act
    return GPTConfig(**fields)


# CHANGED in part 3: four architectures beside GPT-2
def from_config(config: GPTConfig) -> dict:
    """GPTConfig -> config.json. ValueError names what no released architecture has."""
    is_gpt2 = config.norm == "layer"
    needs = {"attention": "gqa", "sink": 0}
    if is_gpt2:
        needs |= {"positions": "learned", "mlp": "gelu", "bias": True, "qk_norm": False,
                  "n_kv_head": config.n_head, "head_dim": config.n_embd / config.n_head,
                  "window": None}
    else:
        needs |= {"positions": "rope", "mlp": "swiglu"}
        if config.bias:
            needs |= {"window": None, "qk_norm": False}
        if config.qk_norm:
            needs |= {"qkv_bias": False}
        if config.rope_scaling not in ("linear", "llama3"):
            needs |= {"rope_scaling": None}
    odd = [f"{name}={getattr(config, name)!r} (only {value!r})" for name, value in needs.items()
           if getattr(config, name) != value]
    if odd:
        raise ValueError(f"no released architecture has, beside norm={config.norm!r}: "
                         f"{', '.join(odd)}")
    return gpt2_json(config) if is_gpt2 else family_json(config)


# CHANGED in part 3: any width inside the MLP
def gpt2_json(config: GPTConfig) -> dict:
    """GPTConfig -> GPT-2's config.json."""
    gelu = next(name for name, kind in _GELUS.items() if kind == config.gelu)
    return {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2",
            "vocab_size": config.vocab_size, "n_positions": config.block_size,
            "n_embd": config.n_embd, "n_layer": config.n_layer, "n_head": config.n_head,
            "n_inner": config.n_hidden, "activation_function": gelu, "bos_token_id": None,
            "eos_token_id": None, "layer_norm_epsilon": config.norm_eps,
            "tie_word_embeddings": config.tied}


# NEW in part 3
def family_json(config: GPTConfig) -> dict:
    """Qwen3 has norms of queries and keys, Qwen2 biases, Mistral a window; the rest is Llama."""
    kind = ("qwen3" if config.qk_norm else "qwen2" if config.qkv_bias and not config.bias
            else "mistral" if config.window else "llama")
    name = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}[kind]
    rope = {"rope_type": config.rope_scaling or "default"}
    if config.rope_scaling:
        rope["factor"] = config.rope_factor
    if config.rope_scaling == "llama3":
        rope |= {"low_freq_factor": config.rope_low, "high_freq_factor": config.rope_high,
                 "original_max_position_embeddings": config.rope_trained}
    fields = {"architectures": [f"{name}ForCausalLM"], "model_type": kind,
              "vocab_size": config.vocab_size, "max_position_embeddings": config.block_size,
              "num_hidden_layers": config.n_layer, "num_attention_heads": config.n_head,
              "num_key_value_heads": config.n_kv_head, "head_dim": config.head_dim,
              "hidden_size": config.n_embd, "intermediate_size": config.n_hidden,
              "hidden_act": "silu", "rms_norm_eps": config.norm_eps,
              "tie_word_embeddings": config.tied, "bos_token_id": None, "eos_token_id": None,
              "rope_theta": config.rope_theta,  # older readers want these two, newer ones the third
              "rope_scaling": rope if config.rope_scaling else None,
              "rope_parameters": {"rope_theta": config.rope_theta, **rope}}
    if kind != "llama":
        fields["sliding_window"] = config.window
    if kind.startswith("qwen"):
        fields |= {"use_sliding_window": config.window is not None, "max_window_layers": 0}
    if kind == "llama":
        fields |= {"attention_bias": config.bias, "mlp_bias": config.bias}
    if kind == "qwen3":
        fields["attention_bias"] = False
    return fields
