"""The look of every picture: one style, one colour per method, titles that state the finding.

Used    every script that draws; each part holds a copy of this file (lesson 0.2)

A title says what was found, with the measured number in it; the grey line under it says how
(size, steps, seed). Two runs with the same seed write the same bytes.
"""

import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # files only: the scripts run where there is no screen
import matplotlib.pyplot as plt
import numpy as np

from run.runtime import replacing

# Okabe and Ito's eight colours: told apart by people who do not see red or green.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
GREY = "#999999"  # the baseline, everywhere
CYCLE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)

STYLE = {
    "figure.dpi": 150, "savefig.dpi": 150, "font.size": 9, "axes.titlesize": 9,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.grid.axis": "y", "grid.color": "#DDDDDD", "grid.linewidth": 0.6,
    "axes.axisbelow": True, "lines.linewidth": 1.8, "legend.frameon": False,
    "axes.prop_cycle": matplotlib.cycler(color=CYCLE),
}


def figure(title: str, setup: str, panels: int = 1, *, sharey: bool = False, size=(7, 4),
           widths: list[float] | None = None):
    """A new figure of at most three panels -> (fig, axes); axes is one Axes or a list of them.

    `title` states the finding; `setup` is the grey line: sizes, steps, seed, machine.
    """
    plt.rcParams.update(STYLE)
    fig, axes = plt.subplots(1, panels, figsize=size, sharey=sharey, layout="constrained",
                             gridspec_kw={"width_ratios": widths} if widths else None)
    title = textwrap.fill(title, int(11.5 * size[0]))  # a long title takes two lines
    line = 0.19 / size[1]  # the height of one, as a fraction of the picture
    below = 1 - (1 + title.count("\n")) * line - 0.025
    fig.text(0.012, 0.98, title, fontsize=10.5, fontweight="bold", va="top", ha="left")
    fig.text(0.012, below, setup, fontsize=7.5, color="#666666", va="top", ha="left")
    fig.get_layout_engine().set(rect=(0, 0, 1, below - (1 + setup.count("\n")) * line))
    return fig, (axes if panels == 1 else list(axes))


def end_label(ax, x, y, text: str, color: str, dy: float = 0.0) -> None:
    """Name a line at its right end, instead of in a legend. `dy` shifts the name, in points."""
    ax.annotate(text, (x[-1], y[-1]), xytext=(5, dy), textcoords="offset points",
                color=color, va="center", fontsize=8.5, annotation_clip=False)


def heat_map(ax, values, *, rows=None, columns=None, vmin=0.0, vmax=1.0, is_visible=None,
             numbers: bool | None = None, colorbar: bool = True) -> None:
    """A matrix in viridis colours, row 0 on top. Cells where `is_visible` is False are grey."""
    values = np.asarray(values, dtype=float)
    shown = values if is_visible is None else np.where(is_visible, values, np.nan)
    cmap = matplotlib.colormaps["viridis"].with_extremes(bad="#D9D9D9")
    image = ax.imshow(shown, cmap=cmap, vmin=vmin, vmax=vmax, aspect="equal")
    ax.grid(False)
    if rows is not None:
        ax.set_yticks(range(len(rows)), rows)
    if columns is not None:
        ax.set_xticks(range(len(columns)), columns)
    if numbers or (numbers is None and max(values.shape) <= 8):
        for (r, c), value in np.ndenumerate(shown):
            if not np.isnan(value):
                dark = (value - vmin) < 0.6 * (vmax - vmin)
                ax.text(c, r, f"{value:.2f}", ha="center", va="center", fontsize=7,
                        color="white" if dark else "black")
    if colorbar:
        ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.04)


def save(fig, path: Path) -> Path:
    """Write the picture as PNG, whole or not at all, without a date in it (same bytes each run)."""
    path = Path(path)
    with replacing(path) as temporary:
        fig.savefig(temporary, format="png", metadata={"Software": None})
    plt.close(fig)
    print(f"picture {path}")
    return path
