"""Siblings: replies to one prompt share a row, so that the prompt is read once.

    prompt prompt prompt | reply 1 | reply 2 reply 2 | reply 3        one row in place of three

Math   token t sees token s  where  position_s <= position_t  and  part_s is 0 or part_t   (eq. 7.5)
       Part 0 is the prompt, part k the k-th reply; a reply's positions go on from the prompt's, as
       if it stood behind it alone. So every token has the features of a row of its own.
Idea   Comparing and sampling ask for many replies to one prompt. Four replies of 11 tokens to a
       prompt of 33 are 176 tokens in rows of their own, and 77 in one.
Used   reward/model.py, and policy.py of the parts after this one
Shapes B rows as they are given, T columns; G shared rows of U columns
Source a prefix tree's mask, as in Cai et al. 2024, "Medusa", section 3.1, there for decoding
"""

from dataclasses import dataclass

import torch
from gpt.layers import Plan, visibility
from gpt.model import GPT


@dataclass(frozen=True)
class SharedRows:
    """Where the tokens of B rows stand in G rows that share their prompts."""

    given: torch.Tensor  # (G, U) which of the B rows a token comes from
    column: torch.Tensor  # (G, U) its column there
    part: torch.Tensor  # (G, U) 0 in a prompt, k in its k-th reply, -1 in padding
    row: torch.Tensor  # (B,) the shared row that holds reply b
    first: torch.Tensor  # (B,) the column of its first token there
    prompt: torch.Tensor  # (B,) the length of its prompt

    def take(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (G, U). What stands in padding has no meaning."""
        return ids[self.given, self.column]

    def places(self, b: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        """Which token of the shared rows, counted through all of them, stands for each column of
        row b as it was given. b and column broadcast."""
        own = self.first[b] + column - self.prompt[b]
        there = torch.where(column < self.prompt[b], column, own).clamp(max=self.part.size(1) - 1)
        return self.row[b] * self.part.size(1) + there

    def give_back(self, x: torch.Tensor, T: int) -> torch.Tensor:
        """(G, U, C) -> (B, T, C): each row as if it had been read by itself; what stands behind its
        last token has no meaning."""
        b = torch.arange(len(self.row), device=x.device)[:, None]
        places = self.places(b, torch.arange(T, device=x.device))
        return x.flatten(0, 1).index_select(0, places.flatten()).view(*places.shape, -1)

    def plan(self, body: GPT) -> Plan:
        """Rotations and visibility, eq. 7.5, for `body.features(ids, plan=...)`."""
        config = body.config
        position = self.column.masked_fill(self.part < 0, -1)
        part = self.part
        is_mine = (part[:, None, :] == 0) | (part[:, None, :] == part[:, :, None])
        is_visible = visibility(position, position, config.window) & is_mine
        highest = part.size(1) - 1  # no position is above the last column
        return Plan(rotation=body.table.at(position.clamp(min=0), highest),
                    is_visible=is_visible[:, None])


def share_prompts(prompt_of: list, prompts: list[int], replies: list[int], *,
                  widest: int, device=None) -> SharedRows:
    """Rows b = 0, 1, … with a prompt of prompts[b] tokens and then a reply of replies[b] -> their
    layout. Neighbours with the same prompt_of[b] share a row of at most `widest` columns; a row
    that is longer by itself stays by itself.
    """
    rows: list[tuple[list[int], list[int], list[int]]] = []  # given, column, part of each token
    row, first, last = [], [], None
    for b, (which, P, R) in enumerate(zip(prompt_of, prompts, replies, strict=True)):
        if P < 1:
            raise ValueError(f"row {b} has a prompt of {P} tokens; a reply needs at least one "
                             "token before it")
        if which != last or len(rows[-1][0]) + R > widest:
            rows.append(([b] * P, list(range(P)), [0] * P))
            last, part = which, 0
        given, column, parts = rows[-1]
        part += 1
        row.append(len(rows) - 1)
        first.append(len(given))
        given += [b] * R
        column += range(P, P + R)
        parts += [part] * R
    U = max(len(given) for given, _, _ in rows)

    def padded(number: int, fill: int) -> torch.Tensor:
        return torch.tensor([r[number] + [fill] * (U - len(r[number])) for r in rows],
                            device=device)

    return SharedRows(padded(0, 0), padded(1, 0), padded(2, -1),
                      *(torch.tensor(x, device=device) for x in (row, first, prompts)))
