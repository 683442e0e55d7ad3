"""A plausible mistake with the learnt score of the small task, which the tests must catch."""

from planted import Bug

BUGS = [
    Bug("the score is fitted in float32", "part_8/demo_overoptimization.py",
        "torch.linalg.lstsq(table.double(), quality.double()[:, None]).solution.squeeze(1)",
        "torch.linalg.lstsq(table, quality[:, None]).solution.squeeze(1).double()",
        "tests/part_8/test_scripts.py"),
]
