"""The arithmetic by hand and by brute force: advantages, three averages, three KLs, gradients."""

import math

import pytest
import torch
from reasoning.grpo import (
    NORMALISERS,
    aggregate,
    group_advantages,
    grpo_loss,
    has_signal,
    kl_estimate,
    length_penalty,
)

REWARDS = torch.tensor([1.0, 0.0, 0.0, 1.0, 3.0, 3.0, 0.0, 2.0])


def random_case(n=6, t=5, seed=0):
    torch.manual_seed(seed)
    logp, old, ref = (-torch.rand(n, t) * 3 for _ in range(3))
    lengths = torch.randint(1, t + 1, (n,))
    is_response = torch.arange(t) < lengths[:, None]
    return logp.requires_grad_(), old, ref, torch.randn(n), is_response


# ---- advantages

def test_advantages_by_hand():
    found = group_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]), 4, eps=0.0)
    torch.testing.assert_close(found, torch.tensor([1.5, -0.5, -0.5, -0.5]))  # std 0.5, unbiased
    plain = group_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]), 4, scale=False)
    torch.testing.assert_close(plain, torch.tensor([0.75, -0.25, -0.25, -0.25]))


@pytest.mark.parametrize("scale", [True, False])
def test_each_groups_advantages_sum_to_0_and_are_blind_to_a_constant(scale):
    found = group_advantages(REWARDS, 4, scale=scale)
    torch.testing.assert_close(found.view(2, 4).sum(1), torch.zeros(2), atol=1e-6, rtol=0)
    shifted = REWARDS + torch.tensor([5.0] * 4 + [-7.0] * 4)
    torch.testing.assert_close(group_advantages(shifted, 4, scale=scale), found)
    alone = torch.cat([group_advantages(part, 4, scale=scale) for part in REWARDS.split(4)])
    torch.testing.assert_close(found, alone)


def test_a_scale_of_the_rewards_matters_only_without_the_standard_deviation():
    torch.testing.assert_close(group_advantages(10 * REWARDS, 4, eps=0.0),
                               group_advantages(REWARDS, 4, eps=0.0))
    torch.testing.assert_close(group_advantages(10 * REWARDS, 4, scale=False),
                               10 * group_advantages(REWARDS, 4, scale=False))


def test_equal_rewards_give_exactly_0_even_where_their_mean_is_rounded():
    torch.manual_seed(0)
    for size in (3, 5, 7, 11):
        rewards = torch.rand(50, 1).expand(50, size)
        assert (rewards.mean(1) != rewards[:, 0]).any(), "some means are rounded"
        assert torch.count_nonzero(group_advantages(rewards.flatten(), size)) == 0
    rewards = torch.tensor([0.1] * 3 + [0.0, 1.0, 0.0])
    assert has_signal(rewards, 3).tolist() == [False] * 3 + [True] * 3


@pytest.mark.parametrize("rewards, group, says", [
    ([1.0, 2.0], 1, "group_size=1"), ([1.0, 2.0, 3.0], 2, "do not fill groups of 2"),
    ([], 2, "do not fill"), ([1.0, math.nan], 2, "a reward is nan"),
    ([1.0, math.inf], 2, "a reward is inf")])
def test_rewards_that_mean_nothing_are_refused(rewards, group, says):
    with pytest.raises(ValueError, match=says):
        group_advantages(torch.tensor(rewards), group)


def test_length_costs_nothing_until_the_soft_limit_then_falls_to_minus_1():
    found = length_penalty(torch.tensor([0.0, 30.0, 35.0, 40.0, 50.0]), 40, 10)
    assert found.tolist() == [0.0, 0.0, -0.5, -1.0, -1.0]
    with pytest.raises(ValueError, match="soft=0"):
        length_penalty(torch.tensor([1.0]), 40, 0)


# ---- averages

def test_the_three_averages_by_hand():
    values = torch.tensor([[2.0, 4.0, 99.0], [6.0, 99.0, 99.0]])
    is_response = torch.tensor([[True, True, False], [True, False, False]])
    assert aggregate(values, is_response, "sequence").item() == pytest.approx((3 + 6) / 2)
    assert aggregate(values, is_response, "token").item() == pytest.approx(12 / 3)
    assert aggregate(values, is_response, "constant", 4).item() == pytest.approx((6 + 6) / 2 / 4)


def test_an_average_without_a_limit_a_name_or_a_token_is_refused():
    ones = torch.ones(2, 2)
    with pytest.raises(ValueError, match="needs the length limit"):
        aggregate(ones, ones.bool(), "constant")
    with pytest.raises(ValueError, match="choose from sequence, token, constant"):
        aggregate(ones, ones.bool(), "batch")
    with pytest.raises(ValueError, match="an answer has no token"):
        aggregate(ones, torch.tensor([[True, True], [False, False]]), "token")


# ---- the loss

def loss_by_hand(logp, old, ref, advantages, is_response, low, high, beta, normaliser, length):
    """Token by token, in plain Python."""
    rows = []
    for n in range(len(logp)):
        row = []
        for t in range(logp.size(1)):
            if not is_response[n, t]:
                continue
            ratio = math.exp(logp[n, t] - old[n, t])
            a = advantages[n].item()
            clipped = min(max(ratio, 1 - low), 1 + high)
            d = (ref[n, t] - logp[n, t]).item()
            row.append(-min(a * ratio, a * clipped) + beta * (math.exp(d) - 1 - d))
        rows.append(row)
    if normaliser == "sequence":
        return sum(sum(row) / len(row) for row in rows) / len(rows)
    if normaliser == "token":
        return sum(map(sum, rows)) / sum(map(len, rows))
    return sum(map(sum, rows)) / len(rows) / length


@pytest.mark.parametrize("normaliser", NORMALISERS)
def test_the_loss_is_what_the_formulas_say(normaliser):
    logp, old, ref, advantages, is_response = random_case()
    found = grpo_loss(logp, old, ref, advantages, is_response, clip_low=0.2, clip_high=0.3,
                      beta=0.1, normaliser=normaliser, length=7)
    expected = loss_by_hand(logp.detach(), old, ref, advantages, is_response, 0.2, 0.3, 0.1,
                            normaliser, 7)
    assert found.loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("normaliser", NORMALISERS)
def test_at_the_first_update_the_gradient_is_the_policy_gradient(normaliser):
    logp, _, _, advantages, is_response = random_case(seed=1)
    result = grpo_loss(logp, logp.detach(), None, advantages, is_response, beta=0.0,
                       normaliser=normaliser, length=7)
    result.loss.backward()
    lengths = is_response.sum(1, keepdim=True)
    weight = {"sequence": 1 / lengths / len(logp), "token": 1 / lengths.sum(),
              "constant": torch.tensor(1 / 7 / len(logp))}[normaliser]
    expected = torch.where(is_response, -advantages[:, None] * weight, 0.0)
    torch.testing.assert_close(logp.grad, expected)
    assert result.ratio == 1.0 and result.clip_fraction == 0.0


@pytest.mark.parametrize("advantage, ratio, passes", [
    (1.0, 1.25, True), (1.0, 1.35, False), (1.0, 0.5, True),
    (-1.0, 0.85, True), (-1.0, 0.75, False), (-1.0, 2.0, True)])
def test_clipping_removes_only_the_reward_for_going_further(advantage, ratio, passes):
    logp = torch.tensor([[math.log(ratio)]], requires_grad=True)
    result = grpo_loss(logp, torch.zeros(1, 1), None, torch.tensor([advantage]),
                       torch.ones(1, 1, dtype=torch.bool), clip_low=0.2, clip_high=0.3, beta=0.0)
    result.loss.backward()
    assert (logp.grad.abs().item() > 0) == passes
    assert result.clip_fraction == (0.0 if passes else 1.0)


def test_what_lies_outside_the_replies_touches_neither_loss_nor_gradient():
    logp, old, ref, advantages, is_response = random_case(seed=2)
    clean = grpo_loss(logp, old, ref, advantages, is_response, beta=0.1).loss
    clean.backward()
    spoilt = logp.detach().clone()
    spoilt[~is_response] = -1e4
    spoilt.requires_grad_()
    dirty = grpo_loss(spoilt, old, ref.masked_fill(~is_response, 0.0), advantages, is_response,
                      beta=0.1).loss
    dirty.backward()
    torch.testing.assert_close(dirty, clean)
    torch.testing.assert_close(spoilt.grad, logp.grad)


def test_advantages_of_0_and_no_kl_give_no_gradient():
    logp, old, _, _, is_response = random_case(seed=3)
    grpo_loss(logp, old, None, torch.zeros(6), is_response, beta=0.0).loss.backward()
    assert torch.count_nonzero(logp.grad) == 0


def test_a_kl_without_a_reference_is_refused():
    logp, old, _, advantages, is_response = random_case()
    with pytest.raises(ValueError, match="beta=0.1 needs the reference"):
        grpo_loss(logp, old, None, advantages, is_response, beta=0.1)


# ---- the KL

def exact(policy, ref, kind):
    """(expected value, expected gradient of the estimate as a loss) over all tokens."""
    policy = policy.clone().requires_grad_()
    logp, ref_logp = policy.log_softmax(-1), ref.log_softmax(-1)
    values = kl_estimate(logp, ref_logp, kind)
    p = logp.detach().exp()
    (p * values).sum().backward()  # the sampled token is a constant: p carries no gradient
    return (p * values.detach()).sum(), policy.grad


def kl_gradient(p, q, by_first):
    """The true gradient of KL(p‖q) with respect to p (by_first) or to q."""
    p, q = p.clone().requires_grad_(by_first), q.clone().requires_grad_(not by_first)
    logp, logq = p.log_softmax(-1), q.log_softmax(-1)
    (logp.exp() * (logp - logq)).sum().backward()
    return p.grad if by_first else q.grad


@pytest.mark.parametrize("kind", ["k1", "k3"])
def test_the_mean_of_k1_and_of_k3_is_the_kl(kind):
    torch.manual_seed(0)
    policy, ref = torch.randn(9, dtype=torch.float64), torch.randn(9, dtype=torch.float64)
    logp, logq = policy.log_softmax(-1), ref.log_softmax(-1)
    value, _ = exact(policy, ref, kind)
    torch.testing.assert_close(value, (logp.exp() * (logp - logq)).sum())


def test_k1_as_a_loss_does_not_know_the_reference_and_pulls_nowhere():
    torch.manual_seed(0)
    policy, ref, other = (torch.randn(9, dtype=torch.float64) for _ in range(3))
    one, two = exact(policy, ref, "k1")[1], exact(policy, other, "k1")[1]
    torch.testing.assert_close(one, torch.zeros(9, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(one, two)


def test_k2_gives_the_gradient_of_one_kl_and_k3_that_of_the_other():
    torch.manual_seed(1)
    policy, ref = torch.randn(9, dtype=torch.float64), torch.randn(9, dtype=torch.float64)
    torch.testing.assert_close(exact(policy, ref, "k2")[1], kl_gradient(policy, ref, True))
    torch.testing.assert_close(exact(policy, ref, "k3")[1], kl_gradient(ref, policy, False))


@pytest.mark.parametrize("kind", ["k2", "k3"])
def test_the_kls_gradient_is_0_at_the_reference_and_pulls_back_elsewhere(kind):
    torch.manual_seed(2)
    for _ in range(5):
        ref = torch.randn(9, dtype=torch.float64)
        assert exact(ref, ref, kind)[1].abs().max() < 1e-12
        away = ref + 0.5 * torch.randn(9, dtype=torch.float64)
        step = away - 0.1 * exact(away, ref, kind)[1]
        p, q, r = (x.log_softmax(-1) for x in (step, away, ref))
        assert (p.exp() * (p - r)).sum() < (q.exp() * (q - r)).sum()


def test_k3_is_never_below_0_and_a_wrong_name_is_refused():
    logp, ref = -torch.rand(100) * 5, -torch.rand(100) * 5
    assert (kl_estimate(logp, ref, "k3") >= 0).all() and (kl_estimate(logp, ref, "k1") < 0).any()
    with pytest.raises(ValueError, match="choose from k1, k2, k3"):
        kl_estimate(logp, ref, "k4")
