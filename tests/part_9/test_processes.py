"""Two processes read the examples of a cold start as one does, and draw and learn in GRPO as one does."""

import json
from pathlib import Path

import cold_start
import pytest
import torch
import train_grpo
from several import holds, processes

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ("--examples", 24, "--steps", 4, "--rows", 4, "--amp", "float32")

GRPO = ("--steps", 4, "--prompts", 3, "--group", 2, "--max-new", 8, "--keep-rows", 3, "--amp",
        "float32", "--no-tensorboard", "--no-drop-equal", "--look-every", 0, "--eval-problems", 1,
        "--eval-exact", 0, "--longest", 2, "--micro-rows", 2, "--epochs", 2, "--minibatch", 4,
        "--peak", 0.003, "--soft-length", 8)


def losses(folder: Path) -> list[float]:
    newest = sorted((folder / "checkpoints_cold").glob("step_*.pt"))[-1]
    return torch.load(newest, weights_only=True)["training"]["log"]


@pytest.mark.scripts
@pytest.mark.parametrize("many, more", [(2, ()), (2, ("--shard",)),
                                        pytest.param(4, (), marks=pytest.mark.slow)])
def test_several_processes_begin_as_one_does(many, more, tiny_sft, tmp_path, run_script):
    flags = (*FLAGS, "--sft", tiny_sft)
    cold_start.main([*map(str, flags), "--out", str(tmp_path / "a")])
    out = ("--out", tmp_path / "b")
    processes(run_script, tmp_path, ROOT / "part_9/cold_start.py", *flags, *out, "--stop-at", 2,
              *more, many=many)
    assert not (tmp_path / "b" / "cold.pt").exists()
    cold_start.main([*map(str, (*flags, *out)), "--resume"])
    assert losses(tmp_path / "b") == pytest.approx(losses(tmp_path / "a"), abs=3e-5)


def log_of(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if "reward" in line]


@pytest.mark.scripts
@pytest.mark.parametrize("many, more", [(2, ()), (2, ("--shard",)),
                                        pytest.param(3, (), marks=pytest.mark.slow)])
def test_several_processes_draw_and_learn_as_one_does(many, more, tiny_sft, tmp_path, run_script):
    """The same replies, groups whole, the same update; a reference and two moments are held too."""
    sizes = torch.load(tiny_sft, weights_only=True)["weights"]
    tiny_sft.with_name("size.json").write_text(json.dumps({"parameters": sum(
        value.numel() for name, value in sizes.items() if name != "head.weight")}))
    flags = (*GRPO, "--model", tiny_sft)
    processes(run_script, tmp_path, ROOT / "part_9/train_grpo.py", *flags, "--out", tmp_path / "b",
              "--stop-at", 3, *more, many=many)
    train_grpo.main([*map(str, flags), "--out", str(tmp_path / "a"), "--stop-at", "3"])
    one, two = (log_of(tmp_path / name) for name in "ab")
    assert many != 2 or holds(tmp_path, 4, tiny_sft.with_name("size.json"), bool(more))
    assert len(one) == 3 and any(line["loss"] != 0 for line in one)
    assert two == [pytest.approx(line, abs=1e-4) for line in one]


def test_more_processes_than_prompts_are_refused(loaded, runtime):
    from rl.steps import own_prompts
    from run.distributed import Processes
    with pytest.raises(ValueError, match="--prompts 2: fewer than the 3 processes"):
        own_prompts([[1], [2]], 2, 4, torch.Generator(), Processes(0, 3))


def test_a_process_judges_the_tasks_of_its_own_prompts(loaded, runtime):
    from reasoning.grpo_loop import GRPO as Loop
    from reasoning.grpo_settings import GRPOSettings
    from run.distributed import Processes

    class Judged(Exception):
        """Ends the step: what comes after it needs the other process."""

    def score(rollout, tasks):
        raise Judged([(rollout.token_rows()[2 * i][:2], task) for i, task in enumerate(tasks)])

    model, tokenizer = loaded
    settings = GRPOSettings(prompts=4, group=2, max_new=3, keep_rows=0)
    loop = Loop(model, score, settings, end=tokenizer.end, pad=tokenizer.pad, runtime=runtime,
                processes=Processes(1, 2))
    with pytest.raises(Judged) as judged:
        loop.step([[5, 6], [6, 7], [7, 8], [8, 9]], ["5 6", "6 7", "7 8", "8 9"])
    assert judged.value.args[0] == [([7, 8], "7 8"), ([8, 9], "8 9")]
