"""Stages run once, in processes of their own; what changed runs again; one run at a time."""

import json
import os
import subprocess
import sys

import pipeline
import pytest
from pipeline import Stage

SCRIPT = '''
import argparse, json, pathlib
parser = argparse.ArgumentParser()
for flag in ("--seed", "--out", "--size", "--base"):
    parser.add_argument(flag)
args = parser.parse_args()
if args.size == "broken":
    raise SystemExit("error: broken on purpose")
out = pathlib.Path(args.out)
out.mkdir(parents=True, exist_ok=True)
(out / "model.pt").write_text(f"weights of seed {args.seed} {args.size}")
(out / "model.json").write_text(json.dumps({"metrics": {"val_loss": 1.25}}))
'''


def stage(part, size="1", inputs=None):
    return Stage(name=part, title="a stage", script=f"{part}/make.py", result="model.json",
                 seconds={"quick": 1.0}, flags={"quick": ("--size", size)},
                 summary="loss {val_loss:.2f}", inputs=inputs or {})


@pytest.fixture
def house(tmp_path, monkeypatch):
    """Two parts with a script each, in a folder of their own."""
    for part in ("part_1", "part_2"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "make.py").write_text(SCRIPT)
    monkeypatch.setattr(pipeline, "ROOT", tmp_path)
    return tmp_path


def run(a_stage, house, seed=0):
    pipeline.run_stage(a_stage, "quick", seed, None)
    return pipeline.note_done(a_stage, house / "state.json", "quick", seed, 1.0, None)


def done(a_stage, house, seed=0):
    state = pipeline.load_state(house / "state.json")
    return pipeline.is_done(a_stage, state, "quick", seed, None)


def test_a_stage_that_ran_is_done_and_its_results_are_returned(house):
    assert not done(stage("part_1"), house)
    assert run(stage("part_1"), house)["metrics"] == {"val_loss": 1.25}
    assert done(stage("part_1"), house)


def test_other_settings_or_another_seed_or_changed_code_run_again(house):
    run(stage("part_1"), house)
    assert not done(stage("part_1", size="2"), house)
    assert not done(stage("part_1"), house, seed=1)
    (house / "part_1" / "make.py").write_text(SCRIPT + "# changed\n")
    assert not done(stage("part_1"), house)


def test_a_stage_runs_again_when_its_input_changed(house):
    second = stage("part_2", inputs={"--base": "part_1/model.pt"})
    run(stage("part_1"), house)
    run(second, house)
    assert done(second, house)
    run(stage("part_1", size="3"), house)
    assert not done(second, house)


def test_a_missing_result_file_runs_again(house):
    run(stage("part_1"), house)
    (house / "part_1" / "out" / "model.json").unlink()
    assert not done(stage("part_1"), house)


def test_inputs_and_results_follow_the_out_folder(house, tmp_path):
    second = stage("part_2", inputs={"--base": "part_1/model.pt"})
    command = pipeline.command_of(second, "quick", 5, tmp_path / "x")
    assert command[-2:] == ["--base", str(tmp_path / "x" / "part_1" / "model.pt")]
    assert command[command.index("--out") + 1] == str(tmp_path / "x" / "part_2")
    assert command[command.index("--seed") + 1] == "5"


def test_a_failing_stage_is_named_and_says_how_to_go_on(house):
    with pytest.raises(ValueError, match="stage part_1 ended with status 1.*goes on from part_1"):
        pipeline.run_stage(stage("part_1", size="broken"), "quick", 0, None)


def test_from_and_only_choose_stages_and_refuse_unknown_names():
    stages = [stage("part_1"), stage("part_2")]
    assert pipeline.choose(stages, None, None) == stages
    assert pipeline.choose(stages, "part_2", None) == stages[1:]
    assert pipeline.choose(stages, None, "part_1") == stages[:1]
    with pytest.raises(ValueError, match="--from part_7: no such stage; choose one of part_1"):
        pipeline.choose(stages, "part_7", None)


def test_a_second_run_in_the_same_folder_is_refused(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (tmp_path / "pipeline.lock").write_text(str(other.pid))
        with (pytest.raises(ValueError, match=f"another run .process {other.pid}. works in"),
              pipeline.only_one(tmp_path)):
            pass
        assert (tmp_path / "pipeline.lock").read_text() == str(other.pid)
    finally:
        other.kill()
        other.wait()


def test_a_lock_left_by_a_dead_run_is_taken_over_and_removed_after(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "pipeline.lock").write_text(str(gone.pid))
    with pipeline.only_one(tmp_path):
        assert (tmp_path / "pipeline.lock").read_text() == str(os.getpid())
    assert not (tmp_path / "pipeline.lock").exists()


def test_a_broken_state_file_counts_as_none(tmp_path):
    (tmp_path / "state.json").write_text('{"half": ')
    assert pipeline.load_state(tmp_path / "state.json") == {}
    (tmp_path / "state.json").write_text(json.dumps([1]))
    assert pipeline.load_state(tmp_path / "state.json") == {}
