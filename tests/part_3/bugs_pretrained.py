"""Planted bugs: the folders of released models and their tokenizers. For tests/planted_bugs.py."""

from planted import Bug

LOAD, WORDS = "tests/part_3/test_load_pretrained.py", "tests/part_3/test_hf_tokenizer.py"
REFUSED = "tests/part_3/test_pretrained_refusals.py"
SCRIPT = "part_3/load_pretrained.py"
MAIN, CONFIG = "part_3/pretrained/loading.py", "part_3/pretrained/config.py"
TOKENIZER = "part_3/pretrained/tokenizer.py"

BUGS = [
    Bug("queries, keys and values stacked in another order", MAIN,
        '"self_attn.v_proj": ("attention.qkv", q + kv, q + 2 * kv)',
        '"self_attn.v_proj": ("attention.qkv", q, q + kv)', LOAD),
    Bug("gate and up swapped on loading", MAIN,
        '"mlp.gate_proj": ("mlp.gate_up", 0, config.n_hidden),\n'
        '            "mlp.up_proj": ("mlp.gate_up", config.n_hidden, 2 * config.n_hidden)',
        '"mlp.up_proj": ("mlp.gate_up", 0, config.n_hidden),\n'
        '            "mlp.gate_proj": ("mlp.gate_up", config.n_hidden, 2 * config.n_hidden)', LOAD),
    Bug("key and query norms swapped", MAIN,
        '"self_attn.q_norm": "attention.q_norm", "self_attn.k_norm": "attention.k_norm"',
        '"self_attn.q_norm": "attention.k_norm", "self_attn.k_norm": "attention.q_norm"', LOAD),
    Bug("the two norms of a block swapped", MAIN,
        '"input_layernorm": "norm_1", "post_attention_layernorm": "norm_2"',
        '"input_layernorm": "norm_2", "post_attention_layernorm": "norm_1"', LOAD),
    Bug("an untied head is taken for the embedding", MAIN,
        '    return places | {"model.norm.weight": Place("norm.weight"),\n'
        '                     "lm_head.weight": Place(head, is_copy=config.tied)}',
        '    return places | {"model.norm.weight": Place("norm.weight"),\n'
        '                     "lm_head.weight": Place(head, is_copy=True)}', LOAD),
    Bug("the first answer after the prompt is read without the cache", SCRIPT,
        "chunk = [int(logits[0, -1].argmax())]", "chunk = chunk + [int(logits[0, -1].argmax())]",
        LOAD),
    Bug("the end token does not end a text", SCRIPT,
        "and not ends & set(new[-1:])", "", LOAD),
    Bug("an export writes over a model", MAIN, "    if there:\n", "    if False:\n", LOAD),
    Bug("rope_theta is ignored", CONFIG,
        'fields = {"rope_theta": _real_number(rope, "rope_theta", 10000.0)}',
        'fields = {"rope_theta": 10000.0}', LOAD),
    Bug("rope_scaling is ignored", CONFIG,
        'if kind == "default":', 'if kind != "yarn":', LOAD),
    Bug("low and high of llama3's scaling swapped", CONFIG,
        '"rope_low": _real_number(rope, "low_freq_factor", 0.0)',
        '"rope_low": _real_number(rope, "high_freq_factor", 0.0)', LOAD),
    Bug("rms_norm_eps is ignored", CONFIG,
        '_real_number(config, "rms_norm_eps", 1e-6)', "1e-6", LOAD),
    Bug("Mistral's window is ignored", CONFIG,
        '    if kind == "llama":\n        _refuse(', '    if kind == "mistral":\n'
        '        return None\n    if kind == "llama":\n        _refuse(', LOAD),
    Bug("Qwen2's window acts though use_sliding_window is false", CONFIG,
        'not config.get("use_sliding_window", False)', "False", REFUSED),
    Bug("Qwen3's norms of queries and keys left out", CONFIG,
        '"qk_norm": kind == "qwen3"', '"qk_norm": False', LOAD),
    Bug("head_dim is taken to be C / H", CONFIG,
        'None if width is None else _whole_number({"head_dim": width}, "head_dim")', "None", LOAD),
    Bug("tie_word_embeddings is true where it is not told", CONFIG,
        'bool(config.get("tie_word_embeddings", False))', "True", LOAD),
    Bug("unknown activation passes", CONFIG,
        '_refuse(config, {"hidden_act": "silu", ', "_refuse(config, {", REFUSED),
    Bug("tokenizer: the space letter is off by one", TOKENIZER,
        "{chr(0x100 + n): b for", "{chr(0x101 + n): b for", WORDS),
    Bug("tokenizer: the Unicode form is ignored", TOKENIZER,
        "        if self.normal_form:\n", "        if False:\n", WORDS),
    Bug("tokenizer: a user's text can hold special tokens", TOKENIZER,
        "self.encoding.special_tokens_set if special else self.always",
        "self.encoding.special_tokens_set", WORDS),
    Bug("tokenizer: the pattern is always GPT-2's", TOKENIZER,
        "    return pattern\n", "    return _GPT2_PATTERN\n", WORDS),
    Bug("tokenizer: merges in another order than the ids pass", TOKENIZER,
        "_need(ranks[whole] >= last,", "_need(True,", WORDS),
    Bug("tokenizer: a prefix space that is asked for is left out", TOKENIZER,
        'not byte_level.get("add_prefix_space")', "True", WORDS),
]
