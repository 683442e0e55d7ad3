"""Tokenizers that others trained: read with exactly their ids, or refused by name."""

import json
import random
import re
import sys
import unicodedata
from pathlib import Path

import pytest
import regex
from text.bpe import encode_plain
from text.bpe_fast import train_bpe
from text.tokenizer import Tokenizer
from text.tokenizer_files import DIGITS_SPLIT, GPT2_SPLIT, QWEN2_SPLIT, byte_characters

PROSE = (
    "The fox's den was dark. They'll dig 2026 holes, won't they?\n\n\tIndented  twice;   thrice.\n"
    "Grüße aus Zürich — 東京は晴れ。 naïve café №12 ½ ٣ 😀😀 \u00a0x\u2003y \x1c\x85z\r\n<|end|>x <|end|>"
)


def random_unicode(seed, length=80):
    """Letters, digits, spaces, controls, and any assigned character; few repeats, many borders."""
    r = random.Random(seed)
    pools = ["aeiou thns", " \n\t\r", "0189²½٣", "'.,!?<|>-", "éß東京😀\u0301\u00a0\u2003\x1c\x85"]
    anything = [chr(i) for i in (r.randrange(sys.maxunicode) for _ in range(40))
                if unicodedata.category(chr(i)) not in ("Cs", "Cn")]
    return "".join(r.choice(r.choice([*pools, anything])) for _ in range(length))


TEXT = Path(re.__file__).read_text(encoding="utf-8") + PROSE * 20


@pytest.fixture(scope="module")
def merges():
    return train_bpe(TEXT, 700)


def foreign(merges, **changes):
    """A tokenizer.json of the kind that byte-level models are published with."""
    letter = {byte: character for character, byte in byte_characters().items()}
    tokens = [letter[i] for i in range(256)]
    pairs = []
    for a, b in merges:
        pairs.append(f"{tokens[a]} {tokens[b]}")
        tokens.append(tokens[a] + tokens[b])
    data = {
        "normalizer": None, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
        "added_tokens": [{"id": len(tokens), "content": "<|end|>", "special": True}],
        "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)}, "merges": pairs}}
    data["model"] |= changes.pop("model", {})
    return data | changes


def read_foreign(tmp_path, data):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return Tokenizer.from_tokenizer_json(path)


def test_the_byte_table_is_gpt2s():
    table = byte_characters()
    assert len(table) == len(set(table.values())) == 256
    assert (table["Ġ"], table["Ċ"], table["A"], table["Ã"], table["Ń"]) == (32, 10, 65, 0xC3, 173)


def test_gpt2_files_give_their_ids(tmp_path):
    vocab = {c: i for i, c in enumerate(byte_characters())}
    for token in ("Ġt", "he", "Ġthe"):
        vocab[token] = len(vocab)
    vocab["<|endoftext|>"] = len(vocab)
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ t\nh e\nĠt he\n", encoding="utf-8")
    gpt2 = Tokenizer.from_gpt2(tmp_path / "vocab.json", tmp_path / "merges.txt")
    # GPT-2 numbers its bytes from "!" on, so the space is 220
    assert gpt2.encode(" the") == [258] and gpt2.encode("the !") == [83, 257, 220, 0]
    assert gpt2.encode("<|endoftext|>", "all") == [259] and gpt2.vocab_size == 260


@pytest.mark.parametrize(("pre", "pattern"), [
    ({"type": "ByteLevel", "add_prefix_space": False}, GPT2_SPLIT),
    ({"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]}, DIGITS_SPLIT),
    ({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": QWEN2_SPLIT}, "behavior": "Isolated"},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}, QWEN2_SPLIT),
])
def test_tokenizer_json_gives_the_ids_of_its_merges(tmp_path, merges, pre, pattern):
    pairs_as_lists = [m.split(" ") for m in foreign(merges)["model"]["merges"]]
    data = foreign(merges, pre_tokenizer=pre, model={"merges": pairs_as_lists})
    tokenizer = read_foreign(tmp_path, data)
    assert tokenizer.pattern == pattern
    assert tokenizer.encode(TEXT) == encode_plain(TEXT, merges, pattern)
    assert tokenizer.encode("<|end|>", "all") == [256 + len(merges)]


def test_digits_are_split_off_before_gpt2s_rule():
    # two steps in one pattern: "x  1" -> "x  " and "1" -> "x", "  ", "1"
    for seed in range(200):
        text = random_unicode(seed)
        parts = regex.findall(r"\p{N}|\P{N}+", text)
        assert regex.findall(DIGITS_SPLIT, text) == [
            chunk for part in parts for chunk in regex.findall(GPT2_SPLIT, part)]


def test_a_normalizer_is_applied(tmp_path, merges):
    tokenizer = read_foreign(tmp_path, foreign(merges, normalizer={"type": "NFC"}))
    assert tokenizer.encode("e\u0301") == tokenizer.encode("é")
    assert tokenizer.encode_batch(["e\u0301"]) == [tokenizer.encode("é")]


def test_several_pairs_for_one_token_share_its_rank(tmp_path):
    merges = [(97, 98), (98, 99), (256, 99)]  # abc from ab c; Llama 3 also lists a bc
    pairs = ["a b", "b c", "ab c", "a bc"]
    tokenizer = read_foreign(tmp_path, foreign(merges, model={"merges": pairs}))
    assert tokenizer.encode("abc") == [258]
    with pytest.raises(ValueError, match="two places"):
        read_foreign(tmp_path, foreign(merges, model={"merges": ["a b", "ab c", "b c", "a bc"]}))


REFUSED = {
    "Unigram": ({"model": {"type": "Unigram"}}, "Unigram model"),
    "WordPiece": ({"model": {"type": "WordPiece"}}, "WordPiece model"),
    "SentencePiece": ({"model": {"byte_fallback": True}}, "byte_fallback"),
    "CLIP": ({"model": {"end_of_word_suffix": "</w>"}}, "end_of_word_suffix"),
    "Metaspace": ({"pre_tokenizer": {"type": "Metaspace"}}, "Metaspace"),
    "no pre-tokenizer": ({"pre_tokenizer": None}, "None"),
    "prefix": ({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}}, "add_prefix"),
    "lower case": ({"normalizer": {"type": "Lowercase"}}, "normalizer Lowercase"),
    "lstrip": ({"added_tokens": [{"id": 300, "content": "x", "lstrip": True}]}, "lstrip"),
    "triple": ({"model": {"merges": ["a b c"]}}, "no pair"),
    "odd merge": ({"model": {"merges": [5]}}, "no pair"),
    "unknown merge": ({"model": {"merges": ["q q"]}}, "'qq' is not in the vocabulary"),
    "no merge for a token": ({"model": {"merges": []}}, "no merge makes the token"),
    "added tokens": ({"added_tokens": 5}, "added_tokens is no list"),
    "added token": ({"added_tokens": [5]}, "has no content"),
    "added token without id": ({"added_tokens": [{"content": "xx"}]}, "has the id None"),
    "pre-tokenizer as text": ({"pre_tokenizer": "x"}, "pre-tokenizer is 'x'"),
    "sequence of nothing": ({"pre_tokenizer": {"type": "Sequence"}}, "pre-tokenizer is"),
    "split by a string": ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated"},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}}, "not supported"),
    "no model": ({"model": {"vocab": 3}}, "no vocab"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_byte_level_bpe_is_refused_by_name(tmp_path, merges, name):
    change, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        read_foreign(tmp_path, foreign(merges, **json.loads(json.dumps(change))))


def test_ids_that_do_not_follow_the_merges_are_refused(tmp_path):
    data = foreign([(97, 98), (98, 99)])
    data["model"]["vocab"] |= {"ab": 257, "bc": 256}
    with pytest.raises(ValueError, match="do not follow the order of the merges"):
        read_foreign(tmp_path, data)
    data["model"]["vocab"] |= {"ab": 256, "bc": 257, "▁東": 999}
    with pytest.raises(ValueError, match="not SentencePiece"):
        read_foreign(tmp_path, data)
