"""Every script of part 1 runs: with --help, quickly, from another folder, and refuses nonsense."""

import importlib
from pathlib import Path

import pytest

PART = Path(__file__).resolve().parents[2] / "part_1"
QUICK = {  # script -> (flags, picture)
    "demo_attention_by_hand.py": ([], "attention_by_hand.png"),
    "demo_positions.py": (["--quick"], "positions.png"),
    "demo_mha_shapes.py": ([], "mha_shapes.png"),
    "demo_visualize_multi_head.py": (["--quick"], "multi_head.png"),
    "demo_residuals.py": (["--quick"], "residuals.png"),
    "demo_encoder_decoder.py": (["--quick"], "encoder_decoder.png"),
    "demo_overfit.py": (["--quick"], "overfit.png"),
}


def test_every_script_is_in_the_list():
    assert {path.name for path in PART.glob("demo_*.py")} == set(QUICK)


@pytest.mark.parametrize("script", QUICK)
def test_help_gives_every_flag_with_its_default(script, capsys):
    module = importlib.import_module(script.removesuffix(".py"))
    with pytest.raises(SystemExit) as stop:
        module.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0 and module.__doc__.split()[0] in text
    flags = text[text.index("options:"):].count(" --")
    assert flags >= 3 and text.count("(default: ") == flags - 1  # --help has none


@pytest.mark.scripts
@pytest.mark.parametrize("script", QUICK)
def test_quick_run_prints_and_draws_into_the_named_folder(script, run_script, tmp_path):
    flags, picture = QUICK[script]
    done = run_script(f"part_1/{script}", *flags, "--out", tmp_path / "new folder")
    assert (tmp_path / "new folder" / picture).read_bytes().startswith(b"\x89PNG")
    assert f"picture {tmp_path / 'new folder' / picture}" in done.stdout


@pytest.mark.scripts
@pytest.mark.parametrize(("script", "flags", "message"), [
    ("demo_mha_shapes.py", ["--heads", 5], "n_embd=32 must be a multiple of n_head=5"),
    ("demo_overfit.py", ["--positions", "rotary"], "positions='rotary'"),
    ("demo_encoder_decoder.py", ["--steps", 0], "--steps 0"),
    ("demo_residuals.py", ["--device", "abacus"], "--device abacus: unknown"),
])
def test_nonsense_ends_in_one_clear_line_and_status_2(script, flags, message, run_script, tmp_path):
    done = run_script(f"part_1/{script}", *flags, "--out", tmp_path, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.scripts
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_milestones_hold_for_three_seeds(seed, modules_of, tmp_path):
    demos = modules_of("part_1", "demo_overfit", "demo_encoder_decoder", "demo_positions",
                       "demo_visualize_multi_head")
    flags = ["--seed", str(seed), "--out", str(tmp_path)]
    memorised = demos.demo_overfit.main(flags)
    assert memorised["loss"] < 0.05 and memorised["right"] == 1.0
    assert demos.demo_encoder_decoder.main(flags)["accuracy"] >= 0.99
    right = demos.demo_positions.main(flags)
    assert right["learned"] > 0.95 and right["none"] < 0.5
    assert demos.demo_visualize_multi_head.main(flags)["right"] > 0.95
