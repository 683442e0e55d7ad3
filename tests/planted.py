"""The form of a planted bug. tests/part_N/bugs*.py hold lists; planted_bugs.py runs them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """One plausible mistake: in `file`, the text `old` (there exactly once) becomes `new`."""

    name: str  # what a learner would have done wrong
    file: str  # path from the top of the repository
    old: str
    new: str
    test: str  # the test file (or file::test) that must fail
    practised: bool = True  # False: what a learner writes in practice.py cannot show it
