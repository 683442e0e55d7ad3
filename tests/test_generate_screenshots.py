"""The collector runs what is stale, reports what fails, and never leaves half a picture."""

import importlib.util
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "generate_screenshots.py"
spec = importlib.util.spec_from_file_location("generate_screenshots", SCRIPT)
shots = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shots)

DEMO = '''"""What does a demo draw?"""
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pathlib
out = pathlib.Path(__file__).parent / "out"
out.mkdir(exist_ok=True)
plt.plot([1, 2])
if __name__ == "__main__":
    plt.savefig(out / "line.png")
'''


@pytest.fixture
def house(tmp_path, monkeypatch):
    (tmp_path / "part_1").mkdir()
    (tmp_path / "part_1" / "demo_line.py").write_text(DEMO)
    (tmp_path / "part_1" / "demo_broken.py").write_text('"""Fails?"""\nprint("so far")\n1 / 0\n')
    monkeypatch.setattr(shots, "ROOT", tmp_path)
    monkeypatch.setattr(shots, "SCREENSHOTS", tmp_path / "screenshots")
    monkeypatch.setattr(shots, "find_demos", lambda only="": sorted(
        p for p in tmp_path.glob("part_1/demo_*.py") if only in str(p)))
    monkeypatch.setattr(shots, "collect", lambda: collect(tmp_path, tmp_path / "screenshots"))
    monkeypatch.setattr(shots, "write_index", lambda pictures: write_index(
        pictures, tmp_path / "screenshots", tmp_path))
    return tmp_path


collect, write_index = shots.collect, shots.write_index


def prints(script, root):
    """Today's fingerprint of a script."""
    return shots.fingerprints.House(root).fingerprint(script)


def test_a_failing_demo_is_reported_and_the_others_still_run(house, capsys):
    assert shots.main([]) == 1
    captured = capsys.readouterr()
    assert "ZeroDivisionError" in captured.err
    assert "demo_broken.py" in captured.err
    assert (house / "screenshots" / "part_1_line.png").is_file()


def test_the_main_job_reports_on_the_results_that_are_there(house):
    demo = house / "part_1" / "demo_pipeline.py"
    demo.write_text('"""Main?"""\nimport sys\nsys.exit(3 if sys.argv[1:] else 0)')
    assert shots.run_demo(demo) is None, "nothing there: it trains"
    (house / "part_1" / "out").mkdir()
    (house / "part_1" / "out" / "report.json").write_text('{"preset": "mixed"}')
    assert shots.run_demo(demo).status == "exit status 3" and shots.flags_of(demo) == ["--report"]
    (house / "part_1" / "out" / "report.json").write_text('{"preset": "full"}')
    assert shots.flags_of(demo) == ["--report", "--preset", "full"]
    assert shots.flags_of(house / "part_1" / "demo_line.py") == []


def test_a_model_that_no_chain_makes_is_made_first_where_it_is_missing(house, monkeypatch):
    monkeypatch.setattr(shots, "MADE_BY", {"demo_line.py": ("line.pt", "train_line.py")})
    demo, maker = house / "part_1" / "demo_line.py", house / "part_1" / "train_line.py"
    maker.write_text("import sys; sys.exit(4)")
    assert shots.run_demo(demo).status == "exit status 4"
    maker.write_text("open('out/line.pt', 'w')")
    (house / "part_1" / "out").mkdir()
    assert shots.run_demo(demo) is None and (house / "part_1" / "out" / "line.pt").is_file()
    maker.write_text("import sys; sys.exit(4)")
    assert shots.run_demo(demo) is None, "it is there"


def test_the_index_names_the_question_and_the_command(house):
    shots.main(["--only", "demo_line"])
    page = (house / "screenshots" / "index.html").read_text()
    assert "What does a demo draw?" in page
    assert "python part_1/demo_line.py" in page
    assert "http" not in page, "the page must work without a network"
    assert "part_1_line.png" in (house / "screenshots" / "README.md").read_text()


def test_a_picture_named_by_its_data_is_ascribed_to_the_script_that_draws_it(tmp_path):
    (tmp_path / "part_1").mkdir()
    (tmp_path / "part_1" / "compare.py").write_text(
        f'"""Which?"""\nname = f"compare_{{data}}.png"\n{shots.MAIN}\n    print()\n')
    caption = shots.caption_of(tmp_path / "part_1_compare_my_text.png", tmp_path)
    assert caption == ("part 1 compare my text", ""), "the beginning is all but the last word"
    caption = shots.caption_of(tmp_path / "part_1_compare_text.png", tmp_path)
    assert caption == ("Which?", "python part_1/compare.py")
    assert shots.caption_of(tmp_path / "part_1_line.png", tmp_path) == ("part 1 line", "")


def test_a_picture_that_a_module_draws_is_ascribed_to_the_script_that_uses_it(tmp_path):
    (tmp_path / "part_1").mkdir()
    (tmp_path / "part_1" / "report.py").write_text('"""The end."""\nname = "curve.png"\n')
    picture = tmp_path / "part_1_curve.png"
    assert shots.caption_of(picture, tmp_path) == ("part 1 curve", ""), "a module is no command"
    for name in ("demo_a", "train_a"):
        (tmp_path / "part_1" / f"{name}.py").write_text(
            f'"""What {name} does."""\nfrom report import finish\n{shots.MAIN}\n    print()\n')
    caption = ("What train_a does.", "python part_1/train_a.py")
    assert shots.caption_of(picture, tmp_path) == caption
    assert shots.caption_of(tmp_path / "part_1_medium_curve.png", tmp_path) == caption


def test_the_picture_of_a_longer_run_is_collected_beside_the_short_ones(tmp_path):
    picture = b"\x89PNG" + b"IEND\xaeB`\x82"
    for folder in ("part_1/out", "part_1/out/medium", "part_1/out/other"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "curve.png").write_bytes(picture)
    found = collect(tmp_path, tmp_path / "screenshots")
    assert [path.name for path in found] == ["part_1_curve.png", "part_1_medium_curve.png"]


def test_what_is_up_to_date_is_told_by_code_and_data_not_by_times(house):
    demo = house / "part_1" / "demo_line.py"
    assert shots.is_stale(demo), "no picture yet"
    shots.main(["--only", "demo_line"])
    assert not shots.is_stale(demo)
    os.utime(demo, (2e9, 2e9))
    demo.write_text(DEMO.replace("import pathlib", "import pathlib  # for paths\n\n"))
    assert not shots.is_stale(demo), "a comment and a later time change nothing"
    demo.write_text(DEMO.replace("[1, 2]", "[1, 3]"))
    assert shots.is_stale(demo)


def test_check_names_what_is_missing_and_what_is_out_of_date(house, capsys):
    (house / "part_1" / "README.md").write_text("Run `python part_1/demo_line.py`.")
    shots.main(["--only", "demo_line"])
    assert shots.main(["--check"]) == 1, "the demo prints no table: its figures have no fingerprint"
    assert "figures of part_1/demo_line.py: no fingerprint" in capsys.readouterr().out
    assert shots.main(["--stamp", "demo_line"]) == 0 and shots.main(["--check"]) == 0
    (house / "part_1" / "demo_line.py").write_text(DEMO.replace("[1, 2]", "[1, 3]"))
    capsys.readouterr()
    assert shots.main(["--check"]) == 1
    printed = capsys.readouterr().out
    assert "picture part_1_line.png: made by other code or data (part_1/demo_line.py)" in printed
    assert "figures of part_1/demo_line.py: made by other" in printed and "2 of 2" in printed
    assert shots.main(["--stamp", "nothing of this name"]) == 2


def test_a_lesson_that_gives_the_printed_table_gets_its_figures_stamped(house):
    demo, lesson = house / "part_1" / "demo_line.py", house / "part_1" / "README.md"
    demo.write_text(DEMO.replace("plt.plot", 'print("\\nx   y\\n--  --\\n1   2\\n")\nplt.plot'))
    lesson.write_text("`python part_1/demo_line.py`\n```\nx   y\n--  --\n1   3\n```\n")
    shots.main(["--only", "demo_line"])
    assert shots.main(["--check"]) == 1, "the lesson says 3"
    lesson.write_text(lesson.read_text().replace("1   3", "1   2"))
    shots.main(["--all", "--only", "demo_line"])
    assert shots.main(["--check"]) == 0


def test_a_fingerprint_follows_imports_rooms_data_and_checkpoints(tmp_path):
    """One constant of a room, or of what trained the model, reaches the script that draws."""
    for name, text in {
            "part_4/train.py": "from world.words import NAMES\nprint(NAMES)\n", "part_4/world/words.py": "NAMES = 1\n",
            "part_6/demo_a.py": "import helper\nfrom room import deep\nprint(helper, deep)\n",
            "part_6/helper.py": 'BASE = "base.pt"\nTEXT = "fables.txt"\n',
            "part_6/room/deep.py": "X = 1\n", "part_6/fables.txt": "once\n",
            "part_6/demo_b.py": "X = 2\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    a, b = tmp_path / "part_6" / "demo_a.py", tmp_path / "part_6" / "demo_b.py"
    for file, more in (("part_4/world/words.py", "NAMES = 2\n"), ("part_6/fables.txt", "twice\n"),
                       ("part_6/room/deep.py", "print(2)\n"), ("part_6/helper.py", "print(1)\n")):
        before_a, before_b = prints(a, tmp_path), prints(b, tmp_path)
        with (tmp_path / file).open("a") as out:
            out.write(more)
        assert prints(a, tmp_path) != before_a, file
        assert prints(b, tmp_path) == before_b, file


def test_a_definition_counts_where_it_is_read_and_not_where_it_is_not(tmp_path):
    """Through a room, through a module's name, through another definition, in a class."""
    (tmp_path / "part_6" / "room").mkdir(parents=True)
    (tmp_path / "part_6" / "room" / "deep.py").write_text(
        "FEW = 1\nMANY = 2\nOTHER = 3\ndef few(): return FEW\nclass Both:\n    a = MANY\n"
        "if OTHER > 9:\n    ODD = 1\nelse:\n    ODD = 2\n")
    (tmp_path / "part_6" / "helper.py").write_text("from room.deep import few, OTHER\nUNUSED = OTHER\n")
    texts = {"few": "from helper import few\nfew()", "both": "from room import deep\ndeep.Both()",
             "all": "import room.deep as d\nprint(d)", "none": "import helper\nhelper.here"}
    for name, text in texts.items():
        (tmp_path / "part_6" / f"demo_{name}.py").write_text(text + "\n")

    def all_prints():
        return {name: prints(tmp_path / "part_6" / f"demo_{name}.py", tmp_path) for name in texts}

    deep = tmp_path / "part_6" / "room" / "deep.py"
    before, text = all_prints(), deep.read_text()
    for old, new, moved in (("FEW = 1", "FEW = 2", {"few", "all"}), ("MANY = 2", "MANY = 3", {"both", "all"}),
                            ("ODD = 2", "ODD = 3", {"few", "both", "all"}),
                            ("return FEW", "return -FEW", {"few", "all"})):
        deep.write_text(text.replace(old, new))
        after = all_prints()
        assert {name for name in texts if after[name] != before[name]} == moved, old


def test_one_constant_of_the_world_reaches_every_picture_that_it_decides(monkeypatch):
    """On the repository itself: one of the world's names is another."""
    decided = {"part_4_world.png", "part_4_train.png", "part_6_sft.png", "part_8_ppo.png"}
    known = {name: script for name, script in shots.made_by()["pictures"].items()
             if name in decided or name[:6] in ("part_1", "part_2", "part_3")}
    house = shots.fingerprints.House(ROOT)
    before = {script: house.fingerprint(script) for script in set(known.values())}

    class Touched(shots.fingerprints.House):
        def contents(self, path):
            if path not in self.found and path.match("world/words.py"):
                text = path.read_text(encoding="utf-8")
                assert text.count("Ada") >= 1
                self.found[path] = shots.fingerprints.contents_of(text.replace("Ada", "Adax"))
            return super().contents(path)

    house = Touched(ROOT)
    touched = {name for name, script in known.items() if house.fingerprint(script) != before[script]}
    assert touched == decided


BEFORE = """
LIMIT = 3
def f(x, limit=LIMIT):
    total = x + 1
    if total > limit:
        raise ValueError(f"{total} is above {limit}")
    return total
def g(parser):
    parser.add_argument("--x", help="a number", default=1)
f(1); g(2)
"""


def test_what_changes_no_result_is_left_out(tmp_path):
    """Comments, docstrings, layout, local names, the places of definitions, texts of errors and help."""
    demo = tmp_path / "part_1" / "demo_a.py"
    demo.parent.mkdir()

    def of(text):
        demo.write_text(text)
        return prints(demo, tmp_path)

    whole = of(BEFORE)
    for old, new in (("total = x + 1", "total = (x +\n        1)  # why"), ("total", "count"),
                     ("def f(x, limit=LIMIT):", 'def f(x, limit=LIMIT):\n    """Doc."""'),
                     ("is above", "exceeds"), ("a number", "some number")):
        assert of(BEFORE.replace(old, new)) == whole, old
    first, second = BEFORE.index("def f"), BEFORE.index("def g")
    last = BEFORE.index("f(1)")
    assert of(BEFORE[:first] + BEFORE[second:last] + BEFORE[first:second] + BEFORE[last:]) == whole
    for old, new in (("x + 1", "x - 1"), ("LIMIT = 3", "LIMIT = 4"), ("total > limit", "total >= limit"),
                     ("default=1", "default=2"), ("f(1)", "f(2)"), ("raise ValueError", "print")):
        assert of(BEFORE.replace(old, new)) != whole, old


def test_every_fingerprint_on_file_is_of_something_that_is_there():
    """How many are out of date, `--check` tells; here, that the book itself is in order."""
    book, known = shots.fingerprints.load(shots.book_path()), shots.made_by()
    for kind, names in book.items():
        assert set(names) <= set(known[kind]), kind
        assert all(len(name) == 16 for name in names.values())
    undrawn = [name for name, script in known["pictures"].items() if script is None]
    assert undrawn == [], "no script draws these"


def test_half_a_picture_does_not_replace_a_whole_one(house):
    shots.main(["--only", "demo_line"])
    target = house / "screenshots" / "part_1_line.png"
    whole = target.read_bytes()
    (house / "part_1" / "out" / "line.png").write_bytes(whole[:200])
    shots.main(["--collect-only"])
    assert target.read_bytes() == whole


def test_an_unknown_demo_is_refused(house, capsys):
    assert shots.main(["--only", "demo_nothing"]) == 2
    assert "demo_nothing" in capsys.readouterr().err
