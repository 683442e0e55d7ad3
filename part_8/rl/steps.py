"""What a step of PPO and a step of GRPO have in common: minibatches, their pieces, the move, a clock.

Idea   A rollout is learnt from in minibatches, and a minibatch in pieces of rows of like length, whose
       gradients add up: less padding, and less memory.
       Of several processes each draws and scores the replies to some of the prompts; then all know
       all of them, so that baselines, whitening and decisions are the same everywhere. Each adds the
       gradient of some of the pieces.
Used   rl/ppo_loop.py, and the loop of the part after this one
"""

import math
import time
from collections.abc import Iterable

import torch
import torch.distributed as dist
from run.distributed import Processes, clip_gradient, part_of
from run.runtime import Runtime, synchronize
from torch import nn

from rl.policy import Rows
from rl.rollout import Rollout, as_rollout


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


def own_pieces(part: torch.Tensor, rows: Rows, size: int,
               processes: Processes) -> list[tuple[torch.Tensor, int]]:
    """Those of a minibatch's pieces that this process reads, and how often each counts: once. With
    --shard all must read equally often, so one that has nothing left reads what counts 0 times."""
    every = pieces(part, rows, size)
    own = [(piece, 1) for piece in every[processes.rank::processes.world]]
    if processes.shards and len(own) < -(-len(every) // processes.world):
        own.append((every[0], 0))
    return own


def own_prompts(prompts: list, copies: int, longest: int, generator: torch.Generator,
                processes: Processes) -> tuple[list, torch.Tensor]:
    """-> (the prompts that this process answers; random numbers for their replies, a row a reply).
    They are drawn for all prompts: a reply does not depend on which process writes it."""
    if len(prompts) < processes.world:
        raise ValueError(f"--prompts {len(prompts)}: fewer than the {processes.world} processes")
    uniform = torch.rand(len(prompts), copies, longest, dtype=torch.float64, generator=generator)
    own = part_of(range(len(prompts)), processes)
    return prompts[own.start:own.stop], uniform[own.start:own.stop].flatten(0, 1)


def gathered(rollout: Rollout, scores: torch.Tensor, copies: int, end: int, pad: int,
             processes: Processes, clock: "Clock") -> tuple[Rollout, torch.Tensor]:
    """The replies and scores of all processes, in the order of the prompts. The clock laps once more:
    "waiting" is what a process loses to those whose replies take longer."""
    if processes.world == 1:
        return rollout, scores
    rows = rollout.token_rows()
    first, lengths = rollout.rows.first.tolist(), rollout.rows.is_response.sum(1).tolist()
    own = [(row[:start], row[start:], logp[:n].tolist(), score) for row, start, logp, n, score
           in zip(rows, first, rollout.logp, lengths, scores.tolist(), strict=True)]
    parts: list = [None] * processes.world
    dist.all_gather_object(parts, own)
    clock.lap("waiting")
    prompts, replies, logps, marks = zip(*[one for part in parts for one in part])
    return (as_rollout(prompts, replies, logps, end, pad, rollout.rows.ids.device, copies=copies),
            torch.tensor(marks, dtype=scores.dtype, device=scores.device))


def summed(metrics: dict[str, float], processes: Processes, device) -> dict[str, float]:
    """Shares of the metrics of a step -> the metrics."""
    total = processes.sum(torch.tensor(list(metrics.values()), dtype=torch.float64, device=device))
    return dict(zip(metrics, total.tolist()))


def take_step(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler,
              parameters: Iterable[nn.Parameter], max_norm: float) -> float:
    """Clip the gradient (0: no limit), step, forget the gradient -> its norm before clipping."""
    scaler.unscale_(optimizer)
    norm = clip_gradient(parameters, max_norm or math.inf)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return norm


class Clock:
    """Seconds of each beat."""

    def __init__(self, runtime: Runtime):
        self.runtime, self.last, self.seconds = runtime, time.perf_counter(), {}

    def lap(self, name: str) -> None:
        synchronize(self.runtime.device)
        now = time.perf_counter()
        self.seconds[name], self.last = now - self.last, now
