"""One step of PPO in five beats: sample, score, advantage, update, report.

Idea   The policy writes replies; the reward model and the reference say what they were worth; the
       advantages say which tokens were better than expected; a few passes over minibatches make
       those likelier. Then everything is drawn anew: old replies are worth nothing.
Rule   What is measured before the update (log-probabilities, values, scores) stays fixed in it, and
       is measured in the minibatches of the first pass: there the ratio is exactly 1, bit for bit.
Used   train_ppo.py, ablation.py, the demos
Shapes B rows of a rollout, R reply tokens; a minibatch is learnt from in pieces of like length
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from gpt.model import GPT
from run.distributed import Processes, as_whole, shard, sum_gradients, whole_model
from run.runtime import Runtime

from rl.policy import Policy, Rows, reference_of, response_logp
from rl.ppo import (
    AdaptiveKL,
    FixedKL,
    LengthControl,
    explained_variance,
    gae,
    leave_one_out,
    masked_mean,
    policy_loss,
    token_rewards,
    value_loss,
    whiten,
)
from rl.ppo_settings import PPOSettings
from rl.rollout import Rollout, roll_out
from rl.steps import (
    Clock,
    gathered,
    minibatches,
    own_pieces,
    own_prompts,
    summed,
    take_step,
)

ALONE = Processes()  # one process
SURE_STEPS = 3  # one rollout may happen to hold easy prompts only


@dataclass
class Experience:
    """A rollout with all that the update needs; every tensor (B, R) but `scores` (B,)."""

    rollout: Rollout
    logp: torch.Tensor  # of the policy that drew it
    values: torch.Tensor
    ref_logp: torch.Tensor
    scores: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor


class PPO:
    """The policy, its reference, and what moves between steps. `step` is the whole algorithm.

    `score(rollout)` gives (B,) scores. `body` is trained in place, all of it or the detours that
    settings.lora gives it; `reference` is what it was.
    """

    def __init__(self, body: GPT, score: Callable[[Rollout], torch.Tensor], settings: PPOSettings,
                 *, end: int, pad: int, runtime: Runtime, seed: int = 0,
                 processes: Processes = ALONE):
        reference = reference_of(body.to(runtime.device), settings, seed, processes)
        self.reference = shard(reference, processes, runtime.device)
        self.policy = Policy(body).to(runtime.device).eval()  # eval: dropout would spoil the ratio
        shard(self.policy, processes, runtime.device, body)
        self.score, self.settings, self.runtime, self.seed = score, settings, runtime, seed
        self.end, self.pad, self.processes = end, pad, processes
        self.kl = AdaptiveKL(settings.beta, settings.target_kl, settings.horizon) \
            if settings.adaptive else FixedKL(settings.beta)
        self.length = LengthControl(settings.max_new, settings.target_kl,
                                    least=min(4, settings.max_new))
        self.optimizer = torch.optim.AdamW(
            [{"params": list(body.parameters()), "scale": 1.0},
             {"params": list(self.policy.value_head.parameters()), "scale": settings.value_rate}],
            lr=settings.peak, betas=(0.9, 0.99), eps=settings.eps, weight_decay=0.0, fused=True)
        self.scaler = runtime.grad_scaler()
        self.policy_loss = policy_loss  # demo_wrong_on_purpose.py puts wrong ones here
        self.steps_done = 0
        self.first_entropy: float | None = None
        self.sure_steps = 0  # how many steps in a row had hardly any entropy

    # ---- the five beats

    def step(self, prompts: list[list[int]]) -> dict:
        """One rollout and its update -> what happened. Same seed and step, same bytes."""
        # a generator looks at 32 bits of its seed, so a shift by 32 would make all seeds alike
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.steps_done)
        clock = Clock(self.runtime)
        rollout = self.sample(prompts, generator)
        clock.lap("rollout")
        scores = self.score(rollout).float()
        clock.lap("scoring")
        rollout, scores = gathered(rollout, scores, self.settings.copies, self.end, self.pad,
                                   self.processes, clock)
        order = self.pass_over(rollout.rows, generator)
        experience = self.advantage(rollout, scores, order)
        clock.lap("measuring")
        learnt = self.update(experience, order, generator)
        clock.lap("update")
        self.steps_done += 1
        return self.report(experience, learnt) | {"seconds": clock.seconds}

    def sample(self, prompts: list[list[int]], generator: torch.Generator) -> Rollout:
        """The replies to this process's prompts."""
        s = self.settings
        longest = self.length.length if s.length_control else s.max_new
        own, uniform = own_prompts(prompts, s.copies, longest, generator, self.processes)
        with as_whole(self.policy) as policy:
            return roll_out(policy.body, own, longest, end=self.end, pad=self.pad, copies=s.copies,
                            temperature=s.temperature, uniform=uniform, runtime=self.runtime)

    @torch.no_grad()
    def advantage(self, rollout: Rollout, scores: torch.Tensor, order) -> Experience:
        """Measure policy and reference, piece by piece as the update will; then GAE."""
        s, rows = self.settings, rollout.rows
        zeros = torch.zeros(rows.is_response.shape, device=rows.ids.device)
        logp, values, ref_logp = zeros.clone(), zeros.clone(), zeros.clone()
        for part in order:
            for piece, counts in own_pieces(part, rows, s.micro_rows, self.processes):
                few = rows.pick(piece)
                width = few.is_response.size(1)
                with self.runtime.autocast():
                    output = self.policy(few, temperature=s.temperature)
                    ref = response_logp(self.reference, few, temperature=s.temperature)
                if counts:
                    logp[piece, :width], values[piece, :width] = output[0], output[2]
                    ref_logp[piece, :width] = ref
        for measured in (logp, values, ref_logp):  # zero where another process measured
            self.processes.sum(measured)
        compared = leave_one_out(scores, s.copies) if s.group_baseline else scores
        rewards = token_rewards(compared.to(logp.device), logp, ref_logp, rows.is_response,
                                self.kl.beta)
        advantages, returns = gae(rewards, values, rows.is_response, gamma=s.gamma, lam=s.lam)
        if s.whiten:
            advantages = whiten(advantages, rows.is_response)
        return Experience(rollout, logp, values, ref_logp, scores, advantages, returns)

    def pass_over(self, rows: Rows, generator: torch.Generator) -> list[torch.Tensor]:
        """The minibatches of one pass."""
        return minibatches(len(rows), self.settings.minibatch, generator, self.settings.copies)

    def update(self, experience: Experience, order, generator: torch.Generator) -> dict:
        """Some passes over the rollout; the first one in `order`. -> means over the minibatches."""
        s, rows = self.settings, experience.rollout.rows
        rate = s.learning_rate().rate((self.steps_done + 1) / (s.steps + 1))  # 0 after the last step
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        seen: list[dict] = []
        for epoch in range(s.epochs):
            for part in order if epoch == 0 else self.pass_over(rows, generator):
                metrics = self.gradient(experience, part)
                seen.append(metrics)
                if s.stop_kl and metrics["approx_kl"] > s.stop_kl:
                    self.optimizer.zero_grad(set_to_none=True)
                    return summary(seen, rate, stopped=True)
                metrics["gradient_norm"] = self.move()
        return summary(seen, rate, stopped=False)

    def gradient(self, experience: Experience, part: torch.Tensor) -> dict:
        """Add up the gradient of one minibatch, in pieces; means over all its tokens."""
        s, rows = self.settings, experience.rollout.rows
        tokens = int(rows.is_response[part].sum())
        metrics = {"policy_loss": 0.0, "value_loss": 0.0, "entropy": 0.0, "clip_fraction": 0.0,
                   "approx_kl": 0.0, "ratio": 0.0}
        for piece, counts in own_pieces(part, rows, s.micro_rows, self.processes):
            few = rows.pick(piece)
            is_response, width = few.is_response, few.is_response.size(1)
            share = counts * int(is_response.sum()) / tokens  # so that long pieces weigh what they hold
            old_logp, old_values, advantages, returns = (
                x[piece, :width] for x in (experience.logp, experience.values,
                                           experience.advantages, experience.returns))
            with self.runtime.autocast():
                logp, entropy, values = self.policy(few, temperature=s.temperature)
            policy = self.policy_loss(logp, old_logp, advantages, is_response, clip=s.clip)
            value = value_loss(values, old_values, returns, is_response,
                               clip=s.value_clip or None)
            spread_out = masked_mean(entropy, is_response)
            loss = policy.loss + s.value_weight * value - s.entropy_weight * spread_out
            self.scaler.scale(loss * share).backward()
            for name, x in (("policy_loss", policy.loss), ("value_loss", value),
                            ("entropy", spread_out), ("clip_fraction", policy.clip_fraction),
                            ("approx_kl", policy.approx_kl), ("ratio", policy.ratio)):
                metrics[name] += share * float(torch.as_tensor(x).detach())
        return summed(metrics, self.processes, rows.ids.device)

    def move(self) -> float:
        """Clip, step, forget the gradient -> its norm before clipping."""
        sum_gradients(self.policy, self.processes)
        return take_step(self.optimizer, self.scaler, self.policy.parameters(),
                         self.settings.max_norm)

    def report(self, e: Experience, learnt: dict) -> dict:
        """What a curve shows; the KL's weight and the length then follow the measured KL."""
        is_response, rows = e.rollout.rows.is_response, len(e.rollout.rows)
        kl = float((e.logp - e.ref_logp).sum() / rows)  # summed over a reply's tokens
        metrics = {"score": float(e.scores.mean()), "kl": kl, "beta": self.kl.beta,
                   "reward": float(e.scores.mean()) - self.kl.beta * kl,
                   "length": float(is_response.sum() / rows), "longest": self.length.length,
                   "end_rate": float(e.rollout.ended.float().mean()),
                   "explained_variance": explained_variance(e.values, e.returns, is_response),
                   "sampler_gap": float((e.logp - e.rollout.logp).abs().max()), **learnt}
        if self.settings.adaptive:
            self.kl.update(kl, rows)
        if self.settings.length_control:
            self.length.update(kl)
        reason = self.collapsed(metrics)
        if reason:
            raise FloatingPointError(f"step {self.steps_done}: {reason}")
        return metrics

    def collapsed(self, metrics: dict) -> str:
        """Why a run is not worth going on with, or "". The first step sets the measure."""
        if self.first_entropy is None:
            self.first_entropy = metrics["entropy"]
        odd = [name for name, x in metrics.items() if isinstance(x, float) and not math.isfinite(x)]
        if odd:
            return f"{', '.join(odd)} is no number any more: lower --peak or set --max-norm"
        if metrics["kl"] > 10 * self.settings.target_kl:
            return (f"the KL of {metrics['kl']:.1f} is above 10 times its target "
                    f"({self.settings.target_kl}): the policy has left the reference; raise "
                    "--beta or lower --peak")
        is_sure = metrics["entropy"] < 0.01 * self.first_entropy
        self.sure_steps = self.sure_steps + 1 if is_sure else 0
        if self.sure_steps >= SURE_STEPS:
            return (f"the entropy fell from {self.first_entropy:.3f} to {metrics['entropy']:.4f}: "
                    "the policy says one thing only; raise --beta or --entropy-weight, or lower "
                    "--peak")
        return ""

    # ---- stop and go on

    def state(self) -> dict:
        """All that moves, but for the weights and the optimizer's tensors."""
        return {"steps_done": self.steps_done, "beta": self.kl.beta, "length": self.length.length,
                "first_entropy": self.first_entropy, "sure_steps": self.sure_steps,
                "scaler": self.scaler.state_dict()}

    def become_whole(self) -> None:
        """With all weights in this process, for what comes after training."""
        self.policy, self.reference = whole_model(self.policy), whole_model(self.reference)

    def load_state(self, state: dict) -> None:
        self.steps_done, self.first_entropy = state["steps_done"], state["first_entropy"]
        self.kl.beta, self.length.length = state["beta"], state["length"]
        self.sure_steps = state["sure_steps"]
        self.scaler.load_state_dict(state["scaler"])


def summary(seen: list[dict], rate: float, stopped: bool) -> dict:
    """Means over the minibatches of an update; the first one also by itself."""
    keys = set().union(*seen)
    means = {key: sum(x[key] for x in seen if key in x) / sum(key in x for x in seen)
             for key in sorted(keys)}
    return means | {"rate": rate, "stopped_early": float(stopped), "minibatches": len(seen),
                    "first_ratio": seen[0]["ratio"], "first_approx_kl": seen[0]["approx_kl"],
                    "first_clip_fraction": seen[0]["clip_fraction"]}
