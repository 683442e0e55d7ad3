"""Several processes train experts as one does, whole or spread; the checkpoint is that of one."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import train_moe
from gpt.model import GPTConfig
from moe.checkpoint import load_moe
from moe.hybrid import HybridGPT
from moe.layer import MoEConfig
from moe.settings import PARALLEL
from run.distributed import Processes, same_format
from run.runtime import AMP_TYPES, Runtime
from several import held_by, processes
from stop_and_go import survives_many_kills

PART = Path(train_moe.__file__).parent
SMALL = ("--steps", 6, "--world-megabytes", 0.05, "--amp", "float32", "--device", "cpu", "--n-expert", 8,
         "--save-every", 2, "--balance-weight", 1)
SIZE = {"n_layer": 2, "n_head": 2, "n_kv_head": 1, "n_embd": 16, "context": 32, "vocab_size": 280, "rows": 8}
SCRIPT = f"""
import os, sys
sys.path.insert(0, {str(PART)!r})
import train_moe
from run.runtime import run_main

train_moe.PRESETS["tiny"] = train_moe.Size(**{SIZE!r})
if "DIES" in os.environ and os.environ.get("RANK") == "1":
    from moe import learning
    step, made = learning.train_step, []
    learning.train_step = lambda *a, **b: os._exit(9) if made[1:] else made.append(1) or step(*a, **b)
run_main(train_moe.main, trains=True, processes=True)
"""


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(train_moe.PRESETS, "tiny", train_moe.Size(**SIZE))


@pytest.fixture
def script(tmp_path):
    """The training with a preset that takes no time."""
    path = tmp_path / "small.py"
    path.write_text(SCRIPT)
    return path


def arguments(out, *more) -> list[str]:
    return [str(x) for x in (*SMALL, *more, "--out", out)]


def log_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "moe_log/log.jsonl").read_text().splitlines()]


def same_curve(one: Path, other: Path) -> None:
    """Loss, norm, loads and held-out losses of every step."""
    first, second = log_of(one), log_of(other)
    assert len(first) == len(second) >= 12
    for a, b in zip(first, second):
        assert b == pytest.approx(a, abs=5e-5), "max_load, too: of the whole step, rounded to 0.001"


def same_checkpoint(one: Path, other: Path) -> None:
    (a, _, fields), (b, _, others) = (load_moe(out / "moe.pt") for out in (one, other))
    assert type(b) is HybridGPT and fields["settings"] == others["settings"]
    assert {name: x.shape for name, x in a.state_dict().items()} == {
        name: x.shape for name, x in b.state_dict().items()}
    for name, value in a.state_dict().items():
        torch.testing.assert_close(b.state_dict()[name], value, rtol=0, atol=2e-3)


def stop_in_two_and_go_on(run_script, script, folder: Path, *more) -> None:
    """In two again where each has only its experts, else in one."""
    processes(run_script, folder, script, *arguments(folder / "b", *more, "--stop-at", 3))
    again = arguments(folder / "b", *more, "--resume")
    if "experts" in more:
        processes(run_script, folder, script, *again)
    else:
        train_moe.main(again)


# ---------------------------------------------------------------- the loss

@dataclass(frozen=True)
class Pretended(Processes):
    """Two processes, of which the other's numbers are known."""

    totals: tuple = ()

    def sum(self, value):
        return torch.tensor(self.totals, dtype=value.dtype) if len(value) == len(self.totals) else value


@pytest.mark.parametrize("layers, gate", [("mm", "softmax"), ("db", "sigmoid")])
def test_the_losses_of_two_halves_with_unlike_labels_add_up_to_that_of_the_whole(layers, gate):
    config = GPTConfig(vocab_size=30, block_size=12, n_layer=2, n_head=2, n_embd=16)
    model = HybridGPT(config, MoEConfig(n_expert=4, gate=gate, layers=layers, balance_weight=3.0,
                                        z_weight=0.5)).double().train()
    ids, targets = torch.randint(0, 30, (2, 4, 12))
    targets[2:, 3:] = -100  # the second half has few labels, and as many tokens
    whole = model(ids, targets)[1]
    wanted = torch.autograd.grad(whole, list(model.parameters()))
    halves = [(ids[:2], targets[:2]), (ids[2:], targets[2:])]
    labels = [(y != -100).sum() for _, y in halves]
    loads = []
    for x, y in halves:
        model(x, y)
        loads.append(model.loads().flatten())
    totals = torch.cat([sum(loads), sum(labels)[None]])
    model.processes = Pretended(0, 2, totals=tuple(totals.tolist()))
    loss = sum(model(x, y)[1] * (own / sum(labels)) for (x, y), own in zip(halves, labels))
    torch.testing.assert_close(loss, whole)
    for found, right in zip(torch.autograd.grad(loss, list(model.parameters())), wanted):
        torch.testing.assert_close(found, right)


# ---------------------------------------------------------------- processes

@pytest.mark.scripts
@pytest.mark.parametrize("parallel, more", [
    ("ddp", ("--balance", "bias", "--gate", "sigmoid")), ("experts", ("--n-shared", 1)),
    pytest.param("ddp", (), marks=pytest.mark.slow),
    pytest.param("fsdp", (), marks=pytest.mark.slow),
    pytest.param("experts", ("--balance", "bias", "--layers", "db"), marks=pytest.mark.slow),
    pytest.param("experts", ("--recompute",), marks=pytest.mark.slow)])
def test_two_processes_train_as_one_does(parallel, more, script, tmp_path, run_script):
    train_moe.main(arguments(tmp_path / "a", *more))
    stop_in_two_and_go_on(run_script, script, tmp_path, *more, "--parallel", parallel)
    same_curve(tmp_path / "a", tmp_path / "b")
    same_checkpoint(tmp_path / "a", tmp_path / "b")
    timing = [json.loads(line) for line in (tmp_path / "b/moe_log/timing.jsonl").read_text().splitlines()]
    assert len(timing) == (6 if parallel == "experts" else 3), "the steps in two processes"
    assert all(0 < line["waiting"] < line["seconds"] for line in timing)
    weights, experts = 3 * 4, 3 * 4  # two moments, float32
    model = load_moe(tmp_path / "a/moe.pt")[0]
    inside = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    rest = model.count_parameters() - inside
    share = {"ddp": (1, 1), "experts": (1, 2), "fsdp": (2, 2)}[parallel]
    assert max(held_by(tmp_path)) == pytest.approx(
        weights * rest / share[0] + experts * inside / share[1], rel=0.06)


@pytest.mark.slow
@pytest.mark.scripts
@pytest.mark.parametrize("parallel", PARALLEL)
def test_one_then_four_then_two_processes_train_as_one_does(parallel, script, tmp_path, run_script):
    train_moe.main(arguments(tmp_path / "a"))
    train_moe.main(arguments(tmp_path / "b", "--stop-at", 1))
    for many, more in ((4, ("--stop-at", 4)), (2, ())):
        processes(run_script, tmp_path, script, *arguments(tmp_path / "b", "--resume", *more, "--parallel",
                                                           parallel), many=many)
    same_curve(tmp_path / "a", tmp_path / "b")
    same_checkpoint(tmp_path / "a", tmp_path / "b")


@pytest.mark.slow
@pytest.mark.scripts
def test_experts_over_processes_can_be_compiled(script, tmp_path, run_script):
    train_moe.main(arguments(tmp_path / "a", "--stop-at", 2))
    processes(run_script, tmp_path, script, *arguments(tmp_path / "b", "--stop-at", 2, "--parallel",
                                                       "experts", "--compile"))
    for one, two in zip(log_of(tmp_path / "a"), log_of(tmp_path / "b"), strict=True):
        assert two == pytest.approx(one, abs=5e-5)


@pytest.mark.slow
@pytest.mark.scripts
@pytest.mark.parametrize("parallel", ["ddp", "experts"])
def test_a_process_that_dies_is_named(parallel, script, tmp_path, run_script, monkeypatch):
    monkeypatch.setenv("DIES", "1")
    monkeypatch.setenv("PROCESS_WAIT", "2")
    done = processes(run_script, tmp_path, script, *arguments(tmp_path / "b", "--parallel", parallel),
                     check=False, timeout=120)
    assert done.returncode and "error: process 1 of 2 died or did not answer" in done.stderr


@pytest.mark.slow
def test_twenty_kills_cost_nothing(script, tmp_path):
    survives_many_kills(script, SMALL, tmp_path, "moe.pt")


# ---------------------------------------------------------------- what cannot be shared

@pytest.mark.parametrize("world, more, says", [
    (3, (), "--preset tiny: the 8 rows of a step cannot be shared by 3 processes"),
    (4, ("--parallel", "experts", "--n-expert", 6), "--n-expert 6 cannot be spread evenly over 4 processes"),
    (2, ("--parallel", "experts", "--amp", "float16"), "--parallel experts with --amp float16"),
])
def test_what_does_not_divide_is_refused_before_any_work(world, more, says, tmp_path, monkeypatch):
    monkeypatch.setattr(train_moe, "start_processes", lambda device: (Processes(0, world), device))
    monkeypatch.setattr(Processes, "sum", lambda self, value: value)
    with pytest.raises(ValueError, match=says):
        train_moe.main(arguments(tmp_path, *more))
    assert not list(tmp_path.glob("moe*"))


def test_the_main_process_chooses_the_number_format(monkeypatch):
    """Each has timed a layer for itself; halves and wholes cannot travel together."""
    timed = Runtime(torch.device("cpu"), torch.bfloat16, "", "")
    monkeypatch.setattr(Processes, "sum", lambda self, value: value + 2 * (self.rank > 0) * (value == 0))
    assert same_format(timed, Processes(0, 2)) == timed
    found = same_format(timed, Processes(1, 2))
    assert found.amp_name == list(AMP_TYPES)[2], "what was summed up, not what this one timed"
