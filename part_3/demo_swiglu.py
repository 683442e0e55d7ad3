"""At equal parameters, does SwiGLU beat GELU?

    python demo_swiglu.py            45 seconds
    python demo_swiglu.py --quick    a few seconds: one seed, fewer steps

What to see: both MLPs have the same number of weights (three matrices 8/3 wide, or two 4 wide);
the table and the picture say which one learns more from the same batches, over three seeds.
"""

from run.runtime import make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import numpy as np
import torch
import torch.nn.functional as F
from run.evaluation import evaluate
from run.plotting import BLUE, GREY, end_label, figure, save
from run.tiny_training import load_text, make_model, train

COLORS = {"gelu": GREY, "swiglu": BLUE}


def curve(mlp: str, texts, seed: int, steps: int, every: int) -> tuple[list[float], int, int]:
    model = make_model(seed, n_layer=4, n_head=4, n_embd=96, block_size=64, mlp=mlp)
    losses: list[float] = []
    train(model, texts[0], steps=steps, seed=seed, every=every,
          report=lambda step: losses.append(evaluate(model, texts[1][:6000])))
    size = sum(p.numel() for p in model.blocks[0].mlp.parameters())
    return losses, size, model.config.n_hidden


def draw(path, curves, every: int, setup: str) -> None:
    final = {name: np.mean([run[-1] for run in runs]) for name, runs in curves.items()}
    gain = final["gelu"] - final["swiglu"]
    fig, (left, right) = figure(
        f"SwiGLU ends {abs(gain):.3f} nats {'below' if gain > 0 else 'above'} GELU at equal "
        "parameters", setup, panels=2, widths=[0.4, 0.6])
    z = torch.linspace(-4, 4, 200)
    for name, y in (("gelu", F.gelu(z)), ("swiglu", F.silu(z))):
        left.plot(z, y, color=COLORS[name])
    left.text(-3.9, 2.6, "GELU(z)", color=COLORS["gelu"])
    left.text(-3.9, 3.1, "SiLU(z), the gate", color=COLORS["swiglu"])
    left.set(xlabel="z", ylabel="what is let through")
    for name, runs in curves.items():
        x = every * np.arange(1, len(runs[0]) + 1)
        for run in runs:
            right.plot(x, run, color=COLORS[name], linewidth=0.6, alpha=0.6)
        right.plot(x, np.mean(runs, axis=0), color=COLORS[name])
        end_label(right, x, np.mean(runs, axis=0), name, COLORS[name],
                  dy=6 if (name == "gelu") == (gain > 0) else -6)
    right.set(xlabel="step", ylabel="validation loss, nats a byte")
    save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--quick", action="store_true", help="less training (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    texts = load_text()
    steps, seeds = (12, 1) if args.quick else (160, 3)
    curves, rows = {}, []
    for mlp in COLORS:
        runs = [curve(mlp, texts, args.seed + i, steps, steps // 10) for i in range(seeds)]
        curves[mlp] = [losses for losses, _, _ in runs]
        final = [losses[-1] for losses in curves[mlp]]
        rows.append([mlp, runs[0][2], runs[0][1], float(np.mean(final)),
                     ", ".join(f"{loss:.3f}" for loss in final)])
    print_table(["MLP", "hidden width", "weights a block", "validation loss", "by seed"], rows,
                f"after {steps} steps on the fables")
    draw(out / "swiglu.png", curves, steps // 10,
         f"4 blocks, width 96, batch 16 x 64, {seeds} seeds from {args.seed} thin, mean bold")


if __name__ == "__main__":
    run_main(main)
