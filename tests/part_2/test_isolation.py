"""The tests of part 2 test part 2's modules, not another part's of the same name."""

import importlib
from pathlib import Path

import pytest

PART = Path(__file__).resolve().parent.parent.parent / "part_2"
MODULES = ("model", "data", "sampling", "checkpoint", "schedule", "evaluation", "presets",
           "interrupt", "runtime", "plotting")


@pytest.mark.parametrize("name", MODULES)
def test_modules_come_from_part_2(name):
    module = importlib.import_module(name)
    assert Path(module.__file__).resolve().parent == PART


def test_copied_files_are_the_files_of_part_0():
    for name in ("runtime.py", "plotting.py"):
        assert (PART / name).read_bytes() == (PART.parent / "part_0" / name).read_bytes()
