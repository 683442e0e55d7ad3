"""Losses and gradients of the package `trl` on one small model: for tests of parts 6 to 9.

Model    the folder "smollm2" of released_folders.py; a reference has all its weights times SCALE,
         the model that drew replies times SCALE (PPO) or OLD (GRPO)
Batches  below, from `numbers`, a generator of whole numbers that is the same everywhere
Figures  tests/field_losses.json: for each case the loss and, for each weight under its released
         name, the gradient's norm and its sum with the weights `pattern`. Made with trl 1.16.0 (trainers'
         compute_loss), and trl 0.24.0 where 1.16.0 has it no longer (PPO, wrong labels in DPO),
         transformers 5.24.0, torch 2.13.0, float32, one thread.
"""

import copy
import json
from pathlib import Path

FIGURES = Path(__file__).with_suffix(".json")
PAD, SCALE, OLD = 0, 0.97, 0.9  # no batch holds the token 0
SFT_LENGTHS, SFT_LABELS = (12, 9, 14), (5, 4, 7)  # the last 5, 4, 7 tokens of the rows are labels
PROMPTS, CHOSEN, REJECTED = (5, 8, 6), (4, 6, 3), (5, 2, 6)
MARGINS = (0.5, 0.0, 1.25)
PPO_PROMPT, FULL, RAGGED = 6, (5, 5, 5, 5), (5, 3, 4, 2)
GRPO_PROMPTS, GRPO_REPLIES = (6, 4), (4, 2, 5, 3, 5, 1)  # three replies to each prompt
REWARDS = (1.0, 0.0, 0.2, 0.5, 1.5, 0.5)
LONGEST = 8  # dr_grpo divides by this


def numbers(count: int, seed: int) -> list[int]:
    """`count` whole numbers from 0 to 32767."""
    state, found = 12345 + 977 * seed, []
    for _ in range(count):
        state = (1103515245 * state + 12345) % 2**31
        found.append(state >> 16)
    return found


def tokens(count: int, seed: int) -> list[int]:
    return [3 + n % 380 for n in numbers(count, seed)]


def shares(count: int, seed: int) -> list[float]:
    """From -1 to 1."""
    return [n / 16384 - 1 for n in numbers(count, seed)]


def sft_rows() -> list[tuple[list[int], int]]:
    """(tokens, how many of the last ones are labels)"""
    return [(tokens(n, i), k) for i, (n, k) in enumerate(zip(SFT_LENGTHS, SFT_LABELS))]


def pairs() -> list[tuple[list[int], list[int], list[int]]]:
    """(prompt, chosen, rejected)"""
    return [(tokens(p, 10 + i), tokens(c, 20 + i), tokens(r, 30 + i))
            for i, (p, c, r) in enumerate(zip(PROMPTS, CHOSEN, REJECTED))]


def ppo_batch(lengths):
    """-> prompts, replies, and (rows, 5) each: advantages, returns, changes of the old values. Where
    a reply has ended advantages are 0; the returns of the one place behind it count in trl."""
    prompts = [tokens(PPO_PROMPT, 40 + i) for i in range(len(lengths))]
    replies = [tokens(n, 50 + i) for i, n in enumerate(lengths)]
    table = [[[x if t < n + extra else 0.0 for t, x in enumerate(shares(max(lengths), seed + i))]
              for i, n in enumerate(lengths)] for seed, extra in ((60, 0), (70, 1), (80, 1))]
    return prompts, replies, *table


def grpo_batch():
    """-> prompts and replies, a row each."""
    prompts = [tokens(n, 90 + i) for i, n in enumerate(GRPO_PROMPTS)]
    return ([prompts[i // 3] for i in range(len(GRPO_REPLIES))],
            [tokens(n, 95 + i) for i, n in enumerate(GRPO_REPLIES)])


def head(width: int, seed: int) -> list[float]:
    """The weights of a score or a value."""
    return shares(width, seed)


def pattern(count: int):
    import torch
    return (torch.arange(count, dtype=torch.float64) * 7919 + 13) % 1009 / 1009 - 0.5


def scaled(model, factor: float = SCALE):
    """A frozen copy with all weights times `factor`."""
    import torch
    other = copy.deepcopy(model).eval().requires_grad_(False)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(factor)
    return other


def told(gradient) -> list[float]:
    """A gradient in two numbers."""
    flat = gradient.detach().double().flatten()
    return [float(flat.norm()), float(flat @ pattern(len(flat)))]


# ---------------------------------------------------------------- what the tests ask

def field_model(folder: Path):
    """Our model of that folder, ready for gradients."""
    from released_folders import make_released
    from run.checkpoint import load_checkpoint
    return load_checkpoint(make_released(folder, "smollm2"))[0].eval()


def same_as_trl(case: str, loss, model, near: float = 1e-4, **more) -> None:
    """Are the loss and the gradients of the model and of `more`, by name, those of trl?"""
    from pretrained.loading import family_places
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))[case]
    found = float(loss.detach())
    assert abs(found - figures["loss"]) <= near, f"{case}: {found:.6f}, trl's {figures['loss']:.6f}"
    loss.backward()
    own, found = dict(model.named_parameters()), {}
    for name, place in family_places(model.config).items():
        if not place.is_copy:
            found[name] = own[place.parameter].grad[place.begin:place.end]
    found |= {name: p.grad for name, p in more.items()}
    assert set(found) == set(figures["gradients"])
    for name, gradient in found.items():
        norm, along = figures["gradients"][name]
        ours = told(gradient)
        assert abs(ours[0] - norm) <= near * norm + 1e-7, f"{case}: |gradient| of {name}"
        assert abs(ours[1] - along) <= near * norm + 1e-7, f"{case}: gradient of {name}"
