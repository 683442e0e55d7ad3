"""The scripts as a person runs them: tiny runs, stop and resume, files, mistakes."""

import json
import re

import pytest
import torch
from run.checkpoint import load_checkpoint

pytestmark = pytest.mark.scripts
SMALL = ("--steps", 4, "--pool", 10, "--kept", 0.5, "--prompts", 4, "--copies", 2,
         "--minibatch", 4, "--micro-rows", 4, "--max-new", 6, "--save-every", 2, "--amp", "float32", "--no-tensorboard",
         "--eval-prompts", 0)
DEMOS = ("ablation", "benchmark_rollout")  # what begins with demo_: tests/test_scripts.py


@pytest.fixture
def models(tiny_sft, tiny_reward):
    return ("--sft", tiny_sft, "--reward", tiny_reward)


def weights(path):
    return load_checkpoint(path)[0].state_dict()


def test_runs_leave_models_results_and_pictures_and_are_compared(run_script, models, tmp_path):
    out = tmp_path / "o"
    few = ("--eval-prompts", 4, "--eval-samples", 2, "--eval-exact", 4, "--out", out)
    run_script("part_8/train_ppo.py", *SMALL, *models, *few)
    run_script("part_8/train_dpo.py", "--items", 12, "--pairs-a-step", 8, "--amp", "float32",
               *models, *few)
    for name in ("ppo", "dpo"):
        results = json.loads((out / f"{name}.json").read_text())
        assert results["name"] == name and results["tokens"] > 0
        assert {"reward_before", "reward_after", "reward_std_before", "quality_before",
                "quality_after", "quality_gain_interval", "quality_ceiling", "quality_cool",
                "answer_right_before", "answer_right_after", "rude_before", "rude_after",
                "idle_before", "idle_after", "greedy_changed", "kl", "end_rate"} <= set(results["metrics"])
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(line["first_ratio"] == 1.0 for line in lines)
    assert {"score", "kl", "entropy", "clip_fraction", "explained_variance", "length", "end_rate",
            "approx_kl", "value_loss", "policy_loss"} <= set(lines[0])
    done = run_script("part_8/evaluate_ppo.py", *models, "--policy", out / "ppo.pt", "--policy",
                      out / "dpo.pt", "--prompts", 4, "--samples", 2, "--exact", 4, "--best-of", 2,
                      "--show", 1, "--amp", "float32", "--out", tmp_path / "e")
    assert "best of 2" in done.stdout and (tmp_path / "e" / "evaluate_ppo.png").exists()
    rows = json.loads((tmp_path / "e" / "evaluate_ppo.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["tuned", "ppo", "dpo", "tuned at 0.2", "best of 2"]
    done = run_script("part_8/show_kl.py", "--sft", models[models.index("--sft") + 1], "--policy",
                      out / "ppo.pt", "--prompts", 6, "--show", 2, "--widest", 80, "--amp", "float32",
                      "--out", tmp_path / "k")
    assert "end token" in done.stdout and (tmp_path / "k" / "show_kl.png").exists()


def test_a_stopped_run_goes_on_to_the_very_same_weights(run_script, models, tmp_path):
    common = (*SMALL, *models)
    run_script("part_8/train_ppo.py", *common, "--out", tmp_path / "a")
    run_script("part_8/train_ppo.py", *common, "--out", tmp_path / "b", "--stop-at", 2)
    assert not (tmp_path / "b" / "ppo.pt").exists()
    refused = run_script("part_8/train_ppo.py", *common, "--out", tmp_path / "b", "--resume",
                         "--clip", 0.3, check=False)
    assert refused.returncode == 2 and "clip: was 0.2, now 0.3" in refused.stderr
    run_script("part_8/train_ppo.py", *common, "--out", tmp_path / "b", "--resume")
    one, other = weights(tmp_path / "a" / "ppo.pt"), weights(tmp_path / "b" / "ppo.pt")
    assert all(torch.equal(one[name], other[name]) for name in one)
    straight, resumed = ((tmp_path / name / "log.jsonl").read_bytes() for name in "ab")
    assert straight == resumed


def test_files_of_ones_own_are_learnt_from(run_script, models, tmp_path):
    chats = [{"instruction": "What is 3 + 4?", "input": "", "output": "7"}]
    (tmp_path / "one.json").write_text(json.dumps(chats))
    run_script("part_8/train_ppo.py", *SMALL, *models, "--data", tmp_path / "one.json", "--out",
               tmp_path / "o")
    assert (tmp_path / "o" / "ppo.pt").exists(), "a prompt set of one"
    pairs = [{"prompt": f"What is {n} + 1?", "chosen": str(n + 1), "rejected": str(n)}
             for n in range(9)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    done = run_script("part_8/train_dpo.py", *models, "--data", tmp_path / "pairs.jsonl",
                      "--pairs-a-step", 4, "--eval-prompts", 0, "--amp", "float32", "--out",
                      tmp_path / "d")
    assert "9 prompt and texts records" in done.stdout and "7 pairs (0 left out)" in done.stdout


def test_a_collapsing_run_is_stopped_and_named(run_script, models, tmp_path):
    done = run_script("part_8/train_ppo.py", *SMALL, *models, "--peak", 3, "--max-norm", 0,
                      "--stop-kl", 0, "--target-kl", 0.1, "--warmup", 0,
                      "--out", tmp_path / "o", check=False)
    assert done.returncode == 2 and "collapsed and was stopped: step" in done.stderr
    assert not (tmp_path / "o" / "ppo.pt").exists()


@pytest.mark.parametrize("script, flags, message", [
    ("train_ppo", ("--sft", "nowhere.pt"), "make it with: python part_6/train_sft.py"),
    ("train_ppo", ("--reward", "nowhere.pt"), "make it with: python part_7/train_reward.py"),
    ("train_ppo", ("--minibatch", 3), "--minibatch 3 does not divide the 8 rows"),
    ("train_ppo", ("--max-new", 256), "the context has 256 tokens"),
    ("train_ppo", ("--data", "nowhere.json"), "there is no such file"),
    ("train_dpo", ("--beta", 0), "--beta 0.0: must be above 0"),
    ("evaluate_ppo", ("--policy", "nowhere.pt"), "make it with: python part_8/train_ppo.py"),
])
def test_mistakes_end_in_one_line(run_script, models, script, flags, message):
    common = SMALL if script == "train_ppo" else ()
    done = run_script(f"part_8/{script}.py", *common, *models, *flags, check=False)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_a_negative_number_of_replies_to_show_is_refused():
    import evaluate_ppo

    with pytest.raises(ValueError, match="--show -1"):
        evaluate_ppo.main(["--show", "-1"])


@pytest.mark.slow
@pytest.mark.parametrize("name", DEMOS)
def test_demos_run_and_draw(run_script, tmp_path, name):
    run_script(f"part_8/{name}.py", "--quick", "--out", tmp_path)
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_drawn_cooler_the_tuned_model_is_surer_and_without_a_temperature_it_is_left_out(run_script, models, tiny_sft,
                                                                  tmp_path):
    common = ("part_8/evaluate_ppo.py", *models, "--policy", tiny_sft, "--prompts", 4, "--samples",
              2, "--exact", 0, "--best-of", 0, "--show", 0, "--amp", "float32", "--out", tmp_path)
    names = {}
    for cool in ((), (0.3,)):
        run_script(*common, "--cool", *cool)
        rows = json.loads((tmp_path / "evaluate_ppo.json").read_text())["rows"]
        names[cool] = [row["name"] for row in rows]
    assert names == {(): ["tuned", "sft"], (0.3,): ["tuned", "sft", "tuned at 0.3"]}
    assert rows[0]["kl"] == rows[1]["kl"] == 0 and rows[2]["kl"] > 0.5
    assert "a temperature is above 0" in run_script(*common, "--cool", -1, check=False).stderr


# ---------------------------------------------------------------- what the flags change


def test_every_safeguard_is_taken_away_with_every_seed(monkeypatch, tmp_path):
    import ablation

    runs = []
    monkeypatch.setattr(ablation, "tuned_model", lambda seed: None)
    monkeypatch.setattr(ablation, "learn_score", lambda tuned, seed: None)
    monkeypatch.setattr(ablation, "one_run", lambda name, seed, steps, tuned, score: runs.append(
        (name, seed, steps)) or dict.fromkeys(ablation.COLUMNS, 0.5))
    ablation.main(["--steps", "7", "--seeds", "2", "--seed", "4", "--out", str(tmp_path)])
    assert runs == [(name, seed, 7) for seed in (4, 5) for name in ablation.WITHOUT]


@pytest.mark.parametrize("formats", [1, 2])  # one where bfloat16 is slow
def test_rollouts_are_timed_for_the_asked_prompts_and_rounds(monkeypatch, watch, tmp_path, formats):
    import benchmark_rollout

    monkeypatch.setattr(benchmark_rollout, "formats_to_time", lambda device: dict(
        [("float32", None), ("bfloat16", torch.bfloat16)][:formats]))

    monkeypatch.setattr(benchmark_rollout, "SIZES", {"r1": (1, 64), "r2": (1, 64)})
    calls = watch(benchmark_rollout, "roll_out")
    benchmark_rollout.main(["--prompts", "2", "--rounds", "2", "--alone", "3", "--device", "cpu", "--out",
                            str(tmp_path)])
    alone = [call for call in calls if call.size == 1]
    together = [call for call in calls if call.size == 2 * benchmark_rollout.COPIES]
    # two sizes, two rounds and a warm-up
    assert len(alone) == 2 * formats * (2 + 1) * 3
    assert len(together) == 2 * formats * (2 + 1) * 2
    assert {len(call.prompts) for call in together} == {2, 2 * benchmark_rollout.COPIES}


def test_a_good_token_has_no_slope_above_the_asked_clip(run_script, tmp_path):
    for clip, expected in ((0.1, {1.2, 1.5}), (0.4, {1.5}), (0.6, set())):
        done = run_script("part_8/demo_clipping.py", "--clip", clip, "--out", tmp_path)
        table = [[float(cell.replace("−", "-")) for cell in line.split()]
                 for line in done.stdout.splitlines() if re.match(r" *\d", line)]
        assert len(table) == 7
        assert {ratio for ratio, _, slope, *_ in table if slope == 0} == expected


def test_every_bug_is_shown_for_the_asked_steps(monkeypatch, tmp_path):
    import demo_wrong_on_purpose as demo

    asked = []
    monkeypatch.setattr(demo, "tuned_model", lambda seed: None)
    monkeypatch.setattr(demo, "make_ppo", lambda score, settings, seed, tuned, kind: asked.append(
        (kind, settings.steps)))
    monkeypatch.setattr(demo, "take_steps", lambda ppo: [
        {"step": 1, "quality": 0.5, "kl": 1.0, "length": 4.0, "entropy": 1.0, "clip_fraction": 0.0}])
    demo.main(["--steps", "3", "--out", str(tmp_path)])
    assert asked == [(kind, 3) for kind in demo.KINDS.values()]


def test_with_lambda_0_an_advantage_is_its_own_step_alone(run_script, tmp_path):
    def columns(*flags):
        done = run_script("part_8/demo_gae.py", *flags, "--out", tmp_path)
        table = done.stdout.split("largest difference")[0].splitlines()[-5:]
        return [line.split()[-4:-2] for line in table]  # delta, advantage

    assert all(delta == advantage for delta, advantage in columns("--lam", 0))
    assert any(delta != advantage for delta, advantage in columns("--lam", 0.5))


def test_a_learnt_score_does_not_show_in_which_order_it_was_added_up():
    """Rounded to float32, as PPO gets it: else the same seed ends in other runs."""
    import demo_overoptimization as demo
    from rl.rollout import roll_out
    from rl.toy_task import END, MOST, PAD, prompts, qualities, tuned_model
    model = tuned_model(0)
    seen = roll_out(model, prompts(256, 99), MOST, end=END, pad=PAD,
                    generator=torch.Generator().manual_seed(0))
    table, quality = demo.counts(seen), qualities(seen)
    scores = []
    for seed in range(4):
        order = torch.randperm(len(table), generator=torch.Generator().manual_seed(seed))
        weights = demo.fitted(table[order], quality[order])
        scores.append((table.double() @ weights.double()).float())
    assert all(torch.equal(one, scores[0]) for one in scores[1:])
    ours = demo.learn_score(model, 0)(seen)
    assert ours.dtype == torch.float32 and torch.corrcoef(torch.stack([ours, quality]))[0, 1] > 0.7
