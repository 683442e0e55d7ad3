"""The modules under test are those of part 0."""

from pathlib import Path

import plotting
import runtime
import whats_new


def test_modules_come_from_part_0():
    for module in (runtime, plotting, whats_new):
        assert Path(module.__file__).parent.name == "part_0", module
