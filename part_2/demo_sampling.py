"""How do temperature, top-k and top-p change what a model writes?

    python demo_sampling.py                          trains a small model for 20 seconds first
    python demo_sampling.py --checkpoint out/gpt.pt  a model that is there already
    python demo_sampling.py --quick                  a few seconds, a poorer model

Sixteen texts for each setting. Two measures: the share of written words that occur in the fables
(real words), and the share of four-byte runs that are different (variety). Look at the picture:
each setting buys real words with variety. Lesson 2.5.
"""

from runtime import here, make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import re
from dataclasses import replace
from pathlib import Path

import torch
from checkpoint import load_checkpoint
from data import decode, encode, read_bytes, split_bytes
from demo_label_shift import SETTINGS, train_with_shift
from plotting import BLUE, GREEN, GREY, ORANGE, figure, save
from sampling import sample_next

# temperature, top-k, top-p
CHOICES = ((0.0, None, None), (0.3, None, None), (0.6, None, None), (0.8, None, None),
           (1.0, None, None), (1.3, None, None), (1.0, 3, None), (1.0, 8, None),
           (1.0, 20, None), (1.0, None, 0.5), (1.0, None, 0.8), (1.0, None, 0.95))


@torch.inference_mode()
def write_rows(model, prompt: str, n_rows: int, n_new: int, setting, seed: int) -> list[str]:
    """n_rows texts of n_new bytes, all at once: the model reads (n_rows, T)."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.tensor([encode(prompt)]).repeat(n_rows, 1)
    for _ in range(n_new):
        logits, _ = model.eval()(rows[:, -model.config.block_size:])
        drawn = sample_next(logits[:, -1], *setting, generator)  # (n_rows,)
        rows = torch.cat([rows, drawn[:, None]], dim=1)
    return [decode(row) for row in rows[:, -n_new:].tolist()]


def real_words(texts: list[str], known: set[str]) -> float:
    """Share of the words that occur in `known`; a text's first and last may be cut: left out.

    real_words(["ox the xqz ca"], {"the"}) -> 0.5
    """
    words = [word for text in texts for word in re.findall(r"[a-z]+", text.lower())[1:-1]]
    return sum(word in known for word in words) / max(1, len(words))


def variety(texts: list[str]) -> float:
    """Different four-byte runs over all of them: 1 means no run comes twice."""
    runs = [text[i:i + 4] for text in texts for i in range(len(text) - 3)]
    return len(set(runs)) / max(1, len(runs))


def name_of(setting) -> str:
    temperature, top_k, top_p = setting
    if top_k or top_p:
        return f"top-k {top_k}" if top_k else f"top-p {top_p}"
    return f"temperature {temperature}"


def draw(rows: list, setup: str, path: Path) -> None:
    """Real words against variety, a panel each for temperature, top-k and top-p."""
    by_name = {row[0]: row for row in rows}
    cold, plain = by_name["temperature 0.3"], by_name["temperature 1.0"]
    fig, axes = figure(f"From temperature 1 to 0.3 real words rise from {plain[1]:.0%} to "
                       f"{cold[1]:.0%}, and variety falls from {plain[2]:.0%} to {cold[2]:.0%}",
                       setup, panels=3, sharey=True)
    kinds = {"temperature": BLUE, "top-k": GREEN, "top-p": ORANGE}
    for ax, (kind, color) in zip(axes, kinds.items()):
        for other in ("temperature", kind):  # temperature is the yardstick, in grey
            mine = [row for row in rows if row[0].startswith(other)]
            ax.plot([row[2] for row in mine], [row[1] for row in mine], "o-", markersize=4,
                    color=color if other == kind else GREY)
        for row in mine:
            ax.annotate(row[0].removeprefix(kind), (row[2], row[1]), xytext=(-3, -11),
                        textcoords="offset points", fontsize=8, color=color, ha="right")
        ax.set(title=kind, xlabel="variety", xlim=(-0.15, 1))
    axes[0].set(ylabel="share of words that are real", ylim=(0, 1.05))
    save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__, seed=1, runs_model=False)
    parser.add_argument("--checkpoint", default=None, help="a trained model (default: train one)")
    parser.add_argument("--quick", action="store_true", help="a poorer model (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    train_data, _ = split_bytes(read_bytes(here(__file__) / "fables.txt"))
    if args.checkpoint:
        model, _ = load_checkpoint(Path(args.checkpoint))
        setup = f"model {Path(args.checkpoint).name}"
    else:
        settings = replace(SETTINGS, steps=30 if args.quick else 900)
        model, _ = train_with_shift(train_data, 1, settings, args.seed)
        setup = f"2 layers, width 64, {settings.steps} steps on the fables"
    known = set(re.findall(r"[a-z]+", decode(train_data.tolist()).lower()))
    n_rows, n_new = (8, 60) if args.quick else (16, 150)
    rows = []
    for setting in CHOICES:
        texts = write_rows(model, "\n\nThe ", n_rows, n_new, setting, args.seed)
        rows.append([name_of(setting), real_words(texts, known), variety(texts),
                     repr(texts[0][:44])])
    print_table(["setting", "real words", "variety", "the first text starts"], rows)
    draw(rows, f"{setup}; {n_rows} texts of {n_new} bytes each, seed {args.seed}",
         out / "sampling.png")


if __name__ == "__main__":
    run_main(main)
