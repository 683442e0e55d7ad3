"""Real weights: a folder of GPT-2's, as it is released, becomes this part's GPT; and back.

Idea   The released model is this model. Only the names differ, and GPT-2's matrices lie as
       [in, out]: they are turned. Every name must be accounted for: a weight that is missing, left
       over or of the wrong shape is an error that names it.
Run    python part_2/load_pretrained.py FOLDER --prompt "Once upon a time"
Source Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2)

`qkv` stacks queries, keys and values in this order, as GPT-2 does.
"""

from pathlib import Path

import torch
from model import GPT, GPTConfig
from runtime import save_json

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


def places_of(config: GPTConfig, model_type: str) -> dict[str, Place]:
    """Released name -> Place, for all names that a folder of this architecture holds."""
    assert model_type == "gpt2", "to_config refuses all others"
    return gpt2_places(config)


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
