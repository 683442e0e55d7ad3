"""How does a pile of text become an assistant? Pretraining, fine-tuning, alignment, in one picture.

    python part_0/demo_stages.py

Prints what each stage learns from, what it is asked to do, and what the model can do afterwards;
draws the same as a picture (lesson 0.1). Nothing is trained.
See: the same weights go through all stages; only the data and the loss change.
"""

from runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from matplotlib.patches import FancyBboxPatch
from plotting import BLACK, BLUE, GREEN, GREY, ORANGE, figure, save

# (stage, learns from, the loss in words, what the model can do afterwards, colour)
STAGES = (
    ("pretraining", "plain text", "predict the next token",
     "continues any text", BLUE),
    ("fine-tuning", "instructions with answers", "predict the answer's tokens",
     "answers, then stops", ORANGE),
    ("alignment", "preferences or checked answers", "raise the reward, stay near the old model",
     "answers as people prefer", GREEN),
)


def box(ax, x: float, y: float, text: str, color: str, width: float = 1.9, height: float = 0.9):
    """A rounded box with text that can be read on its colour, its centre at (x, y)."""
    ax.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height,
                                boxstyle="round,pad=0.02,rounding_size=0.12",
                                facecolor=color, edgecolor="none"))
    ax.text(x, y, text, ha="center", va="center", fontweight="bold", fontsize=10,
            color=BLACK if color == ORANGE else "white")


def arrow(ax, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.6})


def draw(path) -> None:
    """Three boxes in a row: data above, loss inside, ability below."""
    fig, ax = figure("One set of weights, three stages: only the data and the loss change",
                     "read from left to right; what goes in stands above, what comes out below")
    for i, (name, data, loss, ability, color) in enumerate(STAGES):
        x = 1.2 + 2.9 * i
        ax.text(x, 3.3, data, ha="center", va="center", fontsize=9, color=BLACK)
        arrow(ax, (x, 3.1), (x, 2.52), GREY)
        box(ax, x, 2.0, name, color)
        ax.text(x, 1.33, loss, ha="center", va="center", fontsize=8, color="#555555",
                style="italic")
        arrow(ax, (x, 1.15), (x, 0.72), GREY)
        ax.text(x, 0.5, ability, ha="center", va="center", fontsize=9, color=color,
                fontweight="bold")
        if i:
            arrow(ax, (x - 1.9, 2.0), (x - 1.0, 2.0), BLACK)
            ax.text(x - 1.46, 2.18, "weights", ha="center", fontsize=7.5, color="#555555")
    ax.set_xlim(-0.1, 8.3)
    ax.set_ylim(0.1, 3.7)
    ax.axis("off")
    save(fig, path)


def parse_args(argv=None):
    return make_parser(__doc__, runs_model=False).parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    print_table(["stage", "learns from", "is asked to", "can do afterwards"],
                [list(stage[:4]) for stage in STAGES])
    draw(out / "stages.png")


if __name__ == "__main__":
    run_main(main)
