"""Which way down? Four learning-rate schedules, what they reach, and one that climbs again.

    python part_4/demo_schedules.py
    python part_4/demo_schedules.py --quick

See    Left: the rates, drawn past the last step. Ours stay at the minimum; a bare cosine climbs
       again. Right: small models under each schedule: same peak, same texts of the little world,
       three starts. The title says what came out. In a run as short as this one the losses still
       fall steeply at the end, and a schedule that comes down early has travelled less: wsd, which
       comes down last, loses least by it. A low rate pays where noise, not distance, is the limit.
"""

import math
import statistics

import plotting
import torch
from loop import train_step
from model import GPT, GPTConfig
from optim import make_optimizer
from runtime import Runtime, make_parser, out_folder, print_table, run_main, seed_everything
from schedule import Schedule
from world import World

CONTEXT, ROWS, PEAK = 64, 8, 3e-3
COLORS = {"cosine": plotting.BLUE, "linear": plotting.ORANGE, "wsd": plotting.GREEN,
          "constant": plotting.GREY}


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--quick", action="store_true", help="fewer steps (default: off)")
    return parser.parse_args(argv)


def byte_rows(count: int, split: str, seed: int) -> torch.Tensor:
    """Texts of the world as bytes, (count, CONTEXT + 1)."""
    texts = World().texts(size=count * (CONTEXT + 1), split=split, seed=seed)
    raw = b"\n".join(text.text.encode() for text in texts)[:count * (CONTEXT + 1)]
    return torch.tensor(list(raw)).view(count, CONTEXT + 1)


def train(kind: str, steps: int, data: torch.Tensor, held_out: torch.Tensor, seed: int) -> list:
    """[(step, held-out loss)] of a small model under one schedule."""
    torch.manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=256, block_size=CONTEXT, n_layer=1, n_head=2, n_embd=48,
                          qk_norm=True))
    optimizer = make_optimizer(model, weight_decay=0.1, betas=(0.9, 0.95))
    schedule = Schedule(kind, peak=PEAK, low=0.02 * PEAK, warmup=0.05, decay=0.25)
    runtime, curve = Runtime(torch.device("cpu"), None, "", ""), []
    for step in range(steps):
        rows = data[step * ROWS:(step + 1) * ROWS]
        train_step(model, optimizer, rows[:, :-1], rows[:, 1:], runtime=runtime,
                   scaler=runtime.grad_scaler(), rate=schedule.rate((step + 1) / steps))
        if (step + 1) % max(1, steps // 15) == 0:
            with torch.no_grad():
                loss = model(held_out[:, :-1], held_out[:, 1:], loss_only=True)[1]
            curve.append((step + 1, float(loss)))
    return curve


def mean_curve(curves: list) -> list:
    """The mean over seeds: [(step, loss)]."""
    return [(points[0][0], statistics.mean(loss for _, loss in points)) for points in zip(*curves)]


def finding(gains: dict) -> str:
    """The title: what each schedule gained over a constant rate, in every seed or not."""
    clear = sorted(kind for kind, gain in gains.items() if min(gain) > 0)
    means = {kind: statistics.mean(gain) for kind, gain in gains.items()}
    low, high = min(means.values()), max(means.values())
    if len(clear) == len(gains):
        return (f"Coming down pays with every seed: {low:.3f} to {high:.3f} nats per byte, "
                "by whichever way")
    if clear:
        return (f"With every seed better than a constant rate: {', '.join(clear)}; the mean gains "
                f"are {low:+.3f} to {high:+.3f} nats per byte")
    return (f"No schedule beats a constant rate with every seed: mean gains {low:+.3f} to "
            f"{high:+.3f} nats per byte")


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    steps, seeds = (60, 2) if args.quick else (400, 3)
    data, held_out = byte_rows(steps * ROWS, "train", args.seed), byte_rows(128, "validation", 0)
    curves = {kind: [train(kind, steps, data, held_out, args.seed + i) for i in range(seeds)]
              for kind in COLORS}
    schedules = {kind: Schedule(kind, peak=1.0, low=0.02, warmup=0.05, decay=0.25)
                 for kind in COLORS}
    ends = {kind: [curve[-1][1] for curve in runs] for kind, runs in curves.items()}
    gains = {kind: [constant - loss for loss, constant in zip(ends[kind], ends["constant"])]
             for kind in COLORS if kind != "constant"}
    print_table(["schedule", "rate half-way", "at the end", "20% beyond", "held-out loss",
                 "gain over constant", "least gain"],
                [[kind, schedules[kind].rate(0.5), schedules[kind].rate(1.0),
                  schedules[kind].rate(1.2), statistics.mean(ends[kind]),
                  *((statistics.mean(gains[kind]), min(gains[kind])) if kind in gains else "--")]
                 for kind in COLORS],
                f"Rates as shares of the peak; nats per byte after {steps} steps, {seeds} seeds")
    draw(out, curves, schedules, finding(gains),
         f"1 layer of width 48, bytes of the little world, {steps} steps of {ROWS * CONTEXT} "
         f"bytes, peak {PEAK:g} for all, mean of {seeds} seeds from {args.seed}")


def draw(out, curves: dict, schedules: dict, title: str, setup: str) -> None:
    """Left the rates, right the losses: every seed thin and grey, the mean bold."""
    fig, (left, right) = plotting.figure(title, setup, panels=2)
    means = {kind: mean_curve(runs) for kind, runs in curves.items()}
    order = sorted(means, key=lambda kind: means[kind][-1][1])
    shares = [i / 100 for i in range(1, 141)]
    for kind, color in COLORS.items():
        left.plot(shares, [schedules[kind].rate(s) for s in shares], color=color)
        late = [point for point in means[kind] if point[0] >= 0.4 * means[kind][-1][0]]
        for run in curves[kind]:
            right.plot(*zip(*run[-len(late):]), color=color, lw=0.6, alpha=0.4)
        right.plot(*zip(*late), color=color)
        plotting.end_label(right, *zip(*late), f"{kind} {late[-1][1]:.3f}", color,
                           dy=11 * (order.index(kind) - 1.5))
    beyond = [s for s in shares if s >= 1]
    left.plot(beyond, [0.02 + 0.98 * (1 + math.cos(math.pi * (s - 0.05) / 0.95)) / 2
                       for s in beyond], color=plotting.RED, ls="--")
    left.text(1.4, 0.45, "wrong: a bare\ncosine", color=plotting.RED, ha="right", fontsize=8)
    left.axvline(1, color="#BBBBBB", lw=0.8)
    left.set(xlabel="share of the run", ylabel="rate, share of the peak", ylim=(0, 1.05))
    right.set(xlabel="step", ylabel="held-out loss, nats per byte")
    plotting.save(fig, out / "schedules.png")


if __name__ == "__main__":
    run_main(main)
