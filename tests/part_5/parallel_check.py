"""Run by test_expert_parallel.py in a process of its own: starts several, prints JSON.

    python tests/part_5/parallel_check.py equal 2 softmax     outputs and gradients against one
    python tests/part_5/parallel_check.py die 2               one process ends in the middle
    python tests/part_5/parallel_check.py hang 2              one process stops answering
    python tests/part_5/parallel_check.py uneven 3            8 experts over 3 processes
"""

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "part_5"))

import torch
from moe.expert_parallel import ExpertParallelMoE, launch, spread
from moe.layer import MoE, MoEConfig
from run.runtime import run_main

C, F, N, E = 16, 24, 64, 8
CASES = {
    "softmax": {},
    "top1": {"n_active": 1},
    "sigmoid": {"gate": "sigmoid", "balance": "bias", "bias_rate": 0.1},
    "shared": {"n_shared": 1, "shared_gate": True, "renormalize": False, "scale": 2.5},
    "skewed": {"n_active": 1},  # all tokens to one expert: other processes get none
}


def whole_layer(case: str):
    """The same layer, tokens and slope in every process: drawn from one seed."""
    torch.manual_seed(5)
    layer = MoE(C, F, MoEConfig(n_expert=E, **CASES[case]))
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    x, slope = torch.randn(N, C), torch.randn(N, C)
    if case == "skewed":
        x[:, 0] = 30
        with torch.no_grad():
            layer.router.weight.zero_()
            layer.router.weight[6, 0] = 1
    return layer, x, slope


def outcome(layer, x, slope, share: float) -> dict[str, torch.Tensor]:
    x = x.requires_grad_()
    out = layer(x)
    (((out * slope).sum() / N) + share * layer.loss).backward()
    found = {"out": out.detach(), "x": x.grad}
    return found | {name: p.grad for name, p in layer.named_parameters()}


def equal(rank: int, world: int, case: str, path: str) -> None:
    layer, x, slope = whole_layer(case)
    here = spread(layer)
    own = slice(rank * E // world, (rank + 1) * E // world)
    expected = outcome(layer, x.clone(), slope, 1.0)
    mine = slice(rank * N // world, (rank + 1) * N // world)
    found = outcome(here, x[mine].clone(), slope[mine], 1 / world)
    here.sum_copies()
    worst = {}
    for name, value in expected.items():
        part = own if name.startswith("experts.") else mine if name in ("out", "x") else slice(None)
        there = found[name] if name in ("out", "x") else dict(here.named_parameters())[name].grad
        worst[name] = float((there - value[part]).abs().max())
    layer.router.update_bias()
    here.router.update_bias()
    worst["bias"] = float((layer.router.bias - here.router.bias).abs().max())
    sizes = {"experts_here": here.experts.down.size(0), "size": float(expected["out"].abs().max()),
             "load_of_all": int(here.routing.load.sum())}
    Path(f"{path}.{rank}").write_text(json.dumps({**worst, **sizes}))


def broken(rank: int, world: int, how: str) -> None:
    layer = ExpertParallelMoE(C, F, MoEConfig(n_expert=E))
    for step in range(50):
        if rank == world - 1 and step == 3:
            if how == "die":
                os._exit(13)
            time.sleep(60)
        layer(torch.randn(32, C)).sum().backward()
    print("nobody noticed")


def uneven(rank: int, world: int) -> None:
    ExpertParallelMoE(C, F, MoEConfig(n_expert=E))


def main() -> None:
    mode, world = sys.argv[1], int(sys.argv[2])
    if mode == "equal":
        launch(equal, world, sys.argv[3], sys.argv[4], seconds=30)
        print(json.dumps([json.loads(Path(f"{sys.argv[4]}.{rank}").read_text())
                          for rank in range(world)]))
    elif mode == "uneven":
        launch(uneven, world, seconds=30)
    else:
        launch(broken, world, mode, seconds=4)


if __name__ == "__main__":
    run_main(main, processes=True)
