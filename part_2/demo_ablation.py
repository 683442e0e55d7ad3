"""What are AdamW, weight decay, clipping and dropout worth on the fables?

    python demo_ablation.py            about a minute
    python demo_ablation.py --quick    a few seconds, fewer steps, one seed

The same small model is trained with everything, and with one thing taken away at a time, with three
seeds each. Look at the table: clipping and AdamW (against plain descent with momentum) help with every seed;
weight decay and dropout cost, for a run as short as this one learns nothing by heart yet. Lesson 2.4.
"""

from runtime import here, make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import statistics
from dataclasses import replace

import torch
from data import get_batch, read_bytes, split_bytes
from evaluation import evaluate
from model import GPT, GPTConfig
from plotting import BLUE, GREY, ORANGE, figure, save
from presets import Settings
from schedule import learning_rate
from train_gpt import make_optimizer, update

BASE = Settings(n_layer=2, n_head=4, n_embd=64, block_size=64, batch_size=8, steps=400, lr=4e-3,
                dropout=0.1)
SGD_RATE = 0.1    # the best of 0.03, 0.1 and 0.3 for this model
WITHOUT = {    # name -> what is changed
    "everything": {},
    "no weight decay": {"weight_decay": 0.0},
    "no clipping": {"clip": 1e9},
    "no dropout": {"dropout": 0.0},
    "momentum instead of AdamW": {"lr": SGD_RATE},
}


def optimizer_of(name: str, model: GPT, settings: Settings) -> torch.optim.Optimizer:
    if "AdamW" in name:
        decay = settings.weight_decay * BASE.lr / settings.lr  # the same pull in each step
        return torch.optim.SGD(model.parameter_groups(decay), lr=settings.lr, momentum=0.9)
    return make_optimizer(model, settings)


def train(name: str, settings: Settings, data: torch.Tensor, seed: int) -> GPT:
    """A model trained with or without something; the same windows for all of a seed."""
    seed_everything(seed)
    generator = torch.Generator().manual_seed(seed)
    model = GPT(GPTConfig(n_layer=settings.n_layer, n_head=settings.n_head, n_embd=settings.n_embd,
                          block_size=settings.block_size, dropout=settings.dropout,
                          embedding_std=settings.embedding_std))
    optimizer, scaler = optimizer_of(name, model, settings), torch.amp.GradScaler("cpu", enabled=False)
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate((step + 1) / settings.steps, peak=settings.lr,
                                        final=0.1 * settings.lr, warmup=settings.warmup)
        ids, targets = get_batch(data, settings.batch_size, settings.block_size, generator)
        _, loss = model(ids, targets)
        loss.backward()
        update(model, optimizer, scaler, settings.clip)
    return model


def losses_of(name: str, settings: Settings, train_data, val_data, seeds) -> list[float]:
    changed = replace(settings, **WITHOUT[name])
    return [evaluate(train(name, changed, train_data, seed), val_data) for seed in seeds]


def draw(path, losses: dict, setup: str) -> None:
    means = {name: statistics.mean(values) for name, values in losses.items()}
    base, worst = means["everything"], max(means, key=means.get)
    fig, ax = figure(f"With {worst} the validation loss is {means[worst]:.3f} instead of {base:.3f}", setup)
    for row, (name, values) in enumerate(losses.items()):
        color = GREY if name == "everything" else BLUE if means[name] <= base else ORANGE
        ax.plot(values, [-row] * len(values), "o", color=color, markersize=4, alpha=0.6)
        ax.plot([means[name]], [-row], "|", color=color, markersize=22, markeredgewidth=2.5)
        ax.text(means[name], 0.28 - row, f"{means[name]:.3f}", ha="center", va="bottom", fontsize=8.5)
    ax.axvline(base, color=GREY, linewidth=0.8, linestyle="--")
    ax.set(yticks=[-row for row in range(len(losses))], yticklabels=list(losses),
           ylim=(0.6 - len(losses), 0.6), xlabel="validation loss, nats a byte (dots: seeds; bar: their mean)")
    ax.grid(axis="x")
    save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__, seed=1, runs_model=False)
    parser.add_argument("--quick", action="store_true", help="fewer steps, one seed (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    settings = replace(BASE, steps=20) if args.quick else BASE
    seeds = range(args.seed, args.seed + (1 if args.quick else 3))
    train_data, val_data = split_bytes(read_bytes(here(__file__) / "fables.txt"))
    losses = {name: losses_of(name, settings, train_data, val_data, seeds) for name in WITHOUT}
    base, rows = losses["everything"], []
    for name, values in losses.items():
        worse = sum(value > one for value, one in zip(values, base))
        rows.append([name, f"{statistics.mean(values):.3f}", ", ".join(f"{v:.3f}" for v in values),
                     f"{statistics.mean(values) - statistics.mean(base):+.3f}",
                     f"{worse} of {len(base)}" if name != "everything" else "--"])
    print_table(["trained with", "validation loss", "by seed", "difference", "worse for"], rows,
                f"nats a byte after {settings.steps} steps of "
                f"{settings.batch_size * settings.block_size} bytes")
    draw(out / "ablation.png", losses,
         f"2 layers, width 64, context 64, {settings.steps} steps of {settings.batch_size} windows of the "
         f"fables, seeds {seeds[0]} to {seeds[-1]}")


if __name__ == "__main__":
    run_main(main)
