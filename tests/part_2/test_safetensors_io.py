"""Weights in files: what is read equals what was written, and hostile files are refused.

The bytes of the first test are written by hand, from the description of the format.
"""

import json
import struct

import pytest
import torch
from pretrained.safetensors_io import (
    _TYPES,
    open_safetensors,
    read_safetensors_header,
    read_weights,
    save_safetensors,
    save_weights,
)


def file_of(path, header, body: bytes = b"", length: int | None = None):
    """A file with this header (text, or an object that becomes JSON) and these bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)
    return path


def entry(shape, begin, end, dtype="F32", **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **more}


def test_a_file_written_by_hand_is_read_number_by_number(tmp_path):
    body = (struct.pack("<4f", 1.5, -2, 3, 4) + bytes.fromhex("803f00c0")  # bf16: 1, -2
            + bytes.fromhex("003c00c1"))                                   # f16: 1, -2.5
    header = {"__metadata__": {"format": "pt"}, "b": entry([2], 16, 20, "BF16"),
              "a": entry([2, 2], 0, 16), "h": entry([2], 20, 24, "F16"), "none": entry([0], 24, 24)}
    tensors = open_safetensors(file_of(tmp_path / "x.safetensors", header, body))
    assert tensors["a"].tolist() == [[1.5, -2], [3, 4]]
    assert tensors["b"].dtype == torch.bfloat16 and tensors["b"].tolist() == [1, -2]
    assert tensors["h"].dtype == torch.float16 and tensors["h"].tolist() == [1, -2.5]
    assert tensors["none"].shape == (0,) and set(tensors) == {"a", "b", "h", "none"}


@pytest.mark.parametrize("dtype", _TYPES.values(), ids=_TYPES)
def test_every_type_and_odd_shapes_come_back_bit_for_bit(tmp_path, dtype):
    def some(*shape):
        return (torch.randn(shape) * 3).to(dtype)
    tensors = {"plain": some(3, 5), "turned": some(4, 6).T, "rows": some(8, 3)[2:5],
               "one": some(1)[0], "empty": some(0, 4), "ünï \"code\"": some(7)}
    save_safetensors(tmp_path / "x.safetensors", tensors)
    back = open_safetensors(tmp_path / "x.safetensors")
    assert list(back) == list(tensors)
    for name, tensor in tensors.items():
        assert back[name].dtype == dtype and back[name].shape == tensor.shape
        assert torch.equal(back[name], tensor), name


def test_a_header_of_odd_length_is_read_as_well(tmp_path):
    for extra in range(8):  # then the numbers begin at any byte
        text = json.dumps({"a": entry([3], 0, 12)}).encode() + b" " * extra
        path = file_of(tmp_path / "x.safetensors", text, struct.pack("<3f", 1, 2, 3))
        tensor = open_safetensors(path)["a"]
        assert tensor.tolist() == [1, 2, 3] and tensor.data_ptr() % 4 == 0


def test_saved_as_another_type_each_number_is_rounded_once(tmp_path):
    values = torch.randn(50)
    save_safetensors(tmp_path / "x.safetensors", {"a": values}, torch.bfloat16)
    assert torch.equal(open_safetensors(tmp_path / "x.safetensors")["a"], values.bfloat16())


def test_a_mapped_tensor_can_be_written_to_without_harm_to_the_file(tmp_path):
    save_safetensors(tmp_path / "x.safetensors", {"a": torch.ones(4)})
    open_safetensors(tmp_path / "x.safetensors")["a"].zero_()
    assert open_safetensors(tmp_path / "x.safetensors")["a"].tolist() == [1, 1, 1, 1]


HOSTILE = {
    "too short": (b"", b"", None, "too few"),
    "huge length": (b"{}", b"", 2**63, "claims a header"),
    "length beyond the file": (b"{}", b"", 3, "claims a header"),
    "no JSON": (b"{a", b"", None, "not sound JSON"),
    "no UTF-8": (b'{"\xff": 1}', b"", None, "UTF-8"),
    "deep": (b"[" * 200_000, b"", None, "not sound JSON"),
    "a list": ([1], b"", None, "object"),
    "a name twice": (b'{"a": 1, "a": 1}', b"", None, "twice"),
    "beyond the end": ({"a": entry([2], 0, 8)}, b"1234", None, "tells of 8"),
    "begins after 0": ({"a": entry([1], 4, 8)}, b"12345678", None, "gap"),
    "begins below 0": ({"a": entry([1], -4, 0)}, b"", None, "data_offsets"),
    "ends before it begins": ({"a": entry([1], 4, 0)}, b"1234", None, "needs 4 bytes"),
    "overlap": ({"a": entry([2], 0, 8), "b": entry([1], 4, 8)}, b"12345678", None, "'b' overlaps"),
    "the same bytes twice": ({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, b"1234", None,
                             "'b' overlaps"),
    "gap": ({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, b"123456789012", None, "'b' leaves"),
    "more bytes than told": ({"a": entry([1], 0, 4)}, b"12345", None, "was added"),
    "shape and bytes differ": ({"a": entry([3], 0, 8)}, b"12345678", None, "needs 12 bytes"),
    "negative sizes": ({"a": entry([-1, -1], 0, 4)}, b"1234", None, "shape"),
    "a fraction": ({"a": entry([1.0], 0, 4)}, b"1234", None, "shape"),
    "a truth value": ({"a": entry([True], 0, 4)}, b"1234", None, "shape"),
    "no bytes, no tensor": ({"a": entry([0, 2**47, 2**47], 0, 0)}, b"", None, "too large"),
    "type unknown": ({"a": entry([4], 0, 4, "F8_E4M3")}, b"1234", None, "F8_E4M3"),
    "type a list": ({"a": entry([1], 0, 4, ["F32"])}, b"1234", None, "dtype"),
    "a field too many": ({"a": entry([1], 0, 4, x=1)}, b"1234", None, "nothing else"),
    "no fields": ({"a": 3}, b"1234", None, "nothing else"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_header_is_refused_with_the_reason(tmp_path, what):
    header, body, length, reason = HOSTILE[what]
    path = file_of(tmp_path / "x.safetensors", header, body, length)
    if what == "too short":
        path.write_bytes(b"1234567")
    with pytest.raises(ValueError, match=reason) as error:
        open_safetensors(path)
    assert "x.safetensors" in str(error.value)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    save_safetensors(tmp_path / "x.safetensors", {"a": torch.ones(3), "b": torch.ones(2, 2)})
    whole = (tmp_path / "x.safetensors").read_bytes()
    for size in range(len(whole)):
        (tmp_path / "cut.safetensors").write_bytes(whole[:size])
        with pytest.raises(ValueError, match="cut.safetensors"):
            read_safetensors_header(tmp_path / "cut.safetensors")


def test_random_damage_to_the_header_gives_a_value_error_or_a_sound_file(tmp_path):
    save_safetensors(tmp_path / "x.safetensors", {"a": torch.ones(3), "b": torch.ones(2, 2)})
    whole = bytearray((tmp_path / "x.safetensors").read_bytes())
    header_end = 8 + struct.unpack("<Q", whole[:8])[0]
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for place in torch.randint(header_end, (2,)).tolist():
            damaged[place] = int(torch.randint(256, ()))
        path = tmp_path / "damaged.safetensors"
        path.write_bytes(damaged)
        try:
            assert all(tensor.isfinite().all() for tensor in open_safetensors(path).values())
        except ValueError:
            refused += 1
    assert refused > 300  # the rest hit a name


TENSORS = {f"t{i}": torch.full((10,), float(i)) for i in range(5)}


def test_shards_hold_at_most_what_was_asked_and_read_back_in_order(tmp_path):
    save_weights(tmp_path, TENSORS, max_shard_bytes=80)  # two tensors of 40 bytes each
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert files == [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert [len(open_safetensors(tmp_path / file)) for file in files] == [2, 2, 1]
    back = dict(read_weights(tmp_path))
    assert list(back) == list(TENSORS)
    assert all(torch.equal(back[name], TENSORS[name]) for name in TENSORS)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 200


def test_a_tensor_larger_than_a_shard_gets_one_of_its_own(tmp_path):
    save_weights(tmp_path, TENSORS, max_shard_bytes=1)
    assert len(list(tmp_path.glob("*.safetensors"))) == 5
    assert set(dict(read_weights(tmp_path))) == set(TENSORS)


@pytest.mark.parametrize("file", ["../x.safetensors", "/etc/passwd", "a\\b.safetensors", "", 3,
                                  "weights.pkl"])
def test_an_index_that_points_elsewhere_is_refused(tmp_path, file):
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"t0": file}}))
    with pytest.raises(ValueError, match="index.json"):
        list(read_weights(tmp_path))


@pytest.mark.parametrize("change", ["more", "less"])
def test_an_index_and_a_shard_that_disagree_are_refused_by_name(tmp_path, change):
    save_weights(tmp_path, TENSORS, max_shard_bytes=80)
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    if change == "more":
        index["weight_map"]["ghost"] = index["weight_map"]["t3"]
    else:
        del index["weight_map"]["t3"]
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match="ghost" if change == "more" else "t3"):
        list(read_weights(tmp_path))


def test_missing_shards_are_named(tmp_path):
    save_weights(tmp_path, TENSORS, max_shard_bytes=80)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="model-00002-of-00003"):
        list(read_weights(tmp_path))


def test_bin_files_are_read_whole_or_in_shards_zipped_or_old(tmp_path):
    for name, kwargs in (("zip", {}), ("old", {"_use_new_zipfile_serialization": False})):
        folder = tmp_path / name
        folder.mkdir()
        torch.save(TENSORS, folder / "pytorch_model.bin", **kwargs)
        back = dict(read_weights(folder))
        assert all(torch.equal(back[key], TENSORS[key]) for key in TENSORS)
    folder = tmp_path / "shards"
    folder.mkdir()
    torch.save({"a": torch.ones(2)}, folder / "1.bin")
    torch.save({"b": torch.ones(3)}, folder / "2.bin")
    (folder / "pytorch_model.bin.index.json").write_text(
        json.dumps({"weight_map": {"a": "1.bin", "b": "2.bin"}}))
    assert {name: len(tensor) for name, tensor in read_weights(folder)} == {"a": 2, "b": 3}


class Program:
    """What a hostile pickle does: calls a function when it is opened."""

    def __reduce__(self):
        return (print, ("this must never be printed",))


@pytest.mark.parametrize("content", [{"a": Program()}, [torch.ones(2)], {"a": 3},
                                     {3: torch.ones(2)}])
def test_a_bin_that_is_more_than_named_tensors_is_refused(tmp_path, content, capfd):
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="pytorch_model.bin"):
        list(read_weights(tmp_path))
    assert "never be printed" not in capfd.readouterr().out


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + b"\0" * 50, b"\x80\x02]"])
def test_a_bin_that_is_no_pickle_is_refused(tmp_path, content):
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(ValueError, match="pytorch_model.bin"):
        list(read_weights(tmp_path))


def test_a_folder_without_weights_says_what_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        list(read_weights(tmp_path))
