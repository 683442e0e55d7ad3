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


def test_a_picture_newer_than_its_code_is_not_drawn_again(house):
    demo = house / "part_1" / "demo_line.py"
    assert shots.is_stale(demo)
    shots.main(["--only", "demo_line"])
    assert not shots.is_stale(demo)
    later = (house / "part_1" / "out" / "line.png").stat().st_mtime + 10
    os.utime(demo, (later, later))
    assert shots.is_stale(demo)


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
