"""What does a KV cache hold, and when is it written?

    python demo_plain_cache.py

A model with two key/value heads for four query heads reads "The owl saw" and then takes four steps.
Prints how far the plain cache of plain_cache.py is from the model's full pass, and how much work each
way of reading takes; draws the slots of the cache after every pass.
What to see: the prompt fills its slots in one pass (the prefill); each step then writes one slot,
whatever came before, and reads those in front of it.
"""

from run.runtime import make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import torch
from matplotlib.patches import Rectangle
from plain_cache import PlainCache, read
from run.plotting import BLUE, GREY, ORANGE, figure, save
from run.tiny_training import make_model

TEXT, PROMPT = "The owl saw it all", 11


def chunks_of(length: int) -> dict[str, list[int]]:
    """Ways of reading a text: how many tokens each pass takes."""
    return {"one pass": [length], "in chunks of 4": [min(4, length - n) for n in range(0, length, 4)],
            "prompt, then steps": [PROMPT] + [1] * (length - PROMPT), "token by token": [1] * length}


@torch.no_grad()
def compare(model, ids: torch.Tensor) -> list[list]:
    """A row for each way of reading: passes, query rows, pairs of query and key, difference."""
    whole, rows = model(ids)[0], []
    config, length = model.config, ids.size(1)
    for name, sizes in chunks_of(length).items():
        cache = PlainCache(config.n_layer, 1, config.n_kv_head, length, config.head_dim)
        logits = torch.cat([read(model, part, cache) for part in ids.split(sizes, dim=1)], dim=1)
        ends = torch.tensor(sizes).cumsum(0).tolist()
        pairs = sum(size * end for size, end in zip(sizes, ends))
        rows.append([name, len(sizes), sum(sizes), pairs, float((logits - whole).abs().max())])
    steps = range(PROMPT, length + 1)
    rows.append(["no cache, every step anew", len(steps), sum(steps), sum(n * n for n in steps), 0.0])
    return rows


def draw(path, text: str, worst: float, setup: str) -> None:
    """One line of slots for each pass: written now, kept, empty."""
    sizes = chunks_of(len(text))["prompt, then steps"][:5]
    fig, ax = figure(f"The prompt fills {PROMPT} slots in one pass, each step writes one more; logits "
                     f"differ from the full pass by at most {worst:.0e}", setup, size=(7, 3.2))
    seen = 0
    for row, size in enumerate(sizes):
        for slot, letter in enumerate(text):
            is_new, is_kept = seen <= slot < seen + size, slot < seen
            color = ORANGE if is_new else BLUE if is_kept else "white"
            ax.add_patch(Rectangle((slot, -row), 0.9, 0.72, facecolor=color, edgecolor=GREY,
                                   linewidth=0.6, alpha=0.45))
            if is_new or is_kept:
                ax.text(slot + 0.45, 0.36 - row, letter.replace(" ", "␣"), ha="center", va="center",
                        fontsize=9)
        name = f"prefill: {size} tokens" if row == 0 else f"step {row}: 1 token"
        ax.text(-0.3, 0.36 - row, name, ha="right", va="center", fontsize=8.5)
        seen += size
    for x, name, color in ((0, "written in this pass", ORANGE), (6, "kept, only read", BLUE),
                           (11, "empty", "white")):
        ax.add_patch(Rectangle((x, -len(sizes) - 0.1), 0.9, 0.5, facecolor=color, edgecolor=GREY,
                               linewidth=0.6, alpha=0.45))
        ax.text(x + 1.1, 0.15 - len(sizes), name, va="center", fontsize=8.5)
    ax.set(xlim=(-4.6, len(text) + 0.2), ylim=(-len(sizes) - 0.3, 1))
    ax.axis("off")
    save(fig, path)


def parse_args(argv=None):
    return make_parser(__doc__, runs_model=False).parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    model = make_model(args.seed, n_layer=2, n_head=4, n_kv_head=2, n_embd=64, block_size=32).eval()
    ids = torch.tensor([list(TEXT.encode())])
    rows = compare(model, ids)
    print_table(["way of reading", "passes", "tokens computed", "pairs q, k", "largest difference"],
                rows, f"{len(TEXT)} bytes; a model with K = 2 key/value heads for H = 4")
    draw(out / "plain_cache.png", TEXT, max(row[-1] for row in rows),
         f"keys of one layer; 2 blocks, width 64, 4 query heads, 2 key/value heads; seed {args.seed}")


if __name__ == "__main__":
    run_main(main)
