"""What flows where in a block, in one head, and when the heads are cut?

    python part_1/demo_diagrams.py

Draws the data flow of lessons 1.3, 1.4 and 1.7. The shapes are not typed in: each is read off a tensor on
its way through the layers of attention.py, mlp.py and block.py.
What to see: a block never changes the shape of its stream; only inside attention do tokens meet.
"""

from runtime import make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import plotting
import torch
from attention import Head, MultiHeadAttention, attention, causal_visibility
from block import Block
from matplotlib.patches import FancyBboxPatch

B, T, C, HEADS = 2, 6, 32, 4


def shape(x: torch.Tensor) -> str:
    return str(tuple(x.shape))


def box(ax, x: float, y: float, text: str, color: str, width: float = 2.2, height: float = 0.62) -> None:
    """A named box with its middle at (x, y)."""
    ax.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, alpha=0.35, facecolor=color,
                                boxstyle="round,pad=0.04", edgecolor=plotting.GREY))
    ax.text(x, y, text, ha="center", va="center", fontsize=8.5)


def arrow(ax, start: tuple, end: tuple, text: str = "", side: float = 0.12, bend: float = 0.0) -> None:
    """From box to box; `text`, the shape of what flows, stands beside it."""
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": plotting.BLACK, "lw": 1.1,
                                            "connectionstyle": f"arc3,rad={bend}"})
    ax.text((start[0] + end[0]) / 2 + side, (start[1] + end[1]) / 2, text, fontsize=7.5, va="center",
            color="#555555")


def finish(ax, xlim: tuple, ylim: tuple) -> None:
    ax.set(xlim=xlim, ylim=ylim)
    ax.axis("off")


@torch.no_grad()
def head_shapes() -> dict[str, str]:
    """Every tensor on the way through one head, by name."""
    head, x = Head(C, C // HEADS), torch.randn(B, T, C)
    q, k, v = head.query(x), head.key(x), head.value(x)
    out, weights = attention(q, k, v, causal_visibility(T))
    return {"x": shape(x), "q": shape(q), "k": shape(k), "v": shape(v),
            "scores": shape(q @ k.transpose(-2, -1)), "weights": shape(weights), "out": shape(out)}


def draw_head(path, shapes: dict) -> None:
    fig, ax = plotting.figure("One head: three maps of the same x; queries meet keys, the weights mix values",
                              f"B = {B} texts, T = {T} tokens, C = {C} channels, D = {C // HEADS}",
                              size=(7, 4.4))
    box(ax, 0, 3, f"x\n{shapes['x']}", plotting.SKY)
    for y, name in ((4.5, "q"), (3, "k"), (1.5, "v")):
        box(ax, 3.2, y, f"{name} = x W_{name.upper()}\n{shapes[name]}", plotting.YELLOW)
        arrow(ax, (1.15, 3), (2.05, y))
    box(ax, 6.6, 3.75, f"scores = q kᵀ / √D\n{shapes['scores']}", plotting.ORANGE, 2.5)
    arrow(ax, (4.35, 4.5), (5.3, 3.9))
    arrow(ax, (4.35, 3), (5.3, 3.6))
    box(ax, 9.9, 3.75, f"mask, softmax: weights\n{shapes['weights']}", plotting.ORANGE, 2.9)
    arrow(ax, (7.9, 3.75), (8.4, 3.75))
    box(ax, 9.9, 1.5, f"out = weights v\n{shapes['out']}", plotting.GREEN, 2.5)
    arrow(ax, (9.9, 3.4), (9.9, 1.85))
    arrow(ax, (4.35, 1.5), (8.6, 1.5))
    finish(ax, (-1.4, 11.6), (0.8, 5.2))
    plotting.save(fig, path)


@torch.no_grad()
def block_shapes() -> dict[str, str]:
    """What goes into and comes out of every part of a block, read by hooks."""
    block, shapes = Block(C, HEADS), {}
    for name, module in [*block.named_children(), ("mlp.widen", block.mlp.widen)]:
        module.register_forward_hook(
            lambda module, inputs, output, name=name: shapes.update({name: shape(output)}))
    shapes["x"] = shape(torch.randn(B, T, C))
    shapes["out"] = shape(block(torch.randn(B, T, C)))
    return shapes


def draw_block(path, shapes: dict) -> None:
    fig, ax = plotting.figure("The block: two branches read a normalised copy and add to the stream, whose "
                              f"shape stays {shapes['x']}",
                              f"C = {C}; inside the MLP {shapes['mlp.widen']}; tokens meet in attention alone",
                              size=(7, 4.4))
    ax.plot([0, 0], [0.2, 6.6], color=plotting.BLUE, linewidth=5, alpha=0.4)
    ax.text(-0.25, 3.4, "the stream", rotation=90, va="center", ha="right", color=plotting.BLUE)
    rows = (("norm_1", "attention", "gathers from other tokens", 1.6, plotting.ORANGE),
            ("norm_2", "mlp", "works on each token alone", 4.6, plotting.GREEN))
    for norm, branch, what, y, color in rows:
        box(ax, 2.6, y, f"{norm}: LayerNorm\n{shapes[norm]}", plotting.YELLOW)
        box(ax, 6.0, y, f"{branch}\n{shapes[branch]}", color)
        ax.text(7.35, y, what, va="center", fontsize=8.5)
        arrow(ax, (0.05, y), (1.4, y))
        arrow(ax, (3.8, y), (4.8, y))
        arrow(ax, (6.0, y + 0.4), (0.18, y + 1.25), bend=0.25)
        ax.text(0, y + 1.25, "+", ha="center", va="center", fontsize=13, fontweight="bold",
                bbox={"boxstyle": "circle,pad=0.12", "facecolor": "white", "edgecolor": plotting.BLUE})
    ax.text(0, 0, f"x {shapes['x']}", ha="center", va="top", fontsize=8.5)
    ax.text(0, 6.75, f"x {shapes['out']}, to the next block", ha="left", va="bottom", fontsize=8.5)
    finish(ax, (-1.2, 10.6), (-0.4, 7.2))
    plotting.save(fig, path)


@torch.no_grad()
def draw_cut(path) -> list[list]:
    """The channels of one token, cut into heads, and who they meet; returns the shapes' table."""
    layer, x = MultiHeadAttention(C, HEADS), torch.randn(B, T, C)
    q = layer.query(x)
    steps = [["query(x)", shape(q)], ["view", shape(q.view(B, T, HEADS, C // HEADS))],
             ["split: transposed", shape(layer.split(q))],
             ["weights of each head", shape(layer.weights(x))], ["after concatenate", shape(layer(x))]]
    fig, ax = plotting.figure(f"{C} channels are cut into {HEADS} heads of {C // HEADS}: {HEADS} tables of "
                              "weights instead of one, for the same products",
                              "each line is a token, each colour a head; a head sees its own channels only",
                              size=(7, 3.6))
    for token in range(T):
        for channel in range(C):
            color = plotting.CYCLE[channel // (C // HEADS)]
            ax.add_patch(FancyBboxPatch((0.22 * channel, -token), 0.16, 0.6, facecolor=color, alpha=0.5,
                                        boxstyle="square,pad=0", edgecolor="none"))
            new = 0.22 * (channel % (C // HEADS)) + 2.4 * (channel // (C // HEADS))
            ax.add_patch(FancyBboxPatch((9 + new, -token), 0.16, 0.6, facecolor=color, alpha=0.5,
                                        boxstyle="square,pad=0", edgecolor="none"))
        ax.text(-0.2, 0.3 - token, f"token {token}", ha="right", va="center", fontsize=8)
    for head in range(HEADS):
        ax.text(9 + 2.4 * head + 0.9, 1.0, f"head {head + 1}", ha="center", fontsize=8.5)
    ax.text(3.5, 1.0, "query(x)", ha="center", fontsize=8.5)
    arrow(ax, (7.3, -2.2), (8.8, -2.2), "")
    finish(ax, (-2.2, 18.6), (-T + 0.6, 1.7))
    plotting.save(fig, path)
    return steps


def parse_args(argv=None):
    return make_parser(__doc__, runs_model=False).parse_args(argv)


def main(argv=None) -> None:
    args = parse_args(argv)
    folder = out_folder(__file__, args.out)
    seed_everything(args.seed)
    head, block = head_shapes(), block_shapes()
    draw_head(folder / "diagram_head.png", head)
    draw_block(folder / "diagram_block.png", block)
    cut = draw_cut(folder / "diagram_cut.png")
    rows = [["one head", *row] for row in head.items()] + [["the block", *row] for row in block.items()]
    print_table(["diagram", "what flows", "shape"], rows + [["cutting heads", *row] for row in cut])


if __name__ == "__main__":
    run_main(main)
