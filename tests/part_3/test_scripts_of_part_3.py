"""The scripts of part 3: training, writing, benchmarks; the pieces of the demos."""

import json
import re

import pytest
import torch
from run.checkpoint import load_checkpoint
from run.presets import PRESETS, Settings
from run.tiny_training import make_model, train

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
    formats = 1 if "bfloat16 is left out" in done.stdout else 2
    assert len(rows) == 4 * formats and all(row[3] > 0 for row in rows)


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


def test_the_flags_of_training_reach_the_loop(modules_of, watch, tmp_path):
    train_gpt = modules_of("part_3", "train_gpt").train_gpt
    rates, looks = watch(train_gpt, "learning_rate"), watch(train_gpt, "check_progress")
    groups, runs = watch(train_gpt.GPT, "parameter_groups"), watch(train_gpt, "train")
    text = tmp_path / "text.txt"
    text.write_text("the owl and the mouse\n" * 100, encoding="utf-8")
    flags = (*SMALL, "--steps", 6, "--evaluations", 3, "--lr", 0.02, "--weight-decay", 0.5,
             "--dropout", 0.25, "--data", text, "--out", tmp_path)
    train_gpt.main([str(flag) for flag in flags])
    assert {call.peak for call in rates} == {0.02} and len(rates) == 6 and len(looks) == 3
    assert groups[0].weight_decay == 0.5 and runs[0].model.config.dropout == 0.25


def test_minutes_end_a_run_of_any_number_of_steps(run_script, tmp_path):
    (tmp_path / "text.txt").write_text("the owl and the mouse\n" * 100, encoding="utf-8")
    run_script("part_3/train_gpt.py", *SMALL, "--steps", 10**7, "--minutes", 0.004, "--data",
               tmp_path / "text.txt", "--out", tmp_path)
    results = json.loads((tmp_path / "gpt.json").read_text("utf-8"))
    assert 0.2 < results["seconds"] < 5 and results["tokens"] < 10**7


@pytest.mark.slow
def test_the_compiled_model_trains_to_the_same_loss(run_script, tmp_path):
    (tmp_path / "text.txt").write_text("the owl and the mouse\n" * 100, encoding="utf-8")
    losses = []
    for name, flags in (("plain", ()), ("compiled", ("--compile",))):
        run_script("part_3/train_gpt.py", *SMALL, *flags, "--steps", 20, "--dropout", 0, "--data",
                   tmp_path / "text.txt", "--out", tmp_path / name)
        results = json.loads((tmp_path / name / "gpt.json").read_text("utf-8"))
        losses.append(results["metrics"]["val_loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


def test_samples_are_drawn_as_the_flags_say(trained, run_script, tmp_path):
    def texts(*flags):
        done = run_script("part_3/sample.py", "--checkpoint", trained[0] / "gpt.pt", "--prompt",
                          "the owl", "--length", 24, "--samples", 2, "--out", tmp_path, *flags)
        pieces = (tmp_path / "samples.txt").read_bytes().split(b"--- seed ")[1:]
        return [piece.split(b"\n", 1)[1].strip() for piece in pieces], done.stdout

    greedy, said = texts("--temperature", 0, "--copied", tmp_path / "text.txt")
    assert greedy[0] == greedy[1] and greedy[0].startswith(b"the owl")
    assert said.count("the longest run copied from text.txt") == 2
    for flags in (("--top-k", 1), ("--top-p", 1e-6)):
        assert texts("--temperature", 2, *flags)[0] == greedy, "only the likeliest is left"
    one, other = texts("--temperature", 2)[0]
    assert one != other


def test_a_peer_is_measured_beside_ours_as_often_and_as_long(pretended_transformers, modules_of,
                                                             watch, monkeypatch, tmp_path):
    speed = modules_of("part_3", "benchmark_speed").benchmark_speed
    monkeypatch.setattr(speed, "formats_to_time", lambda device: {
        "float32": None, "bfloat16": torch.bfloat16})
    made = watch(speed, "make_ours")

    def rows(*flags):
        speed.main([*map(str, flags), "--peer", "--device", "cpu", "--out", str(tmp_path)])
        return json.loads((tmp_path / "speed.json").read_text("utf-8"))["rows"]

    small = ("--layers", 1, "--heads", 2, "--width", 16, "--vocab", 40, "--context", 64,
             "--batch-size", 2, "--new", 5, "--repeats", 2)
    found = rows(*small, "--only", "decoding")
    assert {row[0] for row in found} == {"decoding, 1 row", "decoding, 32 rows"}
    assert {row[2] for row in found} == {"ours", "ours, no cache", "transformers",
                                         "transformers, static cache"}
    # two forms, two sizes, two formats; two rounds and a warm-up
    assert pretended_transformers == [5] * (2 * 2 * 2 * 3)
    assert {call.args.vocab for call in made} == {40}
    found = rows(*small, "--only", "training")
    assert [row[0::2] for row in found] == [["training, 2 rows", "ours"],
                                            ["training, 2 rows", "transformers"]] * 2


def test_the_table_of_upgrades_has_the_rows_and_seeds_that_are_asked(modules_of, watch, tmp_path):
    table = modules_of("part_3", "benchmark_upgrades").benchmark_upgrades
    trained, judged = watch(table, "train"), watch(table, "evaluate")
    flags = ("--only", "part 2, RoPE, all together", "--seconds", 0.05, "--seeds", 2, "--lr", 0.01,
             "--eval-bytes", 500, "--layers", 1, "--width", 32, "--context", 64, "--device", "cpu",
             "--amp", "float32", "--seed", 3, "--out", tmp_path)
    table.main([str(flag) for flag in flags])
    found = json.loads((tmp_path / "upgrades.json").read_text("utf-8"))
    assert list(found["rows"]) == ["part 2", "RoPE", "all together"]
    assert all(len(row["losses"]) == 2 for row in found["rows"].values())
    assert found["budget"] == "0.05 s" and {call.seed for call in trained} == {3, 4}
    assert {(call.peak, call.steps, call.seconds) for call in trained} == {(0.01, None, 0.05)}
    assert {len(call.data) for call in judged} == {500}
