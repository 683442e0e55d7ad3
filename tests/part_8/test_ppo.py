"""PPO's arithmetic against hand-worked numbers, brute force and automatic differentiation."""

import math

import pytest
import torch
from rl.ppo import (
    AdaptiveKL,
    FixedKL,
    LengthControl,
    explained_variance,
    gae,
    last_position,
    masked_mean,
    masked_variance,
    policy_loss,
    token_rewards,
    value_loss,
    whiten,
)

IS_RESPONSE = torch.tensor([[True, True, True, False], [True, True, False, False]])


def random_rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- averages

def test_masked_mean_and_variance_are_those_of_the_real_tokens_alone():
    x = torch.tensor([[1.0, 2.0, 3.0, 1e6], [4.0, 5.0, -1e6, math.nan]])
    assert masked_mean(x, IS_RESPONSE) == 3.0
    assert masked_variance(x, IS_RESPONSE) == 2.5, "unbiased: 10 / (5 - 1)"


def test_a_mean_over_nothing_is_refused():
    with pytest.raises(ValueError, match="no response token"):
        masked_mean(torch.ones(2, 2), torch.zeros(2, 2, dtype=torch.bool))


def test_whitened_values_have_mean_0_and_deviation_1_and_padding_is_0():
    x = 7 + 3 * random_rows(2, 4)
    white = whiten(x, IS_RESPONSE)
    assert masked_mean(white, IS_RESPONSE).abs() < 1e-6
    assert (masked_variance(white, IS_RESPONSE) - 1).abs() < 1e-5
    assert (white[~IS_RESPONSE] == 0).all()


def test_whitening_without_shift_keeps_the_mean():
    x = torch.tensor([[2.0, 4.0]])
    white = whiten(x, torch.ones(1, 2, dtype=torch.bool), shift_mean=False)
    deviation = math.sqrt(2)
    torch.testing.assert_close(white, torch.tensor([[3 - 1 / deviation, 3 + 1 / deviation]]))


def test_whitening_a_single_token_gives_a_number():
    assert whiten(torch.tensor([[5.0]]), torch.tensor([[True]])).item() == 0.0


# ---- rewards

def test_the_last_position_is_that_of_the_last_real_token():
    assert last_position(IS_RESPONSE).tolist() == [2, 1]
    with pytest.raises(ValueError, match="no response token"):
        last_position(torch.tensor([[True], [False]]))


def test_the_score_stands_on_the_last_real_token_and_the_kl_on_all():
    logp = torch.tensor([[-1.0, -2.0, -3.0, 9.0], [-1.0, -1.0, 9.0, 9.0]])
    ref = torch.tensor([[-1.5, -2.0, -2.0, 0.0], [-2.0, 0.0, 0.0, 0.0]])
    rewards = token_rewards(torch.tensor([10.0, 20.0]), logp, ref, IS_RESPONSE, beta=0.2)
    expected = torch.tensor([[-0.1, 0.0, 0.2 + 10.0, 0.0], [-0.2, 0.2 + 20.0, 0.0, 0.0]])
    torch.testing.assert_close(rewards, expected)


def test_a_token_likelier_than_under_the_reference_costs():
    rewards = token_rewards(torch.zeros(1), torch.tensor([[0.0, -1.0]]),
                            torch.tensor([[-1.0, -1.0]]), torch.ones(1, 2, dtype=torch.bool), 0.5)
    assert rewards.tolist() == [[-0.5, 0.0]]


# ---- GAE

def test_gae_by_hand_on_three_tokens():
    rewards, values = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.5, 0.4, 0.6]])
    advantages, returns = gae(rewards, values, torch.ones(1, 3, dtype=torch.bool), gamma=1.0,
                              lam=0.5)
    # deltas: 0.4 - 0.5 = -0.1;  0.6 - 0.4 = 0.2;  1 - 0.6 = 0.4
    expected = torch.tensor([[-0.1 + 0.5 * (0.2 + 0.5 * 0.4), 0.2 + 0.5 * 0.4, 0.4]])
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(returns, expected + values)


@pytest.mark.parametrize("gamma, lam", [(1.0, 0.95), (0.9, 0.7), (1.0, 0.0), (1.0, 1.0)])
def test_gae_equals_the_sum_of_the_definition(gamma, lam):
    rewards, values = random_rows(3, 5), random_rows(3, 5, seed=1)
    lengths = [5, 3, 1]
    is_response = torch.arange(5) < torch.tensor(lengths)[:, None]
    advantages, returns = gae(rewards, values, is_response, gamma=gamma, lam=lam)
    for row, n in enumerate(lengths):
        for t in range(n):
            total = 0.0
            for k in range(t, n):
                following = values[row, k + 1].item() if k + 1 < n else 0.0
                delta = rewards[row, k].item() + gamma * following - values[row, k].item()
                total += (gamma * lam) ** (k - t) * delta
            assert advantages[row, t].item() == pytest.approx(total, abs=1e-5)
            assert returns[row, t].item() == pytest.approx(total + values[row, t].item(), abs=1e-5)
    assert (advantages[~is_response] == 0).all() and (returns[~is_response] == 0).all()


def test_what_stands_in_padding_changes_no_advantage():
    rewards, values = random_rows(2, 4), random_rows(2, 4, seed=1)
    before = gae(rewards, values, IS_RESPONSE)
    dirt = torch.where(IS_RESPONSE, 0.0, 1e3)
    after = gae(rewards + dirt, values - dirt, IS_RESPONSE)
    assert all(torch.equal(a, b) for a, b in zip(before, after))


def test_with_lambda_1_the_return_is_the_sum_of_the_rewards_to_come():
    rewards, values = random_rows(1, 4), random_rows(1, 4, seed=1)
    _, returns = gae(rewards, values, torch.ones(1, 4, dtype=torch.bool), gamma=1.0, lam=1.0)
    torch.testing.assert_close(returns, rewards.flip(1).cumsum(1).flip(1))


# ---- policy loss

def one_token(ratio: float, advantage: float, clip: float = 0.2):
    """(loss, gradient with respect to the ratio, clip fraction) of a single token."""
    logp = torch.tensor([[math.log(ratio)]], requires_grad=True)
    found = policy_loss(logp, torch.zeros(1, 1), torch.tensor([[advantage]]),
                        torch.tensor([[True]]), clip=clip)
    found.loss.backward()
    return found.loss.item(), logp.grad.item() / ratio, found.clip_fraction


@pytest.mark.parametrize("ratio, advantage, loss, slope, clipped", [
    (1.0, 2.0, -2.0, -2.0, 0),   # nothing moved: the plain policy gradient
    (1.1, 2.0, -2.2, -2.0, 0),   # within the limits
    (1.5, 2.0, -2.4, 0.0, 1),    # good and already much likelier: no more push
    (0.5, 2.0, -1.0, -2.0, 0),   # good and much rarer: full push
    (0.5, -2.0, 1.6, 0.0, 1),    # bad and already much rarer: no more push
    (1.5, -2.0, 3.0, 2.0, 0),    # bad and much likelier: full push
])
def test_clipping_takes_away_the_gain_of_going_further_and_nothing_else(ratio, advantage, loss,
                                                                        slope, clipped):
    found = one_token(ratio, advantage)
    assert found == pytest.approx((loss, slope, clipped), abs=1e-5)


def test_before_the_first_step_ratio_1_kl_0_and_nothing_is_clipped():
    logp = random_rows(2, 4)
    found = policy_loss(logp, logp.clone(), random_rows(2, 4, seed=1), IS_RESPONSE)
    assert (found.ratio, found.approx_kl, found.clip_fraction) == (1.0, 0.0, 0.0)


def test_the_gradient_at_ratio_1_is_that_of_the_plain_policy_gradient():
    logp, advantages = random_rows(2, 4).requires_grad_(), random_rows(2, 4, seed=1)
    policy_loss(logp, logp.detach(), advantages, IS_RESPONSE).loss.backward()
    torch.testing.assert_close(logp.grad, torch.where(IS_RESPONSE, -advantages / 5, 0.0))


def test_padding_has_no_part_in_loss_and_gradient():
    logp = random_rows(2, 4)
    dirty = torch.where(IS_RESPONSE, logp, 1e4).requires_grad_()
    clean = logp.clone().requires_grad_()
    old, advantages = random_rows(2, 4, seed=2), random_rows(2, 4, seed=1)
    one = policy_loss(dirty, old, advantages, IS_RESPONSE)
    other = policy_loss(clean, old, advantages, IS_RESPONSE)
    one.loss.backward()
    other.loss.backward()
    assert one.loss == other.loss and torch.equal(dirty.grad, clean.grad)
    assert one.approx_kl == other.approx_kl


def test_approximate_kl_by_hand():
    logp = torch.log(torch.tensor([[2.0, 0.5]]))
    found = policy_loss(logp, torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([[True, True]]))
    assert found.approx_kl == pytest.approx(((1 - math.log(2)) + (-0.5 + math.log(2))) / 2)
    assert found.ratio == pytest.approx(1.25)


# ---- value loss

def test_value_loss_by_hand_takes_the_larger_of_plain_and_clipped():
    values, old = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    returns, is_response = torch.tensor([[1.0, 1.0]]), torch.tensor([[True, True]])
    # first: plain 0, clipped (0.2 - 1)^2 = 0.64; second: both 1
    assert value_loss(values, old, returns, is_response).item() == pytest.approx(0.5 * 1.64 / 2)
    assert value_loss(values, old, returns, is_response, clip=None).item() == pytest.approx(0.25)


def test_a_value_that_jumped_far_gets_no_gradient_to_jump_further():
    values = torch.tensor([[0.9, 0.1]], requires_grad=True)
    value_loss(values, torch.zeros(1, 2), torch.tensor([[1.0, 1.0]]),
               torch.ones(1, 2, dtype=torch.bool)).backward()
    assert values.grad[0, 0] == 0 and values.grad[0, 1] == pytest.approx(-0.45)


def test_padding_has_no_part_in_the_value_loss():
    values, returns = random_rows(2, 4), random_rows(2, 4, seed=1)
    dirty = torch.where(IS_RESPONSE, values, 50.0)
    assert value_loss(dirty, values, returns, IS_RESPONSE) == \
        value_loss(values, values, returns, IS_RESPONSE)


def test_explained_variance_is_1_for_the_truth_and_0_for_a_constant():
    returns = random_rows(2, 4)
    assert explained_variance(returns + 3, returns, IS_RESPONSE) == pytest.approx(1)
    assert explained_variance(torch.ones(2, 4), returns, IS_RESPONSE) == pytest.approx(0, abs=1e-6)
    assert explained_variance(-returns, returns, IS_RESPONSE) == pytest.approx(-3, abs=1e-5)
    assert explained_variance(returns, torch.ones(2, 4), IS_RESPONSE) == 0.0


# ---- controllers

def test_the_weight_of_the_kl_follows_it_by_hand():
    control = AdaptiveKL(0.1, target=4.0, horizon=1000)
    control.update(4.4, episodes=100)  # error 0.1, a tenth of the horizon
    assert control.beta == pytest.approx(0.1 * 1.01)
    control.update(400.0, episodes=100)  # the error is held at 0.2
    assert control.beta == pytest.approx(0.1 * 1.01 * 1.02)
    control.update(0.0, episodes=1000)
    assert control.beta == pytest.approx(0.1 * 1.01 * 1.02 * 0.8)


def test_a_fixed_weight_stays():
    control = FixedKL(0.1)
    control.update(100.0, 1000)
    assert control.beta == 0.1


def test_the_length_falls_above_the_target_and_comes_back_within_its_bounds():
    control = LengthControl(20, target=2.0, least=10)
    control.update(3.1)
    assert control.length == 18
    control.update(2.9)
    assert control.length == 20
    for _ in range(20):
        control.update(100.0)
    assert control.length == 10


@pytest.mark.parametrize("make, message", [
    (lambda: AdaptiveKL(0.0, 1.0, 10), "must be above 0"),
    (lambda: AdaptiveKL(0.1, 1.0, 0), "horizon at least 1"),
    (lambda: FixedKL(-1.0), "must not be negative"),
    (lambda: LengthControl(3, 1.0, least=4), "least <= most"),
])
def test_controllers_refuse_settings_without_a_meaning(make, message):
    with pytest.raises(ValueError, match=message):
        make()
