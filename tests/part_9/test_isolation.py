"""The modules under test are part 9's, whatever other parts own files of the same names."""

import importlib
from pathlib import Path

import pytest

PART = Path(__file__).resolve().parents[2] / "part_9"


@pytest.mark.parametrize("name", sorted(path.stem for path in PART.glob("*.py")))
def test_module_comes_from_part_9(name):
    assert Path(importlib.import_module(name).__file__).resolve() == PART / f"{name}.py"
