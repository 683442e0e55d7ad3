"""Each part's folder stands alone: copied by itself to an empty place, it works there."""

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = shutil.ignore_patterns("out", "__pycache__")
TINY = ("--layers", 1, "--heads", 2, "--width", 16, "--block-size", 16, "--batch-size", 2,
        "--steps", 3, "--amp", "float32", "--device", "cpu")
TINY_OF_PART_4 = (
    "--n-layer", 1, "--n-head", 2, "--n-kv-head", 1, "--n-embd", 16, "--context", 32,
    "--vocab-size", 280, "--world-megabytes", 0.05, "--rows", 8, "--micro-rows", 8, "--steps", 4,
    "--eval-every", 4, "--save-every", 4, "--eval-documents", 9, "--amp", "float32",
    "--device", "cpu", "--no-tensorboard")
WORK = {    # part -> the script that shows it, and its flags
    "part_0": ("demo_stages.py",),
    "part_1": ("demo_attention_by_hand.py",),
    "part_2": ("train_gpt.py", *TINY),
    "part_3": ("train_gpt.py", *TINY),
    "part_4": ("train.py", *TINY_OF_PART_4),
    "part_5": ("demo_collapse.py", "--quick"),
    "part_6": ("demo_label_mask.py", "--quick"),
    "part_7": ("demo_bradley_terry.py", "--quick"),
    "part_8": ("demo_gae.py", "--quick"),
    "part_9": ("demo_group_baseline.py", "--quick"),
}


def alone(part: str, place: Path) -> Path:
    """The part's folder, the only thing in `place`."""
    shutil.copytree(ROOT / part, place / part, ignore=LEFT_OUT)
    assert [path.name for path in place.iterdir()] == [part]
    return place / part


def test_every_part_is_tried():
    assert sorted(WORK) == sorted(path.name for path in ROOT.glob("part_[0-9]"))


@pytest.mark.parametrize("part", [
    pytest.param(part, marks=pytest.mark.slow) if part in ("part_6", "part_7", "part_8") else part
    for part in WORK])  # their rooms are in part 9, too
def test_a_part_works_alone_in_an_empty_place(part, run_script, tmp_path):
    script, *flags = WORK[part]
    folder = alone(part, tmp_path / "place")
    run_script(str(folder / script), *flags, "--out", folder / "out", cwd=folder)
    made = [path for path in (folder / "out").rglob("*") if path.is_file()]
    assert made, "nothing was left in out/"


@pytest.mark.slow
@pytest.mark.parametrize("part", WORK)
def test_every_demo_of_a_part_works_alone(part, run_script, tmp_path):
    folder = alone(part, tmp_path / "place")
    for demo in sorted(folder.glob("demo_*.py")):
        if demo.name == "demo_pipeline.py":    # it runs the scripts of all parts
            continue
        quick = ["--quick"] if '"--quick"' in demo.read_text(encoding="utf-8") else []
        run_script(str(demo), *quick, "--out", folder / "out", cwd=folder)
