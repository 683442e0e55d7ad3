"""Texts from the world, files, this Python's library and named sets; the network is never used."""

import hashlib
import io
import zipfile
from itertools import islice
from urllib.error import URLError

import pytest
from text import own_files, sources
from text.own_files import cut
from text.sources import NamedSet, fetch, read_source, stamp_of
from world.world import World


def read(spec, split, tmp_path):
    return list(read_source(spec, split, seed=0, world_bytes=20_000, cache=tmp_path))


def test_no_document_of_a_folder_is_in_both_splits_and_none_is_lost(tmp_path):
    for i in range(400):
        (tmp_path / f"{i}.txt").write_text(f"text number {i % 390}")  # ten occur twice
    train, validation = (read(str(tmp_path), split, tmp_path) for split in ("train", "validation"))
    assert not set(train) & set(validation) and len(validation) > 0
    assert sorted([*train, *validation]) == sorted({f"text number {i}" for i in range(390)})


def test_much_text_is_held_out_text_by_text(tmp_path, monkeypatch):
    """What does not fit into the memory easily is read as a stream: each text has its side."""
    monkeypatch.setattr(own_files, "SMALL", 0)
    (tmp_path / "many.txt").write_text("\n\n".join(f"text number {i} " * 40 for i in range(390)))
    train, held_out = (set(own_files.read_files([tmp_path / "many.txt"], split))
                       for split in ("train", "validation"))
    assert train and held_out and not train & held_out


def test_a_fifth_of_the_documents_are_stories_where_that_is_asked(tmp_path):
    """0.1575 of 0.1575 + 0.63; the other kinds keep their shares among themselves."""
    shares = {"story": 0.1575, "scene": 0.04, "facts": 0.25, "words": 0.15, "sums": 0.19}
    read = list(read_source("world", "train", seed=0, world_bytes=40_000, cache=tmp_path, stories=0.2))
    assert read == [t.text for t in islice(World(shares).sample(0, "train"), len(read))]


def test_the_worlds_splits_share_no_text(tmp_path):
    train, validation = (read("world", split, tmp_path) for split in ("train", "validation"))
    assert not set(train) & set(validation)
    assert sum(len(text) for text in train) >= 20_000


def test_sources_are_joined_by_plus(tmp_path):
    (tmp_path / "a.txt").write_text("one file")
    texts = [t for s in ("train", "validation") for t in read(f"world+{tmp_path}", s, tmp_path)]
    assert "one file" in texts and len(texts) > 10


def test_the_standard_library_is_tens_of_megabytes_of_source_without_packages():
    files = sources.stdlib_files()
    assert sum(path.stat().st_size for path in files) > 10e6
    assert all(path.suffix == ".py" and "site-packages" not in path.parts for path in files)


def test_a_long_text_is_cut_at_line_ends_and_nothing_is_lost():
    text = "".join(f"line {i}\n" for i in range(500)) + "x" * 300
    pieces = cut(text, longest=100)
    assert "".join(pieces) == text and max(map(len, pieces)) <= 100
    assert all(piece.endswith("\n") for piece in pieces[:-4])


def test_an_unknown_name_is_refused_with_the_choices(tmp_path):
    with pytest.raises(ValueError, match="shakespear.*tinyshakespeare"):
        read("shakespear", "train", tmp_path)


@pytest.fixture
def named(monkeypatch):
    """A named set whose "network" is a function of the test."""
    def make(content: bytes, answer, url="https://example.org/a.txt", most=1000):
        chosen = NamedSet(url, hashlib.sha256(content).hexdigest(), most, "none")
        monkeypatch.setitem(sources.NAMED_SETS, "tinyshakespeare", chosen)
        monkeypatch.setattr(sources.urllib.request, "urlopen", answer)
    return make


def test_a_named_set_is_fetched_once_and_checked(named, tmp_path):
    calls = []
    named(b"to be", lambda url, timeout: calls.append(url) or io.BytesIO(b"to be"))
    for _ in range(2):
        assert fetch("tinyshakespeare", tmp_path).read_bytes() == b"to be"
    assert len(calls) == 1


def test_a_zip_archive_is_unpacked(named, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a", b"or not")
    named(b"or not", lambda url, timeout: io.BytesIO(packed.getvalue()), "https://e.org/a.zip")
    assert fetch("tinyshakespeare", tmp_path).read_bytes() == b"or not"


@pytest.mark.parametrize("answer, message", [
    (b"not to be", "another text than expected"), (b"x" * 2000, "more than 1,000 bytes")])
def test_a_wrong_or_endless_download_is_refused_and_not_kept(named, tmp_path, answer, message):
    named(b"to be", lambda url, timeout: io.BytesIO(answer))
    with pytest.raises(ValueError, match=message):
        fetch("tinyshakespeare", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_network_the_error_names_the_flag_for_a_local_file(named, tmp_path):
    def fail(url, timeout):
        raise URLError("no route to host")
    named(b"to be", fail)
    with pytest.raises(ValueError, match="cannot be reached.*--data tinyshakespeare.txt"):
        fetch("tinyshakespeare", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_stamp_of_a_source_changes_with_its_texts_alone(tmp_path, monkeypatch):
    for name in ("world", "text"):
        (tmp_path / name).mkdir()
    for name in ("world/world.py", "world/facts.py", "text/other.py"):
        (tmp_path / name).write_text("WORDS = 1")
    monkeypatch.setattr(sources, "__file__", str(tmp_path / "text" / "sources.py"))
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("one")
    spec = f"world+{texts}+tinyshakespeare"
    first = stamp_of(spec)
    (tmp_path / "text" / "other.py").write_text("WORDS = 2")
    (texts / "picture.png").write_bytes(b"\x89PNG\0")
    assert stamp_of(spec) == first
    (tmp_path / "world" / "facts.py").write_text("WORDS = 2")
    second = stamp_of(spec)
    (texts / "a.txt").write_text("two, and more")
    third = stamp_of(spec)
    (texts / "b.txt").write_text("")
    assert len({first, second, third, stamp_of(spec), stamp_of("stdlib")}) == 5
    with pytest.raises(ValueError, match="--data nowhere: no such file or folder"):
        stamp_of("world+nowhere")
