"""Tables: how results are told.

Used    every script, through runtime.py   (lesson 0.2)
"""

import numpy as np


def print_table(header: list[str], rows: list[list], title: str = "") -> None:
    """Print an aligned table: text to the left, numbers to the right."""
    cells = [[cell if isinstance(cell, str) else format_number(cell) for cell in row]
             for row in rows]
    widths = [max(len(line[i]) for line in [header, *cells]) for i in range(len(header))]
    is_text = [all(isinstance(row[i], str) for row in rows) for i in range(len(header))]

    def line(values):
        padded = [v.ljust(w) if left else v.rjust(w)
                  for v, w, left in zip(values, widths, is_text)]
        return "  ".join(padded).rstrip()

    if title:
        print(f"\n{title}")
    print(line(header))
    print("  ".join("-" * width for width in widths))
    for row in cells:
        print(line(row))


def format_number(value) -> str:
    """A number as a table shows it: 1,234,567  0.1235  1.5e-06."""
    if value is None:
        return "-"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    value = float(value)
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
