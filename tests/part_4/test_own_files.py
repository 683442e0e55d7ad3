"""Texts of one's own: read as what they are or refused with the place, and never by luck."""

import gzip
import json
import os
import random
from pathlib import Path

import eval as evaluation
import pytest
from base.settings import differences
from text import own_files
from text.data import DataPlan, prepare, read_note
from text.own_files import documents_of, find_texts, read_files
from text.sources import left_out, names_of, read_source, stamp_of


def write(path: Path, content) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def words(rng, size: int) -> str:
    text = ""
    while len(text) < size:
        text += " ".join(rng.choice("owl fox hill tree sea bell".split()) + str(rng.randrange(999))
                         for _ in range(12)) + "\n"
    return text[:size]


# ---------------------------------------------------------------- what a file holds

@pytest.mark.parametrize("name, content, says", [
    ("latin.txt", "naïve café\n".encode("latin-1"), "byte 2 (line 1) is 0xef"),
    ("cp.txt", b"one\ntwo \x93quoted\x94\n", "byte 8 (line 2) is 0x93"),
    ("utf16.txt", "hello".encode("utf-16"), "it seems to be UTF-16"),
    ("random.bin", bytes(range(128, 256)) * 9, "byte 0 (line 1) is 0x80"),
    ("zero.txt", b"abc\0def", "byte 3 is 0x00"), ("cut.gz", gzip.compress(b"a" * 999)[:-9], "cannot be"),
    ("none.gz", b"plain text", "cannot be read")])
def test_what_is_no_utf_8_text_is_refused_with_file_and_byte(tmp_path, name, content, says):
    path = write(tmp_path / name, content)
    with pytest.raises(ValueError) as refused:
        list(read_files([path], "train"))
    assert says in str(refused.value) and str(path) in str(refused.value)


def test_what_is_packed_is_unpacked_and_marks_and_line_ends_are_taken_off(tmp_path):
    assert documents_of(write(tmp_path / "a.txt.gz", gzip.compress("naïve\n".encode()))) == ["naïve\n"]
    assert documents_of(write(tmp_path / "b.txt", b"\xef\xbb\xbfone\r\ntwo\rthree")) == [
        "one\ntwo\nthree"]


def test_records_with_a_text_are_documents_without_braces(tmp_path):
    lines = "\n".join(json.dumps({"text": text, "id": 3}) for text in ("one\u2028é", "two\n\nmore"))
    for name, content in (("a.jsonl", lines + "\n\n"), ("b.json", lines), ("c.ndjson", lines),
                          ("d.json", json.dumps([{"text": "one\u2028é"}, {"text": "two\n\nmore"}])),
                          ("e.jsonl.gz", gzip.compress(lines.encode()))):
        assert documents_of(write(tmp_path / name, content)) == ["one\u2028é", "two\n\nmore"]


@pytest.mark.parametrize("line, says", [
    ('{"prompt": "a", "reply": "b"}', 'line 2 has no "text" (prompt, reply)'),
    ('{"text": "cut', 'line 2 has no "text" (no whole record)'), ('["text"]', "(list)"),
    ('{"text": 5}', 'line 2 has no "text" (text)')])
def test_records_without_a_text_are_refused_with_their_line(tmp_path, line, says):
    path = write(tmp_path / "a.jsonl", '{"text": "fine"}\n' + line + "\n")
    with pytest.raises(ValueError) as refused:
        documents_of(path)
    assert says in str(refused.value) and str(path) in str(refused.value)


def test_other_json_is_a_text_like_any_other(tmp_path):
    for content in ('{"a": 1}', '[1, 2]', '{"a":\n 1}', "[" * 5000):
        assert documents_of(write(tmp_path / "a.json", content)) == [content]


# ---------------------------------------------------------------- which files count

def test_hidden_files_endings_and_binary_files_are_decided_as_in_part_2(tmp_path, modules_of):
    for name, content in (("a.TXT", "one"), ("b", "two"), (".hidden.txt", "three"), ("sub.md", None),
                          ("c.png", b"\x89PNG\0\1"), ("empty", ""), ("d.unknown", "four\n")):
        (tmp_path / name).mkdir() if content is None else write(tmp_path / name, content)
    found = [path.name for path in find_texts(tmp_path)]
    assert found == ["a.TXT", "b", "d.unknown"]
    theirs = modules_of("part_2", "data").data.text_files(tmp_path)
    assert [path.name for path in theirs if path.stat().st_size] == found
    assert [path.name for path in left_out(f"world+{tmp_path}")] == ["c.png", "empty"]


def test_a_file_whose_name_says_text_is_not_passed_over_silently(tmp_path):
    write(tmp_path / "a.txt", "fine")
    write(tmp_path / "b.TXT", "naïve".encode("latin-1"))
    with pytest.raises(ValueError, match="b.TXT: byte 2"):
        list(read_source(str(tmp_path), "train", seed=0, world_bytes=0, cache=tmp_path))


# ---------------------------------------------------------------- what --data names

@pytest.mark.parametrize("spec, says", [
    ("", "'': empty"), ("world+", "nothing stands on one side"), ("+world", "nothing stands"),
    ("world++world", "nothing stands"), ("link", "a link to something that is not there"),
    ("nowhere", "no such file or folder, and not one of world, stdlib"), ("x" * 300, "too long"),
    ("folder", "no text files below it")])
def test_data_astray_is_refused_by_name(tmp_path, monkeypatch, spec, says):
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("nowhere")
    Path("folder").mkdir()
    write(tmp_path / "text.txt", "the current folder is not meant")
    for ask in (stamp_of, lambda spec: list(read_source(spec, "train", seed=0, world_bytes=1,
                                                        cache=tmp_path))):
        with pytest.raises(ValueError) as refused:
            ask(spec)
        assert says in str(refused.value) and "[Errno" not in str(refused.value)


def test_a_name_with_a_plus_can_be_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a+b.txt", "text")
    assert names_of("a+b.txt") == ["a+b.txt"]
    assert names_of("world+a+b.txt+stdlib") == ["world", "a+b.txt", "stdlib"]
    assert names_of("world+a+c.txt") == ["world", "a", "c.txt"]


def test_the_stamp_is_of_what_files_hold_not_of_their_names_and_times(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "x.txt", "some text")
    first = stamp_of("x.txt")
    os.utime(path, (1, 1))
    assert stamp_of("./x.txt") == stamp_of(str(path)) == first
    write(path, "some texT")  # of the same length
    os.utime(path, (1, 1))
    assert stamp_of("x.txt") != first


def test_data_that_was_prepared_is_found_again_under_another_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.txt", words(random.Random(0), 6000))
    made = [prepare(DataPlan(name, 280, 0.0), tmp_path / "data", tmp_path)[1]
            for name in ("x.txt", "./x.txt")]
    assert made[0] == made[1] and made[1]["plan"]["source"] == "x.txt"
    for spoiled in ("{", "[]", '{"plan": 5}'):
        (tmp_path / "data/data.json").write_text(spoiled)
        assert read_note(tmp_path / "data/data.json") == {}
    assert prepare(DataPlan("x.txt", 280, 0.0), tmp_path / "data", tmp_path)[1] == made[0]


def test_another_name_for_the_same_texts_does_not_stand_against_a_resume():
    saved = {"data": "x", "texts": "1", "seed": 0}
    assert differences(saved, {**saved, "data": "./x"}) == []
    assert differences(saved, {**saved, "data": "y", "texts": "2"}) == [
        "data: was x, now y", "texts: was 1, now 2"]


# ---------------------------------------------------------------- what is held out

@pytest.mark.parametrize("size", [300, 5_000, 20_000, 100_000, 300_000])
def test_no_text_is_refused_by_the_luck_of_its_hash(tmp_path, size):
    path = tmp_path / "own.txt"
    for seed in range(12):
        write(path, words(random.Random(f"{size} {seed}"), size))
        train, held_out = (list(read_files([path], split)) for split in ("train", "validation"))
        assert train and held_out and not set(train) & set(held_out)
        assert len(held_out) < len(train) or len(train) == 1
        assert sorted("".join(train + held_out)) == sorted(path.read_text())  # nothing is lost
        assert train == list(read_files([path], "train"))


def test_a_text_of_one_line_is_held_out_in_part_and_of_one_letter_refused(tmp_path):
    path = write(tmp_path / "own.txt", "abcdefghij")
    assert [list(read_files([path], split)) for split in ("train", "validation")] in (
        [["abcde"], ["fghij"]], [["fghij"], ["abcde"]])
    with pytest.raises(ValueError, match="too little text"):
        list(read_files([write(path, "a")], "train"))


def test_small_and_large_texts_are_split_by_the_same_hash(tmp_path, monkeypatch):
    path = write(tmp_path / "own.txt", words(random.Random(1), 400_000))
    small = list(read_files([path], "validation"))
    monkeypatch.setattr(own_files, "SMALL", 0)
    assert list(read_files([path], "validation")) == small


# ---------------------------------------------------------------- settings of the data

@pytest.mark.parametrize("megabytes", [-1.0, float("nan"), float("inf")])
def test_no_amount_of_world_that_is_none(megabytes):
    with pytest.raises(ValueError, match="--world-megabytes"):
        DataPlan("world", 300, megabytes)


def test_more_world_than_the_disk_holds_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--world-megabytes 1e.13: the tokens take"):
        prepare(DataPlan("world", 300, 1e13), tmp_path / "data", tmp_path)


def test_a_full_disk_is_told_with_the_way_out(tmp_path, monkeypatch):
    import numpy as np
    from text import shards

    def full(*args):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(shards, "replacing", full)
    with pytest.raises(OSError, match="a.bin: the tokens could not be written .No space left on "
                                      "device.; free some space"):
        shards.write_shard(tmp_path / "a.bin", np.zeros(3, np.uint16), documents=1, text_bytes=3,
                           vocab_size=300, fingerprint="x")


def test_the_evaluation_reads_own_files_in_the_same_way(tmp_path):
    path = write(tmp_path / "a.txt", "naïve".encode("latin-1"))
    with pytest.raises(ValueError, match="a.txt: byte 2"):
        evaluation.on_files(None, None, None, path)
