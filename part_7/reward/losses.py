"""Losses for pairs of scores: which of two replies is better?

Math   d = r_chosen − r_rejected, σ the logistic function
       Bradley–Terry          p(chosen beats rejected) = σ(d)                            (eq. 7.6)
                              L = −log σ(d)                                              (eq. 7.7)
       label smoothing ε      L = −(1 − ε) log σ(d) − ε log σ(−d)                        (eq. 7.8)
       with a margin m        L = −log σ(d − m)                                          (eq. 7.9)
       margin ranking         L = max(0, m − d)                                          (eq. 7.10)
       centring               L + c · mean of (r_chosen + r_rejected)²                   (eq. 7.11)
       All but the last depend on d alone: a constant added to all scores changes nothing.
Used   train_reward.py.   See it: python demo_bradley_terry.py
Shapes P pairs; scores (P,) -> a scalar, the mean over the pairs
Source Bradley and Terry 1952, "Rank Analysis of Incomplete Block Designs"; Ouyang et al. 2022
       (pairs in reward models); Touvron et al. 2023, "Llama 2" (margin); Eisenstein et al. 2023,
       "Helping or Herding?" (centring)
"""

import torch
import torch.nn.functional as F


def check_scores(chosen: torch.Tensor, rejected: torch.Tensor) -> None:
    """Raise ValueError unless both are (P,), P at least 1, and numbers."""
    if chosen.dim() != 1 or chosen.shape != rejected.shape or len(chosen) == 0:
        raise ValueError(f"scores must be two rows of equal length, at least one pair; not "
                         f"{tuple(chosen.shape)} and {tuple(rejected.shape)}")


def bradley_terry(chosen: torch.Tensor, rejected: torch.Tensor, *, margin=0.0,
                  smoothing: float = 0.0) -> torch.Tensor:
    """Eq. 7.7 to 7.9. `margin`: a number or (P,), how much better chosen should be at least.
    `smoothing`: the share of labels that are believed to be the wrong way round."""
    check_scores(chosen, rejected)
    if not 0 <= smoothing < 0.5:
        raise ValueError(f"smoothing={smoothing} must be at least 0 and below 0.5: with half the "
                         "labels wrong there is nothing to learn")
    d = chosen - rejected - margin
    return -((1 - smoothing) * F.logsigmoid(d) + smoothing * F.logsigmoid(-d)).mean()


def margin_ranking(chosen: torch.Tensor, rejected: torch.Tensor, *,
                   margin: float = 1.0) -> torch.Tensor:
    """Eq. 7.10: a pair costs nothing once it is apart by `margin`."""
    check_scores(chosen, rejected)
    if not margin > 0:
        raise ValueError(f"margin={margin} must be above 0: else equal scores are best")
    return (margin - (chosen - rejected)).clamp(min=0).mean()


def centring(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """The second term of eq. 7.11: keeps the scores around 0, which pairs alone leave open."""
    check_scores(chosen, rejected)
    return (chosen + rejected).square().mean()


def win_rate(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """(P,): the predicted chance that chosen beats rejected, eq. 7.6."""
    return torch.sigmoid(chosen - rejected)


def fit_strengths(wins: torch.Tensor, steps: int = 500) -> torch.Tensor:
    """(N, N) -> (N,): the strengths that make a table of wins likeliest; their mean is 0.

    wins[i, j]: how often i beat j. Hunter's iteration (minorisation–maximisation): with
    π = exp(strength),  π_i <- (wins of i) / sum over j of n_ij / (π_i + π_j).
    Raises ValueError where somebody never won or never lost: the best strength is then infinite.
    """
    if wins.dim() != 2 or wins.size(0) != wins.size(1) or bool((wins < 0).any()):
        raise ValueError(f"wins must be a square table of counts, not {tuple(wins.shape)}")
    off = ~torch.eye(len(wins), dtype=torch.bool)
    won, lost = (wins * off).sum(1), (wins * off).sum(0)
    extreme = [i for i in range(len(wins)) if won[i] == 0 or lost[i] == 0]
    if extreme:
        raise ValueError(f"{extreme} never won or never lost: their strength has no limit; "
                         "add comparisons, or half a win on both sides")
    games = (wins + wins.T).double() * off
    strength = torch.ones(len(wins), dtype=torch.float64)  # π
    for _ in range(steps):
        strength = won / (games / (strength[:, None] + strength)).sum(1)
        strength = strength / strength.log().mean().exp()
    return strength.log()
