"""The task of lesson 1.8: write a sequence of letters backwards. Data is made, nothing is read.

    source  f a d e .  .      target_in  begin e d a f    target_out  e d a f end

Split   a sequence is held out when sum_i (i+1) * token_i is a multiple of 10: a rule, so that no
        held-out sequence can ever be trained on
Used    demo_encoder_decoder.py
Shapes  B batch, S the longest length asked for
"""

import torch

PAD, BEGIN, END = 0, 1, 2
LETTERS = "abcdefghijklmnopqrstuvwxyz"
FIRST_LETTER = 3  # the token of "a"
VOCAB_SIZE = FIRST_LETTER + len(LETTERS)


def is_held_out(source: torch.Tensor) -> torch.Tensor:
    """(B, S) -> (B,): about one sequence in ten; padding, which is 0, does not change it."""
    places = torch.arange(1, source.size(1) + 1, device=source.device)
    return (source * places).sum(dim=1) % 10 == 0


def random_sources(count: int, shortest: int, longest: int,
                   generator: torch.Generator) -> torch.Tensor:
    """(count, longest): rows of random letters, of random lengths, padded on the right."""
    if not 1 <= shortest <= longest:
        raise ValueError(f"lengths from {shortest} to {longest}: need 1 <= shortest <= longest")
    lengths = torch.randint(shortest, longest + 1, (count, 1), generator=generator)
    letters = torch.randint(FIRST_LETTER, VOCAB_SIZE, (count, longest), generator=generator)
    return letters.masked_fill(torch.arange(longest) >= lengths, PAD)


def make_sources(count: int, shortest: int, longest: int, generator: torch.Generator, *,
                 held_out: bool) -> torch.Tensor:
    """(count, longest): different calls draw anew; all rows are held out, or none is."""
    rows = torch.empty(0, longest, dtype=torch.int64)
    while len(rows) < count:
        drawn = random_sources(2 * count + 10, shortest, longest, generator)
        rows = torch.cat([rows, drawn[is_held_out(drawn) == held_out]])
    return rows[:count]


def make_targets(source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, S) -> target_in (B, S+1) = begin + reversed, target_out (B, S+1) = reversed + end."""
    B, S = source.shape
    lengths = (source != PAD).sum(dim=1, keepdim=True)
    places = torch.arange(S, device=source.device)
    backwards = source.gather(1, (lengths - 1 - places).clamp(min=0))
    backwards = backwards.masked_fill(places >= lengths, PAD)
    target_in = torch.cat([source.new_full((B, 1), BEGIN), backwards], dim=1)
    target_out = torch.cat([backwards, source.new_full((B, 1), PAD)], dim=1)
    return target_in, target_out.scatter(1, lengths, END)


def to_text(ids) -> str:
    """Tokens -> letters: [9, 4, 2, 0] -> "gb", up to the first end or padding token."""
    text = ""
    for token in ids:
        if int(token) in (PAD, END):
            break
        text += LETTERS[int(token) - FIRST_LETTER] if int(token) >= FIRST_LETTER else "?"
    return text
