"""What a step of PPO and a step of GRPO have in common: minibatches, their pieces, the move, a clock.

Idea   A rollout is learnt from in minibatches, and a minibatch in pieces of rows of like length, whose
       gradients add up: less padding, and less memory.
Used   rl/ppo_loop.py, and the loop of the part after this one
"""

import math
import time
from collections.abc import Iterable

import torch
from run.runtime import Runtime, synchronize
from torch import nn

from rl.policy import Rows


def minibatches(rows: int, size: int, generator: torch.Generator,
                copies: int = 1) -> list[torch.Tensor]:
    """One pass: every row once, in random order, in pieces of `size` (which divides `rows`). The
    `copies` rows of a prompt stay together where they divide `size`: they are read together."""
    copies = copies if size % copies == 0 else 1
    prompts = torch.randperm(rows // copies, generator=generator)
    return list((prompts[:, None] * copies + torch.arange(copies)).flatten().split(size))


def pieces(part: torch.Tensor, rows: Rows, size: int) -> list[torch.Tensor]:
    """A minibatch in pieces of rows of like length, prompt by prompt: less padding, and replies to
    one prompt side by side. The order within a minibatch is free."""
    lengths = rows.lengths[part.to(rows.lengths.device)].cpu()
    if rows.prompt is not None:
        prompt = rows.prompt[part.to(rows.prompt.device)].cpu()
        longest = torch.zeros(int(prompt.max()) + 1, dtype=lengths.dtype)
        longest.scatter_reduce_(0, prompt, lengths, "amax")
        lengths = longest[prompt] * len(longest) + prompt  # by prompt among those of like length
    return list(part[lengths.argsort(stable=True)].split(size))


def take_step(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler,
              parameters: Iterable[nn.Parameter], max_norm: float) -> float:
    """Clip the gradient (0: no limit), step, forget the gradient -> its norm before clipping."""
    scaler.unscale_(optimizer)
    norm = nn.utils.clip_grad_norm_(parameters, max_norm or math.inf)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return float(norm)


class Clock:
    """Seconds of each beat."""

    def __init__(self, runtime: Runtime):
        self.runtime, self.last, self.seconds = runtime, time.perf_counter(), {}

    def lap(self, name: str) -> None:
        synchronize(self.runtime.device)
        now = time.perf_counter()
        self.seconds[name], self.last = now - self.last, now
