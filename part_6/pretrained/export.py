"""A checkpoint becomes a folder that other programs read: weights, tokenizer, chat template.

Idea   The same list of places that fills a model from released names writes it under these names.
       A tokenizer that came out of a folder leaves as it came; one made here is written anew.
Used   export_weights.py

An adapter holds what LoRA has learnt alone, in the layout of the package `peft`. The detour of our
stacked matrix `qkv` becomes three: they share A, and each has its rows of B.
"""

import json
from dataclasses import replace
from pathlib import Path

import torch
from gpt.model import GPT, GPTConfig
from moe.hybrid import HybridGPT
from run.runtime import save_json

from pretrained.config import from_config
from pretrained.loading import family_places
from pretrained.released_tokenizer import ReleasedTokenizer
from pretrained.safetensors_io import save_safetensors, save_weights
from pretrained.tokenizer_json import jinja_of, tokenizer_json
from pretrained.weight_places import listed

ROLES = ("<|system|>", "<|user|>", "<|assistant|>")


def new_folder(folder: Path) -> Path:
    """The folder, made where it is missing. ValueError where a model lies in it already."""
    folder = Path(folder).expanduser()
    there = [p.name for p in folder.glob("*") if p.name in ("config.json", "adapter_config.json")
             or p.suffix in (".safetensors", ".bin")] if folder.is_dir() else []
    if there:
        raise ValueError(f"{folder} holds a model already ({listed(there)}); name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# NEW in part 5
def with_scale_1(model: GPT) -> GPT:
    """The same function with s = 1 (eq. 5.3), as in released mixtures: its experts are s times as loud."""
    moe = getattr(model.config, "moe", None)
    if moe is None or moe.scale == 1:
        return model
    plain = HybridGPT(replace(model.config, moe=replace(moe, scale=1.0)))
    plain.load_state_dict({name: moe.scale * x if name.endswith("experts.down") else x
                           for name, x in model.state_dict().items()})
    return plain


# CHANGED in part 5: experts
def export_model(model: GPT, tokenizer, folder: Path, dtype: torch.dtype | None = None,
                 max_shard_bytes: int = 5 * 10**9) -> None:
    """Write everything. config.json comes last: a folder cut short is not taken for a whole one."""
    model = with_scale_1(model)
    config = from_config(model.config)  # refuses what cannot be written, before anything is
    if config["model_type"] in ("qwen2", "qwen2_moe") and not isinstance(tokenizer, ReleasedTokenizer):
        raise ValueError("qkv_bias=True is Qwen2's, and `transformers` gives every Qwen2 the "
                         "splitting of Qwen2's own tokenizer: this tokenizer's ids would differ")
    folder = new_folder(folder)
    parameters = dict(model.named_parameters())
    tensors = {name: place.of(parameters) for name, place in family_places(model.config).items()
               if not place.is_copy}
    save_weights(folder, tensors, dtype, max_shard_bytes)
    marks = {"bos_token_id": tokenizer.begin, "eos_token_id": tokenizer.end,
             "pad_token_id": tokenizer.pad}
    write_tokenizer(tokenizer, folder, model.config.block_size)
    save_json(folder / "generation_config.json", generation(tokenizer, marks))
    kind = str(dtype or next(iter(tensors.values())).dtype).removeprefix("torch.")
    save_json(folder / "config.json", {**config, **marks, "torch_dtype": kind})


def generation(tokenizer, marks: dict) -> dict:
    """generation_config.json: that of the folder the model came from, or the marks alone."""
    text = getattr(tokenizer, "files", {}).get("generation_config.json")
    settings = marks | (json.loads(text) if text else {})
    ends = settings["eos_token_id"]
    ends = ends if isinstance(ends, list) else [ends]
    if tokenizer.end not in ends:
        settings["eos_token_id"] = [tokenizer.end, *ends]
    return settings


def write_tokenizer(tokenizer, folder: Path, longest: int) -> None:
    """tokenizer.json, tokenizer_config.json, special_tokens_map.json, chat_template.jinja."""
    files = dict(getattr(tokenizer, "files", {}))
    files.pop("generation_config.json", None)
    names = {i: name for name, i in tokenizer.special.items()}
    begin, end, pad = (names[i] for i in (tokenizer.begin, tokenizer.end, tokenizer.pad))
    marks = {"bos_token": begin, "eos_token": end, "pad_token": pad}
    if not isinstance(tokenizer, ReleasedTokenizer):
        files = {"tokenizer.json": json.dumps(tokenizer_json(tokenizer), ensure_ascii=False)}
    is_own = "chat_template.jinja" not in files and '"chat_template"' not in files.get(
        "tokenizer_config.json", "")
    said = json.loads(files.get("tokenizer_config.json", "{}"))
    if not said:
        said = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": longest,
                "clean_up_tokenization_spaces": False} | marks
    knows_roles = tokenizer.chat is not None or all(role in tokenizer.special for role in ROLES)
    if is_own and knows_roles and not tokenizer.problem:
        template = jinja_of(tokenizer.chat, begin, end)
        said |= {"chat_template": template} | marks
        files["chat_template.jinja"] = template
    files["tokenizer_config.json"] = json.dumps(said, ensure_ascii=False, indent=2)
    files["special_tokens_map.json"] = json.dumps(marks, ensure_ascii=False)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


# ---------------------------------------------------------------- what LoRA has learnt, alone

def adapter_tensors(config: GPTConfig, weights: dict) -> dict[str, torch.Tensor]:
    """LoRA's matrices by our names ("blocks.0.attention.qkv.a", …) -> by peft's."""
    tensors = {}
    for name, place in family_places(config).items():
        ours = place.parameter.removesuffix(".weight")
        if f"{ours}.a" in weights:
            at = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{at}.lora_A.weight"] = weights[f"{ours}.a"]
            tensors[f"{at}.lora_B.weight"] = weights[f"{ours}.b"][place.begin:place.end]
    return tensors


def export_adapter(config: GPTConfig, training: dict | None, folder: Path) -> None:
    """Write what peft reads. ValueError where the checkpoint holds no adapter, or more than one."""
    lora = training.get("lora") if isinstance(training, dict) else None
    if not isinstance(lora, dict):
        raise ValueError("--adapter: the checkpoint holds no LoRA matrices; make it with: "
                         "python part_6/train_sft.py --lora 8")
    if lora["embedding"]:
        raise ValueError("--adapter: the embedding was trained too, for the new role tokens, which "
                         "an adapter of peft does not hold; leave out --adapter")
    from_config(config)
    folder = new_folder(folder)
    tensors = adapter_tensors(config, lora["weights"])
    save_safetensors(folder / "adapter_model.safetensors",
                     {name: x.contiguous() for name, x in tensors.items()})
    save_json(folder / "adapter_config.json", {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": lora["base"],
        "r": lora["rank"], "lora_alpha": lora["alpha"], "lora_dropout": 0.0, "bias": "none",
        "fan_in_fan_out": False, "inference_mode": True, "modules_to_save": None,
        "target_modules": sorted({name.split(".")[-3] for name in tensors})})
