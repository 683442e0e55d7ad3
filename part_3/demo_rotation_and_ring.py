"""How does RoPE turn a vector, and how is a ring of slots written?

    python demo_rotation_and_ring.py

Draws the diagrams of lessons 3.2 and 3.6. Nothing in them is drawn by hand: the angles and products come
from rope.py, the contents of the slots from kv_cache.py.
What to see: both heads of a pair turn with their positions, and their product follows the distance
alone; a ring overwrites what has just left the window, and the sink stays.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import math

import torch
from kv_cache import KVCache
from matplotlib.patches import Arc, Rectangle
from rope import RotaryTable, apply_rope, rope_frequencies
from run.plotting import BLACK, BLUE, GREEN, GREY, ORANGE, figure, save

QUERY, KEY = (1.0, 0.0), (0.96, 0.28)   # one pair of channels of a query and of a key
PLACES = ((3, 1), (7, 5), (7, 1))      # (position of the query, of the key)
SPEED = 0.4                            # radians per position in the picture
WINDOW, SINK = 4, 1


def turned(vector: tuple, position: int) -> torch.Tensor:
    """One pair of channels at a position, by the code of lesson 3.2 -> (2,)"""
    table = RotaryTable(torch.tensor([SPEED], dtype=torch.float64), 16)
    cos, sin = table.at(torch.tensor([[position]]), position)
    return apply_rope(torch.tensor(vector).view(1, 1, 1, 2), cos, sin).flatten()


def arrow(ax, end, color: str, name: str, width: float = 1.8) -> None:
    x, y = (float(value) for value in end)
    ax.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "-|>", "color": color, "lw": width})
    ax.text(1.27 * x, 1.2 * y, name, color=color, ha="center", va="center", fontsize=8.5)


def draw_rope(path) -> list[list]:
    """Query and key turned to three pairs of places; returns the table behind the picture."""
    products = [float(turned(QUERY, t) @ turned(KEY, s)) for t, s in PLACES]
    fig, axes = figure(
        f"The same distance gives the same product: {products[0]:.3f} and {products[1]:.3f} at "
        f"distance 2, {products[2]:.3f} at distance 6",
        f"one pair of channels, {SPEED} radians a position; dashed: before they are turned",
        panels=3, size=(7, 3))
    for ax, (t, s), product in zip(axes, PLACES, products):
        q, k = turned(QUERY, t), turned(KEY, s)
        ax.add_patch(Arc((0, 0), 2, 2, color=GREY, linewidth=0.6))
        for vector, color in ((QUERY, BLUE), (KEY, GREEN)):
            ax.plot([0, vector[0]], [0, vector[1]], color=color, linestyle="--", linewidth=0.9)
        arrow(ax, q, BLUE, f"q at {t}")
        arrow(ax, k, GREEN, f"k at {s}")
        ax.set_title(f"distance {t - s}:  q · k = {product:.3f}", fontsize=9)
        ax.set(xlim=(-1.55, 1.55), ylim=(-1.05, 1.35), aspect="equal")
        ax.axis("off")
    save(fig, path)
    return [[f"q at {t}, k at {s}", t - s, product] for (t, s), product in zip(PLACES, products)]


def draw_speeds(path, head_dim: int = 16) -> list[list]:
    """The hands of all pairs of a head at some positions: fast ones and slow ones."""
    frequency = rope_frequencies(head_dim)
    positions = (0, 1, 5, 20)
    fig, axes = figure(
        f"Pair 0 turns by {frequency[0]:.0f} radian a position, pair {head_dim // 2 - 1} once in "
        f"{2 * math.pi / frequency[-1]:,.0f} positions", f"the {head_dim // 2} pairs of a head of width "
        f"{head_dim}; theta = 10,000; each clock hand is one pair", panels=1, size=(7, 3.4))
    for row, position in enumerate(positions):
        for pair, speed in enumerate(frequency.tolist()):
            angle, x, y = position * speed, 1.2 * pair, -1.2 * row
            axes.add_patch(Arc((x, y), 1, 1, color=GREY, linewidth=0.6))
            axes.annotate("", (x + 0.5 * math.cos(angle), y + 0.5 * math.sin(angle)), (x, y),
                          arrowprops={"arrowstyle": "-|>", "color": BLUE, "lw": 1.5})
        axes.text(-0.8, -1.2 * row, f"position {position}", ha="right", va="center", fontsize=8.5)
    for pair in range(head_dim // 2):
        axes.text(1.2 * pair, 0.75, f"pair {pair}", ha="center", fontsize=8.5)
    axes.set(xlim=(-2.6, 1.2 * head_dim / 2), ylim=(-1.2 * len(positions) + 0.5, 1.1), aspect="equal")
    axes.axis("off")
    save(fig, path)
    return [[f"pair {pair}", speed, 2 * math.pi / speed] for pair, speed in
            enumerate(frequency.tolist())]


def slots_after(columns: int) -> list[int | None]:
    """What the slots [sink | ring] hold after so many columns, one written after the other."""
    cache = KVCache(1, 1, 1, 1, 1, 99, window=WINDOW, sink=SINK)
    for column in range(columns):
        number = torch.full((1, 1, 1, 1), float(column))
        cache.update(0, number, number)
        cache.advance(1)
    held = [int(value) for value in cache.keys[0].flatten()]
    return [held[i] if i < SINK or i - SINK < columns else None for i in range(len(held))]


def draw_ring(path, counts=(1, 3, 4, 5, 6, 9)) -> list[list]:
    """A line of slots for each moment: [sink | ring]."""
    table = []
    fig, ax = figure(f"A ring of {WINDOW} slots: token 4 goes where token 0 was, token 5 where 1 was; "
                     "the sink keeps token 0", f"window {WINDOW}, {SINK} sink; the numbers are the columns "
                     "that kv_cache.py holds; orange: written last", size=(7, 3.4))
    for row, count in enumerate(counts):
        held = slots_after(count)
        table.append([count, *("" if value is None else str(value) for value in held)])
        for slot, value in enumerate(held):
            x = slot if slot < SINK else slot + 0.5
            is_new = value == count - 1 and slot >= SINK
            color = "white" if value is None else ORANGE if is_new else GREEN if slot < SINK else BLUE
            ax.add_patch(Rectangle((x, -row), 0.9, 0.72, facecolor=color, alpha=0.45, edgecolor=GREY))
            if value is not None:
                ax.text(x + 0.45, 0.36 - row, str(value), ha="center", va="center", color=BLACK)
        seen = f"{max(0, count - WINDOW)} to {count - 1}" if count > 1 else "0"
        ax.text(-0.3, 0.36 - row, f"after {count} token{'s' if count > 1 else ''}", ha="right", va="center",
                fontsize=8.5)
        ax.text(WINDOW + SINK + 0.8, 0.36 - row, f"the window holds {seen}", va="center", fontsize=8.5)
    for slot in range(WINDOW):
        ax.text(slot + SINK + 0.95, 0.95, f"slot {slot}", ha="center", fontsize=8)
    ax.text(0.45, 0.95, "sink", ha="center", fontsize=8)
    ax.set(xlim=(-2.2, WINDOW + SINK + 3.6), ylim=(-len(counts) + 0.6, 1.3))
    ax.axis("off")
    save(fig, path)
    return table


def parse_args(argv=None):
    return make_parser(__doc__, runs_model=False).parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    print_table(["places", "distance", "q . k"], draw_rope(out / "diagram_rope.png"),
                "a query and a key, turned to their places")
    print_table(["pair", "radians a position", "positions for a full turn"],
                draw_speeds(out / "diagram_rope_speeds.png"), "the pairs of a head of width 16")
    print_table(["tokens", "sink", *(f"slot {slot}" for slot in range(WINDOW))],
                draw_ring(out / "diagram_ring.png"), "what the slots hold")


if __name__ == "__main__":
    run_main(main)
