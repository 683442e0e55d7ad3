"""Accuracy, calibration and rank correlation, worked out by hand."""

import numpy as np
import pytest
from reward.scores import accuracy, calibration, pearson, ranks, spearman


def test_a_tie_counts_half():
    assert accuracy([2, 1, 0], [1, 1, 1]) == pytest.approx(0.5)
    assert accuracy([2, 1], [1, 1]) == pytest.approx(0.75)


def test_ranks_of_ties_are_their_mean():
    assert ranks([10, 30, 20, 30]).tolist() == [1, 3.5, 2, 3.5]


def test_spearman_sees_the_order_alone():
    a = np.array([1.0, 2, 3, 4, 5])
    assert spearman(a, a ** 3) == pytest.approx(1)
    assert spearman(a, -np.exp(a)) == pytest.approx(-1)
    assert spearman([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)  # 1 − 6·2/(4·15)


def test_what_never_changes_correlates_with_nothing():
    assert pearson([1, 1, 1], [1, 2, 3]) == 0


def test_a_calibrated_scorer_has_a_small_error_and_an_overconfident_one_a_large():
    rng = np.random.default_rng(0)
    d = rng.normal(0, 2, 40000)
    wins = rng.random(40000) < 1 / (1 + np.exp(-d))  # chosen is the side that won
    chosen = np.where(wins, d, -d)
    good, points = calibration(chosen, 0 * chosen)
    bad, _ = calibration(5 * chosen, 0 * chosen)
    assert good < 0.015
    assert bad > 0.1
    assert sum(n for _, _, n in points) == 40000
    assert all(0.5 <= p <= 1 for p, _, _ in points)


def test_calibration_by_hand():
    error, points = calibration([0.0, 0.0, np.log(3), -np.log(3)], [0.0] * 4, bins=2)
    assert points == [(pytest.approx(0.5), 0.5, 2), (pytest.approx(0.75), 0.5, 2)]
    assert error == pytest.approx(0.125)


def test_a_constant_added_to_all_scores_changes_no_figure():
    rng = np.random.default_rng(1)
    chosen, rejected = rng.normal(0.5, 1, 500), rng.normal(0, 1, 500)
    assert accuracy(chosen + 3, rejected + 3) == accuracy(chosen, rejected)
    assert calibration(chosen + 3, rejected + 3)[0] == pytest.approx(
        calibration(chosen, rejected)[0])
    assert spearman(chosen + 3, rejected) == pytest.approx(spearman(chosen, rejected))
