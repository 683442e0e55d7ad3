"""0.2: what is measured on a GPU goes its whole path without one, and says where it did not get."""

import json
import sys
from pathlib import Path

import measure_gpu
import pytest
import torch
from measure_gpu import ALL_SECONDS, JOBS, TEST_SECONDS, Job, main, run, summary_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.scripts
def test_the_whole_path_runs_on_the_cpu_and_leaves_one_json_and_one_picture(tmp_path, run_script):
    done = run_script("part_0/measure_gpu.py", "--device", "cpu", "--quick", "--out", tmp_path)
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert {job.name for job in JOBS} | {"tests"} == set(found["jobs"])
    assert {row["status"] for row in found["jobs"].values()} == {"ok"}
    assert all("measured" in found["jobs"][job.name] for job in JOBS if job.leaves)
    assert found["summary"]["formats_agree"] and found["summary"]["tokens_per_second"] > 0
    assert (tmp_path / "gpu.png").read_bytes().startswith(b"\x89PNG") and found["quick"]
    assert "training 124m" in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="^nothing was measured: --device cuda: .*--device cpu --quick"):
        main(["--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_all_limits_together_keep_within_25_minutes_and_every_benchmark_is_asked():
    assert sum(job.seconds for job in JOBS) + TEST_SECONDS <= ALL_SECONDS == 1500
    there = {str(path.relative_to(ROOT)) for path in ROOT.glob("part_*/benchmark*.py")}
    assert there - {job.script for job in JOBS} == {"part_4/benchmark_bpe.py"}, "it is for CPUs"


def test_benchmarks_are_asked_with_flags_that_they_have():
    for job in JOBS:
        source = (ROOT / job.script).read_text(encoding="utf-8")
        flags = [word for word in f"{job.flags} {job.quick}".split() if word.startswith("--")]
        assert all(f'"{flag}"' in source for flag in flags), job
        assert job.leaves is None or job.leaves in source, job


def test_what_fails_or_takes_too_long_costs_its_own_figures_only(tmp_path, monkeypatch, capsys):
    scripts = {"good": "import sys, pathlib; p = pathlib.Path(sys.argv[4]); p.mkdir(parents=True);"
                       "(p / 'x.json').write_text('[1]')",
               "bad": "raise SystemExit('no such thing')", "slow": "import time; time.sleep(30)"}
    for name, text in scripts.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(measure_gpu, "ROOT", tmp_path)
    monkeypatch.setattr(measure_gpu, "JOBS", tuple(
        Job(name, f"{name}.py", "", "", 2, "x.json") for name in (*scripts, "gone")))
    with pytest.raises(ValueError, match="bad: failed .1. no such thing; slow: out of time .2 s.* gone: "
                                         "not there gone.py; tests: not there"):
        main(["--device", "cpu", "--out", str(tmp_path / "out")])
    jobs = json.loads((tmp_path / "out" / "gpu.json").read_text())["jobs"]
    assert jobs["good"]["status"] == "ok" and jobs["good"]["measured"] == [1]
    assert "measured" not in jobs["bad"] and (tmp_path / "out" / "gpu.png").exists()


def test_a_json_of_a_run_before_does_not_pass_for_a_new_one(tmp_path, monkeypatch):
    old = tmp_path / "out" / "gpu" / "bad"
    old.mkdir(parents=True)
    (old / "x.json").write_text("[1]")
    (tmp_path / "bad.py").write_text("raise SystemExit(1)")
    monkeypatch.setattr(measure_gpu, "ROOT", tmp_path)
    job = Job("bad", "bad.py", "", "", 5, "x.json")
    assert "measured" not in measure_gpu.run_job(job, "cpu", True, tmp_path / "out")


def test_the_summary_takes_our_own_rows_and_one_format_that_disagrees_counts():
    results = {"training 124m": {"measured": [
        {"variant": "plain loop", "mfu": 0.2, "tokens_per_second": 1.0},
        {"variant": "ours", "mfu": 0.5, "tokens_per_second": 2.0}]},
        "device": {"measured": {"formats": [{"agrees": True}, {"agrees": False}],
                                "attention": [{"tflops": 3.0}, {"tflops": 7.0}]}}}
    assert summary_of(results) == {"mfu": 0.5, "tokens_per_second": 2.0, "formats_agree": False,
                                   "attention_tflops": 7.0, "tests": None}
    assert summary_of({})["formats_agree"] is None


def test_a_process_that_is_out_of_time_is_ended():
    result = run([sys.executable, "-c", "import time; time.sleep(20)"], 1)
    assert result["status"] == "out of time (1 s)" and result["seconds"] < 10
