"""Which way down? Four learning-rate schedules, what they reach, and one that climbs again.

    python part_4/demo_schedules.py
    python part_4/demo_schedules.py --quick

See    Left: the rates, drawn past the last step. Ours stay at the minimum; a bare cosine climbs
       again. Right: the same small model trained under each, from the same start on the same
       texts of the little world. Coming down at the end is what counts; the way matters less.
"""

import math

import plotting
import torch
from loop import train_step
from model import GPT, GPTConfig
from optim import make_optimizer
from runtime import Runtime, make_parser, out_folder, print_table, run_main, seed_everything
from schedule import Schedule
from world import World

CONTEXT, ROWS = 64, 16
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
    model = GPT(GPTConfig(vocab_size=256, block_size=CONTEXT, n_layer=2, n_embd=64))
    optimizer = make_optimizer(model, weight_decay=0.1, betas=(0.9, 0.95))
    schedule = Schedule(kind, peak=1e-2, low=2e-4, warmup=0.05, decay=0.25)
    runtime, curve = Runtime(torch.device("cpu"), None, "", ""), []
    for step in range(steps):
        rows = data[step * ROWS:(step + 1) * ROWS]
        train_step(model, optimizer, rows[:, :-1], rows[:, 1:], runtime=runtime,
                   scaler=runtime.grad_scaler(), rate=schedule.rate((step + 1) / steps))
        if (step + 1) % max(1, steps // 20) == 0:
            with torch.no_grad():
                loss = model(held_out[:, :-1], held_out[:, 1:], loss_only=True)[1]
            curve.append((step + 1, float(loss)))
    return curve


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    steps = 60 if args.quick else 400
    data, held_out = byte_rows(steps * ROWS, "train", args.seed), byte_rows(64, "validation", 0)
    curves = {kind: train(kind, steps, data, held_out, args.seed) for kind in COLORS}
    schedules = {kind: Schedule(kind, peak=1.0, low=0.02, warmup=0.05, decay=0.25)
                 for kind in COLORS}
    print_table(["schedule", "rate half-way", "rate at the end", "20% beyond", "held-out loss"],
                [[kind, schedules[kind].rate(0.5), schedules[kind].rate(1.0),
                  schedules[kind].rate(1.2), curve[-1][1]] for kind, curve in curves.items()],
                f"Rates as shares of the peak; loss in nats per byte after {steps} steps")
    final = {kind: curve[-1][1] for kind, curve in curves.items()}
    best = min(final, key=final.get)
    fig, (left, right) = plotting.figure(
        f"Coming down pays: {best} ends at {final[best]:.3f} nats per byte, a constant rate at "
        f"{final['constant']:.3f}",
        f"2 layers of width 64, bytes of the little world, {steps} steps of {ROWS * CONTEXT:,} "
        f"bytes, peak 0.01, seed {args.seed}", panels=2)
    shares = [i / 100 for i in range(1, 141)]
    for kind, color in COLORS.items():
        left.plot(shares, [schedules[kind].rate(s) for s in shares], color=color)
        right.plot(*zip(*curves[kind]), color=color)
        order = sorted(final, key=final.get)
        plotting.end_label(right, *zip(*curves[kind]), kind, color,
                           dy=11 * (order.index(kind) - 1.5))
    beyond = [s for s in shares if s >= 1]
    left.plot(beyond, [0.02 + 0.98 * (1 + math.cos(math.pi * (s - 0.05) / 0.95)) / 2
                       for s in beyond], color=plotting.RED, ls="--")
    left.text(1.4, 0.45, "wrong: a bare\ncosine", color=plotting.RED, ha="right", fontsize=8)
    left.axvline(1, color="#BBBBBB", lw=0.8)
    left.set(xlabel="share of the run", ylabel="rate, share of the peak", ylim=(0, 1.05))
    right.set(xlabel="step", ylabel="held-out loss, nats per byte")
    right.set_ylim(top=min(3.2, max(curve[0][1] for curve in curves.values())))
    plotting.save(fig, out / "schedules.png")


if __name__ == "__main__":
    run_main(main)
