"""Added tokens and long texts in the reader of part 3: the ids of the original."""

import json

import pytest
from pretrained.tokenizer import _byte_letters, load_hf_tokenizer

BYTES = {character: i for i, character in enumerate(_byte_letters())}  # "!" is 0, " " is 220
SPACE, A, B = 220, 64, 65


def read(tmp_path, **stages):
    data = {"model": {"type": "BPE", "vocab": BYTES, "merges": []}, "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}, **stages}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    return load_hf_tokenizer(tmp_path)


def added(*names):
    return [{"id": 256 + i, "content": name, "special": False} for i, name in enumerate(names)]


def test_the_longest_added_token_is_found_first(tmp_path):
    tokenizer = read(tmp_path, added_tokens=added("<a>", "<a>b", "<a>bc"))
    assert tokenizer.encode("<a>bc") == [258]
    assert tokenizer.encode("<a>b<a>b") == [257, 257]


def test_runs_of_blanks_are_taken_from_the_longest_on(tmp_path):
    tokenizer = read(tmp_path, added_tokens=added("  ", "    "))
    assert tokenizer.encode("a       b") == [A, 257, 256, SPACE, B]  # seven blanks: 4 + 2 + 1


def test_single_digits_are_split_off(tmp_path):
    vocab = BYTES | {"12": 256, "Ġ1": 257}
    tokenizer = read(tmp_path, model={"type": "BPE", "vocab": vocab, "merges": ["1 2", "Ġ 1"]},
                     pre_tokenizer={"type": "Sequence", "pretokenizers": [
                         {"type": "Digits", "individual_digits": True},
                         {"type": "ByteLevel", "add_prefix_space": False}]})
    assert tokenizer.encode("a 12") == [A, SPACE, BYTES["1"], BYTES["2"]]


def test_a_million_blanks_are_encoded(tmp_path):
    ids = read(tmp_path).encode(" " * 999_999)
    assert ids == [SPACE] * 999_999


def test_a_refusal_names_the_file_once(tmp_path):
    with pytest.raises(ValueError, match="pre_tokenizer Whitespace") as refused:
        read(tmp_path, pre_tokenizer={"type": "Whitespace"})
    assert str(refused.value).count("tokenizer.json") == 1


def test_a_byte_without_a_token_is_refused_where_it_is_met(tmp_path):
    """SmolLM2's file has no token for 21 bytes that stand in no text, or in few."""
    vocab = {letter: i for letter, i in BYTES.items() if _byte_letters()[letter] not in (0xc0, 0x07)}
    tokenizer = read(tmp_path, model={"type": "BPE", "vocab": vocab, "merges": []})
    assert tokenizer.encode("a b") == [A, SPACE, B]
    with pytest.raises(ValueError, match="no token for the byte 0x07"):
        tokenizer.encode("a \a")
