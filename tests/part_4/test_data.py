"""4.2: shards that are checked, rows without gaps, an order that is a function of the step."""

import numpy as np
import pytest
import torch
from text.data import (
    DataPlan,
    TokenRows,
    find_documents,
    mask_begin,
    open_shards,
    pack,
    pad_documents,
    prepare,
    write_split,
)
from text.rows import IGNORED, segments
from text.shards import HEADER_BYTES, open_shard, write_shard
from text.tokenizer import Tokenizer

TEXTS = [f"document {i}: " + "some words and so on " * (i % 7 + 1) for i in range(60)]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(TEXTS, 280)


@pytest.fixture
def shard(tmp_path):
    def make(count=1000, name="train_000.bin", first=0):
        tokens = np.arange(first, first + count) % 60_000
        write_shard(tmp_path / name, tokens, documents=3, text_bytes=4 * count, vocab_size=60_000,
                    fingerprint="abc")
        return open_shard(tmp_path / name, "abc")
    return make


def test_a_shard_gives_back_what_was_written(shard):
    opened = shard(1000)
    assert isinstance(opened.tokens, np.memmap) and opened.tokens.dtype == np.uint16
    assert np.array_equal(opened.tokens, np.arange(1000))
    assert (opened.documents, opened.text_bytes) == (3, 4000)


def test_a_large_vocabulary_takes_four_bytes_a_token(tmp_path):
    write_shard(tmp_path / "a.bin", np.array([70_000, 1]), documents=1, text_bytes=1,
                vocab_size=70_001, fingerprint="abc")
    assert open_shard(tmp_path / "a.bin", "abc").tokens.tolist() == [70_000, 1]


def test_a_token_beyond_the_vocabulary_is_refused_instead_of_wrapped(tmp_path):
    with pytest.raises(ValueError, match="65536"):
        write_shard(tmp_path / "a.bin", np.array([65_536]), documents=1, text_bytes=1,
                    vocab_size=65_536, fingerprint="abc")


@pytest.mark.parametrize("harm, message", [
    (lambda raw: raw[:-2], "cut or damaged"),
    (lambda raw: raw + b"\0\0", "cut or damaged"),
    (lambda raw: raw[:50], "not a token shard"),
    (lambda raw: b"X" + raw[1:], "not a token shard"),
    (lambda raw: raw[:HEADER_BYTES + 9] + bytes([raw[HEADER_BYTES + 9] ^ 1])
     + raw[HEADER_BYTES + 10:], "checksum")])
def test_a_harmed_shard_is_refused(shard, harm, message):
    path = shard().path
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        open_shard(path, "abc")


def test_a_shard_of_another_tokenizer_is_refused(shard):
    with pytest.raises(ValueError, match="another tokenizer"):
        open_shard(shard().path, "xyz")


BEGIN = 59_999


def documents_shard(tmp_path, lengths, name="train_000.bin", first=1):
    """A shard of documents `begin, n, n + 1, …`; no two tokens but the begins are the same."""
    parts = []
    for length in lengths:
        parts.append([BEGIN, *range(first, first + length - 1)])
        first += length - 1
    write_shard(tmp_path / name, np.concatenate(parts), documents=len(lengths), text_bytes=1,
                vocab_size=60_000, fingerprint="abc")
    return open_shard(tmp_path / name, "abc"), parts


def test_documents_are_found_and_long_ones_come_in_pieces_that_share_a_token():
    tokens = np.array([9, 1, 2, 9, 3, 9, 4, 5, 6, 7, 8, 1])
    starts, lengths = find_documents(tokens, begin=9, longest=4)
    pieces = [tokens[a:a + n].tolist() for a, n in zip(starts, lengths)]
    assert pieces == [[9, 1, 2], [9, 3], [9, 4, 5, 6], [6, 7, 8, 1]]


def test_a_document_goes_into_the_fullest_row_that_has_room():
    assert pack([5, 4, 3, 2], [True] * 4, size=7) == [[0, 3], [1, 2]]
    assert pack([6, 4, 3, 1], [True] * 4, size=7) == [[0, 3], [1, 2]]  # exactly full twice
    assert pack([5, 2], [True, False], size=7) == [[0], [1]]  # the rest of a document opens a row
    assert pack([4, 4, 4, 3], [True] * 4, size=7, open_rows=1) == [[0], [1], [2, 3]]


def test_where_too_many_rows_are_open_the_fullest_is_closed():
    """By hand, size 10: 9 and 3 are open when 8 opens a third row; 9 is closed, 7 goes to 3."""
    assert pack([9, 3, 8, 7], [True] * 4, size=10, open_rows=2) == [[0], [1, 3], [2]]


def test_every_document_is_whole_in_one_row_and_every_token_of_it_a_target_once(tmp_path):
    lengths = np.random.default_rng(0).integers(2, 33, 150)
    (one, parts), (two, more) = (documents_shard(tmp_path, part, f"train_{i}.bin", 1 + 10_000 * i)
                                 for i, part in enumerate((lengths[:100], lengths[100:])))
    rows = TokenRows([one, two], 32, begin=BEGIN)
    read = [rows.row(i) for i in range(rows.epoch_rows)]
    spelled = " ".join(str(token) for row in read for token in row)
    for part in parts + more:
        assert " ".join(map(str, part)) in spelled
    targets = np.concatenate([row[1:][row[1:] != BEGIN] for row in read])
    assert len(set(targets.tolist())) == len(targets) == (lengths - 1).sum()
    assert rows.fill == (lengths - 1).sum() / (rows.epoch_rows * 32) > 0.8


def test_a_document_longer_than_a_row_loses_no_target(tmp_path):
    opened, [part] = documents_shard(tmp_path, [100])
    rows = TokenRows([opened], 32, begin=BEGIN)
    targets = [token for i in range(rows.epoch_rows) for token in rows.row(i)[1:].tolist()]
    assert sorted(token for token in targets if token != BEGIN) == part[1:]


def test_targets_are_the_ids_one_step_on(shard):
    ids, targets = TokenRows([shard()], 32, begin=59_999).batch(0, 4)
    assert ids.dtype == torch.int64 and torch.equal(ids[:, 1:], targets[:, :-1])


def test_the_order_is_a_function_of_seed_and_step(shard):
    rows, again = (TokenRows([shard()], 32, begin=59_999, seed=5) for _ in range(2))
    later = [rows.batch(step, 4)[0] for step in range(20)]
    assert torch.equal(again.batch(13, 4)[0], later[13])  # without having read 0 … 12
    other = TokenRows([shard()], 32, begin=59_999, seed=6)
    assert not torch.equal(other.batch(0, 4)[0], later[0])


def test_each_epoch_has_an_order_of_its_own_over_the_same_rows(shard):
    rows = TokenRows([shard()], 32, begin=59_999)
    firsts = [[int(rows.row(e * rows.epoch_rows + i)[0]) for i in range(rows.epoch_rows)]
              for e in range(3)]
    assert firsts[0] != firsts[1] != firsts[2]
    assert sorted(firsts[0]) == sorted(firsts[1]) == sorted(firsts[2])


@pytest.mark.parametrize("world", [2, 4])
def test_the_processes_together_see_the_rows_of_one(shard, world):
    rows = TokenRows([shard()], 32, begin=59_999)
    for step in (0, 3):
        parts = [rows.batch(step, 8, rank, world)[0] for rank in range(world)]
        assert torch.equal(torch.cat(parts), rows.batch(step, 8)[0])


def test_too_little_data_is_refused_with_the_numbers(shard):
    with pytest.raises(ValueError, match="no documents"):
        TokenRows([shard(0)], 32, begin=0)
    with pytest.raises(ValueError, match="64 rows.*only 32"):
        TokenRows([shard(1000)], 32, begin=0).batch(0, 64)


def test_segments_count_documents_and_begin_is_no_target():
    ids = torch.tensor([[5, 9, 0, 7, 7, 0, 3]])
    assert segments(ids, begin=0).tolist() == [[0, 0, 1, 1, 1, 2, 2]]
    assert mask_begin(ids, begin=0).tolist() == [[5, 9, IGNORED, 7, 7, IGNORED, 3]]


def test_padded_documents_count_each_token_but_the_first_once():
    ids, targets = pad_documents([[1, 5, 6, 2], [1, 7, 2]], pad=0)
    assert ids.tolist() == [[1, 5, 6], [1, 7, 2]]
    assert targets.tolist() == [[5, 6, 2], [7, 2, IGNORED]]


def test_written_documents_stand_between_begin_and_end(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("text.data.SHARD_TOKENS", 1)
    monkeypatch.setattr("text.data.BATCH_TEXTS", 20)
    made = write_split(iter(TEXTS), tokenizer, tmp_path, "train")
    shards = open_shards(tmp_path, "train", tokenizer)
    assert made["shards"] == len(shards) == 3
    ids = np.concatenate([shard.tokens for shard in shards]).tolist()
    wanted = [i for t in TEXTS for i in [tokenizer.begin, *tokenizer.encode(t), tokenizer.end]]
    assert ids == wanted
    assert made["documents"] == 60 and made["tokens"] == len(ids)
    assert made["text_bytes"] == sum(len(text.encode()) for text in TEXTS)


def test_prepared_data_is_found_again_and_another_plan_makes_it_anew(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for i, text in enumerate(TEXTS * 3):
        (folder / f"{i}.txt").write_text(f"{i} {text}")
    plan = DataPlan(str(folder), vocab_size=280)
    tokenizer, made = prepare(plan, tmp_path / "data", tmp_path)
    stamp = (tmp_path / "data" / "train_000.bin").stat().st_mtime_ns
    again, same = prepare(plan, tmp_path / "data", tmp_path)
    assert (tmp_path / "data" / "train_000.bin").stat().st_mtime_ns == stamp
    assert same == made and again.fingerprint == tokenizer.fingerprint
    other, _ = prepare(DataPlan(str(folder), vocab_size=270), tmp_path / "data", tmp_path)
    assert other.vocab_size == 270
    open_shards(tmp_path / "data", "validation", other)


def test_texts_that_have_changed_are_prepared_anew(tmp_path):
    text = tmp_path / "mine.txt"
    text.write_text("\n".join(TEXTS * 200))
    plan = DataPlan(str(text), vocab_size=280)
    _, made = prepare(plan, tmp_path / "data", tmp_path)
    text.write_text("\n".join(TEXTS * 200).upper())
    tokenizer, other = prepare(plan, tmp_path / "data", tmp_path)
    assert other["texts"] != made["texts"] and other["tokenizer"] != made["tokenizer"]
    assert tokenizer.fingerprint == other["tokenizer"]
    open_shards(tmp_path / "data", "train", tokenizer)


def test_fewer_stories_are_learnt_from_and_the_held_out_text_stays(tmp_path):
    def texts(stories, split):
        folder = tmp_path / str(stories)
        tokenizer, _ = prepare(DataPlan("world", 300, 0.03, 0.03, stories=stories), folder, tmp_path)
        tokens = np.concatenate([shard.tokens for shard in open_shards(folder, split, tokenizer)])
        return tokenizer.decode(tokens.tolist())

    assert texts(0.0, "validation") == texts(0.1, "validation")
    assert texts(0.0, "train") != texts(0.1, "train")


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
def test_a_share_of_stories_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=f"--stories {share}"):
        DataPlan("world", stories=share)


def test_a_folder_left_half_made_is_made_again(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for i, text in enumerate(TEXTS):
        (folder / f"{i}.txt").write_text(text)
    plan = DataPlan(str(folder), vocab_size=270)
    prepare(plan, tmp_path / "data", tmp_path)
    (tmp_path / "data" / "data.json").unlink()
    (tmp_path / "data" / "train_007.bin").write_bytes(b"of an earlier, larger plan")
    tokenizer, _ = prepare(plan, tmp_path / "data", tmp_path)
    assert len(open_shards(tmp_path / "data", "train", tokenizer)) == 1
