"""Losses of pairs: numbers worked out by hand, gradients, strengths found from comparisons."""

import math

import pytest
import torch
from reward.losses import bradley_terry, centring, fit_strengths, margin_ranking, win_rate


def pair(a, b):
    return torch.tensor([float(a)], requires_grad=True), torch.tensor([float(b)],
                                                                      requires_grad=True)


def test_bradley_terry_by_hand():
    chosen, rejected = pair(2, 1)
    loss = bradley_terry(chosen, rejected)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-1)))  # −log σ(1)
    loss.backward()
    assert float(chosen.grad) == pytest.approx(-1 / (1 + math.e))  # σ(1) − 1
    assert float(rejected.grad) == pytest.approx(1 / (1 + math.e))


def test_equal_scores_cost_log_2_and_the_loss_is_a_mean_over_pairs():
    zeros = torch.zeros(4)
    assert float(bradley_terry(zeros, zeros)) == pytest.approx(math.log(2))
    one = float(bradley_terry(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0])))
    assert one == pytest.approx((math.log1p(math.exp(-1)) + math.log1p(math.exp(-3))) / 2)


def test_smoothing_mixes_both_orders():
    chosen, rejected = pair(2, 0)
    right, wrong = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    assert float(bradley_terry(chosen, rejected, smoothing=0.1)) == pytest.approx(
        0.9 * right + 0.1 * wrong)


def test_with_smoothing_the_best_difference_is_finite():
    """At σ(d) = 1 − ε the gradient vanishes."""
    d = math.log(0.9 / 0.1)
    chosen, rejected = pair(d, 0)
    bradley_terry(chosen, rejected, smoothing=0.1).backward()
    assert float(chosen.grad) == pytest.approx(0, abs=1e-6)


def test_a_margin_moves_the_difference():
    chosen, rejected = pair(2, 0)
    assert float(bradley_terry(chosen, rejected, margin=0.5)) == pytest.approx(
        math.log1p(math.exp(-1.5)))
    both = bradley_terry(torch.zeros(2), torch.zeros(2), margin=torch.tensor([0.0, 1.0]))
    assert float(both) == pytest.approx((math.log(2) + math.log1p(math.e)) / 2)


def test_margin_ranking_by_hand():
    chosen, rejected = torch.tensor([2.0, 0.3]), torch.tensor([0.5, 0.0])
    assert float(margin_ranking(chosen, rejected)) == pytest.approx((0 + 0.7) / 2)
    a, b = pair(3, 0)
    margin_ranking(a, b).backward()
    assert float(a.grad) == 0, "a pair that is far enough apart teaches nothing"


def test_centring_pulls_the_sum_to_zero():
    a, b = pair(3, 1)
    loss = centring(a, b)
    loss.backward()
    assert float(loss) == 16 and float(a.grad) == float(b.grad) == 8


@pytest.mark.parametrize("loss", [bradley_terry, margin_ranking])
def test_a_constant_added_to_all_scores_changes_nothing(loss):
    torch.manual_seed(0)
    chosen, rejected = torch.randn(20), torch.randn(20)
    torch.testing.assert_close(loss(chosen + 7, rejected + 7), loss(chosen, rejected))
    torch.testing.assert_close(win_rate(chosen + 7, rejected + 7), win_rate(chosen, rejected))


def test_the_win_rate_is_the_logistic_of_the_difference():
    assert float(win_rate(torch.tensor([1.0]), torch.tensor([1.0]))) == 0.5
    assert float(win_rate(torch.tensor([math.log(3)]), torch.tensor([0.0]))) == pytest.approx(0.75)


def test_strengths_of_two_players_are_the_log_of_the_odds():
    found = fit_strengths(torch.tensor([[0.0, 30.0], [10.0, 0.0]]))
    assert float(found[0] - found[1]) == pytest.approx(math.log(3))
    assert float(found.sum()) == pytest.approx(0, abs=1e-9)


def test_strengths_maximise_the_likelihood():
    torch.manual_seed(0)
    wins = torch.randint(1, 9, (5, 5)).double()
    wins.fill_diagonal_(0)
    best = fit_strengths(wins)

    def likelihood(s):
        return float((wins * torch.nn.functional.logsigmoid(s[:, None] - s)).sum())

    for i in range(5):
        for step in (0.05, -0.05):
            moved = best.clone()
            moved[i] += step
            assert likelihood(moved) < likelihood(best)


@pytest.mark.parametrize("call, message", [
    (lambda: bradley_terry(torch.zeros(2), torch.zeros(3)), "equal length"),
    (lambda: bradley_terry(torch.zeros(0), torch.zeros(0)), "at least one pair"),
    (lambda: bradley_terry(torch.zeros(2), torch.zeros(2), smoothing=0.5), "smoothing=0.5"),
    (lambda: margin_ranking(torch.zeros(2), torch.zeros(2), margin=0.0), "margin=0.0"),
    (lambda: fit_strengths(torch.tensor([[0.0, 3.0], [0.0, 0.0]])), "never won or never lost"),
])
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
