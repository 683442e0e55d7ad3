"""Two processes read the examples of a cold start as one does."""

from pathlib import Path

import cold_start
import pytest
import torch
from several import processes

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ("--examples", 24, "--steps", 4, "--rows", 4, "--amp", "float32")


def losses(folder: Path) -> list[float]:
    newest = sorted((folder / "checkpoints_cold").glob("step_*.pt"))[-1]
    return torch.load(newest, weights_only=True)["training"]["log"]


@pytest.mark.scripts
@pytest.mark.parametrize("many", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_several_processes_begin_as_one_does(many, tiny_sft, tmp_path, run_script):
    flags = (*FLAGS, "--sft", tiny_sft)
    cold_start.main([*map(str, flags), "--out", str(tmp_path / "a")])
    out = ("--out", tmp_path / "b")
    processes(run_script, tmp_path, ROOT / "part_9/cold_start.py", *flags, *out, "--stop-at", 2,
              many=many)
    assert not (tmp_path / "b" / "cold.pt").exists()
    cold_start.main([*map(str, (*flags, *out)), "--resume"])
    assert losses(tmp_path / "b") == pytest.approx(losses(tmp_path / "a"), abs=3e-5)
