"""4.4: a checkpoint is whole or not there, is checked when read, and old ones make room."""

import errno
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from gpt.model import GPT, GPTConfig
from run import checkpoint as module
from run.checkpoint import (
    FORMAT,
    TRAINING,
    Checkpoints,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from text.tokenizer import Tokenizer

CONFIG = GPTConfig(vocab_size=300, block_size=8, n_layer=1, n_head=2, n_embd=16)


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    return {"weights": GPT(CONFIG).state_dict(), "config": CONFIG, "settings": {"rows": 4},
            "tokenizer": Tokenizer.train(["aa bb cc dd " * 20], 262), "metrics": {"val_loss": 2.5}}


def save(path, parts, **other):
    save_checkpoint(path, **{"step": 7, **parts, **other})
    return path


def test_a_checkpoint_gives_back_model_tokenizer_and_figures(parts, tmp_path):
    model, tokenizer, content = load_checkpoint(save(tmp_path / "a.pt", parts))
    assert not model.training and content["step"] == 7 and content["format"] == FORMAT
    assert content["metrics"] == {"val_loss": 2.5}
    assert tokenizer.fingerprint == parts["tokenizer"].fingerprint
    for name, value in parts["weights"].items():
        assert torch.equal(model.state_dict()[name], value)


def test_reading_one_does_not_load_torchs_compiler(parts, tmp_path):
    """It takes a second, which every start of a script would take longer."""
    path = save(tmp_path / "a.pt", parts)
    code = ("import sys; from run.checkpoint import load_checkpoint; "
            f"load_checkpoint({str(path)!r}); print('torch._dynamo' in sys.modules)")
    said = subprocess.run([sys.executable, "-c", code], cwd=Path(module.__file__).parents[1],
                          capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False"]


def test_a_file_from_when_models_could_have_sinks_is_read_where_it_has_none(parts, tmp_path):
    path = save(tmp_path / "old.pt", parts)
    content = torch.load(path, weights_only=True)
    content["config"]["sink"] = 0
    torch.save(content, path)
    model, _, _ = load_checkpoint(path)
    assert model.config == CONFIG
    content["config"] |= {"sink": 2, "window": 6}
    torch.save(content, path)
    with pytest.raises(ValueError, match="sink=2: models have attention sinks in part 3 alone"):
        load_checkpoint(path)


def test_the_same_content_gives_the_same_bytes_whatever_the_name(parts, tmp_path):
    one, two = save(tmp_path / "a.pt", parts), save(tmp_path / "other.pt", parts)
    assert one.read_bytes() == two.read_bytes()


def test_a_flipped_bit_that_torch_does_not_notice_is_refused(parts, tmp_path):
    path = save(tmp_path / "a.pt", parts)
    raw = bytearray(path.read_bytes())
    value = parts["weights"]["blocks.0.mlp.gate_up.weight"].numpy().tobytes()
    raw[bytes(raw).index(value) + 100] ^= 1
    path.write_bytes(raw)
    torch.load(path, weights_only=True)  # no complaint: that is why `verify` is there
    with pytest.raises(ValueError, match="damaged, the checksum.*make it with"):
        load_checkpoint(path)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_file_cut_short_is_refused(parts, tmp_path, keep):
    path = save(tmp_path / "a.pt", parts)
    raw = path.read_bytes()
    path.write_bytes(raw[:int(keep * len(raw)) if keep < 1 else keep])
    with pytest.raises(ValueError, match="cut short"):
        load_checkpoint(path)


def test_a_missing_file_is_refused_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such checkpoint; make it with: python part_4"):
        load_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize("harm, message", [
    ({"format": 99}, "format 99"), ({"kind": "cake"}, "cake"), ({"config": {"vocab": 1}}, "vocab"),
    ({"weights": {}}, "weights do not fit"),
    ({"config": {"moe": {"n_expert": 4}}}, "a model with experts; part 5"),
    ({"kind": "moe of part 5", "format": 1, "moe": {}}, "a model with experts; part 5")])
def test_another_format_or_model_is_refused(parts, tmp_path, harm, message):
    path = save(tmp_path / "a.pt", parts)
    torch.save({**read_checkpoint(path), **harm}, path)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path)


def test_a_full_disk_leaves_the_old_checkpoint_good_and_nothing_beside_it(parts, tmp_path,
                                                                          monkeypatch):
    path = save(tmp_path / "a.pt", parts)

    def full(content, file):
        file.write(b"the first part")
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(module.torch, "save", full)
    with pytest.raises(OSError, match="a.pt.*No space left.*--out"):
        save(path, parts, step=8)
    assert load_checkpoint(path)[2]["step"] == 7
    assert list(tmp_path.iterdir()) == [path]


def test_the_last_two_and_the_best_are_kept(parts, tmp_path):
    kept = Checkpoints(tmp_path, keep=2)
    for step, best in ((10, 10), (20, 20), (30, 20), (40, 20), (50, 20)):
        kept.save(step, best, **parts, training=dict.fromkeys(TRAINING))
    assert [path.name[5:13] for path in kept.paths()] == ["00000020", "00000040", "00000050"]
    assert read_checkpoint(kept.newest()[0])["step"] == 50


def test_the_newest_whole_checkpoint_is_found_and_a_damaged_one_named(parts, tmp_path, capsys):
    kept = Checkpoints(tmp_path, keep=3)
    for step in (10, 20):
        kept.save(step, None, **parts, training=dict.fromkeys(TRAINING))
    kept.path(20).write_bytes(kept.path(20).read_bytes()[:999])
    path, content = kept.newest()
    assert path == kept.path(10) and content["step"] == 10
    assert "step_00000020.pt" in capsys.readouterr().out


def test_what_a_killed_process_left_is_swept_up(parts, tmp_path):
    (tmp_path / ".step_00000005.pt.99.tmp").write_bytes(b"half")
    kept = Checkpoints(tmp_path)
    assert kept.newest() is None
    kept.save(10, None, **parts)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000010.pt"]


def test_it_is_an_ordinary_zip_archive_that_holds_no_code(parts, tmp_path):
    with zipfile.ZipFile(save(tmp_path / "a.pt", parts)) as archive:
        assert archive.testzip() is None
    torch.load(tmp_path / "a.pt", weights_only=True)  # numbers and texts only, or this raises
