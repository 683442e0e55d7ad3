"""Muon or AdamW, with and without QK-norm: which learns more in the same seconds?

    python part_4/demo_muon.py            about a minute of one core
    python part_4/demo_muon.py --quick    a few seconds

The same model reads bytes of the little world for the same number of seconds under four settings, with three
seeds each. A step of Muon is dearer (five small products for each matrix), so seconds are compared, not
steps: the seconds that the processor worked for this process, so that other work does not count.
What to see: the held-out loss, how many steps each took, and the largest singular value of an update over
the median one: AdamW moves a matrix along a few directions, Muon along all of them alike.
"""

from run.runtime import (
    Runtime,
    keep_memory,
    make_parser,
    out_folder,
    print_table,
    run_main,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import statistics
import time

import torch
from gpt.model import GPT, GPTConfig
from run import plotting
from run.loop import train_step
from run.optim import make_optimizer
from run.schedule import Schedule
from world.world import World

CONTEXT, ROWS, WIDTH, LAYERS = 64, 8, 64, 2
RATE, MUON = 3e-3, 4.0    # AdamW's rate (0.006 and 0.012 were worse), and Muon's as a multiple: train.py's
CASES = {"AdamW": (False, False), "AdamW, QK-norm": (False, True),
         "Muon": (True, False), "Muon, QK-norm": (True, True)}    # name -> (Muon?, QK-norm?)
COLORS = dict(zip(CASES, (plotting.GREY, plotting.PURPLE, plotting.ORANGE, plotting.BLUE)))


def byte_rows(count: int, split: str, seed: int) -> torch.Tensor:
    """Texts of the world as bytes, (count, CONTEXT + 1)."""
    texts = World().texts(size=count * (CONTEXT + 1), split=split, seed=seed)
    raw = b"\n".join(text.text.encode() for text in texts)[:count * (CONTEXT + 1)]
    return torch.tensor(list(raw)).view(count, CONTEXT + 1)


def spread_of_update(model: GPT, before: torch.Tensor) -> float:
    """Largest over median singular value of what one step did to a matrix."""
    values = torch.linalg.svdvals(model.blocks[0].attention.project.weight.detach() - before)
    return float(values[0] / values.median())


def train(name: str, seconds: float, data: torch.Tensor, held_out: torch.Tensor, seed: int) -> dict:
    """Train for so many seconds of the processor -> curve [(second, loss)], steps, spread."""
    is_muon, qk_norm = CASES[name]
    torch.manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=256, block_size=CONTEXT, n_layer=LAYERS, n_head=4, n_embd=WIDTH,
                          qk_norm=qk_norm, embedding_std=0.08))
    optimizer = make_optimizer(model, weight_decay=0.1, betas=(0.9, 0.95), muon=MUON if is_muon else 0)
    schedule, runtime = Schedule("linear", peak=RATE, low=0.0, warmup=0.05), Runtime(
        torch.device("cpu"), None, "", "")
    curve, spreads, step, spent = [], [], 0, 0.0
    while spent < seconds:
        rows = data[torch.arange(step * ROWS, (step + 1) * ROWS) % len(data)]
        weight = model.blocks[0].attention.project.weight.detach().clone() if step % 20 == 0 else None
        start = time.process_time()
        train_step(model, optimizer, rows[:, :-1], rows[:, 1:], runtime=runtime,
                   scaler=runtime.grad_scaler(), rate=schedule.rate(min(1.0, (spent + 1e-3) / seconds)))
        spent, step = spent + time.process_time() - start, step + 1
        if weight is not None:
            spreads.append(spread_of_update(model, weight))
        if not curve or spent >= len(curve) * seconds / 10 or spent >= seconds:
            with torch.no_grad():
                curve.append((spent, float(model(held_out[:, :-1], held_out[:, 1:], loss_only=True)[1])))
    return {"curve": curve, "steps": step, "spread": statistics.median(spreads), "loss": curve[-1][1]}


def draw(path, runs: dict, means: dict, setup: str) -> None:
    best, base = min(means, key=means.get), min(means[name] for name in CASES if not CASES[name][0])
    fig, ax = plotting.figure(
        f"Equal seconds: {best} {means[best]:.3f} nats per byte; the better AdamW {base:.3f}", setup)
    for name, mine in runs.items():
        for run in mine:
            late = [point for point in run["curve"] if point[0] > 0.15 * run["curve"][-1][0]]
            ax.plot(*zip(*late), color=COLORS[name], linewidth=1.2, alpha=0.7)
    low, high = ax.get_ylim()
    at = low
    for name in sorted(means, key=means.get):   # the names at their lines' ends, none upon another
        at = max(means[name], at + 0.05 * (high - low))
        plotting.end_label(ax, [late[-1][0]], [at], f"{name} {means[name]:.3f}", COLORS[name])
    ax.set(xlabel="seconds of the processor", ylabel="held-out loss, nats per byte (lines: seeds)")
    plotting.save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--seconds", type=float, default=None,
                        help="of the processor, for each of 12 runs (default: 5; quick: 0.5)")
    parser.add_argument("--quick", action="store_true", help="half a second, one seed (default: off)")
    args = parser.parse_args(argv)
    if args.seconds is None:
        args.seconds = 0.5 if args.quick else 5.0
    if args.seconds <= 0:
        raise ValueError(f"--seconds {args.seconds}: must be above 0")
    return args


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    keep_memory()
    torch.set_num_threads(1)    # seconds of the processor are then seconds
    seconds, seeds = args.seconds, 1 if args.quick else 3
    data, held_out = byte_rows(4_000, "train", args.seed), byte_rows(256, "validation", 0)
    runs = {name: [train(name, seconds, data, held_out, args.seed + i) for i in range(seeds)]
            for name in CASES}
    means = {name: statistics.mean(run["loss"] for run in mine) for name, mine in runs.items()}
    print_table(["optimizer", "held-out loss", "by seed", "steps", "update: largest / median"],
                [[name, f"{means[name]:.3f}", ", ".join(f"{run['loss']:.3f}" for run in mine),
                  round(statistics.mean(run["steps"] for run in mine)),
                  f"{statistics.mean(run['spread'] for run in mine):.1f}"]
                 for name, mine in runs.items()],
                f"nats per byte after {seconds:g} seconds of the processor, {seeds} seeds")
    draw(out / "muon.png", runs, means,
         f"{LAYERS} layers of width {WIDTH}, bytes of the little world, {ROWS} rows of {CONTEXT}, "
         f"highest rate {RATE:g} (Muon {RATE * MUON:g}), {seeds} seeds from {args.seed}")


if __name__ == "__main__":
    run_main(main)
