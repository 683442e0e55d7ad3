"""Two processes are tuned as one is, LoRA too; a resume may change their number."""

import json
from pathlib import Path

import pytest
import train_sft
from several import holds, processes
from stop_and_go import recomputed_and_compiled, same_weights, survives_many_kills

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--examples", 40, "--steps", 4, "--rows", 4, "--replay", 0.2, "--eval-every", 2, "--amp",
         "float32", "--eval-items", 0, "--no-tensorboard", "--muon", 0)


def log_of(folder: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


def arguments(tiny_base, out, *more) -> list[str]:
    return [str(x) for x in (*SMALL, "--base", tiny_base, "--out", out, *more)]


@pytest.mark.scripts
@pytest.mark.parametrize("more", [(), ("--shard",), pytest.param(("--lora", 4), marks=pytest.mark.slow),
                                  pytest.param(("--lora", 4, "--shard"), marks=pytest.mark.slow)])
def test_two_processes_are_tuned_as_one_is(more, tiny_base, tmp_path, run_script):
    train_sft.main(arguments(tiny_base, tmp_path / "a", *more))
    processes(run_script, tmp_path, ROOT / "part_6/train_sft.py",
              *arguments(tiny_base, tmp_path / "b", *more, "--stop-at", 2))
    train_sft.main(arguments(tiny_base, tmp_path / "b", *more, "--resume"))
    for name in ("loss", "val_loss", "labels"):
        one, two = (log_of(tmp_path / run, name) for run in "ab")
        assert two == pytest.approx(one, abs=3e-5), name
    assert len(one) == 4
    if "--lora" not in more:  # the weights, two moments, and the base, which slices do without
        assert holds(tmp_path, 3 if more else 4, tmp_path / "a" / "sft.json", bool(more))


@pytest.mark.slow
@pytest.mark.scripts
def test_four_processes_are_tuned_as_one_is(tiny_base, tmp_path, run_script):
    train_sft.main(arguments(tiny_base, tmp_path / "a"))
    processes(run_script, tmp_path, ROOT / "part_6/train_sft.py", *arguments(tiny_base, tmp_path / "b"),
              many=4)
    one, two = (log_of(tmp_path / run, "loss") for run in "ab")
    assert two == pytest.approx(one, abs=3e-5) and (tmp_path / "b" / "sft.pt").exists()


@pytest.mark.slow
def test_twenty_kills_cost_nothing(tiny_base, tmp_path):
    survives_many_kills(ROOT / "part_6" / "train_sft.py", (*SMALL, "--base", tiny_base), tmp_path, "sft.pt",
                        every="--eval-every")


def test_rows_that_do_not_divide_among_the_processes_are_refused(tiny_base, tmp_path, monkeypatch):
    from run.distributed import Processes
    monkeypatch.setattr("run.progress.start_processes", lambda device: (Processes(0, 3), device))
    with pytest.raises(ValueError, match="--rows 4 must be a multiple of the 3 processes"):
        train_sft.main(arguments(tiny_base, tmp_path))


def test_lora_that_was_stopped_goes_on_to_the_same_bytes(tiny_base, tmp_path):
    lora = ("--lora", 4)
    train_sft.main(arguments(tiny_base, tmp_path / "a", *lora))
    train_sft.main(arguments(tiny_base, tmp_path / "b", *lora, "--stop-at", 1))
    assert list((tmp_path / "b" / "checkpoints").glob("step_*.pt"))
    train_sft.main(arguments(tiny_base, tmp_path / "b", *lora, "--resume", "--stop-at", 3))
    with recomputed_and_compiled(True):
        train_sft.main(arguments(tiny_base, tmp_path / "b", *lora, "--resume", "--recompute",
                                 "--compile"))
    assert same_weights(tmp_path / "a" / "sft.pt", tmp_path / "b" / "sft.pt")


def test_figures_of_before_the_stop_are_in_the_end_s_report(tiny_base, tmp_path):
    chats = [{"instruction": f"Say {n}.", "input": "", "output": f"{n}."} for n in range(24)]
    (tmp_path / "chats.jsonl").write_text("\n".join(map(json.dumps, chats)))
    more = ("--data", tmp_path / "chats.jsonl", "--longest", 3)
    train_sft.main(arguments(tiny_base, tmp_path / "b", *more, "--stop-at", 3))
    train_sft.main(arguments(tiny_base, tmp_path / "b", *more, "--resume"))
    assert json.loads((tmp_path / "b" / "sft.json").read_text())["metrics"]["val_loss_before"] > 0
    (tmp_path / "b" / "sft.pt").unlink()
    train_sft.main(arguments(tiny_base, tmp_path / "b", *more, "--resume"))
    metrics = json.loads((tmp_path / "b" / "sft.json").read_text())["metrics"]
    assert metrics["val_loss_before"] > 0 and metrics["val_loss"] > 0, "the last step was made before"


def test_the_flags_of_a_training_that_can_stop_and_go_on():
    """For the trainings of later parts (run/progress.py)."""
    from argparse import ArgumentParser

    from run.progress import add_progress_flags
    parser = ArgumentParser()
    add_progress_flags(parser, save_every=7)
    rest = {"recompute": False, "compile": False, "shard": False}
    assert vars(parser.parse_args([])) == {"resume": False, "stop_at": None, "save_every": 7} | rest
    assert vars(parser.parse_args(["--save-every", "3", "--stop-at", "2", "--resume"])) == {
        "resume": True, "stop_at": 2, "save_every": 3} | rest
