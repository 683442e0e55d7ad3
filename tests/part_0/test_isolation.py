"""The modules under test are those of part 0."""

from pathlib import Path

import asking
import chain
import machine
import pipeline
import plotting
import report_card
import report_pages
import report_picture
import runtime
import whats_new

MODULES = (asking, chain, machine, pipeline, plotting, report_card, report_pages, report_picture,
           runtime, whats_new)


def test_modules_come_from_part_0():
    for module in MODULES:
        assert Path(module.__file__).parent.name == "part_0", module
