"""Stages run once, in processes of their own; what changed runs again; one run at a time."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pipeline
import pytest


def done(house, stage, **settings):
    return pipeline.is_done(stage, house.chain(**settings))


def test_a_stage_that_ran_is_done_and_its_results_are_returned(house):
    stage = house.stage("part_1")
    assert not done(house, stage)
    assert house.run_stage(stage, house.chain())["metrics"] == {"loss": 1.25}
    assert done(house, stage)


def test_other_settings_or_another_seed_or_changed_code_run_again(house):
    house.run_stage(house.stage("part_1"), house.chain())
    assert not done(house, house.stage("part_1", size="2"))
    assert not done(house, house.stage("part_1"), seed=1)
    assert not done(house, house.stage("part_1"), common=("--device", "cpu"))
    script = house.root / "part_1" / "make.py"
    script.write_text(script.read_text() + "# changed\n")
    assert not done(house, house.stage("part_1"))


def test_only_the_code_that_a_script_imports_counts(house):
    script, sibling = house.root / "part_1" / "make.py", house.root / "part_1" / "sibling.py"
    script.write_text("from middle import x\n" + script.read_text())
    (house.root / "part_1" / "middle.py").write_text("import sibling\nfrom room import lamp\nx = 1\n")
    sibling.write_text("y = 1\n")
    lamp = house.root / "part_1" / "room" / "lamp.py"
    lamp.parent.mkdir()
    lamp.write_text("w = 1\n")
    (house.root / "part_1" / "chat.py").write_text("z = 1\n")
    house.run_stage(house.stage("part_1"), house.chain())
    (house.root / "part_1" / "chat.py").write_text("z = 2\n")
    assert done(house, house.stage("part_1"))
    for changed in (sibling, lamp):
        before = changed.read_text()
        changed.write_text("y = 2\n")
        assert not done(house, house.stage("part_1"))
        changed.write_text(before)
        assert done(house, house.stage("part_1"))


def test_a_stage_runs_again_when_its_input_changed(house):
    first = house.stage("part_1")
    second = house.stage("part_2", inputs={"--base": first.checkpoint})
    house.run_stage(first, house.chain())
    house.run_stage(second, house.chain())
    assert done(house, second)
    house.run_stage(house.stage("part_1", size="3"), house.chain())
    assert not done(house, second)


def test_a_result_that_is_missing_or_of_another_command_runs_again(house):
    stage, path = house.stage("part_1"), house.root / "part_1" / "out" / "of_part_1.json"
    house.run_stage(stage, house.chain())
    whole = path.read_text()
    path.unlink()
    assert not done(house, stage)
    path.write_text(whole.replace("1.25", "0.75"))
    assert not done(house, stage)
    path.write_text(whole)
    assert done(house, stage)


def test_a_result_that_is_not_a_number_counts_as_the_same(house):
    stage = house.stage("part_1", metrics={"loss": float("nan")})
    house.run_stage(stage, house.chain())
    assert done(house, stage)


def test_inputs_and_results_follow_the_out_folder(house, tmp_path):
    stage = house.stage("part_2", inputs={"--base": "part_1/of_part_1.pt"})
    chain = house.chain(seed=5, out=tmp_path / "x", common=("--device", "cpu"))
    command = pipeline.command_of(stage, chain)
    assert command[-2:] == ["--base", str(tmp_path / "x" / "part_1" / "of_part_1.pt")]
    assert command[command.index("--out") + 1] == str(tmp_path / "x" / "part_2")
    assert command[command.index("--seed") + 1] == "5"
    assert command[command.index("--device") + 1] == "cpu"


def test_a_failing_stage_is_named_and_says_how_to_go_on(house):
    with pytest.raises(ValueError, match="of_part_1 ended with status 1.*goes on from of_part_1"):
        house.run_stage(house.stage("part_1", size="broken"), house.chain())
    assert not done(house, house.stage("part_1", size="broken"))


def test_a_stage_that_ends_without_a_new_result_is_not_done(house):
    house.run_stage(house.stage("part_1"), house.chain())
    with pytest.raises(ValueError, match="was stopped before its end.*no new"):
        house.run_stage(house.stage("part_1", size="half"), house.chain())
    assert not done(house, house.stage("part_1", size="half"))


# ---------------------------------------------------------------- stopping and going on

def interrupt_when(path, number=signal.SIGINT):
    """Send ourselves a signal, as the terminal does, as soon as a file is there."""
    def wait_and_send():
        until = time.time() + 60
        while not path.exists() and time.time() < until:
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=wait_and_send, daemon=True).start()


def test_ctrl_c_lets_the_stage_save_and_the_next_start_resumes_it(house):
    stage = house.stage("part_1", size="slow", resume=("--resume",), fresh=("--fresh",))
    folder = house.root / "part_1" / "out"
    interrupt_when(folder / "started")
    with pytest.raises(KeyboardInterrupt):
        house.run_stage(stage, house.chain())
    assert (folder / "saved").read_text() == "half of it"
    assert not done(house, stage) and pipeline.can_go_on(stage, house.chain())
    house.run_stage(stage, house.chain())
    assert done(house, stage)
    first, second = house.calls("part_1")
    assert "--resume" not in first and "--fresh" not in first and "--resume" in second
    note = pipeline.note_of(stage, house.chain())
    assert "started" not in note and note["wall_seconds"] > 0


def test_a_request_to_end_does_what_ctrl_c_does(house):
    stage = house.stage("part_1", size="slow", resume=("--resume",))
    interrupt_when(house.root / "part_1" / "out" / "started", signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), pipeline.stopped_like_ctrl_c():
        house.run_stage(stage, house.chain())
    assert (house.root / "part_1" / "out" / "saved").exists()


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pipeline.stopped_like_ctrl_c():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def start(house, stage, key):
    """Note an attempt that was begun and not ended."""
    pipeline.write_note(stage, house.chain(), {"started": key, "spent": 100.0})


def test_the_seconds_of_all_attempts_are_counted(house):
    stage = house.stage("part_1", resume=("--resume",))
    start(house, stage, pipeline.key_of(stage, house.chain()))
    house.run_stage(stage, house.chain())
    note = pipeline.note_of(stage, house.chain())
    assert 100 <= note["wall_seconds"] < 160, "what was spent before counts"
    assert pipeline.estimate(stage, house.chain(), slower=9) == note["wall_seconds"]


def test_an_attempt_with_other_settings_is_not_resumed_but_cleared(house):
    stage = house.stage("part_1", resume=("--resume",), fresh=("--fresh",))
    start(house, stage, "another key")
    house.run_stage(stage, house.chain())
    assert house.calls("part_1")[0].count("--fresh") == 1
    assert "--resume" not in house.calls("part_1")[0]
    assert pipeline.note_of(stage, house.chain())["wall_seconds"] < 60


def test_a_stage_that_refuses_its_old_attempt_starts_anew_the_next_time(house):
    stage = house.stage("part_1", size="refuses", resume=("--resume",), fresh=("--fresh",))
    start(house, stage, pipeline.key_of(stage, house.chain()))
    for _ in range(2):
        with pytest.raises(ValueError, match="ended with status 2"):
            house.run_stage(stage, house.chain())
    assert ["--resume" in call for call in house.calls("part_1")] == [True, False]
    assert "--fresh" in house.calls("part_1")[1]


def test_a_stage_that_never_ran_is_estimated_by_the_speed_of_the_machine(house):
    assert pipeline.estimate(house.stage("part_1"), house.chain(), slower=2.5) == 150


# ---------------------------------------------------------------- choosing, one at a time, notes

def test_from_and_only_choose_stages_and_refuse_unknown_names(house):
    stages = [house.stage("part_1"), house.stage("part_2")]
    assert pipeline.choose(stages, None, None) == stages
    assert pipeline.choose(stages, "of_part_2", None) == stages[1:]
    assert pipeline.choose(stages, None, "of_part_1") == stages[:1]
    with pytest.raises(ValueError, match="--from part_7: no such stage; choose one of of_part_1"):
        pipeline.choose(stages, "part_7", None)


def test_an_optional_stage_runs_only_when_it_is_named(house):
    plain, extra = house.stage("part_1"), house.stage("part_2", is_optional=True)
    assert pipeline.choose([plain, extra], None, None) == [plain]
    assert pipeline.choose([plain, extra], None, None, ("of_part_2",)) == [plain, extra]
    assert pipeline.choose([plain, extra], None, "of_part_2") == [extra]
    assert pipeline.choose([extra, plain], "of_part_2", None) == [extra, plain]


def test_a_second_run_in_the_same_folder_is_refused(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    try:
        for text in (f"{other.pid}", f"{gone.pid} {other.pid}"):  # it, or the stage it left behind
            (tmp_path / "pipeline.lock").write_text(text)
            with (pytest.raises(ValueError, match=f"another run .process {other.pid}. works in"),
                  pipeline.only_one(tmp_path)):
                pass
            assert (tmp_path / "pipeline.lock").read_text() == text
    finally:
        other.kill()
        other.wait()


def test_the_lock_names_the_stage_that_works(house):
    lock = house.root / "home" / "pipeline.lock"
    stage = house.stage("part_1", size="slow")
    seen = []

    def look():
        until = time.time() + 60
        while not (house.root / "part_1" / "out" / "started").exists() and time.time() < until:
            time.sleep(0.02)
        seen.extend(int(text) for text in lock.read_text().split())
        seen.append(pipeline.is_alive(seen[-1]))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=look, daemon=True).start()
    with pytest.raises(KeyboardInterrupt), pipeline.only_one(house.root / "home") as path:
        house.run_stage(stage, house.chain(), path)
    assert seen[0] == os.getpid() and seen[1] != os.getpid() and seen[2] is True


def test_a_lock_left_by_a_dead_run_is_taken_over_and_removed_after(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "pipeline.lock").write_text(str(gone.pid))
    with pipeline.only_one(tmp_path):
        assert (tmp_path / "pipeline.lock").read_text() == str(os.getpid())
    assert not (tmp_path / "pipeline.lock").exists()


def test_a_broken_state_file_counts_as_none(house):
    for text in ('{"half": ', json.dumps([1]), '{"of_part_1": 3}', '{"of_part_1": {"results": 1}}'):
        (house.root / "home" / "pipeline.json").write_text(text)
        assert not done(house, house.stage("part_1"))
    house.run_stage(house.stage("part_1"), house.chain())
    assert done(house, house.stage("part_1"))
