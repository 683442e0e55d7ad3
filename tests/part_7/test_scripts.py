"""The scripts as a person runs them: a tiny run from end to end, files, mistakes."""

import gzip
import json
import re

import pytest
from reward.checkpoint import load_reward

pytestmark = pytest.mark.scripts
SMALL = ("--items", 24, "--held-out-items", 12, "--rows", 16, "--amp", "float32")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reward")


@pytest.fixture
def trained(run_script, tiny_base, run_folder):
    """A tiny reward model, made once."""
    path = run_folder / "reward.pt"
    if not path.exists():
        run_script("part_7/train_reward.py", *SMALL, "--sft", tiny_base, "--out", run_folder)
    return path


def test_a_run_leaves_a_model_results_and_pictures(trained):
    results = json.loads(trained.with_suffix(".json").read_text())
    metrics = results["metrics"]
    assert results["name"] == "reward" and results["tokens"] > 0
    for name in ("accuracy", "accuracy_ceiling", "new_fault_accuracy", "rank_correlation",
                 "calibration_error", "true_accuracy"):
        assert -1 <= metrics[name] <= 1, name
    assert {"wrong", "rude", "model"} <= set(metrics["right_against"])
    model, _, content = load_reward(trained, "")
    assert model.reply_token is not None and content["metrics"] == metrics
    assert content["std"] > 0
    for name in ("reward.png", "calibration.png"):
        assert (trained.parent / name).read_bytes().startswith(b"\x89PNG")
    lines = (trained.parent / "log.jsonl").read_text().splitlines()
    assert {"loss", "right", "rate"} < set(json.loads(lines[0]))


def test_evaluation_and_scores_of_what_was_trained(run_script, trained, tiny_base, tmp_path):
    run_script("part_7/evaluate_reward.py", "--checkpoint", trained, "--sft", tiny_base,
               "--items", 8, "--amp", "float32", "--out", tmp_path)
    assert 0 <= json.loads((tmp_path / "evaluate_reward.json").read_text())["accuracy"] <= 1
    done = run_script("part_7/score.py", "--checkpoint", trained, "--prompt", "What is 3 + 4?",
                      "--reply", "7", "--reply", "banana", "--by-token")
    assert "banana" in done.stdout and "score so far" in done.stdout


@pytest.mark.parametrize("demo", ["ranking", "sanity", "score_by_token"])
def test_demos_look_at_a_trained_model(run_script, trained, tmp_path, demo):
    few = ("--items", 6) if demo == "sanity" else ()
    run_script(f"part_7/demo_{demo}.py", "--checkpoint", trained, *few, "--amp", "float32",
               "--out", tmp_path)
    assert (tmp_path / f"{demo}.png").exists()


def test_losses_are_compared_and_what_is_done_is_kept(run_script, tiny_base, tmp_path):
    small = ("--items", 12, "--held-out-items", 8, "--seeds", 2, "--amp", "float32",
             "--sft", tiny_base, "--out", tmp_path)
    run_script("part_7/compare_reward.py", *small, "--only", "ranking", "--only", "scratch")
    runs = json.loads((tmp_path / "compare_reward.json").read_text())["runs"]
    assert [(run["variant"], run["seed"]) for run in runs] == [
        ("ranking", 0), ("scratch", 0), ("ranking", 1), ("scratch", 1)]
    done = run_script("part_7/compare_reward.py", *small, "--only", "ranking")
    assert "done in" not in done.stdout, "nothing is trained twice"
    assert (tmp_path / "compare_reward.png").exists()
    refused = run_script("part_7/compare_reward.py", *small, "--items", 13, check=False)
    assert refused.returncode == 2 and "give another --out" in refused.stderr


@pytest.mark.parametrize("ending", [".json", ".jsonl.gz"])
def test_files_of_ones_own_are_learnt_and_measured(run_script, tiny_base, tmp_path, ending):
    records = [{"instruction": f"What is {a} + 1?", "input": "", "chosen": str(a + 1),
                "rejected": f"{a + 1}. Go away."} for a in range(30)]
    records += [{"instruction": "Say it.", "chosen": "x", "rejected": "x"}]
    path = tmp_path / f"pairs{ending}"
    if ending == ".json":
        path.write_text(json.dumps(records))
    else:
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))
    done = run_script("part_7/train_reward.py", *SMALL, "--sft", tiny_base, "--data", path,
                      "--out", tmp_path / "o")
    assert "record 31: both replies are the same" in done.stdout
    metrics = json.loads((tmp_path / "o" / "reward.json").read_text())["metrics"]
    assert metrics["held_out_pairs"] == 3 and "accuracy_ceiling" not in metrics
    run_script("part_7/evaluate_reward.py", "--checkpoint", tmp_path / "o" / "reward.pt",
               "--data", path, "--amp", "float32", "--out", tmp_path / "e")
    assert (tmp_path / "e" / "calibration.png").exists()


def test_pairs_are_shown_and_written(run_script, tmp_path):
    done = run_script("part_7/show_pairs.py", "--show", 4, "--write", tmp_path / "p.jsonl.gz")
    assert "preferred" in done.stdout
    lines = gzip.decompress((tmp_path / "p.jsonl.gz").read_bytes()).decode().splitlines()
    assert len(lines) == 4 and set(json.loads(lines[0])) == {"chosen", "rejected"}


def test_the_benchmark_reads_the_same_rows_both_ways(run_script, tmp_path):
    run_script("part_7/benchmark_siblings.py", "--quick", "--amp", "float32", "--out", tmp_path)
    found = json.loads((tmp_path / "benchmark_siblings.json").read_text())
    for row in found.values():
        assert row["tokens shared"] < row["tokens own rows"]
        assert row["difference"] < 1e-4 and row["step shared"] > 0
    assert (tmp_path / "benchmark.png").exists()


@pytest.mark.parametrize("script, flags, message", [
    ("benchmark_siblings", ("--rounds", 0), "--rounds 0"),
    ("train_reward", ("--sft", "nowhere.pt"), "make it with: python part_6/train_sft.py"),
    ("train_reward", ("--data", "nowhere.json"), "there is no such file"),
    ("train_reward", ("--start", "base", "--base", "nowhere.pt"), "python part_4/train.py"),
    ("train_reward", ("--smoothing", 0.7), "smoothing=0.7"),
    ("evaluate_reward", ("--checkpoint", "nowhere.pt"), "python part_7/train_reward.py"),
    ("score", ("--checkpoint", "nowhere.pt", "--prompt", "a", "--reply", "b"),
     "python part_7/train_reward.py"),
    ("demo_ranking", ("--checkpoint", "nowhere.pt"), "python part_7/train_reward.py"),
    ("compare_reward", ("--draw",), "is missing"),
])
def test_mistakes_end_in_one_line(run_script, tiny_base, tmp_path, script, flags, message):
    extra = ()
    if script == "train_reward":
        extra = (*SMALL, *(() if "--sft" in flags else ("--sft", tiny_base)))
    out = () if script == "score" else ("--out", tmp_path)
    done = run_script(f"part_7/{script}.py", *extra, *flags, *out, check=False)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


# ---------------------------------------------------------------- what the flags change


def test_pairs_are_of_the_asked_split_and_as_many(run_script, tmp_path):
    from reward.preferences import asked_items

    run_script("part_7/show_pairs.py", "--show", 3, "--split", "validation", "--write",
               tmp_path / "p.jsonl")
    pairs = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    prompts = {item.prompt for item in asked_items(3, "validation", 0)}
    assert len(pairs) == 3 and {pair["chosen"][-2]["content"] for pair in pairs} <= prompts


def test_one_of_as_many_replies_is_picked_as_asked(trained, tiny_base, watch, tmp_path):
    import evaluate_reward

    drawn = watch(evaluate_reward, "draw_replies")
    for pick in ("3", "0"):
        evaluate_reward.main(["--checkpoint", str(trained), "--sft", str(tiny_base), "--items", "6",
                              "--pick", pick, "--amp", "float32", "--out", str(tmp_path)])
        metrics = json.loads((tmp_path / "evaluate_reward.json").read_text())
        assert ("quality_of_the_one_picked" in metrics) == (pick == "3")
    assert [call.each for call in drawn] == [3]


def test_a_system_line_is_part_of_what_is_scored(run_script, trained):
    def table(*flags):
        return run_script("part_7/score.py", "--checkpoint", trained, "--prompt", "What is 3 + 4?",
                          "--reply", "7", *flags).stdout

    assert table() == table("--system", "") != table("--system", "Answer in capital letters.")


def test_labels_are_flipped_or_shuffled_as_asked(run_script, tiny_base, watch, tmp_path, capsys):
    import train_reward
    from reward import sources as reward_sources

    def flipped(*flags):
        train_reward.main([*map(str, SMALL), "--sft", str(tiny_base), "--out", str(tmp_path),
                           "--no-tensorboard", *flags])
        return float(re.search(r"([\d.]+)% flipped", capsys.readouterr().out)[1])

    drawn = watch(reward_sources, "draw_replies")
    assert flipped("--flipped", "0", "--drawn", "3") == 0
    assert [call.each for call in drawn] == [reward_sources.DRAWN, 3], "held out, then to learn from"
    assert 30 < flipped("--flipped", "0", "--shuffle-labels") < 70
    assert (tmp_path / "log.jsonl").exists() and not (tmp_path / "tensorboard").exists()
