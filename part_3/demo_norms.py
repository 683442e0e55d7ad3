"""Is RMSNorm as good as LayerNorm, and what happens without any?

    python demo_norms.py            45 seconds
    python demo_norms.py --quick    a few seconds: one seed, fewer steps

What to see: without a norm the gradients at the start are thousands of times smaller, because the
blocks work on small embeddings as they are; with either norm all blocks get a useful one. Trained
side by side over three seeds, both norms reach the same loss.
"""

from run.runtime import make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import numpy as np
import torch
from run.data import get_batch
from run.evaluation import evaluate
from run.plotting import BLUE, GREY, ORANGE, end_label, figure, save
from run.tiny_training import load_text, make_model, train
from torch import nn

COLORS = {"no norm": GREY, "LayerNorm": ORANGE, "RMSNorm": BLUE}
APART = {"no norm": 0, "LayerNorm": 6, "RMSNorm": -6}  # points between labels
NORM = {"LayerNorm": "layer", "RMSNorm": "rms", "no norm": "rms"}


def without_norms(model):
    for block in model.blocks:
        block.norm_1 = block.norm_2 = nn.Identity()
    model.norm = nn.Identity()
    return model


def gradients_by_depth(name: str, data, seed: int, depth: int = 16) -> np.ndarray:
    """The size of the gradient of each block's MLP, at the start of training."""
    model = make_model(seed, n_layer=depth, n_head=4, n_embd=64, block_size=32, norm=NORM[name])
    if name == "no norm":
        without_norms(model)
    ids, targets = get_batch(data, 8, 32, torch.Generator().manual_seed(seed))
    model(ids, targets)[1].backward()
    return np.array([block.mlp.gate_up.weight.grad.norm().item() for block in model.blocks])


def curve(name: str, texts, seed: int, steps: int, every: int) -> list[float]:
    """The validation loss every `every` steps of training."""
    model = make_model(seed, n_layer=4, n_head=4, n_embd=96, block_size=64, norm=NORM[name])
    if name == "no norm":
        without_norms(model)
    losses: list[float] = []
    train(model, texts[0], steps=steps, seed=seed, every=every,
          report=lambda step: losses.append(evaluate(model, texts[1][:4000])))
    return losses


def draw(path, depth, curves, every: int, setup: str) -> None:
    final = {name: np.mean([run[-1] for run in runs]) for name, runs in curves.items()}
    fig, (left, right) = figure(
        f"RMSNorm ends at {final['RMSNorm']:.2f} nats, LayerNorm at {final['LayerNorm']:.2f}, no "
        f"norm at {final['no norm']:.2f}", setup, panels=2)
    for name, sizes in depth.items():
        x = np.arange(1, len(sizes) + 1)
        left.plot(x, sizes, color=COLORS[name])
        end_label(left, x, sizes, name, COLORS[name], dy=APART[name])
    left.set(xlabel="block", ylabel="gradient of its MLP (norm)", yscale="log")
    for name, runs in curves.items():
        x = every * np.arange(1, len(runs[0]) + 1)
        for run in runs:
            right.plot(x, run, color=COLORS[name], linewidth=0.6, alpha=0.6)
        right.plot(x, np.mean(runs, axis=0), color=COLORS[name])
        lowest = final[name] == min(final.values())
        end_label(right, x, np.mean(runs, axis=0), name, COLORS[name], dy=-6 if lowest else 6)
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
    steps, seeds = (12, 1) if args.quick else (120, 3)
    depth = {name: gradients_by_depth(name, texts[0], args.seed) for name in COLORS}
    curves = {name: [curve(name, texts, args.seed + i, steps, steps // 10) for i in range(seeds)]
              for name in COLORS}
    rows = []
    for name in COLORS:
        final = [run[-1] for run in curves[name]]
        rows.append([name, depth[name][0], depth[name][-1], depth[name][0] / depth[name][-1],
                     float(np.mean(final)), float(np.max(final) - np.min(final))])
    print_table(["norm", "gradient block 1", "block 16", "ratio", "val loss", "spread"], rows,
                f"gradients at the start (16 blocks), and the loss after {steps} steps")
    draw(out / "norms.png", depth, curves, steps // 10,
         f"left: 16 blocks, width 64, at the start; right: 4 blocks, width 96, batch 16 x 64, "
         f"{seeds} seeds from {args.seed}")


if __name__ == "__main__":
    run_main(main)
