"""PPO's arithmetic: tensors in, tensors out. Nothing here knows a model.

Math   KL_t   = log π(a_t) − log π_ref(a_t)                                (eq. 8.5, "k1")
       r_t    = −β KL_t, plus the score at the last token of the response    (eq. 8.6)
       δ_t    = r_t + γ V_{t+1} − V_t;   A_t = δ_t + γλ A_{t+1}              (eq. 8.7, GAE)
       R_t    = A_t + V_t, taken before A is whitened                       (eq. 8.8)
       L_π    = mean of max(−A ρ, −A clip(ρ, 1−ε, 1+ε)),  ρ = π / π_old      (eq. 8.9)
       L_V    = ½ mean of max((V−R)², (clip(V, V_old±ε_v)−R)²)              (eq. 8.10)
       β      <- β (1 + clip(KL / target − 1, ±0.2) · episodes / horizon)    (eq. 8.11)
Used   rl/ppo_loop.py.   See it: python demo_gae.py, demo_clipping.py, demo_wrong_on_purpose.py
Shapes B rows, T tokens of the response; every tensor (B, T) unless said otherwise.
       `is_response[b, t]` is True where row b has a real token: its end token too, padding never.
Source Schulman et al. 2017, "Proximal Policy Optimization"; Schulman et al. 2015, "High-Dimensional
       Continuous Control Using Generalized Advantage Estimation"; Ziegler et al. 2019, "Fine-Tuning
       Language Models from Human Preferences"
"""

from dataclasses import dataclass

import torch

# ---- averages over the tokens that count

def masked_mean(values: torch.Tensor, is_response: torch.Tensor) -> torch.Tensor:
    """The mean over all response tokens of the batch: a scalar.

    Raises ValueError when there is none: a mean over nothing would be NaN and poison the weights.
    """
    count = is_response.sum()
    if count == 0:
        raise ValueError("no response token in the batch: every row of is_response is False")
    return torch.where(is_response, values, 0.0).sum() / count


def masked_variance(values: torch.Tensor, is_response: torch.Tensor) -> torch.Tensor:
    """The unbiased variance (divided by n − 1) over all response tokens: a scalar, 0 for n = 1."""
    centred = values - masked_mean(values, is_response)
    count = is_response.sum()
    return torch.where(is_response, centred.square(), 0.0).sum() / (count - 1).clamp(min=1)


def whiten(values: torch.Tensor, is_response: torch.Tensor, *, shift_mean: bool = True,
           eps: float = 1e-8) -> torch.Tensor:
    """Scale to standard deviation 1 and, with `shift_mean`, to mean 0. Zero outside responses.

    Advantages are shifted, rewards are not: for a reward, 0 means something.
    """
    mean = masked_mean(values, is_response)
    scaled = (values - mean) * torch.rsqrt(masked_variance(values, is_response) + eps)
    if not shift_mean:
        scaled = scaled + mean
    return torch.where(is_response, scaled, 0.0)


# ---- rewards, advantages, returns

def last_position(is_response: torch.Tensor) -> torch.Tensor:
    """(B, T) -> (B,): the index of each row's last response token.

    Raises ValueError for a row without any.
    """
    if not bool(is_response.any(dim=1).all()):
        raise ValueError("a row has no response token; every response holds at least its end token")
    positions = torch.arange(is_response.size(1), device=is_response.device)
    return torch.where(is_response, positions, -1).max(dim=1).values


def leave_one_out(scores: torch.Tensor, copies: int) -> torch.Tensor:
    """(B,) -> (B,): each score minus the mean of the other replies to the same prompt (eq. 8.12).

    Rows i·copies … (i+1)·copies − 1 answer one prompt. What is left does not depend on how hard
    the prompt is. With one reply to a prompt there is nothing to compare with: unchanged.
    """
    if copies == 1:
        return scores
    groups = scores.view(-1, copies)
    others = (groups.sum(1, keepdim=True) - groups) / (copies - 1)
    return (groups - others).flatten()


def token_rewards(score: torch.Tensor, logp: torch.Tensor, ref_logp: torch.Tensor,
                  is_response: torch.Tensor, beta: float) -> torch.Tensor:
    """score (B,) -> (B, T): the penalty on every token, the score on the last one (eq. 8.6)."""
    rewards = torch.where(is_response, -beta * (logp - ref_logp), 0.0)
    last = last_position(is_response).unsqueeze(1)
    return rewards.scatter_add(1, last, score.unsqueeze(1).to(rewards.dtype))


def gae(rewards: torch.Tensor, values: torch.Tensor, is_response: torch.Tensor, *,
        gamma: float = 1.0, lam: float = 0.95) -> tuple[torch.Tensor, torch.Tensor]:
    """(advantages, returns), both (B, T), zero outside responses (eq. 8.7 and 8.8).

    A response ends: what follows its last token is worth 0, whatever the value head says of
    padding. Responses begin at column 0 and have no gaps.
    """
    rewards = torch.where(is_response, rewards, 0.0)
    values = torch.where(is_response, values, 0.0)
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])  # A_{t+1}
    next_value = torch.zeros_like(following)  # V_{t+1}: 0 beyond the end, no bootstrap
    for t in reversed(range(rewards.size(1))):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = delta + gamma * lam * following
        advantages[:, t] = following
        next_value = values[:, t]
    advantages = torch.where(is_response, advantages, 0.0)
    return advantages, torch.where(is_response, advantages + values, 0.0)


# ---- losses

@dataclass(frozen=True)
class PolicyLoss:
    """The loss, and what a curve needs to be judged."""

    loss: torch.Tensor
    clip_fraction: float  # share of tokens whose gradient the clipping cut off
    approx_kl: float  # mean of (ρ − 1) − log ρ: how far the policy moved since the rollout
    ratio: float  # mean of ρ; exactly 1 before the first step


def policy_loss(logp: torch.Tensor, old_logp: torch.Tensor, advantages: torch.Tensor,
                is_response: torch.Tensor, *, clip: float = 0.2) -> PolicyLoss:
    """The clipped policy loss (eq. 8.9), a mean over response tokens.

    The maximum of the two losses is the pessimist's choice: clipping only ever removes the reward
    for going further, never the punishment.
    """
    log_ratio = torch.where(is_response, logp - old_logp, 0.0)
    ratio = log_ratio.exp()
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + clip)
    loss = masked_mean(torch.maximum(plain, clipped), is_response)
    with torch.no_grad():
        was_clipped = (clipped > plain).to(ratio.dtype)
        return PolicyLoss(loss, masked_mean(was_clipped, is_response).item(),
                          masked_mean(ratio - 1 - log_ratio, is_response).item(),
                          masked_mean(ratio, is_response).item())


def value_loss(values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor,
               is_response: torch.Tensor, *, clip: float | None = 0.2) -> torch.Tensor:
    """Half the squared error of the value head, clipped around the old values (eq. 8.10)."""
    loss = (values - returns).square()
    if clip is not None:
        near = old_values + (values - old_values).clamp(-clip, clip)
        loss = torch.maximum(loss, (near - returns).square())
    return 0.5 * masked_mean(loss, is_response)


def explained_variance(values: torch.Tensor, returns: torch.Tensor,
                       is_response: torch.Tensor) -> float:
    """1 − Var(R − V) / Var(R): 1 is perfect, 0 no better than a constant; 0 where R is constant."""
    total = masked_variance(returns, is_response)
    if total <= 1e-12:
        return 0.0
    return (1 - masked_variance(returns - values, is_response) / total).item()


# ---- the strength of the KL penalty

class AdaptiveKL:
    """β that rises when the KL is above its target, and falls when it is below (Ziegler 2019).

    One update moves β by at most 0.2 · episodes / horizon, as a fraction (eq. 8.11).
    """

    def __init__(self, beta: float, target: float, horizon: int):
        if beta <= 0 or target <= 0 or horizon < 1:
            raise ValueError(f"beta={beta}, target={target}, horizon={horizon}: beta and target "
                             "must be above 0, horizon at least 1")
        self.beta, self.target, self.horizon = beta, target, horizon

    def update(self, kl: float, episodes: int) -> None:
        """`kl` is the mean over episodes of the sum over tokens; `episodes` how many were seen."""
        error = max(-0.2, min(0.2, kl / self.target - 1))
        self.beta *= 1 + error * episodes / self.horizon


class FixedKL:
    """β that stays."""

    def __init__(self, beta: float):
        if beta < 0:
            raise ValueError(f"beta={beta}: must not be negative")
        self.beta = beta

    def update(self, kl: float, episodes: int) -> None:
        pass


class LengthControl:
    """How long a reply may get: less while the KL is well above its target, more when it is not.

    The KL of a reply is a sum over its tokens, so a shorter reply cannot stray as far. `least` and
    `most` bound the length, in tokens.
    """

    def __init__(self, most: int, target: float, least: int = 4):
        if not 1 <= least <= most or target <= 0:
            raise ValueError(f"lengths from {least} to {most} tokens, target={target}: need "
                             "1 <= least <= most, and a target above 0")
        self.most, self.least, self.target, self.length = most, least, target, most

    def update(self, kl: float) -> None:
        """A tenth less where `kl` is above 1.5 times its target, else a tenth more."""
        factor = 0.9 if kl > 1.5 * self.target else 1.1
        self.length = max(self.least, min(self.most, round(self.length * factor)))
