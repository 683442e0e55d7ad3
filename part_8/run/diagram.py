"""Boxes and arrows: drawings of what flows where.

Used   the demos that draw a step of a method; each later part holds a copy of this file
"""

from matplotlib.patches import FancyBboxPatch

from run.plotting import BLACK, GREY


def box(ax, x: float, y: float, text: str, color: str, width: float = 2.4,
        height: float = 0.7) -> None:
    """A named box with its middle at (x, y)."""
    ax.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, alpha=0.35,
                                facecolor=color, boxstyle="round,pad=0.04", edgecolor=GREY))
    ax.text(x, y, text, ha="center", va="center", fontsize=8)


def arrow(ax, start: tuple, end: tuple, text: str = "", *, bend: float = 0.0,
          color: str = BLACK, shift: tuple = (0.0, 0.14)) -> None:
    """From (x, y) to (x, y); `text` stands at its middle, moved by `shift`."""
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.1,
                                            "connectionstyle": f"arc3,rad={bend}"})
    ax.text((start[0] + end[0]) / 2 + shift[0], (start[1] + end[1]) / 2 + shift[1], text,
            fontsize=7.5, ha="center", va="center", color="#555555")


def finish(ax, xlim: tuple, ylim: tuple) -> None:
    """The drawing's limits, without axes."""
    ax.set(xlim=xlim, ylim=ylim)
    ax.axis("off")
