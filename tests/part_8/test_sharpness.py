"""Sharpness: one learnt factor on all logits, kept in the gain of the last norm (eq. 8.17)."""

from dataclasses import replace

import pytest
import torch
from rl.policy import Policy
from rl.sharpness import Sharpness
from rl.toy_task import SETTINGS, make_ppo, qualities

IDS = torch.tensor([[1, 2, 3, 4]])


def logits_of(model) -> torch.Tensor:
    return model.head(model.features(IDS))


def test_its_gradient_is_that_of_a_factor_on_all_logits(tiny):
    with torch.no_grad():
        tiny.norm.weight.uniform_(0.5, 2.0)  # not all alike, so that a wrong product shows
    sharpness = Sharpness(tiny)
    logits_of(tiny).log_softmax(-1)[..., 5].sum().backward()
    sharpness.gather()
    z = torch.zeros((), requires_grad=True)
    (logits_of(tiny).detach() * z.exp()).log_softmax(-1)[..., 5].sum().backward()
    assert z.grad.abs() > 0.01
    torch.testing.assert_close(sharpness.log_scale.grad, z.grad)


def test_what_it_has_moved_multiplies_every_logit_once(tiny):
    sharpness, before = Sharpness(tiny), logits_of(tiny).detach()
    for total in (0.5, 0.2):  # the second time only the difference may go in
        with torch.no_grad():
            sharpness.log_scale.fill_(total)
        sharpness.apply()
        sharpness.apply()
        torch.testing.assert_close(logits_of(tiny), before * torch.tensor(total).exp())
        assert sharpness.factor == pytest.approx(2.718281828 ** total)


def test_its_gain_is_the_bodys_own_and_is_saved_once(tiny):
    policy = Policy(tiny)
    assert policy.sharpness.gain[0] is tiny.norm.weight
    assert set(policy.state_dict()) - {f"body.{name}" for name in tiny.state_dict()} == {
        "value_head.weight", "value_head.bias", "sharpness.log_scale", "sharpness.applied"}


@pytest.mark.parametrize("rate", [0.0, 2.0])
def test_ppo_learns_it_at_its_own_rate_and_leaves_it_alone_at_rate_0(rate):
    body = make_ppo(qualities, SETTINGS, 0).policy.body
    found = []
    for sharpness_rate in (0.0, rate):
        settings = replace(SETTINGS, steps=3, epochs=1, sharpness_rate=sharpness_rate)
        ppo = make_ppo(qualities, settings, 0, tuned=body)
        found += [[ppo.step([[10, digit] for digit in range(8)] * 8) for _ in range(3)][-1],
                  ppo.policy.body.norm.weight.detach()]
    still, gain, moved, gain_after = found
    assert still["sharpness"] == 1.0
    assert (moved["sharpness"] != 1.0) == (rate > 0)
    assert torch.equal(gain, gain_after) == (rate == 0)


def test_a_reward_for_sure_replies_makes_the_policy_sharper_and_one_for_others_flatter():
    """Scores that are the policy's own log-probability: nothing but sharpness can be learnt."""
    settings = replace(SETTINGS, steps=8, peak=1e-9, sharpness_rate=5e7, beta=0.0, adaptive=False,
                       length_control=False)
    ends = {}
    for sign in (1.0, -1.0):
        ppo = make_ppo(lambda rollout: sign * rollout.logp.sum(1) / rollout.rows.is_response.sum(1),
                       settings, 0)
        log = [ppo.step([[10, digit] for digit in range(8)] * 8) for _ in range(8)]
        ends[sign] = (log[-1]["sharpness"], log[-1]["entropy"] - log[0]["entropy"])
    assert ends[1.0][0] > 1.1 and ends[1.0][1] < 0
    assert ends[-1.0][0] < 0.95 and ends[-1.0][1] > 0
