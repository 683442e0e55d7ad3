"""config.json of a released model, and this part's GPTConfig: each from the other.

Idea   Only what is known is let through. A setting that changes the computation and that this GPT
       has not is refused with its name and value; it is never passed over.
Used   load_pretrained.py   (lesson 3.8)
"""

from pathlib import Path

from model import GPTConfig

from pretrained.safetensors_io import strict_json

_GELUS = {"gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "gelu": "exact"}


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


def gpt2_config(config: dict) -> dict:
    """GPT-2's config.json -> fields of GPTConfig."""
    _refuse(config, {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False,
                     "add_cross_attention": False, "quantization_config": None})
    width, gelu = _whole_number(config, "n_embd"), config.get("activation_function", "gelu_new")
    if gelu not in _GELUS:
        raise ValueError(f"config.json: activation_function={gelu!r}: known are {list(_GELUS)}")
    if config.get("n_inner") not in (None, 4 * width):
        raise ValueError(f"config.json: n_inner={config['n_inner']} must be 4 * n_embd")
    return {"vocab_size": _whole_number(config, "vocab_size"), "n_embd": width,
            "block_size": _whole_number(config, "n_positions"),
            "n_layer": _whole_number(config, "n_layer"), "n_head": _whole_number(config, "n_head"),
            "norm_eps": _real_number(config, "layer_norm_epsilon", 1e-5), "bias": True,
            "gelu": _GELUS[gelu], "tied": bool(config.get("tie_word_embeddings", True))}


def to_config(config: dict, **changes) -> GPTConfig:
    """A config.json -> GPTConfig. ValueError names what this part's GPT has not."""
    if config["model_type"] != "gpt2":
        raise ValueError(f"model_type={config['model_type']!r} is not known here, only 'gpt2'; "
                         "part_3/load_pretrained.py reads llama, mistral, qwen2 and qwen3")
    return GPTConfig(**(gpt2_config(config) | changes))


def from_config(config: GPTConfig) -> dict:
    """GPTConfig -> config.json. ValueError names what no released architecture has."""
    if not config.bias:
        raise ValueError("GPT-2 has biases everywhere, and this model has bias=False")
    return gpt2_json(config)


def gpt2_json(config: GPTConfig) -> dict:
    """GPTConfig -> GPT-2's config.json."""
    gelu = next(name for name, kind in _GELUS.items() if kind == config.gelu)
    return {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2",
            "vocab_size": config.vocab_size, "n_positions": config.block_size,
            "n_embd": config.n_embd, "n_layer": config.n_layer, "n_head": config.n_head,
            "n_inner": None, "activation_function": gelu, "bos_token_id": None,
            "eos_token_id": None, "layer_norm_epsilon": config.norm_eps,
            "tie_word_embeddings": config.tied}
