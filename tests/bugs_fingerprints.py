"""What one would get wrong in telling what is out of date; each must fail a test."""

from planted import Bug

FILE, TEST = "screenshots/fingerprints.py", "tests/test_generate_screenshots.py::test_"
FOLLOWS = TEST + "a_fingerprint_follows_imports_rooms_data_and_checkpoints"

BUGS = [
    Bug("modules of rooms are not followed", FILE,
        '''names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}''',
        "names |= {node.module}", FOLLOWS),
    Bug("who trained the model does not count", FILE,
        "near += [root / MADE_BY[file] for file in files if file in MADE_BY]", "pass", FOLLOWS),
    Bug("a comment makes a picture stale", FILE, "lines[row - 1] = lines[row - 1][:column]", "pass",
        TEST + "what_is_up_to_date_is_told_by_code_and_data_not_by_times"),
    Bug("every demo that ran has its figures stamped", FILE,
        "return bool(rows) and all(", "return True or all(",
        TEST + "a_lesson_that_gives_the_printed_table_gets_its_figures_stamped"),
]
