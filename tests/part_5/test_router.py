"""The router: choices, weights, losses, biases, capacity, and what gradient each of them gives."""

import math

import numpy as np
import pytest
import torch
from moe.layer import MoE, MoEConfig
from moe.router import (
    DROPPED,
    Router,
    balance_loss,
    bias_step,
    capacity_of,
    choose_experts,
    count_load,
    drop_overflow,
    gate_scores,
    max_load,
    z_loss,
)


def make_router(**settings) -> Router:
    torch.manual_seed(0)
    router = Router(8, MoEConfig(**{"n_expert": 4, **settings}))
    torch.nn.init.normal_(router.weight)
    return router


# ---------------------------------------------------------------- choosing

def test_choices_and_weights_worked_out_by_hand():
    scores = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    experts, weights = choose_experts(scores, 2, renormalize=True)
    assert experts.tolist() == [[0, 1], [2, 1]]
    torch.testing.assert_close(weights, torch.tensor([[0.625, 0.375], [7 / 9, 2 / 9]]))
    _, plain = choose_experts(scores, 2, renormalize=False)
    torch.testing.assert_close(plain, torch.tensor([[0.5, 0.3], [0.7, 0.2]]))


def test_the_scale_multiplies_the_weights_and_nothing_else():
    x = torch.randn(20, 8)
    plain, scaled = (make_router(n_active=2, scale=scale)(x) for scale in (1.0, 2.5))
    torch.testing.assert_close(scaled.weights, 2.5 * plain.weights)
    torch.testing.assert_close(scaled.weights.sum(-1), torch.full((20,), 2.5))
    torch.testing.assert_close(scaled.scores, plain.scores)
    with pytest.raises(ValueError, match="scale=0"):
        make_router(scale=0)


def test_softmax_scores_sum_to_1_and_sigmoid_scores_are_independent():
    logits = torch.tensor([[1.0, -2.0, 0.5]])
    assert gate_scores(logits, "softmax").sum() == pytest.approx(1, abs=1e-6)
    expected = [1 / (1 + math.exp(-z)) for z in (1.0, -2.0, 0.5)]
    assert gate_scores(logits, "sigmoid")[0].tolist() == pytest.approx(expected)


def test_the_bias_moves_the_choice_but_never_the_weight():
    scores = torch.tensor([[0.5, 0.3, 0.2]])
    experts, weights = choose_experts(scores, 1, renormalize=False, bias=torch.tensor([0.0, 0.0, 1.0]))
    assert experts.tolist() == [[2]]
    assert weights.item() == pytest.approx(0.2)


def test_the_bias_is_used_only_where_balance_is_bias():
    x = torch.randn(50, 8)
    for balance, all_to_one in (("bias", True), ("loss", False), ("none", False)):
        router = make_router(balance=balance, n_active=1)
        router.bias[2] = 10
        assert bool((router(x).experts == 2).all()) is all_to_one


def test_noise_moves_choices_in_training_only():
    router, x = make_router(noise=5.0, n_active=1), torch.randn(200, 8)
    router.eval()
    assert torch.equal(router(x).experts, router(x).experts)
    router.train()
    first, second = router(x), router(x)
    assert not torch.equal(first.experts, second.experts)
    chosen = second.scores.gather(1, second.experts)
    torch.testing.assert_close(second.weights, chosen)  # plain scores, without the noise


def test_the_router_works_in_float32_under_autocast_and_with_bfloat16_tokens():
    router, x = make_router(), torch.randn(64, 8).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        routing = router(x)
    assert routing.logits.dtype == routing.weights.dtype == torch.float32
    torch.testing.assert_close(routing.logits, x.float() @ router.weight.T, rtol=0, atol=1e-6)


def test_sigmoid_routing_as_in_deepseek_v3():
    router, x = make_router(gate="sigmoid", balance="bias"), torch.randn(30, 8)
    router.bias.copy_(torch.tensor([0.3, 0.0, -0.3, 0.1]))
    routing = router(x)
    for n in range(30):  # token by token, in NumPy
        p = 1 / (1 + np.exp(-routing.logits[n].double().detach().numpy()))
        chosen = np.argsort(-(p + router.bias.double().numpy()))[:2]
        assert sorted(routing.experts[n].tolist()) == sorted(chosen)
        weights = dict(zip(routing.experts[n].tolist(), routing.weights[n].tolist()))
        for e in chosen:
            assert weights[e] == pytest.approx(p[e] / p[chosen].sum(), abs=1e-5)
    torch.testing.assert_close(routing.scores.sum(-1), torch.ones(30))


# ---------------------------------------------------------------- gradients

def weight_gradient(**settings) -> torch.Tensor:
    """The router's gradient from the output alone, without balance losses."""
    torch.manual_seed(1)
    layer = MoE(8, 16, MoEConfig(n_expert=4, **settings))
    torch.nn.init.normal_(layer.router.weight)
    torch.nn.init.normal_(layer.experts.gate_up)
    torch.nn.init.normal_(layer.experts.down)
    layer(torch.randn(40, 8)).square().sum().backward()
    return layer.router.weight.grad


def test_top_1_gives_the_router_a_gradient_and_top_1_renormalised_gives_none():
    assert weight_gradient(n_active=1).abs().max() > 1
    assert weight_gradient(n_active=1, renormalize=True).abs().max() < 1e-3  # p/p = 1: rounding


def test_the_balance_loss_has_the_gradient_of_the_lesson():
    logits = torch.randn(12, 5, dtype=torch.float64, requires_grad=True)
    scores = logits.softmax(-1)
    load = torch.tensor([10, 4, 0, 7, 3])
    balance_loss(scores, load).backward()
    p, f = scores.detach(), load / load.sum()
    expected = 5 / 12 * p * (f - (f * p).sum(-1, keepdim=True))
    torch.testing.assert_close(logits.grad, expected)


def test_the_balance_loss_is_1_when_even_and_n_expert_when_collapsed():
    even = torch.full((6, 4), 0.25)
    assert balance_loss(even, torch.tensor([3, 3, 3, 3])).item() == pytest.approx(1)
    one = torch.zeros(6, 4)
    one[:, 2] = 1
    assert balance_loss(one, torch.tensor([0, 0, 6, 0])).item() == pytest.approx(4)


def test_a_step_down_the_balance_loss_makes_the_load_more_even():
    logits = (torch.randn(200, 4) + torch.tensor([2.0, 0, 0, 0])).requires_grad_()
    before = count_load(logits.topk(1).indices, 4)
    balance_loss(logits.softmax(-1), before).backward()
    after = count_load((logits - 300 * logits.grad).topk(1).indices, 4)
    assert max_load(after) < max_load(before) - 0.3


def test_the_z_loss_worked_out_by_hand_and_its_gradient():
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]], dtype=torch.float64,
                          requires_grad=True)
    loss = z_loss(logits)
    assert loss.item() == pytest.approx((math.log(4) ** 2 + math.log(2) ** 2) / 2)
    loss.backward()
    lse = torch.tensor([[math.log(4)], [math.log(2)]], dtype=torch.float64)
    torch.testing.assert_close(logits.grad, 2 / 2 * logits.detach().softmax(-1) * lse)


# ---------------------------------------------------------------- balance without a loss

def test_the_bias_step_worked_out_by_hand():
    moved = bias_step(torch.zeros(3), torch.tensor([5, 1, 3]), 0.1)
    torch.testing.assert_close(moved, torch.tensor([-0.1, 0.1, 0.0]))


def test_biases_alone_even_out_a_skewed_load():
    router = make_router(n_active=1, balance="bias", bias_rate=0.02)
    x = torch.randn(400, 8) + 2 * router.weight[0].detach() / router.weight[0].norm()
    before = max_load(router(x).load)
    for _ in range(100):
        routing = router(x)
        router.update_bias()
    assert before > 1.8 and max_load(routing.load) < 1.25
    assert not router.bias.requires_grad and router.load.sum() == 0


def test_biases_follow_the_load_of_all_micro_batches_of_a_step_and_of_training_only():
    router = make_router(balance="bias", bias_rate=0.1)
    parts = [torch.randn(20, 8), torch.randn(30, 8)]
    total = sum(router(part).load for part in parts)
    router.eval()
    router(torch.randn(500, 8))
    router.update_bias()
    torch.testing.assert_close(router.bias, bias_step(torch.zeros(4), total, 0.1))


def test_other_balances_leave_the_biases_alone():
    router = make_router(balance="loss")
    router(torch.randn(20, 8))
    router.update_bias()
    assert router.bias.abs().sum() == 0 and router.load.sum() == 0


# ---------------------------------------------------------------- load and capacity

def test_max_load_is_the_fullest_over_the_mean():
    assert max_load(torch.tensor([1, 1, 1, 5])) == pytest.approx(2.5)
    assert max_load(torch.tensor([0, 0])) == 1.0


def test_capacity_is_rounded_up_and_counts_all_choices():
    assert capacity_of(10, 2, 8, 1.0) == 3   # 20 choices over 8 experts: 2.5
    assert capacity_of(16, 2, 8, 1.25) == 5
    assert capacity_of(1, 1, 64, 0.1) == 1   # never none


def test_overflow_is_dropped_by_rank_of_choice_then_by_place():
    experts = torch.tensor([[0, 1], [0, 1], [0, 2], [1, 0]])
    kept = drop_overflow(experts, 3, 2)
    D = DROPPED
    # expert 0: first choices of tokens 0 and 1; expert 1: first choice of token 3, second of 0
    assert kept.tolist() == [[0, 1], [0, D], [D, 2], [1, D]]


def test_exactly_the_capacity_is_kept():
    experts = torch.zeros(10, 1, dtype=torch.int64)
    for capacity in (1, 7, 10, 11):
        kept = drop_overflow(experts, 4, capacity)
        assert int((kept == 0).sum()) == min(capacity, 10)


def test_dropping_agrees_with_a_loop_over_the_choices():
    experts = torch.stack([torch.randperm(6)[:3] for _ in range(40)])
    expected = experts.clone()
    seen = [0] * 6
    for choice in range(3):
        for n in range(40):
            e = int(experts[n, choice])
            seen[e] += 1
            if seen[e] > 15:
                expected[n, choice] = DROPPED
    assert torch.equal(drop_overflow(experts, 6, 15), expected)


def test_a_routing_counts_what_it_dropped_and_the_load_before_that():
    routing = make_router(n_active=1, capacity=0.5)(torch.randn(40, 8))
    assert routing.dropped >= 20
    assert routing.load.sum() == 40


# ---------------------------------------------------------------- bad input

@pytest.mark.parametrize("settings, part", [
    ({"n_expert": 4, "n_active": 5}, "n_active=5 of n_expert=4"),
    ({"n_active": 0}, "n_active=0"),
    ({"n_expert": 0}, "n_expert=0"),
    ({"capacity": 0}, "capacity=0"),
    ({"capacity": -1.0}, "capacity=-1.0"),
    ({"capacity": float("nan")}, "capacity=nan"),
    ({"gate": "tanh"}, "gate='tanh'"),
    ({"balance": "hope"}, "balance='hope'"),
    ({"form": "quick"}, "form='quick'"),
    ({"noise": -0.1}, "noise=-0.1"),
    ({"balance_weight": float("inf")}, "balance_weight=inf"),
    ({"n_shared": -1}, "n_shared=-1"),
    ({"n_hidden": 0}, "n_hidden=0"),
    ({"shared_gate": True}, "shared_gate=True"),
])
def test_settings_that_mean_nothing_are_refused_by_name(settings, part):
    with pytest.raises(ValueError, match=part.replace(".", r"\.")):
        MoEConfig(**settings)
