"""GRPO's arithmetic: no value head; the other answers to the same question are the baseline.

Math   A_i   = (r_i − mean of the group) / (std of the group + ε)              (eq. 9.2)
       L_π   = mean of max(−A ρ, −A clip(ρ, 1−ε_low, 1+ε_high))                (eq. 9.3)
       k3_t  = π_ref/π − 1 − log(π_ref/π)   ≥ 0, its mean is KL(π‖π_ref)         (eq. 9.4)
               its mean gradient is that of KL(π_ref‖π): zero at π_ref, and back to it elsewhere
       L     = L_π + β mean of k3, averaged as `normaliser` says              (eq. 9.5)
Used   train_grpo.py.   See it: python demo_group_baseline.py, demo_kl_estimators.py
Shapes N = G·K rows (G prompts, K answers each, the answers to one prompt side by side),
       T tokens of the response; `is_response[n, t]` True for real tokens, the end token included.
Source Shao et al. 2024, "DeepSeekMath" (GRPO); Yu et al. 2025, "DAPO" (token mean, clip-higher,
       groups without signal dropped); Liu et al. 2025, "Understanding R1-Zero-Like Training"
       (Dr. GRPO); Schulman 2020, "Approximating KL Divergence" (k1, k2, k3); Tang and Munos 2025,
       "On a few pitfalls in KL divergence gradient estimation for RL" (their gradients)
"""

from dataclasses import dataclass

import torch

NORMALISERS = ("sequence", "token", "constant")
KL_ESTIMATORS = ("k1", "k2", "k3")


# ---- advantages ----------------------------------------------------------------------------------

def group_advantages(rewards: torch.Tensor, group_size: int, *, scale: bool = True,
                     eps: float = 1e-4) -> torch.Tensor:
    """rewards (N,) -> advantages (N,): each group's sum is 0 (eq. 9.2).

    With `scale` they are divided by the group's standard deviation (unbiased). Dr. GRPO leaves that
    out, since it weighs questions that are nearly always, or nearly never, solved the most. A group
    whose rewards are equal gets exactly 0.
    Raises ValueError for groups of one, rewards that do not fill the groups, or NaN.
    """
    if group_size < 2:
        raise ValueError(f"group_size={group_size}: a group needs at least 2 answers to compare")
    if rewards.dim() != 1 or rewards.numel() == 0 or rewards.numel() % group_size:
        raise ValueError(f"{tuple(rewards.shape)} rewards do not fill groups of {group_size}")
    if not bool(rewards.isfinite().all()):
        bad = rewards[~rewards.isfinite()][0].item()
        raise ValueError(f"a reward is {bad}; rewards must be finite numbers")
    groups = rewards.view(-1, group_size)
    centred = groups - groups.mean(dim=1, keepdim=True)
    is_equal = groups.max(dim=1, keepdim=True).values == groups.min(dim=1, keepdim=True).values
    centred = centred.masked_fill(is_equal, 0.0)  # rounding of the mean must not become a signal
    if scale:
        centred = centred / (groups.std(dim=1, keepdim=True) + eps)
    return centred.flatten()


def has_signal(rewards: torch.Tensor, group_size: int) -> torch.Tensor:
    """(N,) -> (N,): True for the answers of groups whose rewards differ (DAPO keeps only those)."""
    groups = rewards.view(-1, group_size)
    differs = groups.max(dim=1).values != groups.min(dim=1).values
    return differs.repeat_interleave(group_size)


def length_penalty(lengths: torch.Tensor, limit: int, soft: int) -> torch.Tensor:
    """lengths (N,) -> (N,): 0 up to limit − soft tokens, then falling to −1 at the limit (DAPO)."""
    if not 0 < soft <= limit:
        raise ValueError(f"soft={soft}: must be from 1 to limit={limit}")
    return -((lengths - (limit - soft)).clamp(min=0) / soft).clamp(max=1.0)


# ---- KL ------------------------------------------------------------------------------------------

def kl_estimate(logp: torch.Tensor, ref_logp: torch.Tensor, kind: str = "k3") -> torch.Tensor:
    """Per-token estimates of KL(π‖π_ref) from tokens that π drew (eq. 9.4).

    As a *number*, the mean of each tells the KL (k2 nearly). As a *loss* they differ: k1's gradient
    is that of log π alone, so the reference drops out and its mean is 0; k2's mean is the gradient
    of KL(π‖π_ref), k3's that of KL(π_ref‖π). Those two pull π back to π_ref.
    """
    d = ref_logp - logp
    if kind == "k1":
        return -d
    if kind == "k2":
        return 0.5 * d.square()
    if kind == "k3":
        return d.exp() - 1 - d
    raise ValueError(f"kind={kind!r}: choose from {', '.join(KL_ESTIMATORS)}")


# ---- the loss ------------------------------------------------------------------------------------

def aggregate(values: torch.Tensor, is_response: torch.Tensor, normaliser: str,
              length: int | None = None) -> torch.Tensor:
    """(N, T) -> a scalar. Three ways to average, which weigh long answers differently:

    "sequence"  mean over each answer's tokens, then over answers (GRPO): all answers count the same
    "token"     mean over all tokens (DAPO): long answers count more
    "constant"  sum over tokens divided by `length`, mean over answers (Dr. GRPO): no bias by length
    """
    values = torch.where(is_response, values, 0.0)
    counts = is_response.sum(dim=1)
    if bool((counts == 0).any()):
        raise ValueError("an answer has no token; every answer holds at least its end token")
    if normaliser == "sequence":
        return (values.sum(dim=1) / counts).mean()
    if normaliser == "token":
        return values.sum() / counts.sum()
    if normaliser == "constant":
        if not length or length < 1:
            raise ValueError(f'length={length}: the normaliser "constant" needs the length limit')
        return values.sum(dim=1).mean() / length
    raise ValueError(f"normaliser={normaliser!r}: choose from {', '.join(NORMALISERS)}")


@dataclass(frozen=True)
class GRPOLoss:
    """The loss, and what a curve needs to be judged."""

    loss: torch.Tensor
    kl: float  # mean of k3 over response tokens
    clip_fraction: float  # share of tokens whose gradient the clipping cut off
    ratio: float  # mean of ρ; exactly 1 before the first step


def grpo_loss(logp: torch.Tensor, old_logp: torch.Tensor, ref_logp: torch.Tensor | None,
              advantages: torch.Tensor, is_response: torch.Tensor, *, clip_low: float = 0.2,
              clip_high: float = 0.2, beta: float = 0.04, normaliser: str = "sequence",
              length: int | None = None, kl_kind: str = "k3") -> GRPOLoss:
    """The policy loss with the KL beside it (eq. 9.3 to 9.5).

    `advantages` (N,) holds for every token of its answer. `ref_logp` may be None where beta is 0.
    """
    log_ratio = torch.where(is_response, logp - old_logp, 0.0)
    ratio = log_ratio.exp()
    advantage = advantages.unsqueeze(1)  # (N, 1): the same for all tokens of an answer
    plain = -advantage * ratio
    clipped = -advantage * ratio.clamp(1 - clip_low, 1 + clip_high)
    per_token = torch.maximum(plain, clipped)
    kl = torch.zeros_like(logp)
    if ref_logp is not None:
        # what lies outside the responses must not overflow: inf · 0 would be NaN in the gradient
        safe_logp = torch.where(is_response, logp, 0.0)
        kl = kl_estimate(safe_logp, torch.where(is_response, ref_logp, 0.0), kl_kind)
        per_token = per_token + beta * kl
    elif beta:
        raise ValueError(f"beta={beta} needs the reference's log-probabilities")
    loss = aggregate(per_token, is_response, normaliser, length)
    with torch.no_grad():
        count = is_response.sum()
        cut = ((clipped > plain) & is_response).sum() / count
        mean_ratio = torch.where(is_response, ratio, 0.0).sum() / count
        mean_kl = torch.where(is_response, kl, 0.0).sum() / count
    return GRPOLoss(loss, mean_kl.item(), cut.item(), mean_ratio.item())
