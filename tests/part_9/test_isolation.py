"""The modules under test are part 9's, whatever other parts own files and rooms of the same names."""

import importlib
from pathlib import Path

import pytest

PART = Path(__file__).resolve().parents[2] / "part_9"
FILES = sorted(path.relative_to(PART) for path in [*PART.glob("*.py"), *PART.glob("*/*.py")]
               if path.parent.name != "out")


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_module_comes_from_part_9(file):
    name = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
    assert Path(importlib.import_module(name).__file__).resolve() == PART / file
