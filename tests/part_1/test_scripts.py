"""The scripts of part 1: their flags, what they refuse, and their milestones over three seeds.

That each quick demo runs and draws, from any folder, is tested in tests/test_scripts.py.
"""

import importlib
from pathlib import Path

import pytest

PART = Path(__file__).resolve().parents[2] / "part_1"
DEMOS = sorted(path.stem for path in PART.glob("demo_*.py"))


@pytest.mark.parametrize("script", DEMOS)
def test_help_gives_every_flag_with_its_default(script, capsys):
    module = importlib.import_module(script)
    with pytest.raises(SystemExit) as stop:
        module.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0 and module.__doc__.split()[0] in text
    flags = text[text.index("options:"):].count(" --")
    assert flags >= 3 and text.count("(default: ") == flags - 1  # --help has none


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
    demos = modules_of("part_1", "demo_overfit", "demo_encoder_decoder", "demo_positions", "demo_visualize_multi_head")
    flags = ["--seed", str(seed), "--out", str(tmp_path)]
    memorised = demos.demo_overfit.main(flags)
    assert memorised["loss"] < 0.05 and memorised["right"] == 1.0
    assert demos.demo_encoder_decoder.main(flags)["accuracy"] >= 0.99
    right = demos.demo_positions.main(flags)
    assert right["learned"] > 0.95 and right["none"] < 0.5
    assert demos.demo_visualize_multi_head.main(flags)["right"] > 0.95


@pytest.mark.scripts
def test_heads_width_and_length_give_the_shapes_their_numbers(run_script, tmp_path):
    done = run_script("part_1/demo_mha_shapes.py", "--heads", 3, "--width", 12, "--length", 5,
                      "--out", tmp_path)
    for shape in ("(2, 5, 12)", "(2, 5, 3, 4)", "(2, 3, 5, 4)", "(2, 3, 5, 5)"):
        assert shape in done.stdout


def test_the_words_backwards_are_trained_as_the_flags_say(modules_of, watch, tmp_path):
    demo = modules_of("part_1", "demo_encoder_decoder").demo_encoder_decoder
    trained, batches = watch(demo, "train"), watch(demo, "make_sources")
    demo.main(["--steps", "2", "--batch", "5", "--lr", "0.001", "--post-norm", "--out",
               str(tmp_path)])
    [run] = trained
    assert (run.steps, run.peak, run.model.config.norm_first) == (2, 0.001, False)
    assert [call.count for call in batches][:2] == [5, 5]
    batches.clear()
    with pytest.raises(ValueError, match="the loss became nan; try a lower --lr"):
        demo.main(["--steps", "50", "--batch", "5", "--lr", "1e30", "--out", str(tmp_path)])
    assert len(batches) < 5  # at once, not when all steps are done


def test_the_toy_text_is_memorised_in_batches_of_the_asked_size(modules_of, watch, tmp_path):
    demo = modules_of("part_1", "demo_overfit").demo_overfit
    batches = watch(demo, "window_batch")
    demo.main(["--steps", "2", "--batch", "3", "--out", str(tmp_path)])
    assert [call.batch for call in batches] == [3, 3]


def test_stacks_are_as_deep_and_learn_as_fast_as_asked(modules_of, watch, tmp_path):
    demo = modules_of("part_1", "demo_residuals").demo_residuals
    trained = watch(demo, "train")
    found = demo.main(["--depth", "3", "--train-depth", "2", "--steps", "2", "--lr", "0.02",
                       "--out", str(tmp_path)])
    for wiring in demo.WIRINGS:
        assert len(found["norms"][wiring]) == 3 and len(found["losses"][wiring]) == 2
    assert {(run.depth, run.rate) for run in trained} == {(2, 0.02)}
