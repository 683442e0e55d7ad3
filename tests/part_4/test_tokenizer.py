"""The tokenizer: ids against a plain encoder, special tokens, large files, broken files."""

import json
import random
import re
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from text.bpe import SPLIT, encode_plain, train_plain
from text.bpe_fast import train_bpe
from text.tokenizer import Tokenizer
from text.tokenizer_files import (
    DIGITS_SPLIT,
    GPT2_SPLIT,
    LLAMA3_SPLIT,
    QWEN2_SPLIT,
)

PROSE = (
    "The fox's den was dark. They'll dig 2026 holes, won't they?\n\n\tIndented  twice;   thrice.\n"
    "Grüße aus Zürich — 東京は晴れ。 naïve café №12 ½ ٣ 😀😀 \u00a0x\u2003y \x1c\x85z\r\n<|end|>x <|end|>"
)


def random_words(seed, letters="ab", words=12, longest=40):
    r = random.Random(seed)
    return " ".join("".join(r.choice(letters) for _ in range(r.randint(1, longest)))
                    for _ in range(words))


def random_unicode(seed, length=80):
    """Letters, digits, spaces, controls, and any assigned character; few repeats, many borders."""
    r = random.Random(seed)
    pools = ["aeiou thns", " \n\t\r", "0189²½٣", "'.,!?<|>-", "éß東京😀\u0301\u00a0\u2003\x1c\x85"]
    anything = [chr(i) for i in (r.randrange(sys.maxunicode) for _ in range(40))
                if unicodedata.category(chr(i)) not in ("Cs", "Cn")]
    return "".join(r.choice(r.choice([*pools, anything])) for _ in range(length))


SOURCE = Path(re.__file__).read_text(encoding="utf-8")
TEXT = SOURCE + PROSE * 20


@pytest.fixture(scope="module")
def merges():
    return train_bpe(TEXT, 700)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(TEXT, 700)


# ---------------------------------------------------------------- ids

def test_ids_are_those_of_the_plain_encoder_on_random_unicode(merges):
    tokenizer = Tokenizer.from_merges(merges)
    for seed in range(300):
        text = random_unicode(seed) + PROSE[seed % 50 :]
        assert tokenizer.encode(text) == encode_plain(text, merges), seed


@pytest.mark.filterwarnings("ignore:the text has pairs")
def test_ids_are_those_of_the_plain_encoder_on_runs_of_two_letters():
    for seed in range(60):
        merges = train_plain(random_words(seed, "ab"[: 1 + seed % 2]), 290)
        tokenizer = Tokenizer.from_merges(merges)
        for text in (random_words(1000 + seed, "ab"), "a" * 37, "ab" * 20 + "a" * 9):
            assert tokenizer.encode(text) == encode_plain(text, merges), (seed, text)


def test_decoding_gives_the_text_back(tokenizer):
    for seed in range(200):
        text = random_unicode(seed)
        assert tokenizer.decode(tokenizer.encode(text)) == text
    ids = tokenizer.encode(TEXT)
    assert tokenizer.decode(np.array(ids)) == tokenizer.decode(torch.tensor(ids)) == TEXT
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""


def test_half_a_character_decodes_to_the_replacement_sign(tokenizer):
    assert tokenizer.decode_bytes([0xF0, 0x9F]) == b"\xf0\x9f"
    assert tokenizer.decode([0xF0, 0x9F, 65]) == "\ufffdA"


def test_ids_are_bytes_then_merges_then_special_tokens(merges):
    tokenizer = Tokenizer.from_merges(merges)
    a, b = merges[0]
    assert tokenizer.tokens[bytes([65])] == 65
    assert tokenizer.decode_bytes([256]) == tokenizer.decode_bytes([a, b])
    assert tokenizer.vocab_size == 256 + len(merges) + 3
    assert [tokenizer.pad, tokenizer.begin, tokenizer.end] == [
        256 + len(merges), 257 + len(merges), 258 + len(merges)]


def test_the_asked_vocabulary_counts_the_special_tokens(tokenizer):
    assert tokenizer.vocab_size == 700
    assert max(tokenizer.special.values()) == 699


def test_a_batch_is_many_single_texts(tokenizer):
    texts = [random_unicode(seed) for seed in range(20)] + ["", "<|end|>"]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch(["<|end|>"], "all") == [[tokenizer.end]]


def test_unknown_ids_are_named(tokenizer):
    for bad in (700, -1, 2**40):
        with pytest.raises(ValueError, match=f"id {bad} is no token"):
            tokenizer.decode([65, bad])


# ---------------------------------------------------------------- special tokens

def test_special_tokens_are_text_unless_allowed(tokenizer):
    text = "hello<|end|>"
    assert tokenizer.end not in tokenizer.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode(text, {"<|end|>"})[-1] == tokenizer.end
    assert tokenizer.encode(text, {"<|pad|>"}) == tokenizer.encode(text)
    assert tokenizer.decode(tokenizer.encode(text, "all")) == text


def test_pad_begin_and_end_differ(tokenizer):
    assert len({tokenizer.pad, tokenizer.begin, tokenizer.end}) == 3


def test_of_overlapping_special_tokens_the_longest_is_read():
    names = ("<|end|>", "<|end|>x", "<|end", "<|end|>xx")
    tokenizer = Tokenizer.from_merges([], names)
    ids = tokenizer.encode("<|end|>xxx<|end|><|end", "all")
    assert ids == [tokenizer.id_of("<|end|>xx"), ord("x"), tokenizer.id_of("<|end|>"),
                   tokenizer.id_of("<|end")]


def test_more_special_tokens_follow_the_others(tokenizer):
    more = tokenizer.with_special("<|user|>", "<|assistant|>")
    assert more.vocab_size == 702 and more.id_of("<|assistant|>") == 701
    assert more.encode(TEXT) == tokenizer.encode(TEXT)
    assert more.fingerprint != tokenizer.fingerprint
    with pytest.raises(ValueError, match="already"):
        more.with_special("<|user|>")


def test_a_missing_special_token_is_named_with_the_remedy(tokenizer):
    with pytest.raises(ValueError, match=r"no special token '<\|pad\|>'.*with_special"):
        Tokenizer.from_merges([], ()).id_of("<|pad|>")
    with pytest.raises(ValueError, match="no special token"):
        print(Tokenizer.from_merges([], ()).pad)
    with pytest.raises(ValueError, match="no special token 'nope'"):
        tokenizer.encode("x", {"nope"})


# ---------------------------------------------------------------- files larger than memory

PATTERNS = (SPLIT, GPT2_SPLIT, DIGITS_SPLIT, LLAMA3_SPLIT, QWEN2_SPLIT)


@pytest.mark.parametrize("pattern", PATTERNS, ids=["ours", "gpt2", "digits", "llama3", "qwen2"])
def test_encoding_a_file_in_pieces_of_any_size_gives_the_ids_of_the_whole(
        tmp_path, merges, pattern):
    tokenizer = Tokenizer.from_merges(merges, pattern=pattern)
    text = "".join(random_unicode(seed, 150) + PROSE for seed in range(12)) + SOURCE[:3000]
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode())
    want = tokenizer.encode(text, "all")
    for block in (1, 2, 7, 61, random.Random(0).randint(100, 1000), 10**6):
        parts = list(tokenizer.encode_file(path, "all", block))
        assert np.concatenate(parts).tolist() == want, block
        assert parts[0].dtype == np.uint16
    assert len(list(tokenizer.encode_file(path, block=61))) > 50  # it did come in pieces


def test_a_file_is_not_cut_where_that_cannot_be_known_to_be_safe(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("a b", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot tell where"):
        list(Tokenizer.from_merges([], pattern=r"\S+ \S+|.").encode_file(path))
    spaced = Tokenizer.from_merges([], ("<| end|>",))
    with pytest.raises(ValueError, match="white space"):
        list(spaced.encode_file(path, "all"))


# ---------------------------------------------------------------- saving and loading

def test_a_saved_tokenizer_gives_the_same_ids(tmp_path, tokenizer):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    loaded = Tokenizer.load(path)
    assert loaded.encode(TEXT, "all") == tokenizer.encode(TEXT, "all")
    assert (loaded.special, loaded.fingerprint) == (tokenizer.special, tokenizer.fingerprint)
    assert [p.name for p in tmp_path.iterdir()] == ["tokenizer.json"]


def test_a_checkpoint_can_carry_the_tokenizer(tmp_path, tokenizer):
    torch.save({"tokenizer": tokenizer.to_dict()}, tmp_path / "x.pt")
    data = torch.load(tmp_path / "x.pt", weights_only=True)
    assert Tokenizer.from_dict(data["tokenizer"]).fingerprint == tokenizer.fingerprint


def test_the_fingerprint_tells_tokenizers_apart(merges):
    prints = {Tokenizer.from_merges(*args).fingerprint for args in (
        (merges,), (merges[:-1],), (merges, ("<|end|>",)), (merges, (), GPT2_SPLIT), (merges, ()))}
    assert len(prints) == 5
    assert Tokenizer.from_merges(merges).fingerprint == Tokenizer.from_merges(merges).fingerprint


def test_a_file_cut_short_anywhere_is_refused(tmp_path, tokenizer):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    whole = path.read_bytes()
    for end in (0, 1, 50, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match="cut short"):
            Tokenizer.load(path)


def changed(tokenizer, **changes):
    return tokenizer.to_dict() | changes


HOSTILE = {
    "a list": ([], "no tokenizer of this"),
    "another format": ({"format": "x"}, "no tokenizer of this"),
    "another version": ({"version": 9}, "version 9, not 1"),
    "no tokens": ({"tokens": None}, "no tables"),
    "special as list": ({"special": ["<|end|>"]}, "no tables"),
    "negative id": ({"special": {"e": -1}}, "has the id -1"),
    "huge id": ({"special": {"e": 10**30}}, "has the id 1000"),
    "id as text": ({"special": {"e": "700"}}, "has the id '700'"),
    "id as float": ({"special": {"e": 700.0}}, "has the id 700.0"),
    "id as boolean": ({"special": {"e": True}}, "has the id True"),
    "special shares an id": ({"special": {"e": 65}}, "shares its id"),
    "empty special": ({"special": {"": 700}}, "empty"),
    "not a byte": ({"tokens": {"東": 1}}, "damaged"),
    "bytes missing": ({"tokens": {"a": 97}}, "255 of the 256 single bytes"),
    "pattern is no text": ({"pattern": 5}, "pattern is 5"),
    "pattern is wrong": ({"pattern": "(a"}, "pattern"),
    "pattern unknown to tiktoken": ({"pattern": "a{1,99999999}"}, "damaged"),
    "normalizer": ({"normalizer": "Lower"}, "'Lower' is unknown"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_the_reason(tmp_path, tokenizer, name):
    change, message = HOSTILE[name]
    data = changed(tokenizer, **change) if change else change
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(path)


@pytest.mark.parametrize(("text", "message"), [
    ('{"a": 1, "a": 2}', "'a' is there twice"), ("[" * 100_000, "nested too deeply"),
    ('{"a": ' + "9" * 5000 + "}", "cannot be read"), ("\udcff", "cannot be read")])
def test_odd_json_is_refused_with_the_reason(tmp_path, text, message):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(path)


def test_two_tokens_with_one_id_are_refused(tokenizer):
    with pytest.raises(ValueError, match="two tokens share an id"):
        Tokenizer(tokenizer.tokens | {b"zzzz": 300}, {})
    with pytest.raises(ValueError, match="the same token"):
        Tokenizer.from_merges([(65, 66), (65, 66)])
