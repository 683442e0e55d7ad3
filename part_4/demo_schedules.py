"""Which way down? Three schedules against two constant rates, and one that climbs again.

    python part_4/demo_schedules.py
    python part_4/demo_schedules.py --quick

See    Left: the rates, drawn past the last step. Ours stay at the minimum; a bare cosine climbs
       again. Right: a small model under each of them: same texts of the little world, same seeds.
       The steps are small (64 bytes), so the gradient is mostly noise: a high rate runs fast and
       shakes, a low one settles and is slow; coming down does the one after the other. The title
       says what came out. In a short run distance is the limit, not noise, and no way down wins
       with every seed: try --steps 100.
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
import math
import statistics

import torch
from gpt.model import GPT, GPTConfig
from run import plotting
from run.loop import train_step
from run.optim import make_optimizer
from run.schedule import Schedule
from world.world import World

CONTEXT, ROWS, PEAK = 32, 2, 1e-2
DOWN = ("cosine", "linear", "wsd")
HIGH, LOW = "constant", "a fifth of it"  # two constant rates
COLORS = {"cosine": plotting.BLUE, "linear": plotting.ORANGE, "wsd": plotting.GREEN,
          HIGH: plotting.GREY, LOW: plotting.PURPLE}


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--steps", type=int, default=None,
                        help="steps a run (default: 1000; quick: 30)")
    parser.add_argument("--quick", action="store_true",
                        help="30 steps, two seeds instead of three (default: off)")
    args = parser.parse_args(argv)
    if args.steps is not None and args.steps < 20:
        raise ValueError(f"--steps {args.steps}: must be at least 20, or there is no warmup")
    return args


def schedule_of(name: str, peak: float) -> Schedule:
    """The schedule behind a line of the picture."""
    if name in (HIGH, LOW):
        return Schedule("constant", peak=peak * (0.2 if name == LOW else 1), low=0, warmup=0.05)
    return Schedule(name, peak=peak, low=0.02 * peak, warmup=0.05, decay=0.25)


def byte_rows(count: int, split: str, seed: int) -> torch.Tensor:
    """Texts of the world as bytes, (count, CONTEXT + 1)."""
    texts = World().texts(size=count * (CONTEXT + 1), split=split, seed=seed)
    raw = b"\n".join(text.text.encode() for text in texts)[:count * (CONTEXT + 1)]
    return torch.tensor(list(raw)).view(count, CONTEXT + 1)


def train(name: str, steps: int, data: torch.Tensor, held_out: torch.Tensor, seed: int) -> list:
    """[(step, held-out loss)] of a small model under one schedule."""
    torch.manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=256, block_size=CONTEXT, n_layer=1, n_head=2, n_embd=32,
                          qk_norm=True, embedding_std=0.5))  # 0.02 takes long to leave
    optimizer = make_optimizer(model, weight_decay=0.1, betas=(0.9, 0.95))
    schedule, curve = schedule_of(name, PEAK), []
    runtime = Runtime(torch.device("cpu"), None, "", "")
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


def gains_of(ends: dict) -> dict:
    """Name -> for each seed, how far it is below the better of the two constant rates."""
    best = [min(pair) for pair in zip(ends[HIGH], ends[LOW])]
    return {name: [one - loss for loss, one in zip(losses, best)] for name, losses in ends.items()}


def finding(gains: dict) -> str:
    """The title: what each way down gained over the better constant rate, in every seed or not."""
    clear = [name for name in DOWN if min(gains[name]) > 0]
    means = [statistics.mean(gains[name]) for name in clear or DOWN]
    many = f"{min(means):+.3f} to {max(means):+.3f}" if len(means) > 1 else f"{means[0]:+.3f}"
    if len(clear) == len(DOWN):
        return (f"Coming down, by whichever way, ends {min(means):.3f} to {max(means):.3f} nats per "
                "byte below the better of two constant rates")
    if clear:
        return (f"Better than both constant rates with every seed: {', '.join(clear)}, by {many} "
                "nats per byte")
    return (f"No schedule beats both constant rates with every seed: mean gains {many} nats per "
            "byte")


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    keep_memory()
    torch.set_num_threads(1)  # two would wait for each other: the model is tiny
    steps, seeds = (30, 2) if args.quick else (1000, 3)
    steps = steps if args.steps is None else args.steps
    data, held_out = byte_rows(steps * ROWS, "train", args.seed), byte_rows(256, "validation", 0)
    curves = {name: [train(name, steps, data, held_out, args.seed + i) for i in range(seeds)]
              for name in COLORS}
    schedules = {name: schedule_of(name, 1.0) for name in COLORS}
    ends = {name: [curve[-1][1] for curve in runs] for name, runs in curves.items()}
    gains = gains_of(ends)
    print_table(["schedule", "rate half-way", "at the end", "20% beyond", "held-out loss",
                 "gain over the better constant", "least gain"],
                [[name, schedules[name].rate(0.5), schedules[name].rate(1.0),
                  schedules[name].rate(1.2), f"{statistics.mean(ends[name]):.3f}",
                  *((f"{statistics.mean(gains[name]):+.3f}", f"{min(gains[name]):+.3f}")
                    if name in DOWN else "--")] for name in COLORS],
                f"Rates as shares of the peak; nats per byte after {steps} steps, {seeds} seeds")
    draw(out, curves, schedules, finding(gains),
         f"1 layer of width 32, bytes of the little world, {steps} steps of {ROWS * CONTEXT} "
         f"bytes, highest rate {PEAK:g}, mean of {seeds} seeds from {args.seed}")


def draw(out, curves: dict, schedules: dict, title: str, setup: str) -> None:
    """Left the rates, right the losses: every seed thin and grey, the mean bold."""
    fig, (left, right) = plotting.figure(title, setup, panels=2)
    means = {name: mean_curve(runs) for name, runs in curves.items()}
    shares = [i / 100 for i in range(1, 141)]
    for name, color in COLORS.items():
        left.plot(shares, [schedules[name].rate(s) for s in shares], color=color)
        late = [point for point in means[name] if point[0] >= 0.4 * means[name][-1][0]]
        for run in curves[name]:
            right.plot(*zip(*run[-len(late):]), color=color, lw=0.6, alpha=0.4)
        right.plot(*zip(*late), color=color)
    low, high = right.get_ylim()
    at = low
    for name in sorted(means, key=lambda name: means[name][-1][1]):  # no name upon another
        step, loss = means[name][-1]
        at = max(loss, at + 0.05 * (high - low))
        plotting.end_label(right, [step], [at], f"{name} {loss:.3f}", COLORS[name])
    beyond = [s for s in shares if s >= 1]
    left.plot(beyond, [0.02 + 0.98 * (1 + math.cos(math.pi * (s - 0.05) / 0.95)) / 2
                       for s in beyond], color=plotting.RED, ls="--")
    left.text(1.4, 0.45, "wrong: a bare\ncosine", color=plotting.RED, ha="right", fontsize=8)
    left.axvline(1, color="#BBBBBB", lw=0.8)
    for name, share, place, side in (
            ("cosine", 0.33, (5, 2), "left"), ("linear", 0.28, (-4, -8), "right"),
            ("wsd", 0.85, (-5, 0), "right"), (HIGH, 1.25, (0, -9), "center"),
            (LOW, 0.3, (0, 4), "center")):    # each name beside its line
        left.annotate(name, (share, schedules[name].rate(share)), xytext=place, fontsize=8,
                      textcoords="offset points", color=COLORS[name], ha=side)
    left.set(xlabel="share of the run", ylabel="rate, share of the peak", ylim=(0, 1.05))
    right.set(xlabel="step", ylabel="held-out loss, nats per byte")
    left.set_title("the learning rate", loc="left")
    right.set_title("what came of it", loc="left")
    plotting.save(fig, out / "schedules.png")


if __name__ == "__main__":
    run_main(main)
