"""Checkpoints that somebody made up: nothing in them is run, and what does not fit is refused.

Every field of a good checkpoint of every kind is replaced by values of all types. What then loads
must be a model that works; everything else must end in a ValueError that names the file.
"""

import io
import random
import zipfile
from copy import deepcopy
from math import isfinite

import pytest
import torch

SIZES = {"vocab_size": 270, "block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 8}
VALUES = (None, -1, 0, 3, 10**12, 3.5, float("nan"), float("inf"), "256", "", [1], {"a": 1}, True,
          b"x", torch.ones(2))
KINDS = ("part_2", "part_3", "part_4", "part_5", "part_7")  # parts 6, 8, 9 have copies of these


class Program:
    """What a hostile file holds: something that runs when it is read."""

    def __reduce__(self):
        return (print, ("this must never be printed",))


@pytest.fixture
def kind(request, modules_of, tmp_path):
    """(path, load(path) -> model, the content of a good file) for one kind of checkpoint."""
    part, path = request.param, tmp_path / "some.pt"
    torch.manual_seed(0)
    names = (["checkpoint", "model"] if part == "part_2" else
             ["run.checkpoint", "model"] if part == "part_3" else
             ["run.checkpoint", "gpt.model", "text.tokenizer"])
    m = modules_of(part, *names, **{
        "part_5": {"hybrid": "moe.hybrid", "moe": "moe.layer", "moe_checkpoint": "moe.checkpoint"},
        "part_7": {"reward_model": "reward.model", "reward_checkpoint": "reward.checkpoint"},
    }.get(part, {}))
    config = m.model.GPTConfig(**SIZES)
    model, about = m.model.GPT(config), {"settings": {"a": 1}, "metrics": {"loss": 2.0}}
    if part > "part_3":
        tokenizer = m.tokenizer.Tokenizer.train(["aa bb cc dd " * 20], 262)
    if part <= "part_3":
        m.checkpoint.save_checkpoint(path, model, step=3, **about)
    elif part == "part_4":
        m.checkpoint.save_checkpoint(path, weights=model.state_dict(), config=config,
                                     tokenizer=tokenizer, step=3, **about)
    elif part == "part_5":
        m.moe_checkpoint.save_moe(path, m.hybrid.HybridGPT(config, m.moe.MoEConfig(n_expert=4)),
                                  tokenizer, step=3, **about)
    else:
        m.reward_checkpoint.save_reward(path, m.reward_model.RewardModel(model), tokenizer,
                                        mean=1.5, std=2.0, **about)
    load = {"part_5": lambda: m.moe_checkpoint.load_moe(path)[0],
            "part_7": lambda: m.reward_checkpoint.load_reward(path, "make it again")[0].body
            }.get(part, lambda: m.checkpoint.load_checkpoint(path)[0])
    return path, load, torch.load(path, weights_only=True)


def loads(path, load, content) -> bool:
    """True when a made-up file gives a model that works, False when it is refused by name."""
    torch.save(content, path)
    try:
        model = load()
    except ValueError as error:
        assert "some.pt" in str(error)
        return False
    with torch.no_grad():
        assert model(torch.tensor([[1, 2, 3]]))[0].isfinite().all()
    return True


def with_field(content, names, value):
    """A copy with one field, perhaps of a field, replaced; left out where `value` is Ellipsis."""
    copy = deepcopy(content)
    inner = copy
    for name in names[:-1]:
        inner = inner[name]
    inner[names[-1]] = value
    if value is Ellipsis:
        del inner[names[-1]]
    return copy


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_a_field_of_another_kind_is_refused_by_name_or_does_no_harm(kind):
    path, load, good = kind
    assert loads(path, load, good)
    for name in good:
        fine = [value for value in (*VALUES, ...) if loads(path, load, with_field(good, [name], value))]
        if name in ("format", "kind", "config", "weights"):
            assert fine == [], name
        if name in ("mean", "std"):
            assert all(type(value) in (int, float) and isfinite(value) for value in fine), name


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_a_setting_of_another_kind_is_refused_or_does_no_harm(kind):
    path, load, good = kind
    for name, there in good["config"].items():
        fine = [value for value in (*VALUES, ...)
                if loads(path, load, with_field(good, ["config", name], value))]
        assert not any(isinstance(value, (list, dict, bytes, torch.Tensor)) or value is ...
                       or value == 10**12 and name in (*SIZES, "head_dim", "n_kv_head", "n_hidden")
                       for value in fine), name
        if isinstance(there, bool):
            assert set(map(type, fine)) <= {bool}, name


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_a_weight_of_another_kind_is_refused(kind):
    path, load, good = kind
    for name, there in list(good["weights"].items())[::6]:
        for value in (*VALUES, ..., torch.full_like(there, float("nan")), there.long(),
                      there.to(torch.complex64), torch.full_like(there, float("inf")),
                      torch.cat([there, there])):
            assert not loads(path, load, with_field(good, ["weights", name], value)), name


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_a_file_that_claims_sizes_beyond_all_memory_is_refused_at_once(kind):
    path, load, good = kind
    for sizes in ({"n_embd": 2**40, "head_dim": None}, {"vocab_size": 2**50}, {"n_layer": 10**12},
                  {"block_size": 2**50}, {"n_head": 2**30, "n_embd": 2**33}):
        claim = {**good, "config": {**good["config"], **sizes}}
        assert not loads(path, load, claim), sizes


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_no_program_in_a_file_is_run(kind, capfd):
    path, load, good = kind
    for name in good:
        assert not loads(path, load, with_field(good, [name], Program()))
    assert not loads(path, load, Program()) and not loads(path, load, [Program()])
    assert "never be printed" not in capfd.readouterr().out


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_other_bytes_with_right_checksums_are_refused_or_do_no_harm(kind):
    """A flipped byte is found by its checksum; here somebody has mended the checksum."""
    path, load, good = kind
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name, rng = next(name for name in files if name.endswith("data.pkl")), random.Random(0)
    refused = 0
    for _ in range(40):
        content = bytearray(files[name])
        for place in rng.choices(range(len(content)), k=3):
            content[place] = rng.randrange(256)
        with zipfile.ZipFile(path, "w") as archive:
            for other, old in files.items():
                archive.writestr(other, bytes(content) if other == name else old)
        try:
            load()
        except ValueError as error:
            assert "some.pt" in str(error)
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("kind", KINDS[2:], indirect=True)
@pytest.mark.parametrize("harm", ["packed", "encrypted", "another method", "a huge record"])
def test_an_archive_that_torch_does_not_write_is_refused(kind, harm):
    path, load, _ = kind
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content, zipfile.ZIP_DEFLATED if harm == "packed" else None)
    if harm != "packed":  # in the last entry of the table of contents
        content = bytearray(path.read_bytes())
        entry = content.rindex(b"PK\x01\x02")
        place, value = {"encrypted": (8, 1), "another method": (10, 97), "a huge record": (27, 127)}[harm]
        content[entry + place] = value
        path.write_bytes(content)
    with pytest.raises(ValueError, match="some.pt"):
        load()
