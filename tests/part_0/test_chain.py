"""The chain of this repository: its scripts are there, its flags exist, and the main job runs it."""

import ast
import json
import re
from pathlib import Path
from types import SimpleNamespace

import chain
import demo_pipeline
import pipeline
import pytest
from asking import ASK_SECONDS, CHAT, EVALUATE, QUESTIONS, WRITE
from chain import STAGES

ROOT = Path(__file__).resolve().parent.parent.parent


def test_names_are_different_and_inputs_are_made_by_earlier_stages():
    made = set()
    for stage in STAGES:
        assert stage.name not in made and set(stage.inputs.values()) <= made
        made |= {stage.name, stage.checkpoint}


def test_quick_is_planned_for_at_most_15_minutes():
    seconds = sum(stage.seconds["quick"] + (ASK_SECONDS if stage.speaks else 0)
                  for stage in STAGES if not stage.is_optional)
    assert seconds <= 900


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_preset_of_a_stage_gives_its_script_flags_that_it_has(stage, run_script):
    text = run_script(stage.script, "--help").stdout
    known = set(re.findall(r"--[a-z][a-z0-9-]*", text))
    for preset in pipeline.PRESETS:
        flags = stage.flags[preset]
        given = [flag for flag in (*flags, *stage.resume, *stage.fresh, *stage.inputs, "--seed",
                                   "--out") if flag.startswith("--")]
        assert set(given) <= known
        if "--preset" in flags:
            choices = re.search(r"--preset \{([^}]*)\}", text)[1].split(",")
            assert flags[flags.index("--preset") + 1] in choices


@pytest.mark.parametrize("script", [CHAT, WRITE, EVALUATE])
def test_the_scripts_that_ask_have_the_flags_they_are_given(script, run_script):
    known = set(re.findall(r"--[a-z][a-z0-9-]*", run_script(script, "--help").stdout))
    assert "--checkpoint" in known
    source = (ROOT / "part_0" / "asking.py").read_text(encoding="utf-8")
    name = {CHAT: "CHAT", WRITE: "WRITE", EVALUATE: "EVALUATE"}[script]
    call = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)
                and ast.unparse(node.func) == "run_quietly" and ast.unparse(node.args[0]) == name)
    flags = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
    assert {flag for flag in flags if flag.startswith("--")} <= known


def test_the_questions_are_of_content_that_tuning_never_sees(modules_of):
    skills = modules_of("part_6", "sft.skills").skills
    for question in QUESTIONS:
        assert skills.bucket(skills.SKILLS[question.skill], question.key) == "held out", question


def test_a_summary_names_the_figure_that_was_not_measured():
    base = STAGES[1]
    assert chain.summary_of(base, {"bits_per_byte": 0.2411, "floor_bits_per_byte": 0.2}).startswith(
        "0.241 bits a byte")
    assert "base.json has no figure 'floor_bits_per_byte'" in chain.summary_of(
        base, {"bits_per_byte": 0.2})


# ---------------------------------------------------------------- the main job on small stages

@pytest.fixture
def main(house, monkeypatch):
    """main(*flags): the main job, with two small stages and one that is optional."""
    stages = [house.stage("part_4", name="base", speaks="text", metrics={"bits_per_byte": 0.24}),
              house.stage("part_1", name="moe", is_optional=True),
              house.stage("part_6", name="sft", speaks="chat", inputs={"--base": "part_4/base.pt"})]
    monkeypatch.setattr(demo_pipeline, "STAGES", stages)
    monkeypatch.setattr(demo_pipeline, "machine_slowness", lambda: 2.0)
    out = house.root / "all"
    house.counts = lambda: [len(path.read_text().splitlines()) if path.exists() else 0
                            for path in (out / part / "calls.txt"
                                         for part in ("part_4", "part_1", "part_6"))]
    house.out = out / "part_0"
    house.run = lambda *flags: demo_pipeline.main(["--out", str(out), *flags])
    return house


def test_the_main_job_runs_every_stage_once_and_leaves_the_report_card(main, capsys):
    main.run()
    printed = capsys.readouterr().out
    assert main.counts() == [1, 0, 1]
    assert {path.name for path in main.out.iterdir()} == {
        "pipeline.json", "pipeline.png", "report.json", "report.md", "report.html"}
    assert re.search(r"base +0 +a stage of part_4 +2\.0 minutes", printed)
    assert "in all about 4.1 minutes" in printed  # 2 stages of 60 s, 2 models of 2 s, twice as slow
    assert "== sft (2 of 2, seed 0): loss 1.25" in printed
    report = json.loads((main.out / "report.json").read_text())
    assert list(report["stages"]) == ["base", "sft"] and list(report["asked"]) == ["base", "sft"]
    main.run()
    assert main.counts() == [1, 0, 1]
    assert capsys.readouterr().out.count("done already") == 2


def test_a_long_plan_names_the_short_one(main, monkeypatch, capsys):
    monkeypatch.setattr(demo_pipeline, "machine_slowness", lambda: 11.0)  # 23 minutes in all
    main.run()
    assert ("for a first look: python part_0/demo_pipeline.py --preset smoke, about 2.9 minutes"
            in capsys.readouterr().out)  # 2 stages of 6 s, 2 models of 2 s
    main.run()  # everything is there
    assert "for a first look" not in capsys.readouterr().out


@pytest.mark.parametrize("n_cores, device, jobs", [(1, "cpu", 1), (2, "cpu", 2), (8, "cuda", 1)])
def test_two_stages_run_side_by_side_where_there_are_cores_for_them(monkeypatch, n_cores, device, jobs):
    monkeypatch.setattr(demo_pipeline, "cores", lambda: n_cores)
    monkeypatch.setattr(demo_pipeline, "choose_device", lambda name: (SimpleNamespace(type=device), ""))
    assert demo_pipeline.jobs_of(demo_pipeline.parse_args([])) == jobs
    assert demo_pipeline.jobs_of(demo_pipeline.parse_args(["--jobs", "3"])) == 3


@pytest.mark.parametrize("jobs", ["0", "9"])
def test_a_number_of_jobs_that_cannot_be_is_refused_before_anything_runs(main, jobs):
    with pytest.raises(ValueError, match=f"--jobs {jobs}: must be from 1 to 8"):
        main.run("--jobs", jobs)
    assert main.counts() == [0, 0, 0]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_every_stage_runs_once_and_the_plan_knows_what_runs_side_by_side(main, jobs, capsys):
    main.run("--moe", "--jobs", jobs)
    said = capsys.readouterr().out
    assert main.counts() == [1, 1, 1]
    assert ("side by side" in said) == (jobs == "2")
    assert f"in all about {(3 if jobs == '1' else 2) * 2 + 0.1:.1f} minutes" in said


def test_the_plan_counts_the_stages_whose_input_will_change(main, capsys):
    main.run()
    capsys.readouterr()
    main.run("--only", "base", "--seed", "1")
    main.run("--seed", "0")
    printed = capsys.readouterr().out.split("The plan")[2]
    assert "done already" not in printed
    assert main.counts() == [3, 0, 1]  # and one whose input came out the same is spared


def test_seeds_have_folders_of_their_own_and_are_reported_together(main):
    main.run("--seeds", "2", "--only", "base")
    report = json.loads((main.out / "report.json").read_text())
    assert report["seeds"] == [0, 1]
    assert [run["seed"] for run in report["stages"]["base"]["runs"]] == [0, 1]
    assert (main.out / "seed_1" / "part_4" / "base.pt").read_text() == "weights of seed 1 1"
    main.run("--seeds", "2", "--only", "base")
    assert main.counts() == [1, 0, 0]


def test_moe_runs_when_asked_for(main):
    main.run("--moe", "--from", "moe")
    assert main.counts() == [0, 1, 1]


def test_the_tiny_gpt_runs_only_when_asked_for(main, monkeypatch):
    gpt = main.stage("part_2", name="gpt", is_optional=True)
    monkeypatch.setattr(demo_pipeline, "STAGES", [gpt, *demo_pipeline.STAGES])
    there = main.out.parent / "part_2" / "gpt.pt"
    main.run()
    assert not there.exists()
    main.run("--gpt")
    assert there.exists() and main.counts() == [1, 0, 1]


def test_report_trains_nothing(main):
    with pytest.raises(ValueError, match="there is nothing to report"):
        main.run("--report")
    main.run("--only", "sft")
    main.run("--report")
    assert main.counts() == [0, 0, 1]
    report = json.loads((main.out / "report.json").read_text())
    assert list(report["stages"]) == ["sft"]


def test_a_model_that_cannot_be_asked_is_named_and_the_report_is_written(main):
    (main.root / "part_6" / "chat.py").write_text("raise SystemExit('error: out of words')")
    with pytest.raises(ValueError, match="the model of sft could not be asked.*out of words"):
        main.run()
    report = json.loads((main.out / "report.json").read_text())
    assert list(report["stages"]) == ["base", "sft"] and list(report["asked"]) == ["base"]


def test_the_plan_says_what_it_replaces(main, capsys):
    folder = main.root / "all" / "part_4"
    folder.mkdir(parents=True)
    (folder / "base.json").write_text('{"metrics": {"bits_per_byte": 1.0}}')
    main.run("--only", "base")
    assert "replaces base.json, which another command made" in capsys.readouterr().out


@pytest.mark.parametrize(("flags", "message"), [
    (("--seeds", "0"), "--seeds 0: must be from 1 to 100"),
    (("--only", "rlhf"), "--only rlhf: no such stage; choose one of base, moe, sft")])
def test_wrong_values_are_refused(main, flags, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        main.run(*flags)


def test_flags_for_the_device_reach_every_script(main):
    main.run("--only", "base", "--device", "cpu")
    assert "--device cpu" in (main.root / "all" / "part_4" / "calls.txt").read_text()


def test_a_smoke_run_replaces_nothing_of_a_longer_chain(tmp_path, monkeypatch):
    """Unless a folder is named, it has one of its own; the other presets write to the parts' own."""
    monkeypatch.setattr(demo_pipeline, "here", lambda file: tmp_path)
    monkeypatch.setattr(demo_pipeline, "out_folder", lambda file, out=None: Path(out or tmp_path / "out"))

    def chain(*flags):
        return demo_pipeline.chains_of(demo_pipeline.parse_args(flags))[0]
    assert chain("--preset", "smoke").file("part_4/base.pt") == tmp_path / "out/smoke/part_4/base.pt"
    assert chain("--preset", "smoke").home == tmp_path / "out/smoke/part_0"
    named = str(tmp_path / "mine")
    assert chain("--preset", "smoke", "--out", named).file("part_4/base.pt") == Path(named) / "part_4/base.pt"
    assert chain("--preset", "quick").file("part_4/base.pt") == pipeline.ROOT / "part_4/out/base.pt"
