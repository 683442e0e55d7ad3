"""How do documents of all lengths become rows of one length, and who may look at whom there?

    python part_4/demo_packed_rows.py

Draws texts of the little world packed into rows by `pack` of text/data.py, and the pairs that
attention may use in one of them, by `segments` of text/rows.py. Lengths are in bytes here.
What to see: whole documents fill nearly all of each row; attention is a chain of triangles, one for
each.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import numpy as np
import torch
from run.plotting import CYCLE, GREY, figure, heat_map, save
from text.data import pack
from text.rows import segments
from world.world import World

SIZE, DOCUMENTS, SHOWN = 1200, 1000, 8  # slots of a row, documents, rows in the picture
BEGIN = 0


def packed(seed: int) -> tuple[list[int], list[list[int]]]:
    """The lengths of some texts, with begin and end, and the rows that they are packed into."""
    texts = World().texts(DOCUMENTS, seed=seed)
    lengths = [min(len(text.text.encode()) + 2, SIZE) for text in texts]
    return lengths, pack(lengths, [True] * len(lengths), SIZE)


def visible_pairs(row: list[int], lengths: list[int], every: int) -> np.ndarray:
    """(T, T) of one row: may place t look at place s? Each `every`-th place."""
    ids = torch.full((1, SIZE), 1)
    starts = np.cumsum([0] + [lengths[number] for number in row])
    ids[0, [int(start) for start in starts if start < SIZE]] = BEGIN
    part = segments(ids, BEGIN)[0]
    same = part[:, None] == part[None, :]
    return (same & torch.ones(SIZE, SIZE, dtype=torch.bool).tril())[::every, ::every].numpy()


def draw(path, lengths: list[int], rows: list[list[int]], setup: str) -> None:
    filled = sum(lengths) / (len(rows) * SIZE)
    fig, (left, right) = figure(
        f"{len(lengths):,} documents fill {filled:.0%} of {len(rows)} rows; inside a row "
        "each sees itself alone", setup, panels=2, size=(8, 4), widths=[1.5, 1])
    for y, row in enumerate(rows[:SHOWN]):
        at = 0
        for place, number in enumerate(row):
            left.barh(-y, lengths[number], left=at, color=CYCLE[place % len(CYCLE)], alpha=0.55,
                      edgecolor="white")
            if lengths[number] > 60:
                left.text(at + lengths[number] / 2, -y, f"{number}", ha="center", va="center", fontsize=7.5)
            at += lengths[number]
    left.axvline(SIZE, color=GREY, linewidth=0.8)
    left.set(xlabel="slots of the row (numbers: documents, in their order)",
             yticks=[-y for y in range(SHOWN)],
             yticklabels=[f"row {y}" for y in range(SHOWN)])
    left.grid(visible=False)
    longest = max(rows[:SHOWN], key=len)
    heat_map(right, visible_pairs(longest, lengths, 10), numbers=False, colorbar=False)
    right.set(xticks=[], yticks=[], xlabel="key", ylabel="query")
    right.set_title(f"row {rows.index(longest)}: yellow may be seen", loc="left", fontsize=8.5)
    save(fig, path)


def parse_args(argv=None):
    return make_parser(__doc__, runs_model=False).parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    lengths, rows = packed(args.seed)
    print_table(["row", "documents", "slots filled", "share"],
                [[str(y), ", ".join(map(str, row)), sum(lengths[n] for n in row),
                  f"{sum(lengths[n] for n in row) / SIZE:.0%}"] for y, row in enumerate(rows[:SHOWN])],
                f"{DOCUMENTS:,} texts in {len(rows)} rows of {SIZE} bytes; the first {SHOWN} rows")
    draw(out / "diagram_packing.png", lengths, rows,
         f"texts of the little world, rows of {SIZE} bytes, best fit, seed {args.seed}; "
         f"the first {SHOWN} rows")


if __name__ == "__main__":
    run_main(main)
