"""Every script of every part answers --help, and every quick demo runs, from any folder."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAIN = 'if __name__ == "__main__":'
SCRIPTS = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.py"),
                 *ROOT.glob("part_[0-9]/*.py"), ROOT / "tests" / "planted_bugs.py",
                 ROOT / "tests" / "long_and_rough.py"]
                 if MAIN in path.read_text(encoding="utf-8"))
DEMOS = [script for script in SCRIPTS if "/demo_" in script]
SLOW_DEMOS = {"part_0/demo_pipeline.py"}  # has tests of its own
LONGER = {"part_3/demo_norms.py", "part_3/demo_swiglu.py", "part_3/demo_mla.py",  # with --full
          "part_3/demo_streaming.py", "part_4/demo_mixed_precision.py", "part_4/demo_resume.py",
          "part_9/demo_grpo.py"}
LESS = {"part_4/demo_muon.py": ("--seconds", 0.05), "part_4/demo_world.py": ("--texts", 100),
        "part_4/demo_schedules.py": ("--steps", 20)}  # than their own --quick


def folders(tmp_path) -> list[Path]:
    """Three places to stand: somewhere else, the top of the repository, inside a part."""
    return [tmp_path, ROOT, ROOT / "part_0"]


def pictures_of(demo: Path) -> list[str]:
    """The pictures that generate_screenshots.py expects of a demo."""
    spec = importlib.util.spec_from_file_location("generate_screenshots",
                                                  ROOT / "generate_screenshots.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pictures_of(demo)


def place_of(script: str, tmp_path) -> Path:
    """One of the three places: each script is tried from one, all from all in the slow forms."""
    places = folders(tmp_path)
    return places[sum(script.encode()) % len(places)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_every_flag_and_its_default(script, run_script, tmp_path):
    text = run_script(script, "--help", cwd=place_of(script, tmp_path)).stdout
    assert text.startswith("usage:")
    docstring = ast.get_docstring(ast.parse((ROOT / script).read_text(encoding="utf-8")))
    assert docstring.splitlines()[0] in text, "--help should open with the docstring"
    flags = re.findall(r'add_argument\(\s*"(--[a-z-]+)"', (ROOT / script).read_text("utf-8"))
    for flag in flags:
        assert flag in text


@pytest.mark.parametrize("script", [
    pytest.param(d, marks=pytest.mark.slow) if d in LONGER else d for d in DEMOS if d not in SLOW_DEMOS])
def test_quick_demo_prints_a_table_and_draws_a_picture_from_any_folder(script, run_script,
                                                                       tmp_path):
    source = (ROOT / script).read_text(encoding="utf-8")
    quick = ["--quick"] if '"--quick"' in source else []
    done = run_script(script, *quick, *LESS.get(script, ()), "--out", tmp_path / "pictures",
                      cwd=place_of(script, tmp_path))
    assert re.search(r"^-{2,}( +-{2,})*$", done.stdout, re.MULTILINE), "no aligned table printed"
    pictures = pictures_of(ROOT / script)
    assert pictures, "no picture is named"
    for picture in pictures:
        path = tmp_path / "pictures" / picture
        assert path.read_bytes().startswith(b"\x89PNG") and f"picture {path}" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_answers_help_from_all_three_folders(script, run_script, tmp_path):
    texts = {run_script(script, "--help", cwd=folder).stdout for folder in folders(tmp_path)}
    assert len(texts) == 1 and texts.pop().startswith("usage:")


@pytest.mark.slow
@pytest.mark.parametrize("script", [d for d in DEMOS if d not in SLOW_DEMOS])
def test_every_demo_runs_from_all_three_folders(script, run_script, tmp_path):
    quick = ["--quick"] if '"--quick"' in (ROOT / script).read_text(encoding="utf-8") else []
    for folder in folders(tmp_path):
        run_script(script, *quick, "--out", tmp_path / "pictures", cwd=folder)


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_unknown_flag_is_refused_with_status_2(script, run_script):
    done = run_script(script, "--no-such-flag", check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "--no-such-flag" in done.stderr or "required" in done.stderr
