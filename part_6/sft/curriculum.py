"""In which order are the examples learnt? Four answers, to be compared at equal steps.

    mixed          at random: the baseline
    by_difficulty  the easy ones first
    by_length      the short ones first
    anti           the hard ones first: what if a curriculum does harm?

Used   train_sft.py --order.   See it: python demo_curriculum.py
Source Bengio et al. 2009, "Curriculum Learning"

Every order is of the same examples, each once: only the order differs. Ties are broken at random,
else a skill that happens to stand first in the list would be learnt first.
"""

import random

from sft.data import Example

ORDERS = ("mixed", "by_difficulty", "by_length", "anti")


def ordered(examples: list[Example], order: str, seed: int) -> list[Example]:
    """The same examples in one of ORDERS. Raises ValueError for another name."""
    if order not in ORDERS:
        raise ValueError(f"--order {order}: choose from {', '.join(ORDERS)}")
    shuffled = list(examples)
    random.Random(f"order {seed}").shuffle(shuffled)
    if order == "by_difficulty":
        shuffled.sort(key=lambda e: e.difficulty)  # stable: ties stay as they were shuffled
    elif order == "by_length":
        shuffled.sort(key=lambda e: len(e.ids))
    elif order == "anti":
        shuffled.sort(key=lambda e: -e.difficulty)
    return shuffled
