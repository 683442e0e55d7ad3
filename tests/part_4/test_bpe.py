"""BPE training: the plain trainer by hand-worked numbers, the fast one against the plain one."""

import random
import re
import sys
import tempfile
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import regex
from text.bpe import (
    SPLIT,
    encode_plain,
    merge_pair,
    split_chunks,
    token_bytes,
    train_plain,
)
from text.bpe_fast import (
    ASCII_SPLIT,
    BLOCK,
    count_block,
    count_chunks,
    cut_blocks,
    read_blocks,
    train_bpe,
)

A, B, C = 97, 98, 99
SPECIAL = ("<|end|>", "<|end|>x", "<|pad|>")
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


# ---------------------------------------------------------------- the plain trainer

def test_splitting_keeps_words_with_their_space_and_every_digit_alone():
    assert split_chunks("I'm 12, aren't  we?\n\n  No") == [
        "I", "'m", " ", "1", "2", ",", " aren", "'t", " ", " we", "?", "\n\n ", " No"]


def test_splitting_loses_nothing():
    for seed in range(20):
        text = random_unicode(seed)
        assert "".join(split_chunks(text)) == text


def test_overlapping_pairs_are_merged_from_the_left():
    assert merge_pair([A, A, A], (A, A), 256) == [256, A]
    assert merge_pair([A, A, A, A], (A, A), 256) == [256, 256]
    assert merge_pair([A, B, A, B, A], (A, B), 256) == [256, 256, A]


def test_merges_worked_out_by_hand():
    # "abab" and " abab": (a,b) 4 times; then (256,256) twice; then (" ", 257) once
    assert train_plain("abab abab", 259) == [(A, B), (256, 256), (32, 257)]


def test_ties_go_to_the_smallest_pair_not_to_the_first_seen():
    assert train_plain("dc ba", 257) == [(32, 98)]  # dc, " b" and "ba" all occur once
    assert train_plain("zy,cb,ca", 257) == [(99, 97)]


def test_no_merge_crosses_a_chunk():
    merges = train_plain("x1 x1 x1 x1 12 12 12 a.b a.b", 300)
    for token in token_bytes(merges)[256:]:
        assert len(split_chunks(token.decode())) == 1, token


def test_special_tokens_are_kept_out_of_the_merges_the_longest_first():
    text = "<|end|>x" * 50 + "ab"
    assert train_plain(text, 256 + 3 + 10, SPECIAL) == [(A, B)]
    # were <|end|> matched before <|end|>x, fifty x would be left over for chunks
    assert split_chunks("<|end|>xx", SPECIAL) == ["x"]


def test_empty_text_trains_the_256_bytes_only():
    assert train_plain("", 300) == []
    with pytest.warns(UserWarning, match="0 merges only, not for 44"):
        assert train_bpe("", 300) == []


@pytest.mark.parametrize("train", [train_plain, train_bpe])
def test_a_vocabulary_without_room_for_bytes_and_special_tokens_is_refused(train):
    with pytest.raises(ValueError, match="vocab_size=258 .* at least 259"):
        train("abc", 258, SPECIAL)
    assert train("abc", 259, SPECIAL) == []


def test_a_text_too_small_for_the_vocabulary_says_so():
    with pytest.warns(UserWarning, match="2 merges only, not for 44: the vocabulary has 258"):
        assert train_bpe("abc", 300) == [(A, B), (256, C)]


@pytest.mark.parametrize("bad", ["", "<| end|>", "a\nb"])
def test_special_tokens_with_white_space_are_refused_in_training(bad):
    with pytest.raises(ValueError, match="white space"):
        train_bpe("abc", 300, (bad,))


# ---------------------------------------------------------------- the fast trainer

@pytest.mark.filterwarnings("ignore:the text has pairs")
def test_fast_merges_are_the_plain_ones_on_runs_and_small_alphabets():
    for seed in range(40):
        letters = ("a", "ab", "abc")[seed % 3]  # runs of one letter: overlaps everywhere
        text = random_words(seed, letters)
        assert train_bpe(text, 256 + 60) == train_plain(text, 256 + 60)


@pytest.mark.filterwarnings("ignore:the text has pairs")
def test_fast_merges_are_the_plain_ones_on_unicode():
    for seed in range(10):
        text = random_unicode(seed, 400)
        assert train_bpe(text, 400) == train_plain(text, 400)


@pytest.mark.filterwarnings("ignore:the text has pairs")
def test_fast_merges_are_the_plain_ones_on_prose_with_overlapping_special_tokens():
    text = PROSE * 3
    plain = train_plain(text, 400, SPECIAL)
    assert train_bpe(text, 400, SPECIAL) == plain
    assert plain != train_plain(text, 400 - 3)  # the special tokens do make a difference here
    assert len(plain) > 60


def test_fast_merges_are_the_plain_ones_on_python_source():
    text = Path(re.__file__).read_text(encoding="utf-8")[:15_000]
    assert train_bpe(text, 400) == train_plain(text, 400)


@pytest.mark.slow
def test_fast_merges_are_the_plain_ones_on_more_python_source():
    text = Path(tempfile.__file__).read_text(encoding="utf-8")
    assert train_bpe(text, 1000, SPECIAL) == train_plain(text, 1000, SPECIAL)


def test_documents_are_separate():
    assert count_chunks(["ab", "cd"]) == {"ab": 1, "cd": 1}
    assert count_chunks("abcd") == {"abcd": 1}
    assert train_bpe(["abab", "abab"], 258) == [(A, B), (256, 256)]


def test_two_processes_count_as_one(monkeypatch):
    documents = [PROSE * 5] * 40
    assert count_chunks(documents, SPECIAL, workers=2) == count_chunks(documents, SPECIAL)


def test_the_ascii_pattern_splits_like_the_unicode_one():
    r = random.Random(0)
    alphabet = [chr(i) for i in range(128)] + list("aaa   '''sdt\n\n11")
    for _ in range(2000):
        text = "".join(r.choices(alphabet, k=30))
        assert ASCII_SPLIT.findall(text) == regex.findall(SPLIT, text), text


def test_counts_in_blocks_are_the_counts_of_the_whole(monkeypatch):
    text = (PROSE + random_unicode(1, 500)) * 4
    want = Counter(split_chunks(text, SPECIAL))
    for block in (1, 3, 50, BLOCK):
        monkeypatch.setattr("text.bpe_fast.BLOCK", block)
        assert count_chunks(text, SPECIAL) == want
    assert count_block(text, SPECIAL) == want


def test_blocks_are_cut_only_where_chunks_end():
    for seed in range(30):
        r = random.Random(seed)
        text = random_unicode(seed, 300) + " a quick  line\nand\n\nmore 12 34, so."
        pieces, i = [], 0
        while i < len(text):
            step = r.randint(1, r.choice([2, 20, 100]))
            pieces.append(text[i : i + step])
            i += step
        blocks = list(cut_blocks(pieces))
        assert "".join(blocks) == text
        assert len(blocks) > 1
        assert [c for block in blocks for c in split_chunks(block)] == split_chunks(text)


def test_a_file_is_read_in_small_blocks_and_keeps_its_line_ends(tmp_path):
    path = tmp_path / "text.txt"
    text = "one two\r\nthree four\n" * 200
    path.write_bytes(text.encode())
    blocks = list(read_blocks(path, 100))
    assert "".join(blocks) == text
    assert max(map(len, blocks)) < 220
    path.write_bytes(b"fine \xff not")
    with pytest.raises(ValueError, match="text.txt is not UTF-8"):
        list(read_blocks(path))


# ---------------------------------------------------------------- the plain encoder

def test_earlier_merges_go_first_whatever_their_place():
    merges = [(B, C), (A, B)]  # bc was learned before ab
    assert encode_plain("abc", merges) == [A, 256]
    assert encode_plain("abab", merges) == [257, 257]


@pytest.mark.filterwarnings("ignore:the text has pairs")
def test_training_text_encodes_to_what_training_made_of_it():
    text = random_words(3, "ab", 6, 10)
    merges = train_bpe(text, 300)
    tokens = token_bytes(merges)
    assert b"".join(tokens[i] for i in encode_plain(text, merges)) == text.encode()
    assert len(encode_plain(text, merges)) == len(split_chunks(text))  # every chunk is one token


# ---------------------------------------------------------------- the scripts

@pytest.mark.scripts
def test_the_demo_shows_merges_compression_and_a_picture(run_script, tmp_path):
    done = run_script("part_4/demo_bpe.py", "--quick", "--out", tmp_path)
    assert "the same merges: yes" in done.stdout
    assert (tmp_path / "bpe.png").stat().st_size > 10_000
    line = r"^ *[\d,]+ +[\d,]+ +([\d.]+)$"
    ratios = [float(value) for value in re.findall(line, done.stdout, re.MULTILINE)]
    assert len(ratios) == 4 and ratios[0] == 1 and ratios == sorted(ratios) and ratios[-1] > 2


@pytest.mark.scripts
def test_the_benchmark_runs_without_hugging_faces_package(run_script, tmp_path):
    (tmp_path / "tokenizers.py").write_text("raise ImportError", encoding="utf-8")
    done = run_script("part_4/benchmark_bpe.py", "--megabytes", 0.05, "--vocab", 300,
                      "--rounds", 1, "--threads", 3, "--out", tmp_path,
                      env={"PYTHONPATH": str(tmp_path)}, fresh=True)
    assert "tokenizers is not installed" in done.stdout
    assert "our Tokenizer.encode" in done.stdout and "encode_batch, 3 threads" in done.stdout
    assert (tmp_path / "benchmark_bpe.json").exists()
