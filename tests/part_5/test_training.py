"""The training script's files and messages, and the arithmetic of the comparison."""

import json
import random
import re
from pathlib import Path
from types import SimpleNamespace

import benchmark_moe
import compare_moe
import demo_expert_parallel
import demo_moe
import pytest
import torch
from compare_moe import Job, build, is_done, jobs_of, name_of, open_comparison, summary
from gpt.model import GPTConfig
from moe.checkpoint import load_moe, save_moe
from moe.hybrid import HybridGPT
from moe.layer import MoEConfig
from moe.learning import learn
from run.runtime import Runtime
from run.schedule import Schedule
from text.tokenizer import Tokenizer

SMALL = ("--steps", 2, "--world-megabytes", 0.1, "--amp", "float32", "--device", "cpu")


def test_training_leaves_a_checkpoint_its_results_and_its_curves(run_script, tmp_path):
    done = run_script("part_5/train_moe.py", *SMALL, "--out", tmp_path, "--layers", "dmbm")
    results = json.loads((tmp_path / "moe.json").read_text())
    assert set(results["metrics"]) == {"val_loss", "bits_per_byte", "max_load"}
    assert results["name"] == "moe" and results["tokens"] == 2 * 16 * 128
    assert 3 < results["metrics"]["val_loss"] < 7.5
    assert 1 <= results["metrics"]["max_load"] <= 8
    assert (tmp_path / "train_moe.png").exists() and "val_loss" in done.stdout
    model, tokenizer, content = load_moe(tmp_path / "moe.pt")
    assert model.kinds == "dmbm" and content["metrics"] == results["metrics"]
    assert model.count_parameters() == results["parameters"]
    assert tokenizer.vocab_size == model.config.vocab_size
    lines = [json.loads(line) for line in (tmp_path / "moe_log/log.jsonl").read_text().splitlines()]
    assert sum("max_load" in line for line in lines) == 2


@pytest.mark.parametrize("flags, says", [
    (("--n-active", 9), "n_active=9 of n_expert=8"),
    (("--capacity", 0), "capacity=0.0"),
    (("--balance", "luck"), "balance='luck'"),
    (("--layers", "dddd"), "no layer has experts"),
])
def test_settings_that_do_not_fit_are_refused_in_one_line(run_script, tmp_path, flags, says):
    done = run_script("part_5/train_moe.py", *SMALL, *flags, "--out", tmp_path, check=False)
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr


class OneRow:
    """Rows of one repeated pattern, in place of prepared shards."""

    begin = 19

    def batch(self, step: int, rows: int, *process):
        ids = (torch.arange(17) * 7 % 19).repeat(rows, 1)
        return ids[:, :-1], ids[:, 1:]


def test_learning_lowers_the_loss_and_moves_the_biases_once_a_step():
    torch.manual_seed(0)
    config = GPTConfig(vocab_size=20, block_size=16, n_layer=2, n_head=2, n_embd=16)
    model = HybridGPT(config, MoEConfig(n_expert=4, balance="bias", bias_rate=0.125))
    runtime = Runtime(torch.device("cpu"), None, "", "")
    reports = [report for _, report in learn(model, OneRow(), runtime, Schedule(peak=1e-2, low=1e-3),
                                             steps=8, rows_a_step=4)]
    assert reports[-1].loss < reports[0].loss - 0.2
    steps = torch.stack([moe.router.bias for moe in model.moes]) / 0.125
    torch.testing.assert_close(steps, steps.round())  # whole steps of eq. 5.6
    assert 0 < steps.abs().max() <= 8


def test_the_compared_models_have_equal_active_and_equal_total_sizes():
    dense, experts, large = (build(kind, 96, 500) for kind in ("dense", "experts", "dense, large"))
    router = 3 * 8 * 96
    assert experts.count_active() == dense.count_parameters() + router
    assert experts.count_parameters() == large.count_parameters() + router


def run(kind, seed, loss, steps=240):
    return {"kind": kind, "seed": seed, "val_loss": loss, "bits_per_byte": loss, "steps": steps,
            "parameters": 5}


def test_gains_are_taken_seed_by_seed():
    runs = [run("dense", 0, 2.0), run("dense", 1, 3.0), run("experts", 0, 1.9),
            run("experts", 1, 3.1)]
    found = summary(runs, {"dense": 0.1, "experts": 0.2})["experts"]
    assert found["gain"] == pytest.approx(0.0) and found["wins"] == 1 and found["runs"] == 2
    assert found["spread"] == pytest.approx(1.2 / 2 ** 0.5)
    assert found["seconds"] == pytest.approx(48)


def test_the_longer_run_takes_the_seconds_of_the_experts():
    args = SimpleNamespace(seed=0, seeds=2, steps=240, only=None)
    jobs = jobs_of(args, {"dense": 0.10, "experts": 0.16})
    assert Job("dense, longer", 1, 384) in jobs and len(jobs) == 8
    runs = [run("dense", 0, 2.0), run("experts", 0, 1.9)]
    assert is_done(Job("dense", 0, 240), runs) and not is_done(Job("dense", 1, 240), runs)


def test_runs_with_other_settings_are_not_mixed(tmp_path):
    path = tmp_path / "compare_world.json"
    assert open_comparison(path, {"n_embd": 96}) == {
        "settings": {"n_embd": 96}, "step_seconds": {}, "runs": []}
    path.write_text(json.dumps({"settings": {"n_embd": 64}, "step_seconds": {}, "runs": [1]}))
    assert open_comparison(path, {"n_embd": 64})["runs"] == [1]
    with pytest.raises(ValueError, match="delete it"):
        open_comparison(path, {"n_embd": 96})


def test_names_of_data_make_names_of_files():
    assert name_of("../my text.txt") == "my_text" and name_of("world+stdlib") == "world_stdlib"


# ---------------------------------------------------------------- what the flags change

@pytest.fixture(scope="module")
def quaggas(tmp_path_factory):
    """A text of one's own, whose words are few: enough of it for rows to learn and to judge."""
    rng = random.Random(0)
    words = ["quagga", *("".join(rng.choices("abcdefghijklmnop", k=6)) for _ in range(200))]
    path = tmp_path_factory.mktemp("own") / "quaggas.txt"
    path.write_text("\n".join(" ".join(rng.choices(words, k=12)) + " quagga."
                              for _ in range(4500)))
    return path


def test_the_flags_make_the_experts_and_choose_the_text(quaggas, run_script, tmp_path):
    run_script("part_5/train_moe.py", *SMALL, "--data", quaggas, "--n-expert", 2, "--n-active", 1,
               "--n-shared", 1, "--scale", 1.5, "--gate", "sigmoid", "--balance-weight", 0.5,
               "--out", tmp_path)
    model, tokenizer, _ = load_moe(tmp_path / "moe.pt")
    assert model.moe_config == MoEConfig(n_expert=2, n_active=1, n_shared=1, scale=1.5,
                                         gate="sigmoid", balance_weight=0.5)
    assert len(tokenizer.encode(" quagga")) == 1, "the text that was asked for was read"


def test_the_demo_shows_the_experts_of_a_given_model(monkeypatch, tmp_path, capsys):
    tokenizer = Tokenizer.from_merges([])
    config = GPTConfig(vocab_size=tokenizer.vocab_size, block_size=128, n_layer=1, n_head=2,
                       n_embd=16)
    model = HybridGPT(config, MoEConfig(n_expert=2, n_active=1))
    save_moe(tmp_path / "moe.pt", model, tokenizer, step=0, settings={}, metrics={})
    train = demo_moe.train
    monkeypatch.setattr(demo_moe, "train", lambda balance, texts, runtime, steps, seed: train(
        balance, texts, runtime, 2, seed))
    demo_moe.main(["--quick", "--checkpoint", str(tmp_path / "moe.pt"), "--device", "cpu", "--out",
                   str(tmp_path)])
    shown = re.findall(r"\[(\d)\]", capsys.readouterr().out)
    assert len(shown) > 10 and set(shown) <= {"0", "1"}, "the demo's own model has 8 experts"


def test_a_comparison_grows_kind_by_kind_and_is_drawn_without_training(quaggas, monkeypatch, watch,
                                                                       tmp_path):
    monkeypatch.setattr(compare_moe, "time_steps", lambda *rest: dict.fromkeys(
        compare_moe.KINDS, 0.1))
    jobs = watch(compare_moe, "run_job")
    common = ["--data", str(quaggas), "--out", str(tmp_path)]
    flags = [*common, *SMALL[4:], "--steps", "6", "--seeds", "2", "--n-embd", "16"]
    with pytest.raises(ValueError, match="no runs of both dense and experts"):
        compare_moe.main([*flags, "--only", "dense"])
    compare_moe.main([*flags, "--only", "experts"])
    assert [call.job for call in jobs] == [Job("dense", 0, 6), Job("dense", 1, 6),
                                           Job("experts", 0, 6), Job("experts", 1, 6)]
    found = json.loads((tmp_path / "compare_quaggas.json").read_text())
    size = build("dense", 16, jobs[0].texts.tokenizer.vocab_size).count_parameters()
    assert [run["parameters"] for run in found["runs"][:2]] == [size] * 2
    picture = tmp_path / "compare_quaggas.png"
    picture.unlink()
    compare_moe.main([*common, "--draw"])
    assert picture.is_file() and len(jobs) == 4, "nothing was trained again"


@pytest.mark.parametrize("formats", [1, 2])  # one where bfloat16 is slow
def test_the_benchmark_times_layers_of_the_asked_sizes(watch, monkeypatch, tmp_path, formats):
    monkeypatch.setattr(benchmark_moe, "formats_to_time", lambda device: dict(
        [("float32", None), ("bfloat16", torch.bfloat16)][:formats]))
    measured, clocks = watch(benchmark_moe, "measure"), watch(benchmark_moe, "synchronize")
    flags = ("--tokens", 32, "--n-embd", 16, "--n-hidden", 24, "--n-expert", 4, "--n-active", 3,
             "--rounds", 2, "--device", "cpu", "--out", tmp_path)
    benchmark_moe.main([str(flag) for flag in flags])
    for call in measured:
        ours, dense = call.layers["sorted (ours, CPU)"], call.layers["dense"]
        assert ours.experts.gate_up.shape == (4, 2 * 24, 16) and ours.config.n_active == 3
        assert sum(p.numel() for p in dense.parameters()) == 3 * 16 * (3 * 24)
        assert call.args.tokens == 32
    # two rounds of warm-up and two that count, before and after each of six layers
    assert len(clocks) == formats * (2 + 2) * 2 * 6
    assert (tmp_path / "benchmark.png").is_file()


def test_routers_that_do_not_lean_leave_no_expert_with_all_tokens(run_script, tmp_path):
    done = run_script("part_5/demo_collapse.py", "--steps", 1, "--lean", 0, "--device", "cpu",
                      "--out", tmp_path)
    assert "\n1 steps, 8 experts" in done.stdout
    first = re.search(r"^no balancing +([\d.]+) ", done.stdout, re.MULTILINE)[1]
    assert float(first) < 5, "8 would be all of them, as with the default"


def test_processes_are_timed_for_as_many_rounds_as_asked(monkeypatch, tmp_path):
    asked = []

    def launch(function, world, sizes, rounds, seed, path):
        asked.append((world, rounds))
        Path(path).write_text(json.dumps([
            {"processes": world, "tokens": tokens, "compute": 1.0, "communication": 1.0,
             "megabytes": 1.0, "difference": 0.0} for tokens in sizes]))
    monkeypatch.setattr(demo_expert_parallel, "launch", launch)
    demo_expert_parallel.main(["--rounds", "3", "--out", str(tmp_path)])
    assert asked == [(1, 3), (2, 3), (4, 3)]
