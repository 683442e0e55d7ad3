"""What one would get wrong in telling what is out of date; each must fail a test."""

from planted import Bug

FILE, TEST = "screenshots/fingerprints.py", "tests/test_generate_screenshots.py::test_"
FOLLOWS = TEST + "a_fingerprint_follows_imports_rooms_data_and_checkpoints"
LEFT_OUT = TEST + "what_changes_no_result_is_left_out"
COUNTS = TEST + "a_definition_counts_where_it_is_read_and_not_where_it_is_not"

BUGS = [
    Bug("modules of rooms are not followed", FILE,
        'self.module(self.part(path), f"{module}.{inner}") if inner else file', "file", FOLLOWS),
    Bug("who trained the model does not count", FILE,
        "for file in scripts}, files - scripts", "for file in ()}, files - scripts", FOLLOWS),
    Bug("the text that a file names does not count", FILE,
        "codes |= {hashlib.sha256(path.read_bytes()).hexdigest() for path in data}", "pass", FOLLOWS),
    Bug("what runs at import does not count", FILE, 'places = {(path, "")}.union(',
        "places = set().union(", COUNTS),
    Bug("a whole file counts where one definition is read", FILE,
        "return {(path, first)}", "return {(path, one) for one in contents.defined}", COUNTS),
    Bug("other names of local variables make a picture stale", FILE,
        'meaning.own.setdefault(part.id, f"v{len(meaning.own)}")', "pass", LEFT_OUT),
    Bug("another text of an error makes a picture stale", FILE,
        "return ast.Raise(exc=None, cause=None)", "return node", LEFT_OUT),
    Bug("all that a call is given by name is left out", FILE,
        'if one.arg not in ("help", "description")]', "if not one.arg]", LEFT_OUT),
    Bug("every demo that ran has its figures stamped", FILE,
        "return bool(rows) and all(", "return True or all(",
        TEST + "a_lesson_that_gives_the_printed_table_gets_its_figures_stamped"),
]
