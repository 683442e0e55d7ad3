"""Every stage of a tokenizer.json is applied, or refused by name: ids are never almost right."""

import json
import re

import pytest
from text.tokenizer import Tokenizer
from text.tokenizer_files import QWEN2_SPLIT, byte_characters

LETTERS = {byte: character for character, byte in byte_characters().items()}
BYTES = {character: i for i, character in enumerate(byte_characters())}  # "!" is 0, " " is 220
SPACE, A, B, C = 220, 64, 65, 66


def write(tmp_path, **stages):
    """A tokenizer.json with the 256 bytes alone and these stages."""
    data = {"model": {"type": "BPE", "vocab": BYTES, "merges": []}, "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}, **stages}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def split(pattern, **more):
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", **more},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}


def added(*names, first=256, special=False):
    return [{"id": first + i, "content": name, "special": special} for i, name in enumerate(names)]


def begin_token(*after):
    return {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}, *after],
            "special_tokens": {"<s>": {"ids": [256]}}}


@pytest.mark.parametrize("text, ids", [
    ("a b", [A, SPACE, B]), ("  a", [SPACE, SPACE, A]), ("a\n", [A, BYTES["Ċ"]]), (" ", [SPACE])])
def test_what_a_splitting_pattern_does_not_find_is_kept(tmp_path, text, ids):
    tokenizer = Tokenizer.from_tokenizer_json(write(tmp_path, pre_tokenizer=split(r"\w+|[^\w\s]+")))
    assert tokenizer.encode(text) == ids
    assert Tokenizer.from_dict(tokenizer.to_dict()).encode(text) == ids


def test_what_stands_between_two_finds_is_one_chunk(tmp_path):
    tokenizer = Tokenizer.from_tokenizer_json(write(
        tmp_path, pre_tokenizer=split(r"\w+"),
        model={"type": "BPE", "vocab": BYTES | {"ĠĠ": 256}, "merges": ["Ġ Ġ"]}))
    assert tokenizer.encode("a  b") == [A, 256, B]


def test_a_known_pattern_is_left_as_it_is(tmp_path):
    path = write(tmp_path, pre_tokenizer=split(QWEN2_SPLIT))
    assert Tokenizer.from_tokenizer_json(path).pattern == QWEN2_SPLIT


def test_a_pattern_that_finds_nothing_everywhere_is_refused(tmp_path):
    with pytest.raises(ValueError, match="finds the empty text"):
        Tokenizer.from_tokenizer_json(write(tmp_path, pre_tokenizer=split(r"\w*")))


def test_added_tokens_that_are_not_special_count_in_any_text(tmp_path):
    tokenizer = Tokenizer.from_tokenizer_json(write(
        tmp_path, added_tokens=[*added("<think>"), *added("<|end|>", first=257, special=True)]))
    assert tokenizer.encode("a<think>b") == [A, 256, B]
    assert tokenizer.encode_batch(["<think>", "a"]) == [[256], [A]]
    assert len(tokenizer.encode("<|end|>")) == 7  # what a user types ends nothing
    assert tokenizer.encode("<think><|end|>", "all") == [256, 257]
    again = Tokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    assert again.encode("a<think>b") == [A, 256, B]
    assert again.with_special("<x>").encode("<think>") == [256]


def test_the_longest_added_token_is_found_first(tmp_path):
    names = ["<a>", "<a>b", "<a>bc", "  ", "    "]
    tokenizer = Tokenizer.from_tokenizer_json(write(tmp_path, added_tokens=added(*names)))
    assert tokenizer.encode("<a>bc") == [258]
    assert tokenizer.encode("<a>b<a>") == [257, 256]
    assert tokenizer.encode("a       b") == [A, 260, 259, SPACE, B]  # seven blanks: 4 + 2 + 1


def test_an_added_token_is_looked_for_before_the_text_is_normalised(tmp_path):
    tokenizer = Tokenizer.from_tokenizer_json(write(
        tmp_path, normalizer={"type": "NFKC"}, added_tokens=added("<t>")))
    wide = "\uff1ct>"  # NFKC makes "<t>" of it: that is text, as in the original
    assert tokenizer.encode(wide + "<t>") == [BYTES["<"], BYTES["t"], BYTES[">"], 256]


def test_an_added_token_that_is_looked_for_after_normalising_is_refused(tmp_path):
    token = [{"id": 256, "content": "<t>", "special": False, "normalized": True}]
    with pytest.raises(ValueError, match="'<t>' is normalized by NFKC"):
        Tokenizer.from_tokenizer_json(write(tmp_path, normalizer={"type": "NFKC"}, added_tokens=token))


def test_a_begin_token_of_the_file_stands_before_every_text(tmp_path):
    tokenizer = Tokenizer.from_tokenizer_json(write(
        tmp_path, added_tokens=added("<s>", special=True), post_processor={
            "type": "Sequence", "processors": [{"type": "ByteLevel"}, begin_token()]}))
    assert tokenizer.encode("a") == [256, A]
    assert tokenizer.encode_batch(["a", "b"]) == [[256, A], [256, B]]
    (tmp_path / "t.txt").write_text("ab ab", encoding="utf-8")
    ids = [i for part in tokenizer.encode_file(tmp_path / "t.txt", block=2) for i in part]
    assert ids == tokenizer.encode("ab ab") and ids.count(256) == 1
    assert Tokenizer.from_dict(tokenizer.to_dict()).encode("a") == [256, A]


@pytest.mark.parametrize("post, words", [
    ({"type": "RobertaProcessing"}, "the post-processor RobertaProcessing is not supported"),
    (begin_token({"SpecialToken": {"id": "<s>"}}), "elsewhere than before the text"),
    ({"type": "TemplateProcessing", "single": 5}, "template 5 cannot be read"),
    ({"type": "Sequence", "processors": 5}, "the post-processor is"), (5, "the post-processor is")])
def test_other_post_processors_are_refused_by_name(tmp_path, post, words):
    path = write(tmp_path, added_tokens=added("<s>", special=True), post_processor=post)
    with pytest.raises(ValueError, match=re.escape(words)) as refused:
        Tokenizer.from_tokenizer_json(path)
    assert str(refused.value).count(str(path)) == 1


def test_a_million_blanks_are_encoded_like_fewer():
    tokenizer = Tokenizer.train("a  b    c " * 50, 262)
    for count in (999_999, 1_000_001):
        ids = tokenizer.encode(" " * count + "a")
        assert tokenizer.decode(ids) == " " * count + "a"
    assert tokenizer.encode_batch([" " * 999_999])[0] == tokenizer.encode(" " * 999_999)


def test_a_long_run_has_the_ids_that_the_quick_way_gives(monkeypatch):
    tokenizer = Tokenizer.train("a  b    c     \n\n" * 50, 270)
    texts = ["x" + " " * n + end for n in range(40) for end in ("", "a", "\n", "\n b")]
    quick = [tokenizer.encode(text) for text in texts]
    monkeypatch.setattr("text.tokenizer.LONGEST_RUN", 1)
    assert [tokenizer.encode(text) for text in texts] == quick


@pytest.mark.parametrize("damage", [{"always": ["no such"]}, {"prefix": [9999]}, {"always": 5}])
def test_a_damaged_file_of_our_own_is_refused(damage):
    data = Tokenizer.train("abc " * 9, 262).to_dict() | damage
    with pytest.raises(ValueError, match="damaged"):
        Tokenizer.from_dict(data)
