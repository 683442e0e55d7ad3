"""What does a token see through a sliding window, and how does one get it wrong?

    python demo_sliding_window.py

What to see: the masks; how far back a token's influence reaches when windows are stacked (each
layer adds W - 1); and a well-known mistake, made on purpose: keys cut to the last W while the
causal flag stays on. It lets tokens see the future, and the loss looks wonderful.
"""

from run.runtime import make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import torch
import torch.nn.functional as F
from attention import visibility
from run.plotting import figure, heat_map, save
from run.tiny_training import make_model

LENGTH, WINDOW, SINK = 12, 4, 2


@torch.no_grad()
def influence(model, length: int) -> torch.Tensor:
    """(T, T): does the logit at row t move when the token at column s is changed?"""
    ids = torch.randint(0, 256, (1, length))
    before = model(ids)[0]
    columns = []
    for place in range(length):
        changed = ids.clone()
        changed[0, place] = (ids[0, place] + 1) % 256
        columns.append((model(changed)[0] - before).abs().amax(-1)[0] > 1e-6)
    return torch.stack(columns, dim=1)


def reach(model, length: int) -> int:
    """How many tokens back the last one is still influenced."""
    seen = influence(model, length)[-1]
    return length - 1 - int(seen.nonzero()[0])


def wrong_window(q, k, v, window: int) -> torch.Tensor:
    """WRONG ON PURPOSE: query i of T is lined up with key i of the last W, not with its own."""
    k, v = k[:, :, -window:], v[:, :, -window:]
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def wrong_visibility(length: int, window: int) -> torch.Tensor:
    """(T, T): which tokens that mistake lets each query see: measured, with one-hot values."""
    q, k = torch.zeros(1, 1, length, 4), torch.zeros(1, 1, length, 4)  # even attention
    return wrong_window(q, k, torch.eye(length)[None, None], window)[0, 0] > 0


def draw(path, masks: dict, leak: int, setup: str) -> None:
    fig, axes = figure(f"Cut the keys and keep the causal flag, and {leak} of {LENGTH * LENGTH} "
                       "pairs look into the future", setup, panels=3, sharey=True,
                       size=(7, 3.4))
    for ax, (name, mask) in zip(axes, masks.items()):
        heat_map(ax, mask.float().numpy(), numbers=False, colorbar=False)
        ax.plot([-0.5, LENGTH - 0.5], [-0.5, LENGTH - 0.5], color="white", linewidth=0.8)
        ax.set_title(name, fontsize=8)
        ax.set(xlabel="key (the token seen)", xticks=range(0, LENGTH, 2),
               yticks=range(0, LENGTH, 2))
    axes[0].set_ylabel("query (the token that looks)")
    save(fig, path)


def parse_args(argv=None):
    return make_parser(__doc__, runs_model=False).parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    rows = []
    for layers in (1, 2, 3, 4):
        settings = {"n_layer": layers, "n_head": 4, "n_embd": 64, "block_size": 64}
        plain = make_model(args.seed, window=WINDOW, **settings).eval()
        with_sink = make_model(args.seed, window=WINDOW, sink=SINK, **settings).eval()
        rows.append([str(layers), layers * (WINDOW - 1), reach(plain, 40),
                     reach(with_sink, 40), bool(influence(plain, 20).triu(1).any())])
    print_table(["layers", "layers * (W - 1)", f"reach, W={WINDOW}",
                 f"reach, W={WINDOW} and {SINK} sinks", "sees the future"], rows,
                "how many tokens back the 40th is influenced, measured by changing tokens")
    positions = torch.arange(LENGTH)[None]
    masks = {f"window {WINDOW}": visibility(positions, positions, WINDOW)[0],
             f"window {WINDOW}, {SINK} sinks": visibility(positions, positions, WINDOW, SINK)[0],
             "wrong on purpose": wrong_visibility(LENGTH, WINDOW)}
    leaks = {name: int(mask.triu(1).sum()) for name, mask in masks.items()}
    print_table(["mask", "pairs", "pairs in the future"],
                [[name, int(mask.sum()), leaks[name]] for name, mask in masks.items()],
                f"{LENGTH} tokens")
    draw(out / "sliding_window.png", masks, leaks["wrong on purpose"],
         f"{LENGTH} tokens; yellow: seen; above the white diagonal lies the future")


if __name__ == "__main__":
    run_main(main)
