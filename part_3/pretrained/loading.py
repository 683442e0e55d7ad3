"""Real weights: the folder of a Llama, Mistral, Qwen2, Qwen3 or GPT-2 becomes this part's GPT.

Idea   The released model is this model. Only the names differ. Every name must be accounted for: a
       weight that is missing, left over or of the wrong shape is an error that names it.
Run    python part_3/load_pretrained.py FOLDER --prompt "Once upon a time"
Source Touvron et al. 2023, "LLaMA"; Jiang et al. 2023, "Mistral 7B"; Yang et al. 2024, "Qwen2";
       Yang et al. 2025, "Qwen3"

Where they are stacked here: `qkv` holds the rows of q_proj, then k_proj, then v_proj; `gate_up` those
of gate_proj, then up_proj. RoPE's halves lie alike.
"""

from pathlib import Path

import torch
from model import GPT, GPTConfig
from run.runtime import save_json

from pretrained.config import from_config, read_hf_config, to_config
from pretrained.safetensors_io import read_weights, save_weights
from pretrained.weight_places import Place, empty_model, fill, listed

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def gpt2_places(config: GPTConfig) -> dict[str, Place]:
    """Released name -> Place, for GPT-2. A folder may leave out the "transformer." in front."""
    places = {"wte.weight": Place("token_embedding.weight"),
              "wpe.weight": Place("position_embedding.weight"),
              "ln_f.weight": Place("norm.weight"), "ln_f.bias": Place("norm.bias")}
    for i in range(config.n_layer):
        for theirs, ours in {"ln_1": "norm_1", "attn.c_attn": "attention.qkv",
                             "attn.c_proj": "attention.project", "ln_2": "norm_2",
                             "mlp.c_fc": "mlp.widen", "mlp.c_proj": "mlp.project"}.items():
            places[f"h.{i}.{theirs}.weight"] = Place(f"blocks.{i}.{ours}.weight",
                                                     turned="c_" in theirs)
            places[f"h.{i}.{theirs}.bias"] = Place(f"blocks.{i}.{ours}.bias")
    places = {f"transformer.{name}": place for name, place in places.items()}
    head = "token_embedding.weight" if config.tied else "head.weight"
    return places | {"lm_head.weight": Place(head, is_copy=config.tied)}


# NEW in part 3
def family_places(config: GPTConfig) -> dict[str, Place]:
    """Released name -> Place, for Llama, Mistral, Qwen2 and Qwen3."""
    q, kv = config.n_head * config.head_dim, config.n_kv_head * config.head_dim
    rows = {"self_attn.q_proj": ("attention.qkv", 0, q),
            "self_attn.k_proj": ("attention.qkv", q, q + kv),
            "self_attn.v_proj": ("attention.qkv", q + kv, q + 2 * kv),
            "self_attn.o_proj": ("attention.project", 0, None),
            "mlp.gate_proj": ("mlp.gate_up", 0, config.n_hidden),
            "mlp.up_proj": ("mlp.gate_up", config.n_hidden, 2 * config.n_hidden),
            "mlp.down_proj": ("mlp.project", 0, None)}
    norms = {"input_layernorm": "norm_1", "post_attention_layernorm": "norm_2"}
    if config.qk_norm:
        norms |= {"self_attn.q_norm": "attention.q_norm", "self_attn.k_norm": "attention.k_norm"}
    places = {"model.embed_tokens.weight": Place("token_embedding.weight")}
    for i in range(config.n_layer):
        theirs_at, ours_at = f"model.layers.{i}.", f"blocks.{i}."
        for theirs, (ours, begin, end) in rows.items():
            places[f"{theirs_at}{theirs}.weight"] = Place(f"{ours_at}{ours}.weight", begin, end)
            if config.bias or (config.qkv_bias and ours == "attention.qkv"):
                places[f"{theirs_at}{theirs}.bias"] = Place(f"{ours_at}{ours}.bias", begin, end)
        for theirs, ours in norms.items():
            places[f"{theirs_at}{theirs}.weight"] = Place(f"{ours_at}{ours}.weight")
    head = "token_embedding.weight" if config.tied else "head.weight"
    return places | {"model.norm.weight": Place("norm.weight"),
                     "lm_head.weight": Place(head, is_copy=config.tied)}


# CHANGED in part 3: two families of names
def places_of(config: GPTConfig, model_type: str) -> dict[str, Place]:
    """Released name -> Place, for all names that a folder of this architecture holds."""
    return (gpt2_places if model_type == "gpt2" else family_places)(config)


def full_name(name: str, model_type: str) -> str:
    """Some folders hold the model without its head's wrapper: h.0.… for transformer.h.0.…"""
    base = "transformer." if model_type == "gpt2" else "model."
    return name if name.startswith((base, "lm_head.")) else base + name


def load_pretrained(folder: Path, dtype: torch.dtype = torch.float32, device="cpu",
                    **changes) -> GPT:
    """The GPT in a released model's folder, ready to use: eval mode, weights as `dtype`.

    The weights are in memory once: files are mapped, opened one by one, and copied to their place
    in the model. `changes` are fields of GPTConfig, such as a smaller block_size.
    Raises FileNotFoundError for what is not there, and ValueError by name for what does not fit.
    """
    config = read_hf_config(folder)
    ours = to_config(config, **changes)
    model = empty_model(GPT, ours, dtype)
    kind = config["model_type"]
    weights = ((full_name(name, kind), tensor) for name, tensor in read_weights(folder))
    tables = fill(model, places_of(ours, kind), weights, f"the weights in {folder}")
    if tables:
        print(f"left out: {len(tables)} tables that are computed here ({listed(tables)})")
    return model.to(device).eval()


def export_pretrained(model: GPT, folder: Path, dtype: torch.dtype | None = None,
                      max_shard_bytes: int = 5 * 10**9, **extra) -> None:
    """Write the folder that `load_pretrained` reads, and other programs as well.

    `extra` goes into config.json, such as eos_token_id. config.json is written last, so that a
    folder cut short is not taken for a whole one. A folder with a model in it is left alone.
    """
    config, folder = from_config(model.config), Path(folder)
    there = [p.name for p in folder.glob("*") if p.name == "config.json" or p.suffix in
             (".safetensors", ".bin")] if folder.is_dir() else []
    if there:
        raise ValueError(f"{folder} holds a model already ({listed(there)}); name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    parameters = dict(model.named_parameters())
    tensors = {name: place.of(parameters) for name, place in
               places_of(model.config, config["model_type"]).items() if not place.is_copy}
    save_weights(folder, tensors, dtype, max_shard_bytes)
    kind = str(dtype or next(iter(tensors.values())).dtype).removeprefix("torch.")
    save_json(folder / "config.json", {**config, "torch_dtype": kind, **extra})
