"""What happens when the labels are not moved by exactly one byte?

    python demo_label_shift.py            about 20 seconds
    python demo_label_shift.py --quick    a few seconds, fewer steps

The same small model is trained three times on the fables: with labels moved by 1 (right), by 0
(each byte is its own answer) and by 2 (every second byte is guessed). Look at the table: without
the shift the training loss is the best of all, and the loss on the real task, the next byte, the
worst. A very low training loss is a reason to look at the labels. Lessons 2.2 and 2.3.
"""

from runtime import here, make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from dataclasses import replace

import torch
from data import decode, encode, read_bytes, split_bytes
from evaluation import evaluate
from model import GPT, GPTConfig
from plotting import BLUE, GREEN, ORANGE, end_label, figure, save
from presets import Settings
from sampling import generate
from schedule import learning_rate
from train_gpt import make_optimizer, update

SETTINGS = Settings(n_layer=2, n_head=4, n_embd=64, block_size=64, batch_size=16, steps=300,
                    lr=4e-3)


def shifted_batch(data: torch.Tensor, shift: int, settings: Settings, generator):
    """Random windows -> ids (B, T) and, as labels, the bytes `shift` places further on."""
    T = settings.block_size
    starts = torch.randint(len(data) - T - 2, (settings.batch_size, 1), generator=generator)
    windows = data[starts + torch.arange(T + 2)].long()  # (B, T+2)
    return windows[:, :T], windows[:, shift:T + shift]


def train_with_shift(data: torch.Tensor, shift: int, settings: Settings, seed: int):
    """A model trained on labels moved by `shift` -> it, and its training losses."""
    seed_everything(seed)  # the same start and the same windows for every shift
    generator = torch.Generator().manual_seed(seed)
    model = GPT(GPTConfig(n_layer=settings.n_layer, n_head=settings.n_head, n_embd=settings.n_embd,
                          block_size=settings.block_size,
                          embedding_std=settings.embedding_std))
    optimizer = make_optimizer(model, settings)
    scaler, losses = torch.amp.GradScaler("cpu", enabled=False), []
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate((step + 1) / settings.steps, peak=settings.lr,
                                        final=0.1 * settings.lr, warmup=settings.warmup)
        _, loss = model(*shifted_batch(data, shift, settings, generator))
        loss.backward()
        update(model, optimizer, scaler, settings.clip)
        losses.append(loss.item())
    return model, losses


def parse_args(argv=None):
    parser = make_parser(__doc__, seed=1, runs_model=False)
    parser.add_argument("--quick", action="store_true", help="fewer steps (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    settings = replace(SETTINGS, steps=20) if args.quick else SETTINGS
    out = out_folder(__file__, args.out)
    train_data, val_data = split_bytes(read_bytes(here(__file__) / "fables.txt"))
    rows, curves = [], {}
    for shift, what in ((1, "next byte"), (0, "same byte"), (2, "next but one")):
        model, curves[shift] = train_with_shift(train_data, shift, settings, args.seed)
        at_end = sum(curves[shift][-20:]) / 20
        real = evaluate(model, val_data[:4000])
        generator = torch.Generator().manual_seed(args.seed)
        written = decode(list(generate(model, encode("\nThe "), 40, 0.8, generator=generator)))
        rows.append([f"{shift}: {what}", at_end, real, repr(written)])
    print_table(["label shift", "training loss", "next-byte loss", "writes after 'The '"], rows)
    fig, ax = figure(f"Without the shift the training loss falls to {rows[1][1]:.2f}, but on the "
                     f"next byte it is {rows[1][2]:.1f} instead of {rows[0][2]:.1f}",
                     f"2 layers, width 64, context 64, {settings.steps} steps on the fables, seed "
                     f"{args.seed}; training loss, mean of 10 steps")
    names = {1: ("shift 1: right", BLUE), 0: ("shift 0: copies", ORANGE),
             2: ("shift 2: skips a byte", GREEN)}
    for shift, losses in curves.items():
        smooth = torch.tensor(losses).view(-1, 10).mean(1).tolist()
        steps = [10 * (i + 1) for i in range(len(smooth))]
        ax.plot(steps, smooth, color=names[shift][1])
        end_label(ax, steps, smooth, *names[shift])
    ax.set(xlabel="step", ylabel="training loss, nats a byte", ylim=(-0.2, 6))
    save(fig, out / "label_shift.png")


if __name__ == "__main__":
    run_main(main)
