"""The trainings of this part are killed and go on to the same bytes."""

from pathlib import Path

import cold_start
import pytest
import train_grpo
import train_tools
from stop_and_go import goes_on_to_the_same_bytes, is_refused, survives_many_kills

ROOT = Path(__file__).resolve().parents[2]
THRIFT = ("--recompute", "--compile")
TUNING = ("--examples", 16, "--steps", 4, "--rows", 2, "--amp", "float32", "--save-every", 2)
GRPO = ("--steps", 4, "--prompts", 2, "--group", 2, "--max-new", 6, "--keep-rows", 1, "--amp",
        "float32", "--no-tensorboard", "--no-drop-equal", "--look-every", 0, "--eval-problems", 1,
        "--eval-exact", 0, "--longest", 4)


def test_a_cold_start_that_was_killed_goes_on_to_the_same_bytes(tiny_sft, tmp_path):
    flags = (*TUNING, "--sft", tiny_sft)
    goes_on_to_the_same_bytes(cold_start.main, flags, tmp_path, "cold.pt", *THRIFT)
    is_refused(cold_start.main, [*flags, "--examples", 15], tmp_path, "data: was")


def test_tools_that_were_killed_go_on_to_the_same_bytes(tiny_sft, tmp_path, monkeypatch):
    monkeypatch.setattr(train_tools, "share_right", lambda *_: (0.0, 0.0))
    flags = (*TUNING, "--model", tiny_sft)
    goes_on_to_the_same_bytes(train_tools.main, flags, tmp_path, "tools.pt", *THRIFT)
    is_refused(train_tools.main, [*flags, "--peak", 1e-4], tmp_path, "peak: was 0.001, now 0.0001")


def test_grpo_that_was_killed_goes_on_to_the_same_bytes(tiny_sft, tmp_path, monkeypatch):
    monkeypatch.setattr(train_grpo, "finish_checker", lambda run: train_grpo_saved(run))
    flags = (*GRPO, "--model", tiny_sft)
    goes_on_to_the_same_bytes(train_grpo.main, flags, tmp_path, "grpo.pt", *THRIFT)
    is_refused(train_grpo.main, [*flags, "--families", "chain"], tmp_path, "data: was")


def train_grpo_saved(run):
    """What finish_checker does first; measuring takes its time."""
    from reasoning.grpo_report import common, logged, save_model
    save_model(run, common(run, logged(run)))


@pytest.mark.slow
def test_twenty_kills_cost_nothing(tiny_sft, tmp_path):
    for script, flags, name in (("cold_start", (*TUNING, "--sft", tiny_sft), "cold"),
                                ("train_tools", (*TUNING, "--model", tiny_sft), "tools"),
                                ("train_grpo", (*GRPO, "--model", tiny_sft), "grpo")):
        survives_many_kills(ROOT / "part_9" / f"{script}.py", flags, tmp_path / name, f"{name}.pt")
