"""All processes of a training work in one number format, whatever each of them has found to be fast."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TRAINERS = [path for path in sorted(ROOT.glob("part_[0-9]/*.py"))
            if "trains=True, processes=True)" in path.read_text(encoding="utf-8")]
CHOOSES = {ROOT / "part_4" / "train.py": ROOT / "part_4" / "base" / "run.py"}


def test_every_training_that_works_in_several_processes_is_looked_at():
    assert len(TRAINERS) == 9


@pytest.mark.parametrize("script", TRAINERS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_the_main_process_found_counts(script):
    """With --amp auto each times a layer for itself, beside whatever the machine has to do."""
    code = ast.parse(CHOOSES.get(script, script).read_text(encoding="utf-8"))
    assert {"choose_runtime", "same_format"} <= {
        node.func.id for node in ast.walk(code)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
