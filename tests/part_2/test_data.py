"""Bytes, the split, the shift; and texts that cannot be used."""

import pytest
import torch
from data import (
    check_enough,
    decode,
    encode,
    get_batch,
    is_text,
    read_bytes,
    split_bytes,
    text_files,
)


def test_text_becomes_bytes_and_back():
    assert encode("aé") == [97, 195, 169]
    assert decode(encode("naïve café 🦉\n")) == "naïve café 🦉\n"


def test_bytes_that_are_no_utf8_are_shown_not_refused():
    assert decode([97, 255, 98]) == "a\ufffdb"


def test_targets_are_the_ids_one_byte_on():
    data = torch.arange(100, dtype=torch.uint8)
    ids, targets = get_batch(data, 7, 10, torch.Generator().manual_seed(0))
    assert ids.shape == targets.shape == (7, 10)
    assert ids.dtype == targets.dtype == torch.int64
    assert torch.equal(targets, ids + 1)
    assert torch.equal(ids[:, 1:], targets[:, :-1])


def test_every_window_is_drawn_the_last_one_included():
    data = torch.arange(8, dtype=torch.uint8)
    ids, targets = get_batch(data, 500, 5, torch.Generator().manual_seed(0))
    assert sorted(set(ids[:, 0].tolist())) == [0, 1, 2]  # 8 - 5 starts
    assert targets.max() == 7 and ids.max() == 6


def test_windows_are_drawn_evenly():
    data = torch.arange(14, dtype=torch.uint8)
    ids, _ = get_batch(data, 10_000, 4, torch.Generator().manual_seed(0))
    counts = torch.bincount(ids[:, 0], minlength=10)
    assert len(counts) == 10 and counts.min() > 880 and counts.max() < 1120


def test_the_same_seed_draws_the_same_windows_and_another_seed_others():
    data = torch.arange(200, dtype=torch.uint8)
    a, b, c = (get_batch(data, 8, 4, torch.Generator().manual_seed(s))[0] for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_the_split_shares_no_byte_and_loses_none():
    data = bytes(range(200)) * 5
    train, val = split_bytes(data)
    assert (len(train), len(val)) == (900, 100)
    assert bytes(train.tolist()) + bytes(val.tolist()) == data


def test_a_folder_is_read_in_sorted_order_text_only(tmp_path):
    (tmp_path / "b.txt").write_text("second")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "z.md").write_text("first")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\0")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 noir")
    (tmp_path / ".hidden.txt").write_text("not this")
    assert [path.name for path in text_files(tmp_path)] == ["z.md", "b.txt"]
    assert read_bytes(tmp_path) == b"first\nsecond"


def test_a_letter_cut_by_the_64_kb_limit_is_still_text(tmp_path):
    file = tmp_path / "long.txt"
    file.write_text("a" * 65535 + "é" * 100)
    assert is_text(file)


def test_any_byte_is_fine_in_a_single_file(tmp_path):
    file = tmp_path / "any.bin"
    file.write_bytes(bytes(range(256)))
    assert read_bytes(file) == bytes(range(256))


def test_missing_and_empty_texts_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.txt: there is no such file"):
        read_bytes(tmp_path / "nowhere.txt")
    (tmp_path / "empty.txt").write_bytes(b"")
    with pytest.raises(ValueError, match="empty.txt: the file is empty"):
        read_bytes(tmp_path / "empty.txt")
    with pytest.raises(ValueError, match="holds no text file"):
        read_bytes(tmp_path)


def test_a_text_too_short_for_one_window_is_refused_with_both_lengths():
    short = torch.zeros(64, dtype=torch.uint8)
    with pytest.raises(ValueError, match="validation text has 64 bytes.*at least 65"):
        check_enough(short, 64, "validation")
    check_enough(torch.zeros(65, dtype=torch.uint8), 64, "validation")  # just enough
    with pytest.raises(ValueError, match="at least 65"):
        get_batch(short, 1, 64, torch.Generator())
