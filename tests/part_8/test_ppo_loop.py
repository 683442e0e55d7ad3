"""One step of PPO: what is fixed, what moves, in which order; and runs that collapse."""

from dataclasses import replace

import pytest
import torch
from rl.policy import response_logp
from rl.ppo_loop import PPO
from rl.ppo_settings import PPOSettings
from rl.steps import minibatches, pieces
from rl.toy_task import BEGIN, END, PAD, SETTINGS, make_ppo, prompts, qualities, take_steps
from rl.toy_task import quality as toy_quality
from run.runtime import Runtime

CPU = Runtime(torch.device("cpu"), None, "", "")
SMALL = PPOSettings(steps=4, prompts=4, copies=2, max_new=6, epochs=2, minibatch=4, micro_rows=2,
                    peak=1e-2, stop_kl=0.0)
ASKED = [[1, 2, 3], [4], [5, 6, 7], [8]]


def some_score(rollout):
    return torch.tensor([reply.count(3) - 0.1 * len(reply) for reply in rollout.replies()])


def ppo_of(model, score=some_score, seed=0, **changes) -> PPO:
    return PPO(model, score, replace(SMALL, **changes), end=10, pad=11, runtime=CPU, seed=seed)


def weights_of(ppo) -> list:
    return list(ppo.policy.parameters())


def experience_of(ppo, seed=3):
    generator = torch.Generator().manual_seed(seed)
    rollout = ppo.sample(ASKED, generator)
    order = minibatches(len(rollout.rows), ppo.settings.minibatch, generator)
    return ppo.advantage(rollout, ppo.score(rollout), order), order


# ---- the first minibatch, and what stays fixed

def test_before_the_first_update_the_ratio_is_1_to_the_bit(tiny):
    ppo = ppo_of(tiny)
    for _ in range(3):
        found = ppo.step(ASKED)
        assert found["first_ratio"] == 1.0
        assert found["first_approx_kl"] == 0.0 and found["first_clip_fraction"] == 0.0
        assert found["sampler_gap"] < 1e-5, "the sampler and the update agree"
    assert found["kl"] != 0, "the policy has moved"


def test_the_reference_stays_as_it_was_to_the_bit(tiny):
    ppo = ppo_of(tiny)
    before = {name: x.clone() for name, x in ppo.reference.state_dict().items()}
    start = {name: x.clone() for name, x in ppo.policy.state_dict().items()}
    ppo.step(ASKED)
    assert all(torch.equal(x, before[name]) for name, x in ppo.reference.state_dict().items())
    moved = [name for name, x in ppo.policy.state_dict().items() if not torch.equal(x, start[name])]
    assert set(moved) == set(start), "all of the policy moved, the value head too"


def test_what_was_measured_has_no_gradient_and_is_that_of_policy_and_reference(tiny):
    ppo = ppo_of(tiny)
    ppo.step(ASKED)
    e, _ = experience_of(ppo)
    assert not any(x.requires_grad for x in (e.logp, e.ref_logp, e.values, e.advantages))
    rows = e.rollout.rows
    with torch.no_grad():
        logp, _, values = ppo.policy(rows)
        torch.testing.assert_close(e.logp, logp, atol=1e-5, rtol=0)
        torch.testing.assert_close(e.values, values, atol=1e-5, rtol=0)
        torch.testing.assert_close(e.ref_logp, response_logp(ppo.reference, rows), atol=1e-5,
                                   rtol=0)
    assert not torch.equal(e.logp, e.ref_logp)


def test_policy_and_reference_are_in_eval_mode_in_the_update(tiny):
    tiny.dropout.p = 0.5
    for block in tiny.blocks:
        block.dropout.p = 0.5
    ppo = ppo_of(tiny.train())
    found = ppo.step(ASKED)
    assert found["first_ratio"] == 1.0 and found["sampler_gap"] < 1e-5
    assert not ppo.policy.training and not ppo.reference.training


def test_returns_are_taken_before_the_advantages_are_whitened(tiny):
    (white, _), (plain, _) = (experience_of(ppo_of(tiny, whiten=on)) for on in (True, False))
    torch.testing.assert_close(white.returns, plain.returns)
    is_response = plain.rollout.rows.is_response
    torch.testing.assert_close(plain.returns, plain.advantages + plain.values)
    x = plain.advantages[is_response]
    torch.testing.assert_close(white.advantages[is_response], (x - x.mean()) / x.std())


def test_with_a_group_baseline_a_prompts_scores_are_compared_with_each_other(tiny):
    hard = {1: 5.0, 4: -5.0, 5: 100.0, 8: 0.0}  # how easy each prompt is, by its first token
    ppo = ppo_of(tiny, lambda r: torch.tensor([hard[row[0]] for row in r.token_rows()]),
                 whiten=False)
    assert experience_of(ppo)[0].returns.abs().max() == 0, "nobody did better than the others"
    ppo.settings = replace(ppo.settings, group_baseline=False)
    assert experience_of(ppo)[0].returns.max() == 100


# ---- the order of learning

def test_each_pass_has_every_row_once_in_a_fresh_order():
    generator = torch.Generator().manual_seed(0)
    passes = [minibatches(12, 4, generator) for _ in range(3)]
    for parts in passes:
        assert sorted(torch.cat(parts).tolist()) == list(range(12))
        assert [len(part) for part in parts] == [4, 4, 4]
    assert len({tuple(torch.cat(parts).tolist()) for parts in passes}) == 3


def test_an_update_takes_as_many_optimizer_steps_as_minibatches(tiny):
    ppo = ppo_of(tiny)
    moves = []
    ppo.move = lambda original=ppo.move: moves.append(1) or original()
    found = ppo.step(ASKED)
    assert len(moves) == found["minibatches"] == 2 * 8 // 4


def test_the_passes_of_an_update_are_in_different_orders(tiny):
    ppo, seen = ppo_of(tiny), []
    ppo.gradient = lambda e, part, original=ppo.gradient: seen.append(part.tolist()) \
        or original(e, part)
    ppo.step(ASKED)
    assert sorted(seen[0] + seen[1]) == sorted(seen[2] + seen[3]) == list(range(8))
    assert seen[:2] != seen[2:]


def test_the_gradient_in_pieces_is_that_of_the_whole_minibatch(tiny):
    grads = []
    for micro_rows in (1, 8):
        ppo = ppo_of(tiny, minibatch=8, micro_rows=micro_rows)
        torch.nn.init.normal_(ppo.policy.value_head.weight, generator=torch.Generator()
                              .manual_seed(0))
        e, order = experience_of(ppo)
        assert len(set(e.rollout.rows.is_response.sum(1).tolist())) > 1, "pieces weigh differently"
        ppo.policy.zero_grad()
        ppo.gradient(e, order[0])
        grads.append(torch.cat([p.grad.flatten() for p in weights_of(ppo)]))
    torch.testing.assert_close(*grads, atol=1e-6, rtol=1e-4)


def test_the_gradient_equals_that_of_the_losses_written_out(tiny):
    ppo = ppo_of(tiny, entropy_weight=0.3, value_weight=0.7, micro_rows=4)
    e, order = experience_of(ppo)
    part = order[0]
    ppo.policy.zero_grad()
    ppo.gradient(e, part)
    found = [p.grad.clone() for p in weights_of(ppo)]
    ppo.policy.zero_grad()
    rows, terms = e.rollout.rows, []
    logp, entropy, values = ppo.policy(rows)
    for b in part.tolist():
        for t in range(int(rows.is_response[b].sum())):
            ratio = (logp[b, t] - e.logp[b, t]).exp()
            a = e.advantages[b, t]
            loss = torch.maximum(-a * ratio, -a * ratio.clamp(0.8, 1.2))
            near = e.values[b, t] + (values[b, t] - e.values[b, t]).clamp(-0.2, 0.2)
            error = torch.maximum((values[b, t] - e.returns[b, t]) ** 2,
                                  (near - e.returns[b, t]) ** 2)
            terms.append(loss + 0.7 * 0.5 * error - 0.3 * entropy[b, t])
    torch.stack(terms).mean().backward()
    for p, grad in zip(weights_of(ppo), found):
        torch.testing.assert_close(p.grad, grad, atol=1e-5, rtol=1e-3)


def test_pieces_are_of_like_length_and_complete_with_siblings_side_by_side(tiny):
    rollout = ppo_of(tiny).sample(ASKED, torch.Generator().manual_seed(0))
    rows, part = rollout.rows, torch.tensor([5, 2, 0, 7, 4, 3, 6, 1])
    assert rows.prompt.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    order = torch.cat(pieces(part, rows, 2))
    assert sorted(order.tolist()) == list(range(8))
    pairs = order.view(4, 2)
    assert (rows.prompt[pairs[:, 0]] == rows.prompt[pairs[:, 1]]).all()
    assert (rows.lengths[pairs].amax(1).diff() >= 0).all()
    alone = torch.cat(pieces(part, replace(rows, prompt=None), 2))
    assert (rows.lengths[alone].diff() >= 0).all() and sorted(alone.tolist()) == list(range(8))


def test_the_replies_to_a_prompt_are_in_one_minibatch_where_that_divides():
    order = minibatches(12, 4, torch.Generator().manual_seed(0), copies=2)
    assert sorted(torch.cat(order).tolist()) == list(range(12))
    pairs = torch.cat(order).view(6, 2)
    assert (pairs[:, 1] - pairs[:, 0] == 1).all() and (pairs[:, 0] % 2 == 0).all()
    odd = minibatches(12, 3, torch.Generator().manual_seed(0), copies=2)
    assert sorted(torch.cat(odd).tolist()) == list(range(12)) and [len(p) for p in odd] == [3] * 4


def test_an_update_ends_where_the_policy_has_gone_too_far(tiny):
    found = ppo_of(tiny, stop_kl=1e-9).step(ASKED)
    assert found["stopped_early"] == 1.0 and found["minibatches"] == 2
    found = ppo_of(tiny, stop_kl=1e9).step(ASKED)
    assert found["stopped_early"] == 0.0 and found["minibatches"] == 4


def test_the_minibatch_that_went_too_far_is_not_learnt_from(tiny):
    ppo, moves = ppo_of(tiny, stop_kl=1e-9), []
    ppo.move = lambda original=ppo.move: moves.append(1) or original()
    ppo.step(ASKED)
    assert len(moves) == 1
    assert all(p.grad is None for p in ppo.policy.parameters()), "nothing is left for later"


def test_the_gradient_is_clipped_and_its_norm_told_before(tiny):
    ppo = ppo_of(tiny, lambda r: 1e4 * some_score(r), max_norm=0.5, whiten=False)
    e, order = experience_of(ppo)
    ppo.gradient(e, order[0])
    seen = []
    ppo.optimizer.step = lambda *_, **__: seen.append(torch.stack(
        [p.grad.norm() for p in weights_of(ppo)]).norm().item())
    assert ppo.move() > 0.5 and seen[0] == pytest.approx(0.5, rel=1e-3)


# ---- the KL, the length, and the report

def test_the_weight_of_the_kl_and_the_length_follow_the_measured_kl(tiny):
    ppo = ppo_of(tiny, beta=0.1, target_kl=1e-3, horizon=8, peak=3e-2)
    ppo.collapsed = lambda found: ""  # a target this low would stop the run
    ppo.step(ASKED)
    assert ppo.kl.beta == pytest.approx(0.08), "KL 0: below the target by more than a fifth"
    found = ppo.step(ASKED)
    assert found["kl"] > 1e-3 and ppo.kl.beta == pytest.approx(0.08 * 1.2)
    assert ppo.length.length == 5 and found["longest"] == 6


def test_fixed_settings_stay(tiny):
    ppo = ppo_of(tiny, adaptive=False, length_control=False, beta=0.1, target_kl=100.0)
    for _ in range(2):
        ppo.step(ASKED)
    assert ppo.kl.beta == 0.1 and ppo.length.length == 6


def test_the_reported_kl_is_the_mean_over_replies_of_the_sum_over_tokens(tiny):
    ppo = ppo_of(tiny)
    ppo.step(ASKED)
    e, _ = experience_of(ppo)
    found = ppo.report(e, {"entropy": 1.0})
    assert found["kl"] == pytest.approx(((e.logp - e.ref_logp).sum(1).mean()).item())
    assert found["score"] == pytest.approx(e.scores.mean().item())
    assert found["length"] == pytest.approx(e.rollout.rows.is_response.sum(1).float().mean().item())


@pytest.mark.parametrize("change, message", [
    ({"kl": 1e4}, "above 10 times its target"), ({"entropy": 1e-5}, "one thing only"),
    ({"policy_loss": float("nan")}, "policy_loss is no number")])
def test_a_collapse_is_named(tiny, change, message):
    ppo = ppo_of(tiny)
    fine = {"kl": 1.0, "entropy": 1.0, "policy_loss": 0.1}
    assert ppo.collapsed(fine) == ""
    said = [ppo.collapsed({**fine, **change}) for _ in range(3)]
    assert message in said[2]
    assert ("entropy" in change) == (said[:2] == ["", ""]), "entropy alone may be low by chance"


def test_easy_prompts_now_and_then_are_no_collapse(tiny):
    ppo = ppo_of(tiny)
    for entropy in (1.0, 0.001, 0.001, 0.5, 0.001, 0.001):
        state = ppo.state()
        ppo.load_state(state)  # a stop in between changes nothing
        assert ppo.collapsed({"kl": 1.0, "entropy": entropy}) == ""
    assert "the entropy fell" in ppo.collapsed({"kl": 1.0, "entropy": 0.001})


def test_a_run_with_a_rate_far_too_high_is_stopped(tiny):
    ppo = ppo_of(tiny, peak=3.0, max_norm=0.0, target_kl=0.5, warmup=0.0)
    with pytest.raises(FloatingPointError, match="step"):
        for _ in range(4):
            ppo.step(ASKED)


# ---- runs

def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tiny):
    import copy
    runs = [ppo_of(copy.deepcopy(tiny), seed=seed) for seed in (0, 0, 1)]
    logs = [[ppo.step(ASKED)["score"] for _ in range(2)] for ppo in runs]
    assert logs[0] == logs[1] != logs[2]
    one, same, other = (run.policy.body.head.weight for run in runs)
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_one_prompt_and_one_reply_to_each_are_enough(tiny):
    ppo = ppo_of(tiny, prompts=1, copies=1, minibatch=1, micro_rows=1)
    assert ppo.step([[1, 2]])["minibatches"] == 2


def test_a_small_policy_learns_what_is_asked_for():
    log = take_steps(make_ppo(qualities, replace(SETTINGS, steps=12), 0))
    start, end = (sum(line["quality"] for line in part) / 3 for part in (log[:3], log[-3:]))
    assert end > start + 0.05
    assert all(line["first_ratio"] == 1.0 for line in log)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_every_seed_the_whole_run_learns_it(seed):
    log = take_steps(make_ppo(qualities, SETTINGS, seed))
    assert log[0]["quality"] < 0.5 and log[-1]["quality"] > 0.7
    assert all(line["first_ratio"] == 1.0 for line in log)


def test_the_toy_quality_by_hand():
    assert toy_quality([BEGIN, 3], [3, 1, 1, END]) == pytest.approx(0.3 + 0.7 * 2 / 8 - 0.1)
    assert toy_quality([BEGIN, 3], list(range(3, 8)) + [0, 1, 2, END]) == pytest.approx(1.0)
    assert toy_quality([BEGIN, 3], [END]) == 0
    assert all(p[0] == BEGIN and p[1] < PAD for p in prompts(20, 0))


@pytest.mark.parametrize("change, message", [
    ({"minibatch": 3}, "--minibatch 3 does not divide the 8 rows"),
    ({"micro_rows": 3}, "--micro-rows 3 does not divide --minibatch 4"),
    ({"steps": 0}, "--steps 0"), ({"temperature": 0.0}, "--temperature 0.0"),
    ({"clip": 0.0}, "--clip 0.0"), ({"beta": 0.0}, "--beta 0 with --adaptive"),
    ({"lam": 1.5}, "--lam 1.5"), ({"stop_kl": -1.0}, "--stop-kl -1.0"), ({"peak": 0.0}, "peak")])
def test_settings_without_a_meaning_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


@pytest.mark.parametrize("rows, size, copies", [(12, 4, 2), (12, 4, 3), (10, 5, 4), (8, 8, 8)])
def test_every_row_comes_once_also_where_copies_do_not_divide_a_minibatch(rows, size, copies):
    parts = minibatches(rows, size, torch.Generator().manual_seed(0), copies)
    assert [len(part) for part in parts] == [size] * (rows // size)
    assert torch.cat(parts).sort().values.tolist() == list(range(rows))
