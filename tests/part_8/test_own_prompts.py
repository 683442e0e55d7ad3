"""Prompts and pairs of one's own file in PPO and DPO: held out from it, and reported as such."""

import json

import pytest
from rl.own_files import file_pairs, file_prompts
from rl.ppo_loop import PPO
from rl.ppo_settings import PPOSettings
from run.checkpoint import load_checkpoint

SMALL = ["--steps", "2", "--prompts", "4", "--copies", "2", "--minibatch", "4", "--micro-rows", "4",
         "--max-new", "6", "--amp", "float32", "--no-tensorboard"]
ASKED = {"role": "user", "content": "Name a fruit."}


def written(path, *records):
    path.write_text("\n".join(map(json.dumps, records)))
    return path


def pairs(n):
    return [{"prompt": f"What is {a}?", "chosen": f"{a}", "rejected": "Go away."} for a in range(n)]


@pytest.fixture
def models(tiny_sft, tiny_reward):
    return ["--sft", str(tiny_sft), "--reward", str(tiny_reward)]


def test_prompts_are_taken_from_records_of_any_shape_each_once(loaded, tmp_path):
    said = {"role": "assistant", "content": "Plum."}
    same = [{"messages": [ASKED]}, {"messages": [ASKED, said]}, {"prompt": "name  a FRUIT."},
            {"prompt": [ASKED]}, {"instruction": "Name a fruit."},
            {"conversations": [{"from": "human", "value": "Name a fruit."}]},
            {"chosen": "\n\nHuman: Name a fruit.\n\nAssistant: a",
             "rejected": "\n\nHuman: Name a fruit.\n\nAssistant: b"}]
    more = [{"prompt": f"What is {n}?"} for n in range(9)]
    learnt, held_out, about = file_prompts(written(tmp_path / "p.jsonl", *same, *more), loaded[1], 99)
    assert len(learnt) + len(held_out) == 10 and len(held_out) == 2 and about["prompts"] == 10
    assert not {tuple(p) for p in learnt} & {tuple(p) for p in held_out}


def test_ppo_reports_the_reward_on_held_out_prompts_of_the_file(models, tmp_path, monkeypatch):
    import train_ppo
    from rl import ppo_report

    monkeypatch.setattr(ppo_report, "compare", None)  # the little world has no part in it
    seen = []
    monkeypatch.setattr(train_ppo, "prompts_of_step", lambda pool, *rest: seen.extend(pool) or
                        (pool * 4)[:4])
    path = written(tmp_path / "p.jsonl", *({"prompt": f"What is {n}?"} for n in range(12)))
    train_ppo.main([*SMALL, *models, "--data", str(path), "--eval-samples", "2", "--out",
                    str(tmp_path)])
    metrics = json.loads((tmp_path / "ppo.json").read_text())["metrics"]
    assert metrics["held_out_prompts"] == 2 and metrics["file"] == "p.jsonl"
    assert {"reward_before", "reward_after", "reward_gain_interval", "kl"} <= set(metrics)
    assert "quality_after" not in metrics and "exact_match" not in metrics
    assert len({tuple(p) for p in seen}) == 10


def test_ppo_goes_on_only_with_the_same_records(run_script, models, tmp_path):
    common = ("part_8/train_ppo.py", *SMALL, *models, "--data", tmp_path / "p.jsonl", "--out",
              tmp_path / "o", "--eval-prompts", 0)
    written(tmp_path / "p.jsonl", *pairs(9))
    run_script(*common, "--stop-at", 1)
    written(tmp_path / "p.jsonl", *pairs(3))
    refused = run_script(*common, "--resume", check=False)
    assert refused.returncode == 2 and "data: was" in refused.stderr
    written(tmp_path / "p.jsonl", *pairs(9))
    run_script(*common, "--resume")


@pytest.mark.parametrize("flags", [("--eval-exact", "-1"), ("--eval-samples", "0"),
                                   ("--eval-prompts", "-1")])
@pytest.mark.parametrize("script", ["train_ppo", "train_dpo"])
def test_a_report_that_could_not_be_made_is_refused_before_training(models, script, flags):
    module = __import__(script)
    with pytest.raises(ValueError, match=flags[0]):
        module.main([*models, *flags])


def test_dpo_uses_as_many_pairs_as_asked_and_reports_held_out_ones(models, tmp_path, monkeypatch,
                                                                  watch):
    import train_dpo

    trained = watch(train_dpo, "train")
    titles = watch(train_dpo.plotting, "figure")
    path = written(tmp_path / "p.jsonl", *pairs(30), *pairs(30))
    train_dpo.main([*models, "--data", str(path), "--pairs", "20", "--pairs-a-step", "8", "--amp",
                    "float32", "--out", str(tmp_path)])
    metrics = json.loads((tmp_path / "dpo.json").read_text())["metrics"]
    assert len(trained[0].pairs) == metrics["pairs"] == 20 and metrics["held_out_pairs"] == 3
    assert 0 <= metrics["held_out_accuracy"] <= 1 and "quality_after" not in metrics
    title = str(vars(titles[0]))
    assert "pairs of p.jsonl as they are labelled" in title and "flipped" not in title


def test_held_out_pairs_share_no_prompt(tmp_path):
    records = [{"prompt": f"What is {n % 6}?", "chosen": f"{n}", "rejected": "x"} for n in range(30)]
    learnt, held_out, _ = file_pairs(written(tmp_path / "p.jsonl", *records), lambda pair: True, 99)
    assert held_out and not {p.prompt for p in learnt} & {p.prompt for p in held_out}


@pytest.mark.parametrize("script, name, owner", [("train_ppo", "ppo", "rl.ppo_report.held_out"),
                                                 ("train_dpo", "dpo", "train_dpo.report")])
@pytest.mark.parametrize("fault", [KeyboardInterrupt(), ZeroDivisionError("division by zero")])
def test_what_was_learnt_is_safe_when_measuring_fails(models, tmp_path, monkeypatch, capsys, script,
                                                      name, owner, fault):
    def fail(*_, **__):
        raise fault
    module = __import__(script)
    monkeypatch.setattr(owner, fail)
    few = SMALL if script == "train_ppo" else ["--amp", "float32"]
    with pytest.raises(SystemExit) as ended:
        module.main([*few, *models, "--data", str(written(tmp_path / "p.jsonl", *pairs(9))), "--out",
                     str(tmp_path)])
    assert ended.value.code == 1 and f"{name}.pt is written" in capsys.readouterr().err
    load_checkpoint(tmp_path / f"{name}.pt")
    assert (tmp_path / f"{name}.json").exists()


def test_the_last_rollout_is_learnt_from(loaded, runtime):
    import torch

    settings = PPOSettings(steps=1, prompts=2, copies=2, minibatch=4, micro_rows=4, max_new=4,
                           warmup=0.0)
    ppo = PPO(loaded[0], lambda rollout: torch.rand(4), settings, end=loaded[1].end,
              pad=loaded[1].pad, runtime=runtime, seed=0)
    assert ppo.step([[1, 2], [3]])["rate"] > 0
