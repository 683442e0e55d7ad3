"""The scripts as a person runs them: a whole tiny chain, its files, and mistakes."""

import json
from dataclasses import replace

import pytest
import torch
from run.checkpoint import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.scripts
FAST = ("--device", "cpu", "--amp", "float32")
STEP = (*FAST, "--steps", 2, "--prompts", 4, "--group", 3, "--max-new", 12, "--look-every", 1,
        "--eval-problems", 4, "--eval-exact", 0, "--longest", 30, "--no-tensorboard")


def weights(path):
    return load_checkpoint(path)[0].state_dict()


def differ(a, b):
    return any(not torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def chain(tiny_sft, tmp_path_factory, starter):
    """cold.pt made by the script, once for all tests."""
    import sys

    from conftest import ROOT
    out = tmp_path_factory.mktemp("chain")
    done = starter.run([sys.executable, str(ROOT / "part_9/cold_start.py"), "--sft", str(tiny_sft),
                        *map(str, FAST), "--examples", "20", "--steps", "2", "--rows", "4",
                        "--out", str(out)], out, 300, None, {"PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, done.stderr
    return out


def test_a_cold_start_leaves_a_checkpoint_and_its_results(chain, tiny_sft):
    results = json.loads((chain / "cold.json").read_text())
    assert results["name"] == "cold" and results["metrics"]["examples"] > 10
    assert differ(weights(chain / "cold.pt"), weights(tiny_sft))


def test_a_run_with_the_checker_leaves_a_model_results_and_curves(chain, run_script, tmp_path):
    done = run_script("part_9/train_grpo.py", *STEP, "--model", chain / "cold.pt", "--out",
                      tmp_path)
    results = json.loads((tmp_path / "grpo.json").read_text())
    metrics = results["metrics"]
    assert {"accuracy_before", "accuracy_after", "pass_at_8_before", "kl", "end_rate"} \
        <= set(metrics)
    assert results["name"] == "grpo" and metrics["replies"] == 2 * 4 * 3
    assert set(metrics["splits"]) == {"new_operands", "longer", "new_wordings"}
    assert 0 <= metrics["direct_before"] <= 1 and 0 <= metrics["direct_after"] <= 1
    assert (tmp_path / "grpo.png").read_bytes().startswith(b"\x89PNG")
    lines = [json.loads(x) for x in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert sum("held_out" in line for line in lines) == 2
    assert [line["step"] for line in lines if "reward" in line] == [1, 2]
    assert all(line["first_ratio"] == pytest.approx(1) for line in lines if "reward" in line)
    assert "Held-out problems, greedy" in done.stdout
    load_checkpoint(tmp_path / "grpo.pt")


def test_what_was_learnt_is_safe_when_measuring_fails(chain, tmp_path, monkeypatch):
    import train_grpo
    from reasoning import grpo_report

    def fail(*_, **__):
        raise OSError("no more memory")
    monkeypatch.setattr(grpo_report, "reasoning_metrics", fail)
    with pytest.raises(SystemExit) as ended:
        train_grpo.main([*map(str, STEP), "--model", str(chain / "cold.pt"), "--out", str(tmp_path)])
    assert ended.value.code == 1
    assert load_checkpoint(tmp_path / "grpo.pt")[2]["step"] == 2


def test_a_run_with_a_reward_model_reports_true_quality(tiny_sft, run_script, tmp_path):
    from reward.checkpoint import save_reward
    from reward.model import RewardModel

    model, tokenizer, _ = load_checkpoint(tiny_sft)
    torch.manual_seed(0)
    save_reward(tmp_path / "reward.pt", RewardModel(model), tokenizer, mean=0.0, std=1.0,
                settings={}, metrics={})
    run_script("part_9/train_grpo.py", *STEP, "--reward", "model", "--model", tiny_sft,
               "--reward-model", tmp_path / "reward.pt", "--out", tmp_path)
    metrics = json.loads((tmp_path / "grpo_model.json").read_text())["metrics"]
    assert {"reward_before", "reward_after", "reward_std_before", "quality_before",
            "quality_after", "quality_ceiling", "kl", "end_rate"} <= set(metrics)
    assert differ(weights(tmp_path / "grpo_model.pt"), weights(tiny_sft)), "rewards differ"


def own_file(path, n=6, longest=""):
    lines = [{"question": f"{a} + 1?", "answer": f"#### {a + 1}"} for a in range(n)]
    lines += [{"question": " 0 +  1?", "answer": "#### $1.00"}]  # asked before
    lines += [{"question": longest, "answer": "#### 3"}] if longest else []
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_problems_of_ones_own_are_learnt_from_and_evaluated(chain, run_script, tmp_path):
    data = own_file(tmp_path / "p.jsonl", longest="bell " * 70)
    common = ("--data", data, "--longest", 9, "--out", tmp_path)
    done = run_script("part_9/train_grpo.py", *STEP, "--model", chain / "cold.pt", *common)
    assert (tmp_path / "grpo.png").exists()
    assert "8 problems, 5 to learn from, 1 held out by question; left out: 1 asked before, 1 that " \
        "with --max-new 12 do not fit into the context of 320" in " ".join(done.stdout.split())
    metrics = json.loads((tmp_path / "grpo.json").read_text())["metrics"]
    assert list(metrics["splits"]) == ["file"] and metrics["splits"]["file"]["after"]["n"] == 1
    assert {"accuracy_before", "accuracy_after", "pass_at_8_after", "majority_after"} <= set(metrics)
    assert not {"direct_after", "exact_match"} & set(metrics), "these are the world's"
    done = run_script("part_9/evaluate_reasoning.py", *FAST, "--checkpoint", tmp_path / "grpo.pt",
                      *common, "--show", 1)
    found = json.loads((tmp_path / "evaluate_reasoning.json").read_text())["file"]
    assert found["n"] == 8 and 0 <= found["accuracy"] <= 1 and "Accuracy by family" in done.stdout
    assert found["supported"] is None and found["right_without_support"] is None
    assert " - " in done.stdout.split("greedy")[1].split("Accuracy")[0], "not known, not 0.00"


def run_on(chain, tmp_path, *flags):
    import train_grpo
    own_file(tmp_path / "p.jsonl", 60)
    args = train_grpo.parse_args([*map(str, STEP), "--model", str(chain / "cold.pt"), "--data",
                                  str(tmp_path / "p.jsonl"), "--out", str(tmp_path), *flags])
    return train_grpo.Run(args)


def test_a_file_is_learnt_from_alone_and_what_is_held_out_is_never_asked(chain, tmp_path):
    run = run_on(chain, tmp_path)
    asked = {task.question for step in range(40) for task in run.tasks_of_step(step)}
    held = {problem.question for problem in run.held_out}
    assert asked and held and not asked & held and len(asked) + len(held) == 60
    assert run.settings.keep_rows == 0 and run.grpo.keep is None, "no world beside it"
    assert run_on(chain, tmp_path, "--keep-rows", "2").grpo.keep is not None, "unless asked for"


def test_all_reports_of_a_run_on_a_file_are_about_its_held_out_part(chain, tmp_path, monkeypatch):
    import train_grpo
    from reasoning import grpo_report
    own_file(tmp_path / "p.jsonl", 60)
    seen = {"look": [], "evaluate": [], "draw_samples": []}
    for module, name, key in ((train_grpo, "evaluate", "look"), (grpo_report, "evaluate", "evaluate"),
                              (grpo_report, "draw_samples", "draw_samples")):
        def watched(model, tokenizer, asked, *rest, real=getattr(module, name), key=key, **options):
            seen[key].append([p.question for p in asked])
            return real(model, tokenizer, asked, *rest, **options)
        monkeypatch.setattr(module, name, watched)
    built = []
    monkeypatch.setattr(train_grpo, "Run", lambda *args, real=train_grpo.Run: built.append(
        real(*args)) or built[0])
    train_grpo.main([*map(str, STEP[:-1]), "--eval-problems", "99", "--longest", "5",
                     "--no-tensorboard", "--model", str(chain / "cold.pt"), "--data",
                     str(tmp_path / "p.jsonl"), "--out", str(tmp_path)])
    held = [problem.question for problem in built[0].held_out]
    assert len(seen["look"]) == 2 and len(seen["evaluate"]) == len(seen["draw_samples"]) == 2
    assert all(asked == held for found in seen.values() for asked in found)


def test_what_tasks_writes_is_learnt_from(chain, run_script, tmp_path):
    run_script("part_9/show_problems.py", "--write", tmp_path / "p.jsonl")
    done = run_script("part_9/train_grpo.py", *STEP, "--steps", 1, "--look-every", 0, "--longest", 4,
                      "--model", chain / "cold.pt", "--data", tmp_path / "p.jsonl", "--out", tmp_path)
    assert "1,000 problems" in done.stdout and "0 asked before" in " ".join(done.stdout.split())


def test_an_answer_that_is_no_whole_number_does_not_end_a_run(chain, tmp_path, monkeypatch):
    import train_grpo
    for module in ("sft.evaluation", "reasoning.sampling", "reasoning.rewards"):
        monkeypatch.setattr(f"{module}.decode_reply",
                            lambda ids, tokenizer: "12 + 9 = 21. 21 - 4 = 17. The answer is 18.5.")
    train_grpo.main([*map(str, STEP), "--longest", "6", "--model", str(chain / "cold.pt"),
                     "--form-weight", "0", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "grpo.json").read_text())["metrics"]["accuracy_after"] == 0.0


def test_tools_are_trained_and_talked_to(chain, run_script, tmp_path):
    run_script("part_9/train_tools.py", *FAST, "--model", chain / "cold.pt", "--examples", 16,
               "--steps", 2, "--rows", 4, "--out", tmp_path)
    _, tokenizer, _ = load_checkpoint(tmp_path / "tools.pt")
    assert "<|calc|>" in tokenizer.special
    metrics = json.loads((tmp_path / "tools.json").read_text())["metrics"]
    assert {"sums_right", "names_right"} <= set(metrics)
    for model in (tmp_path / "tools.pt", chain / "cold.pt"):
        said = run_script("part_9/chat.py", "--checkpoint", model, "--longest", 6,
                          input="What is 1 + 2?\n/temperature 0.5\n/oops\n")
        assert "temperature 0.5" in said.stdout and "/oops: unknown" in said.stderr


@pytest.mark.parametrize("script, flags, message", [
    ("train_grpo", ("--model", "nowhere.pt"), "make it with: python part_9/cold_start.py"),
    ("train_grpo", ("--group", 1), "--group 1: must be at least 2"),
    ("train_grpo", ("--max-new", 4000), "the context has 320"),
    ("train_grpo", ("--data", "nowhere.jsonl"), "there is no such file"),
    ("train_grpo", ("--eval-problems", 0), "--eval-problems 0"),
    ("train_grpo", ("--longest", 0), "--longest 0 must be at least 1"),
    ("train_grpo", ("--data", "p.jsonl", "--families", "chain"), "leave out --families"),
    ("train_grpo", ("--data", "p.jsonl", "--reward", "model"), "leave out --reward model"),
    ("evaluate_reasoning", ("--longest", 0), "--longest 0: must be at least 1"),
    ("cold_start", ("--sft", "nowhere.pt"), "python part_6/train_sft.py"),
    ("cold_start", ("--steps", 0), "--steps 0: must be at least 1"),
    ("train_tools", ("--model", "nowhere.pt"), "python part_9/train_grpo.py"),
    ("evaluate_reasoning", ("--checkpoint", "nowhere.pt"), "python part_9/train_grpo.py"),
    ("demo_grpo", ("--seeds", 0), "--seeds 0"),
    ("demo_tool_use", ("--checkpoint", "nowhere.pt"), "python part_9/train_tools.py")])
def test_mistakes_end_in_one_line(run_script, chain, script, flags, message):
    if script == "train_grpo" and "--model" not in flags:
        flags = (*flags, "--model", chain / "cold.pt")
    done = run_script(f"part_9/{script}.py", *flags, check=False)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("script, flags", [
    ("evaluate_reasoning", ("--show", "-1")), ("train_grpo", ("--form-weight", "-1")),
    ("page", ("--port", "-1")), ("page", ("--port", "65536")), ("page", ("--host", "''"))])
def test_a_number_without_a_meaning_is_refused_at_once(script, flags, monkeypatch):
    module = __import__(script)
    monkeypatch.setattr(module, "Server", None, raising=False)
    with pytest.raises(ValueError, match=" ".join(flags)):
        module.main([flags[0], flags[1].strip("'")])


def test_the_benchmark_compares_and_splits_the_time(run_script, tmp_path):
    done = run_script("part_9/benchmark_grpo.py", *FAST, "--quick", "--out", tmp_path)
    found = json.loads((tmp_path / "benchmark_grpo.json").read_text())
    assert {"update", "rollout", "split"} <= set(found) and "sequences/s" in done.stdout


# ---------------------------------------------------------------- what the flags change


def test_one_question_is_answered_at_the_asked_temperature(run_script, tiny_sft):
    def said(*flags, input="Hello.\n"):
        return run_script("part_9/chat.py", "--checkpoint", tiny_sft, "--longest", 8, *flags,
                          input=input).stdout

    greedy = said()
    assert greedy == said("--temperature", 0, "--seed", 3)
    assert greedy == said("--prompt", "Hello.", input="What is 3 + 4?\n"), "then the chat leaves"
    warm = said("--temperature", 1.5, "--seed", 3)
    assert warm == said("--temperature", 1.5, "--seed", 3) != greedy
    assert warm != said("--temperature", 1.5, "--seed", 4)


def test_the_system_line_opens_the_conversation(run_script, tiny_sft, tmp_path):
    run_script("part_9/chat.py", "--checkpoint", tiny_sft, "--longest", 8, "--system", "Be brief.",
               "--temperature", 1.5, input="Hello.\n/save kept.jsonl\n")
    kept = json.loads((tmp_path / "kept.jsonl").read_text())["messages"]
    assert [m["content"] for m in kept][:2] == ["Be brief.", "Hello."]
    assert [m["role"] for m in kept] == ["system", "user", "assistant"]


def test_at_a_peak_of_nothing_nothing_is_learnt(chain, tiny_sft, run_script, tmp_path):
    few = (*FAST, "--peak", 1e-12, "--examples", 16, "--steps", 1, "--rows", 2, "--out", tmp_path)
    run_script("part_9/cold_start.py", *few, "--sft", tiny_sft)
    run_script("part_9/train_tools.py", *few, "--model", tiny_sft)
    before = weights(tiny_sft)
    for name in ("cold.pt", "tools.pt"):
        after = weights(tmp_path / name)
        for key, value in before.items():  # the tools' tokens are new rows
            torch.testing.assert_close(after[key][:len(value)], value, rtol=0, atol=1e-6)
    assert differ(weights(chain / "cold.pt"), before)


def test_problems_are_of_the_asked_families_and_form_earns_its_weight(chain, tmp_path):
    import train_grpo
    from reasoning.tasks import problems

    run = train_grpo.Run(train_grpo.parse_args(
        [*map(str, STEP), "--model", str(chain / "cold.pt"), "--families", "chain", "--form-weight",
         "0.5", "--out", str(tmp_path)]))
    assert {problem.family for problem in run.tasks} == {"chain"}
    [problem] = problems(1, "train", 0, ("chain",))
    assert run.make_score().reward(problem, problem.gold, True) == pytest.approx(1.5)


def test_problems_of_the_asked_split_are_shown(run_script):
    from reasoning.task_families import FAMILIES
    from reasoning.tasks import problems

    done = run_script("part_9/show_problems.py", "--split", "longer", "--show", 3)
    for problem in problems(3 * len(FAMILIES), "longer", 0):
        assert problem.question in done.stdout and problem.gold in done.stdout


def test_as_many_problems_are_answered_and_mistakes_shown_as_asked(chain, run_script, tmp_path):
    done = run_script("part_9/evaluate_reasoning.py", *FAST, "--checkpoint", chain / "cold.pt",
                      "--problems", 4, "--show", 2, "--out", tmp_path)
    found = json.loads((tmp_path / "evaluate_reasoning.json").read_text())
    assert {split["n"] for split in found.values()} == {4} and len(found) == 3
    assert done.stdout.count("\nasked ") == 2


def test_demos_ask_a_given_model_as_often_as_the_flags_say(loaded, run_script, tmp_path):
    model, tokenizer = loaded
    config = replace(model.config, block_size=448)  # a token a letter: long questions, long replies
    save_checkpoint(tmp_path / "roomy.pt", weights=model.state_dict(), config=config,
                    tokenizer=tokenizer, step=0, settings={}, metrics={})
    run_script("part_9/demo_self_consistency.py", *FAST, "--checkpoint", tmp_path / "roomy.pt",
               "--problems", 2, "--out", tmp_path)
    assert json.loads((tmp_path / "self_consistency.json").read_text())["n"] == 2
    run_script("part_9/train_tools.py", *FAST, "--model", tmp_path / "roomy.pt", "--examples", 8,
               "--steps", 1, "--rows", 2, "--out", tmp_path)
    run_script("part_9/demo_tool_use.py", *FAST, "--checkpoint", tmp_path / "tools.pt", "--sums", 1,
               "--out", tmp_path)
    assert json.loads((tmp_path / "tool_use.json").read_text())["n"] == 1


def test_demos_draw_as_many_rollouts_samples_and_seeds_as_asked(monkeypatch, watch, tmp_path):
    import demo_group_baseline
    import demo_kl_estimators
    import demo_ppo_vs_grpo

    out = ["--out", str(tmp_path)]
    gradients = watch(demo_group_baseline, "gradients")
    demo_group_baseline.main(["--rollouts", "2", *out])
    assert [call.seed for call in gradients] == [0, 1]
    numbers = watch(demo_kl_estimators, "as_number")
    demo_kl_estimators.main(["--quick", "--samples", "300", *out])
    assert {call.n for call in numbers} == {300}, "as given, with --quick too"
    runs = []
    monkeypatch.setattr(demo_ppo_vs_grpo, "learn", lambda name, steps, seed: runs.append(
        (name, seed)) or {"curve": [(0, 0.1), (8, 0.2)], "score": 0.2, "seconds": 1.0,
                          "kilobytes": 1.0})
    demo_ppo_vs_grpo.main(["--seeds", "2", *out])
    assert runs == [(name, seed) for name in ("PPO", "GRPO") for seed in (0, 1)]


def test_the_benchmark_takes_as_many_rounds_and_prompts_as_asked(monkeypatch, watch, tmp_path):
    import benchmark_grpo

    monkeypatch.setattr(benchmark_grpo, "SIZES", {"r1": (1, 64), "r2": (1, 64)})
    steps = watch(benchmark_grpo.GRPO, "step")
    updates = watch(benchmark_grpo.GRPO, "update")
    benchmark_grpo.main([*FAST, "--prompts", "2", "--rounds", "2", "--out", str(tmp_path)])
    # two sizes, two rounds and a warm-up: a step, its update, and the update alone
    # (FAST says float32)
    assert len(steps) == 2 * (2 + 1) and len(updates) == 2 * 2 * (2 + 1)
    assert {len(call.batch.rows) for call in updates} == {2 * benchmark_grpo.GROUP}


def test_where_bfloat16_is_slow_the_benchmark_does_without(monkeypatch, tmp_path):
    import benchmark_grpo

    monkeypatch.setattr(benchmark_grpo, "formats_to_time", lambda device: {"float32": None})
    benchmark_grpo.main(["--quick", "--prompts", "1", "--device", "cpu", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "benchmark_grpo.json").read_text())
    assert list(found["update"]) == ["r1 float32"]
