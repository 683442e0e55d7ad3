"""The part's own toy text, and a vocabulary made from whatever pieces it is given.

Used   demo_overfit.py (letters), demo_visualize_multi_head.py (words), demo_residuals.py
"""

import torch

TOY_TEXT = """\
A miller kept a lantern on the bridge so that no one would fall in the dark.
One night the wind blew it out. The miller slept, but the goat did not.
It stood where the lantern had stood, white in the moonlight, and did not move.
Three people crossed before morning. The first thanked the miller for the light.
The second thanked the moon. The third, who was a child, thanked the goat,
and gave it half an apple. In the morning the miller lit the lantern again,
and wondered why the goat would not leave the bridge.
"""


class Vocabulary:
    """Pieces <-> numbers. `pieces` is a text (letters) or a list of words.

    >>> Vocabulary("abca").encode("cab").tolist()
    [2, 0, 1]
    """

    def __init__(self, pieces):
        self.pieces = sorted(set(pieces))
        self.numbers = {piece: number for number, piece in enumerate(self.pieces)}

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, pieces) -> torch.Tensor:
        unknown = next((piece for piece in pieces if piece not in self.numbers), None)
        if unknown is not None:
            raise ValueError(f"{unknown!r} is not in the vocabulary of {len(self)} pieces; "
                             f"it has: {' '.join(self.pieces).strip()}")
        return torch.tensor([self.numbers[piece] for piece in pieces], dtype=torch.int64)

    def decode(self, numbers) -> list[str]:
        return [self.pieces[int(number)] for number in numbers]
