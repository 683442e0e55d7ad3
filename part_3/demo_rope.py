"""What does RoPE know beyond the length it was trained at, and what repairs it?

    python demo_rope.py            30 seconds
    python demo_rope.py --quick    a few seconds: little training

What to see: the product of a turned query and key depends on their distance alone. Trained on 64
bytes and asked about 256, the loss rises where distances are new. Position interpolation squeezes
the positions and NTK-aware scaling slows the slow pairs; a few steps of training at the new length
repair the rest.
"""

from run.runtime import make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import math
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from model import GPT
from rope import (
    RotaryTable,
    apply_rope,
    apply_rope_interleaved,
    interleaved_to_halves,
    rope_frequencies,
)
from run.plotting import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, figure, save
from run.tiny_training import load_text, make_model, train

TRAINED, ASKED = 64, 256
COLORS = {"as trained": GREY, "interpolation x4": ORANGE, "NTK x4": GREEN, "NTK x8": RED,
          "interpolation x4, 40 steps more": BLUE, "as trained, 40 steps more": PURPLE}


def check_properties() -> None:
    """Print that products depend on the distance, and that both layouts are one."""
    q, k = torch.randn(2, 1, 1, 1, 32)
    table, rows = RotaryTable(rope_frequencies(32), 256), []
    for distance in (0, 1, 10, 100):
        products = []
        for t in range(distance, 256):
            turned = [apply_rope(x, *table.at(torch.tensor([[place]]), place))
                      for x, place in ((q, t), (k, t - distance))]
            products.append((turned[0] * turned[1]).sum().item())
        rows.append([str(distance), float(np.mean(products)), max(products) - min(products)])
    print_table(["distance", "q . k", "largest difference over all places"], rows,
                "a turned query and key (width 32), at every place of 256")
    x, p = torch.randn(1, 50, 4, 32), interleaved_to_halves(32)
    rotation = table.at(torch.arange(50)[None], 49)
    apart = apply_rope(x[..., p], *rotation) - apply_rope_interleaved(x, *rotation)[..., p]
    print(f"halves against interleaved, up to a permutation: {apart.abs().max():.1e} apart")


def stretched(model: GPT, scaling: str | None, factor: float) -> GPT:
    """The same weights, for ASKED positions: RoPE has no table of weights that would run out."""
    longer = GPT(replace(model.config, block_size=ASKED, rope_scaling=scaling, rope_factor=factor))
    longer.load_state_dict(model.state_dict())
    return longer.eval()


@torch.no_grad()
def loss_by_position(model: GPT, data: torch.Tensor, every: int) -> np.ndarray:
    """(ASKED,): the mean loss of each position over windows that start every `every` bytes."""
    starts = torch.arange(0, len(data) - ASKED - 1, every)[:, None]
    rows = data[starts + torch.arange(ASKED + 1)].long()
    losses = [F.cross_entropy(model(part[:, :-1])[0].transpose(1, 2), part[:, 1:],
                              reduction="none") for part in rows.split(16)]
    return torch.cat(losses).mean(0).numpy()


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--quick", action="store_true", help="less training (default: off)")
    return parser.parse_args(argv)


def measure(args) -> dict[str, np.ndarray]:
    steps, more, every = (16, 5, 400) if args.quick else (400, 40, 60)
    train_data, val_data = load_text()
    model = make_model(args.seed, n_layer=3, n_head=4, n_embd=96, block_size=TRAINED)
    train(model, train_data, steps=steps, batch_size=24, peak=4e-3, seed=args.seed)
    versions = {"as trained": stretched(model, None, 1.0),
                "interpolation x4": stretched(model, "linear", 4.0),
                "NTK x4": stretched(model, "ntk", 4.0), "NTK x8": stretched(model, "ntk", 8.0),
                "interpolation x4, 40 steps more": stretched(model, "linear", 4.0),
                "as trained, 40 steps more": stretched(model, None, 1.0)}
    for name, version in versions.items():
        if "more" in name:
            train(version, train_data, steps=more, batch_size=6, peak=1e-3, seed=args.seed)
    return {name: loss_by_position(version, val_data, every) for name, version in versions.items()}


def draw(path, curves, means, setup: str) -> None:
    best, trained = (min((name for name in means if ("more" in name) == more),
                         key=lambda name: means[name][-1]) for more in (False, True))
    fig, ax = figure(
        f"Beyond the trained length the loss goes from {means['as trained'][0]:.2f} to "
        f"{means['as trained'][-1]:.2f}; {best} brings it to {means[best][-1]:.2f} untrained, "
        f"40 steps at the new length to {means[trained][-1]:.2f}", setup)
    x = np.arange(8, ASKED, 16)
    ends = {}
    for name, losses in curves.items():
        y = losses.reshape(-1, 16).mean(1)
        ax.plot(x, y, color=COLORS[name])
        ends[name] = y
    y, gap = -math.inf, 0.045 * (max(map(max, ends.values())) - min(map(min, ends.values())))
    for name in sorted(ends, key=lambda name: ends[name][-1]):
        y = max(ends[name][-1], y + gap)  # beside its line's end; moved up where it would cover another
        ax.annotate(name, (x[-1], ends[name][-1]), xytext=(ASKED + 6, y), textcoords="data",
                    color=COLORS[name], fontsize=8, va="center", annotation_clip=False,
                    arrowprops={"arrowstyle": "-", "color": COLORS[name], "lw": 0.6})
    ax.axvline(TRAINED, color=BLACK, linewidth=0.8)
    ax.text(TRAINED, ax.get_ylim()[1], " trained up to here", fontsize=8, va="top")
    ax.set(xlabel="position in the text", ylabel="loss, nats a byte", xlim=(0, ASKED))
    save(fig, path)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    check_properties()
    curves = measure(args)
    edges = [(0, 64), (64, 128), (128, 192), (192, 256)]
    means = {name: [float(losses[a:b].mean()) for a, b in edges] for name, losses in curves.items()}
    print_table(["frequencies", *(f"{a} to {b}" for a, b in edges)],
                [[name, *values] for name, values in means.items()],
                "validation loss (nats a byte) by position")
    draw(out / "rope.png", curves, means, f"3 blocks, width 96, trained on {TRAINED} bytes of the "
         f"fables, asked about {ASKED}; mean of 16 positions, seed {args.seed}")


if __name__ == "__main__":
    run_main(main)
