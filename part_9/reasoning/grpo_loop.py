"""One step of GRPO in five beats: sample, score, advantage, update, report.

Idea   K replies to each prompt; a reply is good when it is better than its siblings. No value head,
       nothing to warm up: what is left of PPO is the clipped loss and the KL, now in the loss.
Rule   Old log-probabilities and the reference's are measured in the same pieces as the update's, so
       the ratio of the first minibatch is exactly 1. Groups without signal are left out before
       that: they cost a rollout, and nothing more.
Used   train_grpo.py, the demos, benchmark_grpo.py
Shapes N = G·K rows (replies to one prompt side by side), R reply tokens
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from gpt.model import GPT
from rl.policy import Rows, reference_of, response_logp
from rl.rollout import Rollout, roll_out
from rl.steps import Clock, gathered, own_pieces, own_prompts, summed, take_step
from run.distributed import (
    Processes,
    as_whole,
    part_of,
    shard,
    sum_gradients,
    whole_model,
)
from run.runtime import Runtime
from text.rows import IGNORED

from reasoning.grpo import group_advantages, grpo_loss, has_signal, length_penalty
from reasoning.grpo_settings import GRPOSettings

ALONE = Processes()  # one process


@dataclass
class Batch:
    """The rows that are learnt from, with what was measured before the update."""

    rows: Rows
    advantages: torch.Tensor  # (N,)
    old_logp: torch.Tensor | None  # (N, R); None: there is one update, and the ratio is 1
    ref_logp: torch.Tensor | None  # (N, R); None: beta is 0


class GRPO:
    """The policy, its reference, and what moves between steps. `step` is the whole algorithm.

    `score(rollout, tasks)` gives rewards (N,); row i answers tasks[i // group].
    `keep(step, rows)` gives ids, targets and segments (rows, T) of examples of what shall be kept.
    """

    def __init__(self, model: GPT, score: Callable[[Rollout, list], torch.Tensor],
                 settings: GRPOSettings, *, end: int, pad: int, runtime: Runtime, seed: int = 0,
                 keep: Callable[[int, int], tuple] | None = None, processes: Processes = ALONE):
        if settings.keep_rows and keep is None:
            raise ValueError(f"keep_rows={settings.keep_rows}: there is nothing to be kept; give "
                             "`keep`, or set keep_rows=0")
        self.keep = keep if settings.keep_rows else None
        self.model = model.to(runtime.device).eval()  # eval: dropout would spoil the ratio
        self.reference = shard(reference_of(self.model, settings, seed, processes), processes,
                               runtime.device)
        shard(model, processes, runtime.device)
        self.score, self.settings, self.runtime, self.seed = score, settings, runtime, seed
        self.end, self.pad, self.processes = end, pad, processes
        # eps: rows of the embedding that no reply uses have gradients near 0; without it Adam would
        # blow those up to full steps, and every step would be mostly noise
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=settings.peak, betas=(0.9, 0.98),
                                           eps=settings.eps, weight_decay=0.0, fused=True)
        self.scaler = runtime.grad_scaler()
        self.steps_done = 0

    # ---- the five beats

    def step(self, prompts: list[list[int]], tasks: list) -> dict:
        """One rollout and its update -> what happened. Same seed and step, same bytes."""
        s = self.settings
        # on a CPU a generator reads the low 32 bits of its seed only, so no seed << 32 here
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.steps_done)
        clock = Clock(self.runtime)
        own, uniform = own_prompts(prompts, s.group, s.max_new, generator, self.processes)
        with as_whole(self.model) as model:
            rollout = roll_out(model, own, s.max_new, end=self.end, pad=self.pad, copies=s.group,
                               temperature=s.temperature, uniform=uniform, runtime=self.runtime)
        clock.lap("rollout")
        rewards = self.score(rollout, part_of(tasks, self.processes)).float()
        clock.lap("scoring")
        rollout, rewards = gathered(rollout, rewards, s.group, self.end, self.pad, self.processes,
                                    clock)
        advantages, kept = self.advantage(rollout, rewards)
        batch = order = None
        learnt = {"loss": 0.0, "kl": 0.0, "clip_fraction": 0.0, "ratio": 1.0, "gradient_norm": 0.0,
                  "first_ratio": 1.0}
        if len(kept):
            order = self.orders(len(kept), generator)
            batch = self.measure(rollout.rows.pick(kept.to(rollout.rows.ids.device)),
                                 advantages[kept], order)
        clock.lap("measuring")
        if batch is not None:
            learnt = self.update(batch, order)
        clock.lap("update")
        self.steps_done += 1
        lengths = rollout.rows.is_response.sum(1).float()
        return {"reward": float(rewards.mean()), "signal": len(kept) / len(rewards),
                "length": float(lengths.mean()), "end_rate": float(rollout.ended.float().mean()),
                **learnt, "seconds": clock.seconds}

    def advantage(self, rollout: Rollout, rewards: torch.Tensor):
        """-> advantages (N,) and the rows to learn from (M,), both on the CPU."""
        s = self.settings
        if s.soft_length:
            lengths = rollout.rows.is_response.sum(1).cpu()
            rewards = rewards + length_penalty(lengths, s.max_new, s.soft_length)
        advantages = group_advantages(rewards, s.group, scale=s.scale)
        if not s.drop_equal:
            return advantages, torch.arange(len(rewards))
        return advantages, has_signal(rewards, s.group).nonzero().squeeze(1)

    def orders(self, rows: int, generator: torch.Generator) -> list[list[torch.Tensor]]:
        """For each pass over the rollout: minibatches of row numbers, every row once."""
        size = self.settings.minibatch or rows
        return [list(torch.randperm(rows, generator=generator).split(size))
                for _ in range(self.settings.epochs)]

    @torch.no_grad()
    def measure(self, rows: Rows, advantages: torch.Tensor, order) -> Batch:
        """Old and reference log-probabilities, where they are needed."""
        s = self.settings
        models = [self.model if len(order) * len(order[0]) > 1 else None,
                  self.reference if s.beta else None]
        logps = [None if model is None else torch.zeros(
            rows.is_response.shape, device=rows.ids.device) for model in models]
        for part in order[0]:
            for piece, counts in own_pieces(part, rows, s.micro_rows, self.processes):
                few = rows.pick(piece)
                width = few.is_response.size(1)
                for model, logp in zip(models, logps):
                    if model is not None:
                        with self.runtime.autocast():
                            measured = response_logp(model, few, temperature=s.temperature)
                        if counts:
                            logp[piece, :width] = measured
        for logp in logps:  # zero where another process measured
            if logp is not None:
                self.processes.sum(logp)
        return Batch(rows, advantages.to(rows.ids.device), *logps)

    def update(self, batch: Batch, orders) -> dict:
        """Some passes over the rows -> means over the minibatches."""
        done = (self.steps_done + 1) / (self.settings.steps + 1)  # the rate is 0 after the last step
        rate = self.settings.learning_rate().rate(done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        seen = []
        for order in orders:
            for part in order:
                metrics = self.gradient(batch, part)
                if self.keep is not None:
                    metrics["keep_loss"] = self.remember()
                    metrics["loss"] += self.settings.keep_weight * metrics["keep_loss"]
                metrics = summed(metrics, self.processes, batch.rows.ids.device)
                if not math.isfinite(metrics["loss"]):
                    raise FloatingPointError(f"step {self.steps_done + 1}: the loss is "
                                             f"{metrics['loss']}; lower --peak")
                metrics["gradient_norm"] = self.move()
                seen.append(metrics)
        means = {key: sum(x[key] for x in seen) / len(seen) for key in seen[0]}
        return means | {"first_ratio": seen[0]["ratio"], "rate": rate}

    def gradient(self, batch: Batch, part: torch.Tensor) -> dict:
        """Add up the gradient of one minibatch, in pieces of rows of like length -> the share of
        this process in its metrics."""
        s, all_rows = self.settings, batch.rows
        tokens = int(all_rows.is_response[part].sum())
        metrics = {"loss": 0.0, "kl": 0.0, "clip_fraction": 0.0, "ratio": 0.0}
        for piece, counts in own_pieces(part, all_rows, s.micro_rows, self.processes):
            few = all_rows.pick(piece)
            width = few.is_response.size(1)
            with self.runtime.autocast():
                logp = response_logp(self.model, few, temperature=s.temperature)
            old, ref = (None if x is None else x[piece, :width]
                        for x in (batch.old_logp, batch.ref_logp))
            result = grpo_loss(logp, logp.detach() if old is None else old, ref,
                               batch.advantages[piece], few.is_response, clip_low=s.clip_low,
                               clip_high=s.clip_high, beta=s.beta, normaliser=s.normaliser,
                               length=s.max_new)
            held = counts * int(few.is_response.sum()) / tokens
            # a mean over tokens is put together by tokens, a mean over answers by answers
            share = held if s.normaliser == "token" else counts * len(piece) / len(part)
            self.scaler.scale(result.loss * share).backward()
            metrics["loss"] += share * float(result.loss.detach())
            for name in ("kl", "clip_fraction", "ratio"):
                metrics[name] += held * getattr(result, name)
        return metrics

    def remember(self) -> float:
        """Add the gradient of some earlier examples -> their loss, a mean over labels (eq. 9.6), or
        the share of this process in it.

        RL sees a few kinds of questions; without this, what it does to all others nobody looks at.
        """
        ids, targets, parts = self.keep(self.steps_done, self.settings.keep_rows)
        own = part_of(list(range(len(ids))), self.processes)
        if not own and not self.processes.shards:
            return 0.0
        share = int((targets[own] != IGNORED).sum()) / int((targets != IGNORED).sum())
        own = own or [0]  # whose share is 0: slices are gathered with everybody's help
        ids, targets, parts = ids[own], targets[own], parts[own]
        with self.runtime.autocast():
            _, loss = self.model(ids, targets, segments=parts, loss_only=True)
        self.scaler.scale(self.settings.keep_weight * share * loss).backward()
        return share * float(loss.detach())

    def become_whole(self) -> None:
        """With all weights in this process, for what comes after training."""
        self.model, self.reference = whole_model(self.model), whole_model(self.reference)

    def move(self) -> float:
        """Clip, step, forget the gradient -> its norm before clipping."""
        sum_gradients(self.model, self.processes)
        return take_step(self.optimizer, self.scaler, self.model.parameters(),
                         self.settings.max_norm)
