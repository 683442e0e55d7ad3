"""The scripts around the base model: what their flags change. Training has test_train.py."""

import json

import benchmark_training
import demo_schedules
import pytest
import torch
from gpt.model import GPT, GPTConfig
from run.checkpoint import save_checkpoint
from text.data import TokenRows
from text.tokenizer import Tokenizer
from world.world import World

pytestmark = pytest.mark.scripts


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A tiny base model that has learnt nothing."""
    tokenizer = Tokenizer.train([text.text for text in World().texts(60)], 400)
    torch.manual_seed(0)
    config = GPTConfig(vocab_size=tokenizer.vocab_size, block_size=128, n_layer=1, n_head=2,
                       n_embd=16)
    path = tmp_path_factory.mktemp("base") / "base.pt"
    save_checkpoint(path, weights=GPT(config).state_dict(), config=config, tokenizer=tokenizer,
                    step=7, settings={}, metrics={})
    return path


def test_as_many_documents_are_judged_and_texts_shown_as_asked(base, run_script, tmp_path):
    done = run_script("part_4/eval.py", "--checkpoint", base, "--documents", 12, "--show", 2,
                      "--amp", "float32", "--out", tmp_path)
    table = json.loads((tmp_path / "eval.json").read_text())["table"]
    assert {row["text"]: row["documents"] for row in table}["all"] == 12
    assert done.stdout.count("--- the model writes:") == 2
    (tmp_path / "mine.txt").write_text("The fox sat in the sun. " * 9)
    done = run_script("part_4/eval.py", "--checkpoint", base, "--data", tmp_path / "mine.txt",
                      "--amp", "float32")
    assert "mine.txt" in done.stdout and "the model writes" not in done.stdout


def test_the_base_model_writes_as_the_flags_say(base, run_script):
    def texts(*flags):
        done = run_script("part_4/sample.py", "--checkpoint", base, "--prompt", "One day",
                          "--samples", 2, "--amp", "float32", *flags)
        assert "base.pt, step 7" in done.stdout
        return [text.rstrip("\n") for text in done.stdout.split("One day")[1:]]

    greedy = texts("--temperature", 0, "--count", 20)
    assert len(greedy) == 2 and greedy[0] == greedy[1]
    few = texts("--temperature", 0, "--count", 5)[0]
    assert greedy[0].startswith(few) and len(few) < len(greedy[0])
    for flags in (("--top-k", 1), ("--top-p", 1e-6)):
        assert texts("--temperature", 2, "--count", 20, *flags) == greedy, "the likeliest is left"
    one, other = texts("--temperature", 2, "--count", 20)
    assert one != other
    second = texts("--temperature", 0, "--count", 20, "--prompt", "Two owls")
    assert second[0] == greedy[0] and second[1].count("Two owls") == 2


def test_the_benchmark_times_what_is_asked_and_a_peer(pretended_transformers, watch, tmp_path):
    batches = watch(TokenRows, "batch")
    benchmark_training.main(["--shapes", "a", "--formats", "float32", "--rounds", "2", "--rows",
                             "3", "--peer", "--device", "cpu", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "benchmark_training.json").read_text())
    assert [(row["shape"], row["format"], row["variant"]) for row in found] == [
        ("a", "float32", name) for name in ("ours", "plain loop", "HF Llama")]
    assert len(batches) == 3 * (2 + 1), "each variant in two rounds and a warm-up"
    assert {call.rows for call in batches} == {3}


def test_where_bfloat16_is_slow_it_is_timed_only_when_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark_training, "formats_to_time", lambda device: {"float32": None})
    for flags, formats in (((), {"float32"}), (("--formats", "bfloat16"), {"bfloat16"})):
        benchmark_training.main(["--shapes", "a", "--rounds", "1", "--rows", "1", "--device", "cpu",
                                 *flags, "--out", str(tmp_path)])
        found = json.loads((tmp_path / "benchmark_training.json").read_text())
        assert {row["format"] for row in found} == formats


def test_the_benchmark_compiles_both_loops_when_asked(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    runtime = benchmark_training.choose_runtime("cpu", "float32")
    for flags, count in (([], 0), (["--compile"], 2)):
        args = benchmark_training.parse_args(flags)
        benchmark_training.contenders((1, 2, 16, 8, 32, 2), runtime, args)
        assert len(compiled) == count


def test_schedules_are_compared_over_the_steps_that_are_asked(monkeypatch, tmp_path, capsys):
    runs = []
    monkeypatch.setattr(demo_schedules, "train", lambda name, steps, data, held_out, seed:
                        runs.append((steps, len(data))) or [(1, 3.0), (steps, 2.0)])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    demo_schedules.main(["--steps", "20", "--out", str(tmp_path)])
    assert runs == [(20, 20 * demo_schedules.ROWS)] * 3 * len(demo_schedules.COLORS)
    assert "nats per byte after 20 steps, 3 seeds" in capsys.readouterr().out


def test_the_mean_surprise_is_taken_over_as_many_texts_as_asked(run_script, tmp_path):
    story, means = [], []
    for count in (10, 40):
        done = run_script("part_4/demo_world.py", "--texts", count, "--out", tmp_path)
        told, mean = done.stdout.split(f"Entropy of the world, from {count} texts")
        story.append(told)
        means.append(mean)
    assert story[0] == story[1] and means[0] != means[1]
