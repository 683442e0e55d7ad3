"""whats_new.py must see every way in which a copy can drift: each is planted in a small tree."""

import pytest
from whats_new import compare, main, rooms, show

OLD = '''"""A module."""

SIZE = 4


def double(x):
    return 2 * x


class Layer:
    def forward(self, x):
        return x
'''


@pytest.fixture
def tree(tmp_path):
    """tree({"part_1/a.py": text, ...}) writes a small repository and returns its folder."""
    def make(files: dict[str, str]):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path
    return make


def problems(root, part=2):
    return compare(part, root).violations


def test_an_identical_copy_is_clean_and_listed_as_the_same(tree):
    root = tree({"part_1/a.py": OLD, "part_2/a.py": OLD})
    listing = compare(2, root)
    assert listing.violations == []
    assert listing.same == ["a.py (the file of part 1)"]


def test_a_changed_function_without_a_tag_is_caught(tree):
    root = tree({"part_1/a.py": OLD, "part_2/a.py": OLD.replace("2 * x", "3 * x")})
    assert any("double differs" in p for p in problems(root))


def test_a_changed_method_and_a_changed_constant_are_caught(tree):
    changed = OLD.replace("return x\n", "return -x\n").replace("SIZE = 4", "SIZE = 5")
    found = problems(tree({"part_1/a.py": OLD, "part_2/a.py": changed}))
    assert any("Layer differs" in p for p in found)
    assert any("SIZE differs" in p for p in found)


def test_a_tag_with_a_reason_makes_a_change_legal(tree):
    changed = OLD.replace("def double(x):\n    return 2 * x",
                          "# CHANGED in part 2: three is more\ndef double(x):\n    return 3 * x")
    listing = compare(2, tree({"part_1/a.py": OLD, "part_2/a.py": changed}))
    assert listing.violations == []
    assert [(new.name, new.why) for new, _ in listing.changed] == [("double", "three is more")]


def test_a_tag_without_a_reason_is_caught(tree):
    changed = OLD.replace("def double(x):\n    return 2 * x",
                          "# CHANGED in part 2\ndef double(x):\n    return 3 * x")
    assert any("say why" in p for p in problems(tree({"part_1/a.py": OLD, "part_2/a.py": changed})))


def test_a_changed_tag_over_an_unchanged_definition_is_caught(tree):
    text = OLD.replace("SIZE = 4", "# CHANGED in part 2: bigger\nSIZE = 4")
    assert any("equals part 1" in p for p in problems(tree({"part_1/a.py": OLD,
                                                            "part_2/a.py": text})))


def test_a_new_definition_needs_a_tag_where_the_file_has_an_ancestor(tree):
    root = tree({"part_1/a.py": OLD, "part_2/a.py": OLD + "\n\ndef triple(x):\n    return 3 * x\n"})
    assert any("triple is new and has no tag" in p for p in problems(root))
    tagged = OLD + "\n\n# NEW in part 2\ndef triple(x):\n    return 3 * x\n"
    tree({"part_2/a.py": tagged})
    assert problems(root) == []


def test_a_tag_of_an_earlier_part_must_be_dropped_when_copying(tree):
    tagged = OLD + "\n\n# NEW in part 2\ndef triple(x):\n    return 3 * x\n"
    root = tree({"part_1/a.py": OLD, "part_2/a.py": tagged,
                 "part_3/a.py": tagged + "\n\n# NEW in part 3\nMORE = 1\n"})
    assert any("a tag of part 2" in p for p in problems(root, 3))


def test_a_file_that_drifted_outside_its_definitions_is_caught(tree):
    drifted = OLD.replace('"""A module."""', '"""Another text."""')
    assert any("carries no tag" in p for p in problems(tree({"part_1/a.py": OLD,
                                                             "part_2/a.py": drifted})))


def test_the_nearest_ancestor_counts_even_when_parts_lie_between(tree):
    changed = OLD.replace("2 * x", "3 * x")
    root = tree({"part_1/a.py": OLD, "part_2/b.py": "X = 1\n", "part_3/a.py": changed})
    assert any("double differs from part_1/a.py" in p for p in problems(root, 3))


def test_a_definition_that_moved_to_a_new_file_is_still_compared(tree):
    root = tree({"part_1/a.py": OLD, "part_2/merged.py": OLD.replace("return x\n", "return -x\n")})
    assert any("Layer differs from part_1/a.py" in p for p in problems(root))


def test_an_unrelated_namesake_in_a_new_file_is_no_ancestor(tree):
    other = "class Layer:\n    names = {}\n\n    def __call__(self): ...\n\n\nSIZE = 9\n"
    root = tree({"part_1/a.py": OLD, "part_2/other.py": other})
    assert problems(root) == []


def test_main_and_private_helpers_are_only_compared_between_files_of_one_name(tree):
    root = tree({"part_1/a.py": "def main():\n    pass\n\n\ndef _help():\n    pass\n",
                 "part_2/b.py": "def main():\n    return 1\n\n\ndef _help():\n    return 1\n"})
    assert problems(root) == []


def test_dropped_definitions_and_files_are_listed(tree):
    kept = OLD[:OLD.index("class Layer")].rstrip() + "\n\n\n# NEW in part 2\nZ = 1\n"
    root = tree({"part_1/a.py": OLD, "part_1/gone.py": "X = 1\n", "part_2/a.py": kept})
    assert compare(2, root).dropped == ["a.py: Layer", "gone.py (whole file)"]


def test_a_part_that_is_not_there_is_refused_by_name(capsys):
    assert main(["77"]) == 2
    assert "part 77" in capsys.readouterr().err


def test_brief_shows_every_new_file_and_every_change_on_one_screen(capsys):
    for part in range(1, 10):
        listing = compare(part)
        show(listing, brief=True)
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 110 and (len(lines) <= 50 or part in (3, 4)), part
        for name in listing.new_files:
            assert any(name in line for line in lines) or name.endswith("__init__.py")
        for now, _ in listing.changed:
            assert any(f"changed  {now.file}: {now.name}: " in line for line in lines)


def test_in_full_the_differences_are_shown(capsys):
    main(["3", "--brief"])
    assert not any(line.startswith(" " * 11 + "+") for line in capsys.readouterr().out.splitlines())
    main(["3"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(" " * 11 + "+") for line in lines)
    assert any(line.startswith("  same  ") for line in lines)


ROOM = {"part_3/a.py": OLD, "part_4/run/a.py": OLD, "part_4/run/__init__.py": '"""A room."""\n'}


def test_a_module_that_moves_into_a_room_is_the_file_that_lay_flat(tree):
    listing = compare(4, tree(ROOM))
    assert listing.violations == [] and listing.same == ["run/a.py (the file of part 3)"]
    changed = tree({"part_4/run/a.py": OLD.replace("2 * x", "3 * x")})
    assert any("double differs from part_3/a.py" in p for p in problems(changed, 4))


def test_where_rooms_begin_imports_may_change_and_later_nothing_may(tree):
    old, new = "from b import c\n\n\n" + OLD, "from run.b import c\n\n\n" + OLD
    root = tree({**ROOM, "part_3/a.py": old, "part_4/run/a.py": new, "part_5/run/a.py": new})
    assert problems(root, 4) == problems(root, 5) == []
    tree({"part_5/run/a.py": new.replace("import c", "import d")})
    assert any("carries no tag" in p for p in problems(root, 5))


def test_a_room_of_a_new_name_has_no_flat_ancestors(tree):
    root = tree({**ROOM, "part_4/reward/a.py": "X = 1\n", "part_4/reward/__init__.py": ""})
    assert problems(root, 4) == [] and "reward/a.py" in compare(4, root).new_files


def test_rooms_are_named_with_what_they_lack_and_what_is_new_in_them(tree):
    root = tree({**ROOM, "part_4/run/b.py": "B = 1\n", "part_4/gpt/c.py": "C = 1\n",
                 "part_5/run/a.py": OLD, "part_5/run/__init__.py": '"""A room."""\n',
                 "part_5/gpt/c.py": "C = 1\n", "part_5/moe/d.py": "D = 1\n",
                 "part_6/run/a.py": OLD, "part_6/run/b.py": "B = 1\n", "part_6/run/n.py": "N = 1\n",
                 "part_6/run/__init__.py": '"""A room."""\n', "part_6/gpt/c.py": "C = 2\n"})
    assert rooms(5, root) == ["gpt: as in part 4", "new: moe, 1 files",
                              "run: as in part 4, without b.py"]
    assert rooms(6, root) == ["gpt: as in part 5, changed c.py",
                              "run: as in part 5, again with b.py, new in it n.py"]
