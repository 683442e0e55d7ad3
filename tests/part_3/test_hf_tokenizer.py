"""A folder's tokenizer.json becomes a tiktoken encoding with the same ids.

data/tokenizer.json is a byte-level BPE of 402 tokens with Qwen's pattern; data/texts.json holds the
ids that the `tokenizers` package gives for it. Both were made by data/make_reference.py.
"""

import copy
import json
from pathlib import Path

import pytest
from pretrained.tokenizer import _byte_letters, load_hf_tokenizer

DATA = Path(__file__).resolve().parent / "data"
SOUND = json.loads((DATA / "tokenizer.json").read_text(encoding="utf-8"))
EXPECTED = json.loads((DATA / "texts.json").read_text(encoding="utf-8"))


def write(folder, data):
    (folder / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def changed(**stages):
    return copy.deepcopy(SOUND) | stages


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}


def test_ids_equal_the_reference_for_a_pattern_of_its_own():
    tokenizer = load_hf_tokenizer(DATA)
    for text, ids in zip(EXPECTED["TEXTS"], EXPECTED["split"], strict=True):
        assert tokenizer.encode(text, special=True) == ids, text


def test_ids_equal_the_reference_for_gpt2s_pattern(tmp_path):
    write(tmp_path, changed(normalizer=None, pre_tokenizer=BYTE_LEVEL))
    tokenizer = load_hf_tokenizer(tmp_path)
    for text, ids in zip(EXPECTED["TEXTS"], EXPECTED["byte_level"], strict=True):
        assert tokenizer.encode(text, special=True) == ids, text
    assert EXPECTED["byte_level"] != EXPECTED["split"]


def test_the_bytes_of_any_text_come_back(tmp_path):
    tokenizer = load_hf_tokenizer(write(tmp_path, changed(normalizer=None)))
    for text in [*EXPECTED["TEXTS"], "".join(map(chr, range(1, 0x250))), "e\u0301"]:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_normal_form_of_the_file_is_applied():
    tokenizer = load_hf_tokenizer(DATA)
    assert tokenizer.encode("cafe\u0301") == tokenizer.encode("café")
    assert tokenizer.decode(tokenizer.encode("cafe\u0301")) == "café"


def test_a_users_text_cannot_hold_a_special_token_but_an_added_word_counts_always():
    tokenizer = load_hf_tokenizer(DATA)
    end, think = (tokenizer.encoding._special_tokens[name] for name in ("<|end|>", "<think>"))
    assert tokenizer.encode("<|end|>", special=True) == [end]
    assert end not in tokenizer.encode("a<|end|>b")
    assert tokenizer.decode(tokenizer.encode("a<|end|>b")) == "a<|end|>b"
    assert tokenizer.encode("<think>") == [think]


def test_the_prefix_is_what_the_template_puts_before_a_text(tmp_path):
    assert list(load_hf_tokenizer(DATA).prefix) == EXPECTED["prefix"] == [400]
    assert load_hf_tokenizer(write(tmp_path, changed(post_processor=None))).prefix == ()
    nested = {"type": "Sequence", "processors": [BYTE_LEVEL, SOUND["post_processor"]]}
    assert load_hf_tokenizer(write(tmp_path, changed(post_processor=nested))).prefix == (400,)


def test_merges_written_as_text_and_as_pairs_are_the_same(tmp_path):
    model = SOUND["model"]
    as_text = [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]
    as_pairs = [m.split(" ") for m in as_text]
    for merges in (as_text, as_pairs):
        tokenizer = load_hf_tokenizer(write(tmp_path, changed(model=model | {"merges": merges})))
        assert tokenizer.encode(EXPECTED["TEXTS"][0]) == EXPECTED["split"][0]


def test_ids_beyond_the_tokenizer_show_as_the_replacement_character():
    tokenizer = load_hf_tokenizer(DATA)
    assert tokenizer.vocab_size == 402
    assert tokenizer.decode([*tokenizer.encode("ab"), 402, 5000]) == "ab\ufffd\ufffd"
    assert tokenizer.decode(tokenizer.encode("é")[:1]) != ""


def test_every_byte_has_one_letter():
    letters = _byte_letters()
    assert len(letters) == 256 and sorted(letters.values()) == list(range(256))
    assert all(not letter.isspace() and letter.isprintable() for letter in letters)
    assert (letters["Ġ"], letters["Ċ"], letters["A"]) == (32, 10, 65)


def without(*tokens: str) -> dict:
    return {t: i for t, i in SOUND["model"]["vocab"].items() if t not in tokens}


MODEL = SOUND["model"]
REFUSED = {
    "wordpiece": (changed(model=MODEL | {"type": "WordPiece"}), "WordPiece"),
    "byte fallback": (changed(model=MODEL | {"byte_fallback": True}), "byte_fallback"),
    "dropout": (changed(model=MODEL | {"dropout": 0.1}), "dropout"),
    "suffix": (changed(model=MODEL | {"end_of_word_suffix": "</w>"}), "end_of_word_suffix"),
    "no pre-tokenizer": (changed(pre_tokenizer=None), "none is not byte-level"),
    "metaspace": (changed(pre_tokenizer={"type": "Metaspace", "replacement": "_"}), "Metaspace"),
    "prefix space": (changed(pre_tokenizer=BYTE_LEVEL | {"add_prefix_space": True}),
                     "add_prefix_space"),
    "two cuts": (changed(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Digits"}, BYTE_LEVEL]}), "Digits"),
    "another split": (changed(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated", "invert": False},
        BYTE_LEVEL | {"use_regex": False}]}), "Split"),
    "split that removes": (changed(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": " "}, "behavior": "Removed", "invert": False},
        BYTE_LEVEL | {"use_regex": False}]}), "Removed"),
    "lower case": (changed(normalizer={"type": "Lowercase"}), "Lowercase"),
    "bad pattern": (changed(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": False},
        BYTE_LEVEL | {"use_regex": False}]}), "tokenizer.json"),
    "lstrip": (changed(added_tokens=[SOUND["added_tokens"][0] | {"lstrip": True}]), "lstrip"),
    "end behind": (changed(post_processor=SOUND["post_processor"] | {
        "single": SOUND["post_processor"]["single"][::-1]}), "elsewhere"),
    "bert": (changed(post_processor={"type": "BertProcessing"}), "BertProcessing"),
    "bytes are missing": (
        changed(model=MODEL | {"vocab": without(*map(chr, range(256, 324)), *"!#$%&()")}),
        "of the 256 bytes"),
    "foreign letter": (changed(model=MODEL | {"vocab": MODEL["vocab"] | {"狐": 999}}), "狐"),
    "token without a merge": (changed(model=MODEL | {"vocab": MODEL["vocab"] | {"qqqq": 999}}),
                              "no merge"),
    "merge without a token": (changed(model=MODEL | {"merges": [*MODEL["merges"], ["q", "z"]]}),
                              "without an id"),
    "merges out of order": (changed(model=MODEL | {"merges": MODEL["merges"][::-1]}), "order"),
    "merge of three": (changed(model=MODEL | {"merges": [["a", "b", "c"]]}), "bad merge"),
    "one id twice": (changed(model=MODEL | {"vocab": MODEL["vocab"] | {"a": 300}}), "share an id"),
    "no model": ({"added_tokens": []}, "not built"),
    "no object": ([1], "not built"),
    "model is text": (changed(model="BPE"), "not built"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_tiktoken_cannot_do_is_refused_by_name(tmp_path, what):
    data, reason = REFUSED[what]
    with pytest.raises(ValueError, match=reason):
        load_hf_tokenizer(write(tmp_path, data))


def test_a_pattern_that_leaves_out_letters_is_found_when_it_happens(tmp_path):
    split = {"type": "Split", "pattern": {"Regex": r"\p{L}+"}, "behavior": "Isolated"}
    tokenizer = load_hf_tokenizer(write(tmp_path, changed(pre_tokenizer={
        "type": "Sequence", "pretokenizers": [split, BYTE_LEVEL | {"use_regex": False}]})))
    assert tokenizer.decode(tokenizer.encode("abc")) == "abc"
    with pytest.raises(ValueError, match="leaves out"):
        tokenizer.encode("abc 12")


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        load_hf_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="not sound JSON"):
        load_hf_tokenizer(tmp_path)
