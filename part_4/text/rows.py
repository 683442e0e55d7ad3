"""What a row of tokens means in training: targets that do not count, and where attention ends.

Used   text/data.py, run/loop.py, and wherever tokens are put into rows
Shapes B rows, T time
"""

import torch

IGNORED = -100                  # a target that does not count


def segments(ids: torch.Tensor, begin: int) -> torch.Tensor:
    """Which document of its row each token belongs to: (B, T) -> (B, T), counting from 0.

    >>> segments(torch.tensor([[5, 9, 0, 7, 7]]), begin=0)
    tensor([[0, 0, 1, 1, 1]])
    """
    return (ids == begin).cumsum(dim=1)


def pad_rows(rows: list[list[int]], fill: int, width: int | None = None) -> torch.Tensor:
    """Lists of different lengths -> (B, width or the longest), filled up on the right.

    Padding on the right needs no mask: causal attention never looks that way, targets ignore it.
    """
    padded = torch.full((len(rows), width or max(map(len, rows))), fill, dtype=torch.int64)
    for place, row in zip(padded, rows):
        place[:len(row)] = torch.tensor(row, dtype=torch.int64)
    return padded
