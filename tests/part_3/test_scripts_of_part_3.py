"""The scripts of part 3: training, writing, benchmarks; the pieces of the demos."""

import json
import re

import pytest
import torch
from checkpoint import load_checkpoint
from presets import PRESETS, Settings
from tiny_training import make_model, train

SMALL = ("--layers", 1, "--heads", 2, "--width", 16, "--block-size", 16, "--batch-size", 2,
         "--steps", 3, "--amp", "float32", "--device", "cpu")


@pytest.fixture
def trained(run_script, tmp_path):
    """A text, and a model with window and sinks that was trained on it for three steps."""
    text = tmp_path / "text.txt"
    text.write_text("the owl and the mouse\n" * 100, encoding="utf-8")
    done = run_script("part_3/train_gpt.py", *SMALL, "--kv-heads", 1, "--window", 8, "--sink", 2,
                      "--data", text, "--out", tmp_path / "out")
    return tmp_path / "out", done.stdout


def test_training_leaves_a_model_that_writes_beyond_its_context(trained, run_script, tmp_path):
    out, _ = trained
    model, checkpoint = load_checkpoint(out / "gpt.pt")
    assert (model.config.n_kv_head, model.config.window, model.config.sink) == (1, 8, 2)
    assert checkpoint["kind"] == "gpt of part 3" and checkpoint["step"] == 3
    assert json.loads((out / "gpt.json").read_text("utf-8"))["metrics"]["val_loss"] > 0
    assert (out / "training_curves.png").is_file()
    texts = []
    for _ in range(2):
        run_script("part_3/sample.py", "--checkpoint", out / "gpt.pt", "--length", 40,
                   "--samples", 2, "--out", tmp_path / "texts")
        texts.append((tmp_path / "texts" / "samples.txt").read_bytes())
    assert texts[0] == texts[1] and len(texts[0]) >= 80


def test_a_missing_or_foreign_checkpoint_is_refused(run_script, tmp_path):
    done = run_script("part_3/sample.py", "--checkpoint", tmp_path / "no.pt", check=False)
    assert done.returncode == 2 and "part_3/train_gpt.py" in done.stderr
    torch.save({"format": 2, "kind": "gpt of part 2"}, tmp_path / "old.pt")
    done = run_script("part_3/sample.py", "--checkpoint", tmp_path / "old.pt", check=False)
    assert done.returncode == 2 and "gpt of part 2" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flags, word", [
    (("--window", 0), "window=0"), (("--sink", 3), "sink=3"), (("--kv-heads", 3), "n_kv_head=3"),
    (("--window", 16, "--sink", 1), "block_size=16")])
def test_settings_that_mean_nothing_end_in_one_line(run_script, tmp_path, flags, word):
    done = run_script("part_3/train_gpt.py", *SMALL, *flags, "--out", tmp_path, check=False)
    assert done.returncode == 2 and word in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.pt"))


def test_every_preset_makes_a_model():
    for settings in PRESETS.values():
        assert isinstance(settings, Settings)
        make_model(0, n_layer=1, n_head=settings.n_head, n_kv_head=settings.n_kv_head,
                   n_embd=settings.n_embd, block_size=settings.block_size,
                   window=settings.window, sink=settings.sink)


def test_the_table_of_upgrades_has_a_row_for_each_and_equal_parameters(run_script, tmp_path):
    done = run_script("part_3/benchmark_upgrades.py", "--quick", "--width", 32, "--out", tmp_path)
    found = json.loads((tmp_path / "upgrades.json").read_text("utf-8"))["rows"]
    assert list(found) == ["part 2", "KV cache", "RMSNorm", "RoPE", "SwiGLU", "grouped queries",
                           "window and sinks", "latent attention", "all together"]
    for name in found:
        assert name in done.stdout
    equal = found["all together"]["parameters"] / found["part 2"]["parameters"]
    assert 0.98 < equal <= 1.0
    assert found["grouped queries"]["cache"] * 2 == found["RoPE"]["cache"]


@pytest.mark.parametrize("flags, word", [
    (("--steps", 0), "--steps 0"), (("--context", 30), "--context 30"),
    (("--data", "/no/such/file"), "/no/such/file")])
def test_the_benchmark_refuses_nonsense(run_script, tmp_path, flags, word):
    done = run_script("part_3/benchmark_upgrades.py", *flags, "--out", tmp_path, check=False)
    assert done.returncode == 2 and word in done.stderr and "Traceback" not in done.stderr


def test_the_speed_table_counts_tokens(run_script, tmp_path):
    done = run_script("part_3/benchmark_speed.py", "--quick", "--out", tmp_path)
    assert re.search(r"decoding, 1 row .*ours, no cache", done.stdout)
    rows = json.loads((tmp_path / "speed.json").read_text("utf-8"))["rows"]
    assert len(rows) == 8 and all(row[3] > 0 for row in rows)


def test_compared_models_see_the_same_batches():
    seen = []
    data = torch.arange(200, dtype=torch.uint8)
    for settings in ({}, {"mlp": "gelu"}):
        model = make_model(0, n_layer=1, n_head=1, n_embd=8, block_size=8, **settings)
        model.register_forward_hook(lambda module, args, out: seen.append(args[0].clone()))
        train(model, data, steps=2, batch_size=2)
    assert torch.equal(seen[0], seen[2]) and torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])


def test_the_wrong_window_of_the_demo_sees_the_future():
    from demo_sliding_window import influence, reach, wrong_visibility
    wrong = wrong_visibility(12, 4)
    assert wrong.triu(1).any() and wrong[0].nonzero()[:, 0].tolist() == [8]
    model = make_model(0, n_layer=2, n_head=2, n_embd=32, block_size=32, window=4).eval()
    assert reach(model, 20) == 6 and not influence(model, 20).triu(1).any()


def test_stretched_rope_keeps_the_weights_and_the_short_context():
    from demo_rope import stretched
    model = make_model(0, n_layer=1, n_head=2, n_embd=32, block_size=64).eval()
    ids = torch.randint(0, 256, (1, 64))
    plain, squeezed = stretched(model, None, 1.0), stretched(model, "linear", 4.0)
    assert torch.allclose(plain(ids)[0], model(ids)[0], atol=1e-6)
    assert plain(torch.randint(0, 256, (1, 256)))[0].shape == (1, 256, 256)
    assert not torch.allclose(squeezed(ids)[0], model(ids)[0], atol=1e-4)
