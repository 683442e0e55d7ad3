"""The training script's files and messages, and the arithmetic of the comparison."""

import json
from types import SimpleNamespace

import pytest
import torch
from compare_moe import Job, build, is_done, jobs_of, name_of, open_comparison, summary
from hybrid import HybridGPT
from learning import learn
from model import GPTConfig
from moe import MoEConfig
from moe_checkpoint import load_moe
from runtime import Runtime
from schedule import Schedule

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

    def batch(self, step: int, rows: int):
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
