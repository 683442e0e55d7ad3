"""DPO's arithmetic: preferences without a reward model and without rollouts.

Math   PPO's best policy for a reward r and a KL weight β is  π* ∝ π_ref exp(r / β). Turned round:
       r̂(reply) = β (log π(reply) − log π_ref(reply)) + what depends on the prompt alone (eq. 8.15)
       Bradley–Terry on r̂: the prompt's part falls out of the difference
       L = −log σ(r̂_chosen − r̂_rejected)                                              (eq. 8.16)
       labels wrong with chance ε: L = −(1 − ε) log σ(d) − ε log σ(−d)                 (eq. 8.17)
       plus α times the mean of −log π(token) over the chosen replies                  (eq. 8.18)
Used   train_dpo.py
Shapes P pairs; a reply's log-probability is the *sum* over its tokens, its end token included
Source Rafailov et al. 2023, "Direct Preference Optimization"; Mitchell 2023 (wrong labels);
       Pang et al. 2024, "Iterative Reasoning Preference Optimization" (the last term)
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F


def implicit_reward(logp: torch.Tensor, ref_logp: torch.Tensor, beta: float) -> torch.Tensor:
    """(P,), (P,) -> (P,): eq. 8.15."""
    return beta * (logp - ref_logp)


@dataclass(frozen=True)
class DPOLoss:
    """The loss, and what a curve needs to be judged."""

    loss: torch.Tensor
    accuracy: float  # share of pairs in the right order by the implicit reward
    chosen: float  # mean implicit reward of the chosen replies
    rejected: float


def dpo_loss(chosen: torch.Tensor, rejected: torch.Tensor, ref_chosen: torch.Tensor,
             ref_rejected: torch.Tensor, *, beta: float, smoothing: float = 0.0) -> DPOLoss:
    """Eq. 8.16 and 8.17, the mean over P pairs. All four are log-probabilities of replies, (P,).

    Raises ValueError for settings without a meaning, or no pair.
    """
    if not beta > 0 or not 0 <= smoothing < 0.5:
        raise ValueError(f"beta={beta} must be above 0, smoothing={smoothing} at least 0 and "
                         "below 0.5")
    if chosen.dim() != 1 or len(chosen) == 0 or chosen.shape != rejected.shape:
        raise ValueError(f"log-probabilities of replies must be two rows of equal length, not "
                         f"{tuple(chosen.shape)} and {tuple(rejected.shape)}")
    one = implicit_reward(chosen, ref_chosen, beta)
    other = implicit_reward(rejected, ref_rejected, beta)
    d = one - other
    loss = -((1 - smoothing) * F.logsigmoid(d) + smoothing * F.logsigmoid(-d)).mean()
    with torch.no_grad():
        right = (d > 0).float() + 0.5 * (d == 0).float()
        return DPOLoss(loss, float(right.mean()), float(one.mean()), float(other.mean()))
