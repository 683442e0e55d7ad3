"""The folder of a Llama, SmolLM2, Mistral, Qwen2 or Qwen3 becomes this part's GPT with its tokenizer;
that of a Mixtral, Qwen2-MoE or Qwen3-MoE a HybridGPT.

Idea   The released model is this model. Only the names differ. Every name must be accounted for: a
       weight that is missing, left over or of the wrong shape is an error that names it.
Used   run/checkpoint.py: wherever a script takes a checkpoint it takes such a folder
Source Touvron et al. 2023, "LLaMA"; Jiang et al. 2023, "Mistral 7B"; Yang et al. 2024, "Qwen2";
       Yang et al. 2025, "Qwen3"; Allal et al. 2025, "SmolLM2"; Jiang et al. 2024, "Mixtral of Experts"

A folder holds config.json, the weights (model.safetensors, shards of it, or pytorch_model.bin) and
tokenizer.json; tokenizer_config.json and the chat template where there are any. It is only read.
Where they are stacked here: `qkv` holds the rows of q_proj, then k_proj, then v_proj; `gate_up`
those of gate_proj, then up_proj. RoPE's halves lie alike. Experts come one by one and are stacked.
"""

import json
from pathlib import Path

import torch
from gpt.model import GPT, GPTConfig
from moe.hybrid import HybridConfig, HybridGPT, layer_kinds

from pretrained.chat_forms import ChatForm, chosen_form, form_of
from pretrained.config import read_hf_config, to_config
from pretrained.mixtures import expert_places
from pretrained.released_tokenizer import FILES, ReleasedTokenizer, parsed_json
from pretrained.safetensors_io import read_weights
from pretrained.tokenizer_json import ROLE
from pretrained.weight_places import Place, empty_model, fill, listed


# CHANGED in part 5: experts
def family_places(config: GPTConfig) -> dict[str, Place]:
    """Released name -> Place, for Llama, Mistral, Qwen2, Qwen3, and these with experts."""
    moe = getattr(config, "moe", None)
    kinds = layer_kinds(moe.layers, config.n_layer) if moe else "d" * config.n_layer
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
            if kinds[i] == "m" and ours.startswith("mlp."):
                continue
            places[f"{theirs_at}{theirs}.weight"] = Place(f"{ours_at}{ours}.weight", begin, end)
            if config.qkv_bias and ours == "attention.qkv":
                places[f"{theirs_at}{theirs}.bias"] = Place(f"{ours_at}{ours}.bias", begin, end)
        for theirs, ours in norms.items():
            places[f"{theirs_at}{theirs}.weight"] = Place(f"{ours_at}{ours}.weight")
        places |= expert_places(config, i) if kinds[i] == "m" else {}
    head = "token_embedding.weight" if config.tied else "head.weight"
    return places | {"model.norm.weight": Place("norm.weight"),
                     "lm_head.weight": Place(head, is_copy=config.tied)}


def full_name(name: str) -> str:
    """Some folders hold the model without its head's wrapper: layers.0.… for model.layers.0.…"""
    return name if name.startswith(("model.", "lm_head.")) else f"model.{name}"


# CHANGED in part 5: experts
def load_pretrained(folder: Path, dtype: torch.dtype = torch.float32, device="cpu",
                    **changes) -> GPT:
    """The GPT in a released model's folder, ready to use: eval mode, weights as `dtype`.

    The weights are in memory once: files are mapped, opened one by one, and copied to their place
    in the model. `changes` are fields of GPTConfig, such as a smaller block_size.
    Raises FileNotFoundError for what is not there, and ValueError by name for what does not fit.
    """
    ours = to_config(read_hf_config(folder), **changes)
    model = empty_model(HybridGPT if isinstance(ours, HybridConfig) else GPT, ours, dtype)
    weights = ((full_name(name), tensor) for name, tensor in read_weights(folder))
    tables = fill(model, family_places(ours), weights, f"the weights in {folder}")
    if tables:
        print(f"left out: {len(tables)} tables that are computed here ({listed(tables)})")
    return model.to(device).eval()


def load_released(folder: Path, device="cpu", chat: str = "auto"):
    """A released model's folder -> (model, tokenizer, the fields that a checkpoint has).

    `chat`: the form of conversations, one of chat_forms.CHOICES; "auto": as the folder's template.
    The tokenizer is read first: what does not fit shows before gigabytes are read.
    """
    config = read_hf_config(folder)
    ours = to_config(config)
    tokenizer = load_released_tokenizer(folder, config, ours.vocab_size, chat)
    model = load_pretrained(folder, device=device)
    return model, tokenizer, {"step": 0, "config": ours, "metrics": {}, "training": None,
                              "settings": {"released": str(folder)}}


def load_released_tokenizer(folder: Path, config: dict, vocab_size: int,
                            chat: str = "auto") -> ReleasedTokenizer:
    """tokenizer.json and what lies beside it. Raises FileNotFoundError, or ValueError by name."""
    folder = Path(folder)
    where = folder / "tokenizer.json"
    if not where.is_file():
        raise FileNotFoundError(f"{where} is missing: a byte-level BPE tokenizer in that format is "
                                "needed (a tokenizer.model is SentencePiece's)")
    files = {name: (folder / name).read_text(encoding="utf-8")
             for name in FILES if (folder / name).is_file()}
    said = parsed_json(files.get("tokenizer_config.json", "{}"), str(folder / FILES[1]))
    template = files.get("chat_template.jinja") or template_in(said, folder)
    ids = marks_of(parsed_json(files["tokenizer.json"], str(where)), said, config, where)
    names = {i: name for name, i in ids.pop("known").items()}
    begin, end = (names.get(ids[name], "") for name in ("begin", "end"))
    problem, form = "", None
    if chat != "auto":
        form = chosen_form(chat, begin, end)
        files.pop("chat_template.jinja", None)  # it does not count, and does not leave again
        files["tokenizer_config.json"] = json.dumps(
            {key: value for key, value in said.items() if key != "chat_template"})
    elif template and ROLE not in template:
        try:
            form = form_of(template, begin if ids["opens"] else "", end, str(folder))
        except ValueError as error:
            problem = str(error)
    del ids["opens"]
    check_form(form, names, folder)
    return ReleasedTokenizer(files, vocab_size, form, ids, problem, str(where))


def check_form(form: ChatForm | None, names: dict, folder: Path) -> None:
    """ValueError where the vocabulary lacks a token that the form of conversations needs."""
    lacks = [name for name in (form.needs if form else ()) if name not in names.values()]
    if lacks:
        raise ValueError(f"{folder}: the tokenizer has no {', '.join(lacks)}, which conversations "
                         f"in the form {form.name} need; use --chat plain, which adds tokens of its "
                         "own")


def template_in(said: dict, folder: Path) -> str:
    """The chat template in tokenizer_config.json: one text, or several by name ("default")."""
    template = said.get("chat_template") or ""
    if isinstance(template, list):
        by_name = {one["name"]: one["template"] for one in template
                   if isinstance(one, dict) and {"name", "template"} <= set(one)}
        template = by_name.get("default", "")
    if not isinstance(template, str):
        raise ValueError(f"{folder}/tokenizer_config.json: chat_template is {template!r:.60}, no "
                         "text")
    return template


def marks_of(tokenizer: dict, said: dict, config: dict, where: Path) -> dict:
    """The ids of begin, end and pad, as the folder says: by name in tokenizer_config.json, else by
    id in config.json. `opens`: has the folder a begin token at all? `known`: name -> id.

    Where it has none (Qwen), the token that ends a text stands between texts, so it begins one too.
    """
    added = tokenizer.get("added_tokens") or []
    if not all(isinstance(token, dict) and isinstance(token.get("content"), str)
               and type(token.get("id")) is int for token in added):
        raise ValueError(f"{where}: an added token without content or id")
    known = {token["content"]: token["id"] for token in added}
    marks = {}
    for name, key in (("begin", "bos"), ("end", "eos"), ("pad", "pad")):
        token, i = said.get(f"{key}_token"), config.get(f"{key}_token_id")
        token = token.get("content") if isinstance(token, dict) else token
        if token is not None and token not in known:
            raise ValueError(f"{where.parent}: {key}_token is {token!r}, which is no added token of "
                             "tokenizer.json")
        i = i[0] if isinstance(i, list) and i else i
        is_silent = f"{key}_token" in said and token is None  # it says that there is none
        marks[name] = known[token] if token else None if is_silent or i == -1 else i
    end = marks["end"] if marks["end"] is not None else marks["pad"]
    if end is None:
        end = known.get("<|endoftext|>")
    if end is None:
        raise ValueError(f"{where.parent}: names no token that ends a text (eos_token in "
                         "tokenizer_config.json, eos_token_id in config.json)")
    between = known.get("<|endoftext|>", end)
    return {"begin": between if marks["begin"] is None else marks["begin"], "end": end,
            "pad": end if marks["pad"] is None else marks["pad"],
            "opens": marks["begin"] is not None, "known": known}
