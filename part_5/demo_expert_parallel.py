"""Experts over several processes: how much time goes into communication, how much into products?

    python part_5/demo_expert_parallel.py                      1, 2 and 4 processes of this machine
    torchrun --nproc_per_node=2 part_5/demo_expert_parallel.py     as many as torchrun starts
    python part_5/demo_expert_parallel.py --quick              a few seconds

To see: every number of processes gives the outputs of one (the last column). The bytes that travel
are those of eq. 5.9. With few tokens the waiting for each other is most of the time; with more
tokens the products grow as fast as the bytes, and the share falls. Four processes on two cores take
turns: then much of what is counted as communication is waiting.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import json
import os
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
from moe.expert_parallel import join, launch, spread
from moe.layer import MoE, MoEConfig
from run import plotting

CONFIG = MoEConfig(n_expert=8, n_active=2)
WIDTH, HIDDEN = 128, 256


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=None,
                        help="measured rounds (default: 6; quick: 2)")
    parser.add_argument("--quick", action="store_true",
                        help="1 and 2 processes, 2 rounds (default: off)")
    return parser.parse_args(argv)


def whole_layer(seed: int) -> MoE:
    """The same layer in every process."""
    torch.manual_seed(seed)
    return MoE(WIDTH, HIDDEN, CONFIG)


def measure(rank: int, world: int, sizes: list[int], rounds: int, seed: int, path: str) -> None:
    """In each process: time forward and backward of its share; process 0 writes the medians."""
    layer = whole_layer(seed)
    part, rows = spread(layer), []
    for tokens in sizes:
        x = torch.randn(tokens, WIDTH, generator=torch.Generator().manual_seed(1))
        mine = x[rank * tokens // world:(rank + 1) * tokens // world]
        with torch.no_grad():
            difference = (part(mine) - layer(x)[rank * tokens // world:][:len(mine)]).abs().max()
        times = []
        for _ in range(rounds + 1):
            dist.barrier()
            part.clock.clear()
            start = time.perf_counter()
            out = part(mine.clone().requires_grad_())
            (out.square().sum() / tokens + part.loss / world).backward()
            part.sum_copies()
            times.append((time.perf_counter() - start, part.clock["communication"]))
        total, communication = sorted(times[1:])[len(times[1:]) // 2]
        worst = difference.clone()
        dist.all_reduce(worst, op=dist.ReduceOp.MAX)
        sent = 4 * CONFIG.n_active * tokens * WIDTH * 4 * (world - 1) / world  # eq. 5.9, bytes
        rows.append({"processes": world, "tokens": tokens, "compute": total - communication,
                     "communication": communication, "megabytes": sent / 1e6,
                     "difference": float(worst)})
    if rank == 0:
        Path(path).write_text(json.dumps(rows), encoding="utf-8")


def under_torchrun(sizes, rounds: int, seed: int, path: str) -> bool:
    """Be one of the processes that torchrun started -> whether this one reports."""
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    join(rank, world, "env://", seconds=60)
    measure(rank, world, sizes, rounds, seed, path)
    dist.barrier()
    dist.destroy_process_group()
    return rank == 0


def draw(rows: list[dict], path: Path) -> None:
    """For each number of processes: bars of compute and communication over the tokens."""
    worlds = sorted({row["processes"] for row in rows})
    last = [row for row in rows if row["processes"] == worlds[-1]]
    shares = [row["communication"] / (row["communication"] + row["compute"]) for row in last]
    fig, axes = plotting.figure(
        f"{worlds[-1]} processes: communication takes {shares[0]:.0%} of the time at "
        f"{last[0]['tokens']:,} tokens, {shares[-1]:.0%} at {last[-1]['tokens']:,}",
        f"one layer, forward and backward, width {WIDTH}, hidden {HIDDEN}, 8 experts, top-2, "
        f"float32, {os.cpu_count()} cores; communication includes waiting",
        len(worlds), sharey=True)
    for ax, world in zip(axes if len(worlds) > 1 else [axes], worlds):
        mine = [row for row in rows if row["processes"] == world]
        names = [f"{row['tokens']:,}" for row in mine]
        compute = [1e6 * row["compute"] / row["tokens"] for row in mine]
        travel = [1e6 * row["communication"] / row["tokens"] for row in mine]
        ax.bar(names, compute, color=plotting.BLUE, label="compute")
        ax.bar(names, travel, bottom=compute, color=plotting.ORANGE, label="communication")
        ax.set(xlabel="tokens", title=f"{world} process{'es' if world > 1 else ''}")
    first = axes[0] if len(worlds) > 1 else axes
    first.set_ylabel("microseconds a token")
    first.legend(fontsize=8)
    plotting.save(fig, path)


def main(argv=None):
    args = parse_args(argv)
    if args.rounds is not None and args.rounds < 1:
        raise ValueError(f"--rounds {args.rounds}: must be at least 1")
    out = out_folder(__file__, args.out)
    rounds = (2 if args.quick else 6) if args.rounds is None else args.rounds
    sizes = [128, 1024] if args.quick else [128, 512, 2048, 8192]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        rows = []
        if "WORLD_SIZE" in os.environ:
            if not under_torchrun(sizes, rounds, args.seed, str(path)):
                return
            rows = json.loads(path.read_text(encoding="utf-8"))
        else:
            for world in (1, 2) if args.quick else (1, 2, 4):
                launch(measure, world, sizes, rounds, args.seed, str(path))
                rows += json.loads(path.read_text(encoding="utf-8"))
    print_table(["processes", "tokens", "compute ms", "communication ms", "share", "MB sent",
                 "difference from one"],
                [[row["processes"], row["tokens"], 1e3 * row["compute"], 1e3 * row["communication"],
                  f"{row['communication'] / (row['compute'] + row['communication']):.0%}",
                  row["megabytes"], row["difference"]] for row in rows])
    draw(rows, out / "expert_parallel.png")


if __name__ == "__main__":
    run_main(main, processes=True)
