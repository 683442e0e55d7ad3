"""config.json of a released model, and this part's GPTConfig: each from the other.

Idea   Only what is known is let through. A setting that changes the computation and that this GPT
       has not is refused with its name and value; it is never passed over.
Used   pretrained/loading.py, pretrained/export.py
Names  hidden_size C, intermediate_size F, num_attention_heads H, num_key_value_heads K, head_dim D
"""

import math
from pathlib import Path

from gpt.model import GPTConfig
from moe.hybrid import HybridConfig
from moe.layer import MoEConfig

from pretrained.mixtures import experts_json, odd_experts
from pretrained.safetensors_io import strict_json

FAMILY = ("llama", "mistral", "qwen2", "qwen3")  # one architecture, with small differences
# CHANGED in part 5: and what the rest of the model is like
MIXTURES = {"mixtral": "mistral", "qwen2_moe": "qwen2", "qwen3_moe": "qwen3"}  # with experts
_ROPE_KEYS = {"rope_type", "type", "rope_theta", "factor", "low_freq_factor", "high_freq_factor",
              "original_max_position_embeddings", "partial_rotary_factor", "beta_fast",
              "beta_slow", "attention_factor", "mscale", "mscale_all_dim", "truncate"}


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
    _refuse(rope, {"partial_rotary_factor": 1.0, "truncate": True})
    fields = {"rope_theta": _real_number(rope, "rope_theta", 10000.0)}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return fields
    if kind not in ("linear", "llama3", "yarn"):
        raise ValueError(f"config.json: rope_type={kind!r} is not known here; "
                         "known are default, linear, llama3 and yarn")
    fields |= {"rope_scaling": kind, "rope_factor": _real_number(rope, "factor", 0.0)}
    if kind == "llama3":
        fields |= {"rope_low": _real_number(rope, "low_freq_factor", 0.0),
                   "rope_high": _real_number(rope, "high_freq_factor", 0.0)}
    if kind == "yarn":
        fields |= {"rope_low": _real_number(rope, "beta_slow", 1.0),
                   "rope_high": _real_number(rope, "beta_fast", 32.0),
                   "rope_gain": yarn_gain(rope, fields["rope_factor"])}
    if kind != "linear":
        trained = {"original_max_position_embeddings": config.get("max_position_embeddings"), **rope}
        fields["rope_trained"] = _whole_number(trained, "original_max_position_embeddings")
    return fields


def yarn_gain(rope: dict, factor: float) -> float:
    """By how much YaRN lengthens queries and keys: told, or 1 + ln(factor) / 10."""
    if rope.get("attention_factor") is not None:
        return _real_number(rope, "attention_factor", 1.0)
    gain, below = (1 + 0.1 * _real_number(rope, key, 1.0) * math.log(max(factor, 1.0))
                   if rope.get(key) else None for key in ("mscale", "mscale_all_dim"))
    return gain / below if gain and below else 1 + 0.1 * math.log(max(factor, 1.0))


def family_config(config: dict) -> dict:
    """The config.json of a Llama, Mistral, Qwen2 or Qwen3 -> fields of GPTConfig."""
    kind = config["model_type"]
    _refuse(config, {"hidden_act": "silu", "quantization_config": None,
                     "partial_rotary_factor": 1.0, "mlp_bias": False,
                     **({} if kind == "qwen2" else {"attention_bias": False})})
    heads = _whole_number(config, "num_attention_heads")
    shared = config.get("num_key_value_heads", heads if kind == "llama" else None)
    width = config.get("head_dim", 128 if kind == "qwen3" else None)
    return {"vocab_size": _whole_number(config, "vocab_size"),
            "block_size": _whole_number(config, "max_position_embeddings"),
            "n_layer": _whole_number(config, "num_hidden_layers"), "n_head": heads,
            "n_embd": _whole_number(config, "hidden_size"),
            "n_kv_head": _whole_number({"num_key_value_heads": shared}, "num_key_value_heads"),
            "head_dim": None if width is None else _whole_number({"head_dim": width}, "head_dim"),
            "n_hidden": _whole_number(config, "intermediate_size"),
            "qkv_bias": kind == "qwen2", "qk_norm": kind == "qwen3",
            "norm_eps": _real_number(config, "rms_norm_eps", 1e-6),
            "tied": bool(config.get("tie_word_embeddings", False)),
            "window": window_of(config), **rope_of(config)}


# NEW in part 5
def mixture_config(config: dict) -> dict:
    """The config.json of a Mixtral, Qwen2-MoE or Qwen3-MoE -> fields of HybridConfig. Nothing keeps
    the load even when such a model is tuned: nor does it in `transformers`."""
    kind = config["model_type"]
    if kind == "mixtral":  # in front: what holds where the file is silent
        config = {"rms_norm_eps": 1e-5, "sliding_window": None, **config}
        if "rope_theta" not in (config.get("rope_parameters") or {}):
            config = {"rope_theta": 1e6, **config}
        width, sums_to_1, n_shared = _whole_number(config, "intermediate_size"), True, 0
    else:
        width, n_shared = _whole_number(config, "moe_intermediate_size"), 0
        sums_to_1 = config.get("norm_topk_prob", False)
        if type(sums_to_1) is not bool:
            raise ValueError(f"config.json: norm_topk_prob={sums_to_1!r} must be true or false")
    if kind == "qwen2_moe":
        _refuse(config, {"use_sliding_window": False, "qkv_bias": True})
        shared = _whole_number(config, "shared_expert_intermediate_size")
        n_shared = shared // width
        if shared % width:
            raise ValueError(f"config.json: shared_expert_intermediate_size={shared} is no multiple "
                             f"of moe_intermediate_size={width}: here shared experts are as wide "
                             "as the others")
    if kind == "qwen3_moe":  # where it has a window, all layers have it
        config = {"head_dim": None, **config, "max_window_layers": 0, "layer_types": None}
    key = "num_local_experts" if "num_local_experts" in config else "num_experts"
    _refuse(config, {"num_experts": config.get(key)})  # told twice, and differently
    letters = expert_layers(config)
    moe = MoEConfig(n_expert=_whole_number(config, key), n_hidden=width, renormalize=sums_to_1,
                    n_active=_whole_number(config, "num_experts_per_tok"), n_shared=n_shared,
                    shared_gate=n_shared > 0, balance="none", z_weight=0.0,
                    layers="every" if set(letters) == {"m"} else letters)
    return {**family_config({**config, "model_type": MIXTURES[kind]}), "moe": moe}


# NEW in part 5
def expert_layers(config: dict) -> str:
    """One letter a layer, as in moe/hybrid.py: every decoder_sparse_step-th has experts ("m"), but for
    mlp_only_layers."""
    step = _whole_number({"decoder_sparse_step": 1, **config}, "decoder_sparse_step")
    dense = config.get("mlp_only_layers") or []
    layers = range(_whole_number(config, "num_hidden_layers"))
    if type(dense) is not list or not all(type(i) is int and i in layers for i in dense):
        raise ValueError(f"config.json: mlp_only_layers={dense!r} must be a list of numbers from 0 "
                         f"to {len(layers) - 1}")
    letters = "".join("d" if i in dense or (i + 1) % step else "m" for i in layers)
    if "m" not in letters:
        raise ValueError(f"config.json: mlp_only_layers={dense}, decoder_sparse_step={step}: no "
                         f"layer of the {len(layers)} has experts")
    return letters


# CHANGED in part 5: experts
def to_config(config: dict, **changes) -> GPTConfig:
    """A config.json -> GPTConfig. ValueError names what this part's GPT has not."""
    kind = config["model_type"]
    if kind not in FAMILY and kind not in MIXTURES:
        raise ValueError(f"model_type={kind!r} is not known here; known are "
                         + ", ".join((*FAMILY, *MIXTURES))
                         + (" (GPT-2's weights are for parts 2 and 3)" if kind == "gpt2" else ""))
    fields = (mixture_config if kind in MIXTURES else family_config)(config) | changes
    if fields.get("window") and fields["window"] > fields["block_size"]:
        fields["window"] = None  # no sequence is so long that the window would act
    return (HybridConfig if kind in MIXTURES else GPTConfig)(**fields)


# CHANGED in part 5: experts
def from_config(config: GPTConfig) -> dict:
    """GPTConfig -> config.json. ValueError names what no released architecture has."""
    odd = []
    if config.qk_norm and config.qkv_bias:
        odd.append("qk_norm together with qkv_bias")
    has_experts = hasattr(config, "moe")
    odd += odd_experts(config) if has_experts else []
    if odd:
        raise ValueError(f"no released architecture has {', '.join(odd)}: such a model cannot be "
                         "written for other programs")
    return family_json(config) | (experts_json(config) if has_experts else {})


def family_json(config: GPTConfig) -> dict:
    """Qwen3 has norms of queries and keys, Qwen2 biases, Mistral a window; the rest is Llama."""
    kind = ("qwen3" if config.qk_norm else "qwen2" if config.qkv_bias
            else "mistral" if config.window else "llama")
    name = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}[kind]
    rope = {"rope_type": config.rope_scaling or "default"}
    if config.rope_scaling:
        rope["factor"] = config.rope_factor
    if config.rope_scaling == "llama3":
        rope |= {"low_freq_factor": config.rope_low, "high_freq_factor": config.rope_high}
    if config.rope_scaling == "yarn":
        rope |= {"beta_slow": config.rope_low, "beta_fast": config.rope_high,
                 "attention_factor": config.rope_gain}
    if config.rope_scaling in ("llama3", "yarn"):
        rope["original_max_position_embeddings"] = config.rope_trained
    fields = {"architectures": [f"{name}ForCausalLM"], "model_type": kind,
              "vocab_size": config.vocab_size, "max_position_embeddings": config.block_size,
              "num_hidden_layers": config.n_layer, "num_attention_heads": config.n_head,
              "num_key_value_heads": config.n_kv_head, "head_dim": config.head_dim,
              "hidden_size": config.n_embd, "intermediate_size": config.n_hidden,
              "hidden_act": "silu", "rms_norm_eps": config.norm_eps, "attention_dropout": 0.0,
              "tie_word_embeddings": config.tied, "bos_token_id": None, "eos_token_id": None,
              "rope_theta": config.rope_theta,  # older readers want these two, newer ones the third
              "rope_scaling": rope if config.rope_scaling else None,
              "rope_parameters": {"rope_theta": config.rope_theta, **rope}}
    if kind != "llama":
        fields["sliding_window"] = config.window
    if kind.startswith("qwen"):
        fields |= {"use_sliding_window": config.window is not None, "max_window_layers": 0}
    if kind in ("llama", "qwen3"):
        fields["attention_bias"] = False
    return fields
