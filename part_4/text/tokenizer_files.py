"""Tokenizers that others trained: GPT-2's two files, and tokenizer.json of Hugging Face.

Both write bytes as printable characters (byte 32, the space, is "Ġ"): `byte_characters` has the
table. Only byte-level BPE can be read. Everything that would change the ids and is not supported
(other models, prefixes, normalizers) is refused by name; ids are never almost right.
Used   text/tokenizer.py: Tokenizer.from_gpt2, Tokenizer.from_tokenizer_json
Source Radford et al. 2019 (GPT-2) for the table; the files themselves for the rest
"""

import json
from itertools import pairwise
from pathlib import Path

import regex

# GPT-2's splitting, as ByteLevel pre-tokenizers use it, and with single digits split off before.
GPT2_SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
DIGITS_SPLIT = (r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+"
                r"|\s+(?![^\s\p{N}])|\s+")
LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
BYTE_LEVEL_PATTERNS = (GPT2_SPLIT, DIGITS_SPLIT, LLAMA3_SPLIT, QWEN2_SPLIT)  # leave nothing out


def require(fine, message):
    """Refuse a file in words, not with a traceback from deep inside."""
    if not fine:
        raise ValueError(message)


def byte_characters():
    """{character: byte}: printable Latin-1 stands for itself, the others follow from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [i for i in range(256) if i not in printable]
    return {chr(i): i for i in printable} | {chr(256 + k): i for k, i in enumerate(hidden)}


def without_duplicates(pairs):
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the entry {twice!r} is there twice")
    return table


def read_json(path):
    """The data of a JSON file. Raises ValueError that says what is wrong with the file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        return json.loads(text, object_pairs_hook=without_duplicates)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no whole JSON file (cut short?): {error}") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply for a tokenizer") from None
    except ValueError as error:  # not UTF-8, a doubled entry, a number of thousands of digits
        raise ValueError(f"{path} cannot be read: {error}") from None


def to_bytes(text, table):
    """The bytes that a token's printable characters stand for, or None if some stand for none."""
    if not isinstance(text, str) or any(character not in table for character in text):
        return None
    return bytes(table[character] for character in text)


def merge_order(merges, source):
    """["Ġ t", ...] or [["Ġ", "t"], ...] -> the merged tokens as {text: rank}, in their order.

    Llama 3 lists several pairs for one token, one after another; they are one rank.
    """
    ranks, last = {}, None
    for merge in merges:
        parts = merge.split(" ") if isinstance(merge, str) else merge
        require(isinstance(parts, list) and len(parts) == 2
                and all(isinstance(part, str) and part for part in parts),
                f"{source}: the merge {merge!r} is no pair of tokens")
        token = parts[0] + parts[1]
        if token != last and token in ranks:
            raise ValueError(f"{source}: merges of the token {token!r} stand in two places")
        ranks.setdefault(token, len(ranks))
        last = token
    return ranks


def ordered_tokens(vocab, merges, added, source):
    """vocab {text: id} and merges -> {bytes: id}, where a lower id means merged earlier."""
    table = byte_characters()
    ranks = merge_order(merges, source)
    if missing := [token for token in ranks if token not in vocab]:
        raise ValueError(f"{source}: the merged token {missing[0]!r} is not in the vocabulary")
    tokens = {}
    for text, i in vocab.items():
        if text in added:
            continue
        token = to_bytes(text, table)
        if not token:
            raise ValueError(f"{source}: the token {text!r} is not written in bytes; only "
                             "byte-level BPE can be read, not SentencePiece")
        if len(token) > 1 and text not in ranks:
            raise ValueError(f"{source}: no merge makes the token {text!r}")
        tokens[token] = i
    ids = [vocab[token] for token in ranks]
    require(all(type(i) is int for i in ids), f"{source}: an id is not a whole number")
    require(all(one < two for one, two in pairwise(ids)),
            f"{source}: the ids do not follow the order of the merges (as RoBERTa's do not), so "
            "they cannot serve as ranks")
    return tokens


def read_gpt2(vocab, merges):
    """vocab.json and merges.txt -> the arguments of Tokenizer."""
    table = read_json(vocab)
    require(isinstance(table, dict), f"{vocab} is no table of tokens")
    lines = Path(merges).read_text(encoding="utf-8").split("\n")
    if lines[0].startswith("#version"):
        lines = lines[1:]
    special = {name: table[name] for name in ["<|endoftext|>"] if name in table}
    tokens = ordered_tokens(table, [line for line in lines if line], special, str(vocab))
    return {"tokens": tokens, "special": special, "pattern": GPT2_SPLIT}


def read_tokenizer_json(path):
    """tokenizer.json -> the arguments of Tokenizer. All added tokens count as special; those that
    the file does not call so are found in any text."""
    data = read_json(path)
    model = data.get("model") if isinstance(data, dict) else None
    require(isinstance(model, dict), f"{path} is no tokenizer.json: it has no model")
    check_model(model, path)
    special, always = {}, []
    added = data.get("added_tokens") or []
    require(isinstance(added, list), f"{path}: added_tokens is no list")
    for token in added:
        require(isinstance(token, dict) and isinstance(token.get("content"), str),
                f"{path}: the added token {token!r} has no content")
        if odd := [key for key in ("lstrip", "rstrip", "single_word") if token.get(key)]:
            raise ValueError(f"{path}: the added token {token['content']!r} uses {odd[0]}, "
                             "which is not supported")
        if token.get("normalized") and normalizer_name(data.get("normalizer"), path) in (
                "NFKC", "NFKD"):  # found after the text was normalised; ours are found before
            raise ValueError(f"{path}: the added token {token['content']!r} is normalized by "
                             f"{data['normalizer']['type']}, which is not supported")
        special[token["content"]] = token.get("id")
        if not token.get("special"):
            always.append(token["content"])
    vocab, merges = model["vocab"], model["merges"]
    if model.get("ignore_merges"):  # whole chunks are looked up first: the ids are the ranks
        table = byte_characters()
        tokens = {to_bytes(text, table): i for text, i in vocab.items() if text not in special}
        if None in tokens:
            raise ValueError(f"{path}: a token is not written in bytes; it is not byte-level BPE")
    else:
        tokens = ordered_tokens(vocab, merges, special, str(path))
    return {"tokens": tokens, "special": special, "always": always,
            "pattern": split_pattern(data.get("pre_tokenizer"), path),
            "normalizer": normalizer_name(data.get("normalizer"), path),
            "prefix": prefix_ids(data.get("post_processor"), path)}


def check_model(model, path):
    """Refuse by name what is no byte-level BPE."""
    kind = model.get("type", "BPE")
    if kind != "BPE":
        raise ValueError(f"{path} holds a {kind} model; only byte-level BPE can be read")
    for key in ("byte_fallback", "dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise ValueError(f"{path}: the model uses {key}={model[key]!r}, which byte-level BPE "
                             "does not have (SentencePiece or CLIP style?)")
    require(isinstance(model.get("vocab"), dict) and isinstance(model.get("merges"), list),
            f"{path}: the model has no vocab or no merges")


def split_pattern(pre, path):
    """The splitting pattern of a pre-tokenizer, where one pattern can say it."""
    steps = [pre]
    if isinstance(pre, dict) and pre.get("type") == "Sequence":
        steps = pre.get("pretokenizers")
    require(isinstance(steps, list) and steps and all(isinstance(step, dict) for step in steps),
            f"{path}: the pre-tokenizer is {pre!r:.80}; only those that end in ByteLevel can be "
            "read")
    kinds, last = [step.get("type") for step in steps], steps[-1]
    if kinds[-1] != "ByteLevel":
        raise ValueError(f"{path}: the pre-tokenizer is {' + '.join(map(str, kinds))}; "
                         "only those that end in ByteLevel can be read")
    if last.get("add_prefix_space"):
        raise ValueError(f"{path}: the pre-tokenizer adds a space before the text "
                         "(add_prefix_space), which is not supported")
    own = last.get("use_regex", True)
    if kinds == ["ByteLevel"] and own:
        return GPT2_SPLIT
    if kinds == ["Digits", "ByteLevel"] and own and steps[0].get("individual_digits"):
        return DIGITS_SPLIT
    if kinds == ["Split", "ByteLevel"] and not own:
        split = steps[0]
        pattern = split.get("pattern")
        pattern = pattern.get("Regex") if isinstance(pattern, dict) else None
        alone = split.get("behavior") == "Isolated" and not split.get("invert")
        if isinstance(pattern, str) and alone:
            return whole_pattern(pattern, path)
    raise ValueError(f"{path}: the pre-tokenizer {' + '.join(map(str, kinds))} with these settings "
                     "is not supported")


def whole_pattern(pattern, path):
    """A pattern under which nothing is left out: what stands between two finds is a chunk, too."""
    if pattern in BYTE_LEVEL_PATTERNS:
        return pattern
    try:
        finds_nothing = regex.search(pattern, "") is not None
    except regex.error as error:
        raise ValueError(f"{path}: the splitting pattern {pattern!r} is wrong: {error}") from None
    require(not finds_nothing, f"{path}: the splitting pattern {pattern!r} finds the empty text")
    return rf"(?:{pattern})|(?:(?!{pattern})(?s:.))+"


def prefix_ids(post, path):
    """The ids that a post-processor puts before every text, as Llama 3's puts its begin token."""
    steps = [post] if post else []
    if isinstance(post, dict) and post.get("type") == "Sequence":
        steps = post.get("processors")
    require(isinstance(steps, list) and all(isinstance(step, dict) for step in steps),
            f"{path}: the post-processor is {post!r:.80}")
    prefix = []
    for step in steps:
        if step.get("type") == "ByteLevel":  # about places in the text only
            continue
        require(step.get("type") == "TemplateProcessing",
                f"{path}: the post-processor {step.get('type')} is not supported")
        try:
            names = [next(iter(part.items())) for part in step["single"]]
            before = [name["id"] for kind, name in names[:-1] if kind == "SpecialToken"]
            is_before = names[-1][0] == "Sequence" and len(before) == len(names) - 1
            prefix += [i for name in before for i in step["special_tokens"][name]["ids"]]
        except (KeyError, TypeError, AttributeError, IndexError, StopIteration):
            raise ValueError(f"{path}: the post-processor's template {step.get('single')!r:.80} "
                             "cannot be read") from None
        require(is_before, f"{path}: the post-processor puts tokens elsewhere than before the text, "
                           "which is not supported")
    return prefix


def normalizer_name(normalizer, path):
    if normalizer is None:
        return None
    kind = normalizer.get("type") if isinstance(normalizer, dict) else normalizer
    if kind in ("NFC", "NFD", "NFKC", "NFKD"):
        return kind
    raise ValueError(f"{path}: the normalizer {kind} is not supported")
