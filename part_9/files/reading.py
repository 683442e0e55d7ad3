"""A whole file of records: what was read as what, what was left out, and what is held out of it.

Idea   A held-out prompt that also stands in the training set measures memory. So it is prompts that
       are divided, not records: all records of one prompt lie on one side. A prompt is everything
       before an answer, small and capital letters and blanks aside.
Rule   A record of another shape is an error; one whose text cannot be used is left out and named;
       one that stands there twice is read once. The caller prints the lines.
Used   sft/chat_format.py, train_sft.py, and the parts after this one
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from files.records import placed_records
from files.shapes import Shaped

SHOWN = 5  # of the records that were left out; the others are counted


@dataclass
class Reading:
    """What a file held."""

    path: Path
    kept: list[Shaped] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # where and why

    def lines(self) -> list[str]:
        """What to tell: records by shape, what they had, fields not read, records left out."""
        shapes = Counter(one.shape for one in self.kept)
        notes, unread = Counter(), Counter()
        for one in self.kept:
            notes.update(one.notes)
            unread.update(one.unread)
        read = ", ".join(f"{count:,} {shape}" for shape, count in shapes.items())
        had = ", ".join(f"{count:,} with {note}" for note, count in sorted(notes.items()))
        lines = [f"read    {read} records of {self.path}" + (f"; {had}" if had else "")]
        if unread:
            lines.append("        fields that are not read: " + ", ".join(
                f"{name} ({count:,})" for name, count in sorted(unread.items())))
        lines += [f"skipped {reason}" for reason in self.skipped[:SHOWN]]
        if len(self.skipped) > SHOWN:
            lines.append(f"skipped {len(self.skipped) - SHOWN:,} more records")
        return lines


def read_file(path: Path, shape_of: Callable[[object], Shaped],
              unusable: Callable[[Shaped], str]) -> Reading:
    """Every record through `shape_of`, which raises ValueError for another shape; `unusable` says why
    a record of the right shape is left out, or "". Raises ValueError with file, line and record."""
    reading = Reading(Path(path))
    for record in placed_records(path):
        try:
            shaped = shape_of(record.value)
            why = unusable(shaped)
        except ValueError as error:
            raise ValueError(f"{record.where}: {error}") from None
        if why:
            reading.skipped.append(f"{record.where}: {why}")
        else:
            reading.kept.append(shaped)
    return reading


# ---------------------------------------------------------------- what is held out

def normalised(text: str) -> str:
    """Small and capital letters, blanks and ends of lines aside."""
    return " ".join(text.casefold().split())


def prompt_keys(turns) -> list[tuple]:
    """What stands before each answer of a conversation, the last one last: "a" with "b" -> two."""
    said = [(turn.role, normalised(turn.content)) for turn in turns]
    return [tuple(said[:place]) for place, (role, _) in enumerate(said) if role == "assistant"]


@dataclass(frozen=True)
class Division:
    """Numbers of entries: to learn from, and held out. `twice`: how many stood there again."""

    learnt: list[int]
    held_out: list[int]
    prompts: int
    twice: int

    def line(self) -> str:
        """What to tell."""
        held = f"{len(self.held_out):,} held out, by prompt" if self.held_out else \
            "none held out, as all answer one prompt"
        again = f"; {self.twice:,} stood there more than once and are read once" if self.twice else ""
        return (f"split   {self.prompts:,} different prompts: {len(self.learnt):,} records to learn "
                f"from, {held}{again}")


def divide(keys: list[list[tuple]], contents: list, share: int = 10) -> Division:
    """keys[i]: the prompts of entry i, its own last (prompt_keys); contents[i]: all of it. One prompt
    of `share` is held out, at least one where there are two.

    Entries whose prompt was also asked in the course of a longer conversation go with that.
    """
    first, entries = {}, []
    for number, content in enumerate(contents):
        if first.setdefault(content, number) == number:
            entries.append(number)
    leader = {keys[i][-1]: keys[i][-1] for i in entries}  # of each prompt's group

    def top(key):
        while leader[key] != key:
            leader[key] = key = leader[leader[key]]
        return key

    for i in entries:
        for key in keys[i][:-1]:
            if key in leader:
                leader[top(key)] = top(keys[i][-1])
    groups = {}
    for i in entries:
        groups.setdefault(top(keys[i][-1]), []).append(i)
    every = max(2, min(share, len(groups) // 2))
    # a prompt with a great part of all records stays: held out, it would leave little to learn from
    small = [group for group in groups.values() if len(group) <= max(1, len(entries) // 5)]
    if len(groups) < 2:
        held = []
    elif len(small) < every:
        held = [min(groups.values(), key=len)]
    else:
        held = small[every - 1::every]
    held_out = sorted(i for group in held for i in group)
    kept_apart = set(held_out)
    return Division([i for i in entries if i not in kept_apart], held_out, len(groups),
                    len(contents) - len(entries))
