"""What a reward model's scores are worth: accuracy, calibration, rank correlation.

Math   accuracy      share of pairs with r_chosen > r_rejected; a tie counts half
       calibration   E = sum over bins of (n_bin / n) |predicted − observed win rate|    (eq. 7.12)
       rank          Spearman's correlation: Pearson's, of ranks; ties share their mean rank
Used   train_reward.py, evaluate_reward.py, reward/sanity_checks.py
"""

import numpy as np


def accuracy(chosen, rejected) -> float:
    """Share of pairs in the right order; equal scores count half."""
    d = np.asarray(chosen, dtype=float) - np.asarray(rejected, dtype=float)
    return float(np.mean((d > 0) + 0.5 * (d == 0)))


def calibration(chosen, rejected, bins: int = 8):
    """-> (error of eq. 7.12, [(predicted, observed, pairs)] of bins with equally many pairs).

    Each pair is looked at from the side that is predicted to win, so predictions are 0.5 to 1.
    """
    d = np.asarray(chosen, dtype=float) - np.asarray(rejected, dtype=float)
    predicted = 1 / (1 + np.exp(-np.abs(d)))
    observed = (d > 0) + 0.5 * (d == 0)
    order = np.argsort(predicted, kind="stable")
    points = [(float(predicted[part].mean()), float(observed[part].mean()), len(part))
              for part in np.array_split(order, bins) if len(part)]
    error = sum(n * abs(p - o) for p, o, n in points) / len(d)
    return float(error), points


def ranks(values) -> np.ndarray:
    """1, 2, 3, … from the smallest; equal values share the mean of their ranks."""
    values = np.asarray(values, dtype=float)
    order = np.argsort(values, kind="stable")
    ranked = np.empty(len(values))
    ranked[order] = np.arange(1, len(values) + 1)
    for value in np.unique(values):
        ranked[values == value] = ranked[values == value].mean()
    return ranked


def pearson(a, b) -> float:
    """Correlation; 0 where one of the two never changes."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / scale) if scale > 0 else 0.0


def spearman(a, b) -> float:
    """Rank correlation, -1 to 1."""
    return pearson(ranks(a), ranks(b))
