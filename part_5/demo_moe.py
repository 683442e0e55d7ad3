"""Which expert takes which kind of token? And how does the load of each expert move in training?

    python part_5/demo_moe.py                             trains two small models, under a minute
    python part_5/demo_moe.py --checkpoint part_5/out/moe.pt   look at a trained model instead
    python part_5/demo_moe.py --quick                     a few seconds

To see: the table gives, for each kind of token, the expert that takes the largest share of it.
Shares above 1/8 of the first choices mean that an expert has a field of its own. The sentence below
it names the first choice of every token. The right panels are two trainings, with the balance loss
and without: one band for each expert, as wide as its share of the choices.
"""

from run.runtime import (
    Runtime,
    choose_device,
    make_parser,
    out_folder,
    print_table,
    run_main,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import re
from pathlib import Path

import torch
from gpt.model import GPTConfig
from moe.checkpoint import load_moe
from moe.hybrid import HybridGPT
from moe.layer import MoEConfig
from moe.learning import EMBEDDING_STD, Texts, learn, read_texts
from run import plotting
from run.schedule import Schedule
from text.data import DataPlan
from text.tokenizer import Tokenizer
from world.world import World

KINDS = ("name", "number", "mark", "start of word", "inside word")
SENTENCE = "Mia has a red ball. She gave it to Tom, and 7 plus 5 is 12."
CONTEXT, ROWS = 64, 16


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--steps", type=int, default=None,
                        help="optimizer steps (default: 160; quick: 12)")
    parser.add_argument("--checkpoint", type=Path, default=None,
                        help="show the routing of this model (default: the one trained here)")
    parser.add_argument("--quick", action="store_true", help="12 steps (default: off)")
    return parser.parse_args(argv)


def kind_of(piece: str) -> str:
    """The kind of a token, from its text."""
    word = piece.strip()
    if re.search(r"\d", word):
        return "number"
    if not re.search(r"\w", word):
        return "mark"
    if word[0].isupper():
        return "name"
    return "start of word" if piece[0].isspace() else "inside word"


def train(balance: str, texts: Texts, runtime: Runtime, steps: int, seed: int):
    """-> (the model, loads (steps, E): choices of each expert of the last layer, step by step)"""
    seed_everything(seed)
    config = GPTConfig(vocab_size=texts.tokenizer.vocab_size, block_size=CONTEXT, n_layer=2,
                       n_head=2, n_kv_head=1, n_embd=64, embedding_std=EMBEDDING_STD)
    model = HybridGPT(config, MoEConfig(n_expert=8, n_active=2, balance=balance))
    model.to(runtime.device)
    loads = [model.loads()[-1].cpu() for _ in
             learn(model, texts.train, runtime, Schedule(peak=4e-3, low=4e-4), steps=steps,
                   rows_a_step=ROWS)]
    return model.eval(), torch.stack(loads).double()


@torch.no_grad()
def first_choices(model: HybridGPT, tokenizer: Tokenizer, text: str) -> list[tuple[str, int]]:
    """[(token's text, the expert with the largest score in the last layer with experts)]"""
    ids = tokenizer.encode(text)[:model.config.block_size - 1]
    device = next(model.parameters()).device
    model(torch.tensor([[tokenizer.begin, *ids]], device=device))
    experts = model.moes[-1].routing.experts[1:, 0].tolist()
    return [(tokenizer.decode([token]), expert) for token, expert in zip(ids, experts)]


def shares_by_kind(model: HybridGPT, tokenizer: Tokenizer, texts: list[str]):
    """-> (shares (kinds, E) of the first choices, how many tokens of each kind)"""
    counts = torch.zeros(len(KINDS), model.moe_config.n_expert)
    for text in texts:
        for piece, expert in first_choices(model, tokenizer, text):
            counts[KINDS.index(kind_of(piece)), expert] += 1
    return counts / counts.sum(1, keepdim=True).clamp(min=1), counts.sum(1)


def draw(shares: torch.Tensor, runs: dict, setup: str, path: Path) -> None:
    best = float(shares.max())
    kind = KINDS[int(shares.max(1).values.argmax())]
    fullest = {name: float((loads[-20:].mean(0) / loads[-20:].mean()).max())
               for name, loads in runs.items()}
    fig, axes = plotting.figure(
        f"{best:.0%} of {kind} tokens go to one expert; the fullest has "
        f"{fullest['balance loss']:.2f} x the mean, {fullest['no balancing']:.2f} x without "
        "balance loss", setup, 3, size=(9, 4), widths=[1.4, 1, 1])
    plotting.heat_map(axes[0], shares, rows=KINDS, columns=range(shares.size(1)), colorbar=False)
    axes[0].set(xlabel="expert", title="share of first choices, last layer")
    for ax, (name, loads) in zip(axes[1:], runs.items()):
        share = (loads / loads.sum(1, keepdim=True)).numpy().T
        colours = [plotting.matplotlib.colormaps["viridis"](i / 7) for i in range(len(share))]
        ax.stackplot(range(share.shape[1]), share, colors=colours, lw=0.3, edgecolor="white")
        end = share[:, -5:].mean(1)
        for expert in (end > 0.04).nonzero()[0]:    # its number at the right end of its band
            ax.text(0.97 * share.shape[1], end[:expert + 1].sum() - end[expert] / 2, str(expert),
                    color="white" if expert < 5 else "black", fontsize=7, va="center", ha="right")
        ax.set(xlabel="step", title=name, ylim=(0, 1), xlim=(0, share.shape[1] - 1))
    axes[1].set_ylabel("share of each expert, last layer")
    plotting.save(fig, path)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    steps = (12 if args.quick else 160) if args.steps is None else args.steps
    if steps < 1:
        raise ValueError(f"--steps {steps}: must be at least 1")
    chosen = load_moe(args.checkpoint) if args.checkpoint else None
    device, reason = choose_device(args.device)
    runtime = Runtime(device, None, reason, "a narrow model: float32")
    texts = read_texts(DataPlan("world", 400, 0.3 if args.quick else 1.0, 0.3, seed=0),
                       out / ("demo_data_quick" if args.quick else "demo_data"), CONTEXT, args.seed)
    runs = {name: train(balance, texts, runtime, steps, args.seed)
            for name, balance in (("balance loss", "loss"), ("no balancing", "none"))}
    model, tokenizer = chosen[:2] if chosen else (runs["balance loss"][0], texts.tokenizer)
    held_out = [text.text for text in World().texts(20 if args.quick else 150, split="validation")]
    shares, counts = shares_by_kind(model, tokenizer, held_out)
    print_table(["kind of token", "tokens", "its first expert", "share", "its second", "share of it"],
                [[kind, int(counts[i]), str(int(row.argmax())), f"{row.max():.0%}",
                  str(int(row.argsort()[-2])), f"{row.sort().values[-2]:.0%}"]
                 for i, (kind, row) in enumerate(zip(KINDS, shares))],
                "first choices in the last layer with experts; evenly spread would be 12%")
    print("\n" + " ".join(f"{piece.strip() or '_'}[{expert}]" for piece, expert in
                          first_choices(model, tokenizer, SENTENCE)))
    source = args.checkpoint.name if args.checkpoint else f"{steps} steps"
    draw(shares, {name: loads for name, (_, loads) in runs.items()},
         f"2 layers, width 64, 8 experts, top-2, {steps} steps of {ROWS * CONTEXT} tokens, seed "
         f"{args.seed}; left: {source}, {int(counts.sum()):,} held-out tokens", out / "routing.png")


if __name__ == "__main__":
    run_main(main)
