"""The main job as a reader runs it, from an empty folder: every stage learns. Slow: minutes a seed."""

import json

import pytest

MAIN = "part_0/demo_pipeline.py"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_from_an_empty_folder_every_stage_learns(run_script, tmp_path, seed):
    out = tmp_path / "all"
    done = run_script(MAIN, "--seed", seed, "--out", out, timeout=7200)
    report = json.loads((out / "part_0" / "report.json").read_text(encoding="utf-8"))
    assert report["preset"] == "quick" and report["seeds"] == [seed]  # all of it made by this command
    found = {name: stage["runs"][0]["results"]["metrics"]
             for name, stage in report["stages"].items()}
    assert list(found) == ["base", "sft", "reward", "ppo", "dpo", "cold", "grpo"]
    assert all(f"== {name} (" in done.stdout for name in found)

    base, floor = found["base"]["bits_per_byte"], found["base"]["floor_bits_per_byte"]
    assert floor < base < 1.5 * floor
    asked = {name: answers[0]["skills"]["new_items"] for name, answers in report["asked"].items()}
    assert list(asked) == ["base", "sft", "ppo", "dpo", "grpo"]
    for name in ("sft", "ppo", "dpo", "grpo"):  # surely better than before, by intervals of 95%
        assert asked[name]["interval"][0] > asked["base"]["interval"][1], name
        assert asked[name]["end_rate"] > 0.97, name
    assert 0.7 < found["reward"]["accuracy"] < found["reward"]["accuracy_ceiling"] + 0.03
    assert found["ppo"]["quality_gain_interval"][0] > 0
    assert 0 < found["ppo"]["kl"] < 2 and found["ppo"]["end_rate"] > 0.97
    assert found["dpo"]["train_accuracy"] > 0.6 and found["dpo"]["quality_gain"] > 0
    assert found["grpo"]["accuracy_after"] > found["grpo"]["accuracy_before"] + 0.1

    again = run_script(MAIN, "--seed", seed, "--out", out, timeout=600)
    assert again.stdout.count("done already") == len(found) and "asking" not in again.stdout
