"""A part that leans on another one's folder; it must fail a test."""

from planted import Bug

BUGS = [
    Bug("part 3 reads the text of part 2", "part_3/train_gpt.py",
        'default=str(here(__file__) / "fables.txt")',
        'default=str(here(__file__).parent / "part_2" / "fables.txt")',
        "tests/test_alone.py::test_a_part_works_alone_in_an_empty_place[part_3]"),
]
