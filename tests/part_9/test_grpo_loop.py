"""One step of GRPO: what is sampled, what is left out, what moves, and that a toy is learnt."""

import copy
from dataclasses import replace

import pytest
import torch
from reasoning.grpo_loop import GRPO
from reasoning.grpo_settings import GRPOSettings
from reasoning.toy_largest import (
    END,
    PAD,
    SETTINGS,
    all_prompts,
    greedy_accuracy,
    is_right,
    rewards,
    tuned_model,
    worked,
)
from rl.policy import response_logp

TRAINED, HELD_OUT = all_prompts()
SMALL = replace(SETTINGS, steps=4, prompts=6, group=4, micro_rows=5)


@pytest.fixture(scope="module")
def start():
    return tuned_model(0)


def make(start, runtime, settings=SMALL, score=rewards, **options):
    return GRPO(copy.deepcopy(start), score, settings, end=END, pad=PAD, runtime=runtime, **options)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_the_toys_prompts_are_kept_apart_and_its_gold_is_right():
    assert not {tuple(p) for p in TRAINED} & {tuple(p) for p in HELD_OUT}
    assert all(is_right(p, worked(p)) for p in HELD_OUT)
    assert not is_right(HELD_OUT[0], worked(HELD_OUT[0])[:-1]), "without an end nothing counts"


@pytest.mark.parametrize("minibatch, epochs", [(0, 1), (4, 2)])
def test_the_first_ratio_is_exactly_1_and_nothing_is_clipped(start, runtime, minibatch, epochs):
    grpo = make(start, runtime, replace(SMALL, minibatch=minibatch, epochs=epochs))
    found = grpo.step(TRAINED[:6], TRAINED[:6])
    assert found["first_ratio"] == pytest.approx(1.0, abs=1e-7)
    assert found["signal"] > 0 and found["gradient_norm"] > 0


def examples(step, rows):
    """What shall be kept: some numbers in order, then the end."""
    ids = (torch.arange(6) + step + torch.arange(rows)[:, None]) % 5
    return ids, torch.cat([ids[:, 1:], torch.full((rows, 1), END)], 1), torch.zeros_like(ids)


def test_earlier_examples_add_the_gradient_of_their_loss(start, runtime):
    """eq. 9.6, against autograd on a cross-entropy written out."""
    grpo = make(start, runtime, replace(SMALL, keep_rows=3, keep_weight=0.25), keep=examples)
    loss = grpo.remember()
    ids, targets, _ = examples(0, 3)
    plain = copy.deepcopy(start).eval()
    logp = plain(ids)[0].float().log_softmax(-1)
    gold = -logp.gather(2, targets[..., None]).mean()
    (0.25 * gold).backward()
    assert loss == pytest.approx(gold.item(), rel=1e-5)
    for ours, theirs in zip(grpo.model.parameters(), plain.parameters()):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)


def test_what_is_read_beside_the_replies_is_kept(start, runtime):
    """Examples that the start does not know become likelier, step by step, as RL goes on."""
    settings = replace(SMALL, steps=12, keep_rows=4, keep_weight=2.0, peak=3e-3)
    grpo = make(start, runtime, settings, keep=lambda step, rows: examples(0, rows))
    found = [grpo.step(TRAINED[:6], TRAINED[:6]) for _ in range(12)]
    kept = [x["keep_loss"] for x in found if "keep_loss" in x]
    assert len(kept) > 6 and kept[-1] < 0.5 * kept[0]
    assert "keep_loss" not in make(start, runtime).step(TRAINED[:6], TRAINED[:6])


def test_rows_to_be_kept_must_come_from_somewhere(start, runtime):
    with pytest.raises(ValueError, match="keep_rows=2: there is nothing to be kept"):
        make(start, runtime, replace(SMALL, keep_rows=2))


def test_later_updates_see_that_the_policy_has_moved_since_the_rollout(start, runtime):
    grpo = make(start, runtime, replace(SMALL, epochs=3, peak=1e-2, warmup=0.0))
    found = grpo.step(TRAINED[:6], TRAINED[:6])
    assert abs(found["ratio"] - 1) > 1e-3 and found["clip_fraction"] > 0
    assert all(p.grad is None for p in grpo.model.parameters()), "a gradient is used once"


def test_the_kl_is_0_at_the_start_and_above_0_later(start, runtime):
    grpo = make(start, runtime, replace(SMALL, beta=0.1))
    first = grpo.step(TRAINED[:6], TRAINED[:6])
    for _ in range(2):
        later = grpo.step(TRAINED[:6], TRAINED[:6])
    assert abs(first["kl"]) < 1e-6 < later["kl"]


@pytest.mark.parametrize("drop", [True, False])
def test_groups_with_equal_rewards_move_nothing(start, runtime, drop):
    grpo = make(start, runtime, replace(SMALL, drop_equal=drop, beta=0.0),
                score=lambda rollout, tasks: torch.full((len(rollout.rows),), 0.1))
    before = weights(grpo.model)
    found = grpo.step(TRAINED[:6], TRAINED[:6])
    assert torch.equal(weights(grpo.model), before)
    assert found["signal"] == (0.0 if drop else 1.0)


def test_a_reward_that_is_no_number_is_refused(start, runtime):
    grpo = make(start, runtime, score=lambda r, t: torch.full((len(r.rows),), float("nan")))
    with pytest.raises(ValueError, match="a reward is nan"):
        grpo.step(TRAINED[:6], TRAINED[:6])


def test_the_reference_stays_as_it_was_to_the_bit(start, runtime):
    grpo = make(start, runtime)
    before = weights(grpo.reference)
    for _ in range(3):
        grpo.step(TRAINED[:6], TRAINED[:6])
    assert torch.equal(weights(grpo.reference), before)
    assert not torch.equal(weights(grpo.model), before)


def test_the_same_seed_gives_the_same_weights(start, runtime):
    one, two, other = (make(start, runtime, seed=seed) for seed in (1, 1, 2))
    for grpo in (one, two, other):
        grpo.step(TRAINED[:6], TRAINED[:6])
    assert torch.equal(weights(one.model), weights(two.model))
    assert not torch.equal(weights(one.model), weights(other.model))


def test_every_step_draws_anew(start, runtime):
    grpo, seen = make(start, runtime, replace(SMALL, peak=1e-12), score=lambda r, t: (
        seen.append(r.replies()) or torch.arange(len(r.rows)).float())), []
    for _ in range(2):
        grpo.step(TRAINED[:6], TRAINED[:6])
    assert seen[0] != seen[1]


@pytest.mark.parametrize("normaliser", ["sequence", "token", "constant"])
def test_pieces_add_up_to_the_whole(start, runtime, normaliser):
    """Replies of different lengths: a mean of the pieces' means would differ."""
    def score(rollout, tasks):
        return torch.arange(len(rollout.rows)).remainder(3).float()

    grads = []
    for micro_rows in (3, 1000):
        s = replace(SMALL, micro_rows=micro_rows, normaliser=normaliser, beta=0.05)
        grpo = make(start, runtime, s, score)
        grpo.move = lambda: 0.0  # keep the gradient
        grpo.step(TRAINED[:6], TRAINED[:6])
        grads.append(torch.cat([p.grad.flatten() for p in grpo.model.parameters()]))
    torch.testing.assert_close(*grads, atol=1e-6, rtol=1e-4)


def test_every_row_is_in_one_minibatch_of_each_pass(start, runtime):
    grpo = make(start, runtime, replace(SMALL, minibatch=4, epochs=3))
    orders = grpo.orders(10, torch.Generator().manual_seed(0))
    assert [[len(part) for part in order] for order in orders] == [[4, 4, 2]] * 3
    assert all(sorted(torch.cat(order).tolist()) == list(range(10)) for order in orders)
    assert orders[0][0].tolist() != orders[1][0].tolist()


def test_old_log_probabilities_are_measured_where_there_are_several_updates(start, runtime):
    s = replace(SMALL, minibatch=4, epochs=2, drop_equal=False)
    grpo = make(start, runtime, s)
    grpo.step(TRAINED[:6], TRAINED[:6])  # from here on the policy is not the reference
    kept = {}
    grpo.update = lambda batch, orders: kept.update(batch=batch) or {}
    grpo.step(TRAINED[:6], TRAINED[:6])
    batch = kept["batch"]
    with torch.no_grad():
        own, ref = (response_logp(m, batch.rows) for m in (grpo.model, grpo.reference))
    torch.testing.assert_close(batch.old_logp, own, atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.ref_logp, ref, atol=1e-5, rtol=0)
    assert (own - ref).abs().max() > 1e-3


def test_long_replies_cost_when_length_is_soft(start, runtime):
    grpo = make(start, runtime, replace(SMALL, soft_length=SMALL.max_new, scale=False))
    kept = {}
    advantage = grpo.advantage

    def spy(rollout, values):
        found = advantage(rollout, torch.zeros(len(rollout.rows)))
        kept.update(lengths=rollout.rows.is_response.sum(1), advantages=found[0])
        return found

    grpo.advantage = spy
    grpo.step(TRAINED[:6], TRAINED[:6])
    lengths, advantages = kept["lengths"].view(6, 4).float(), kept["advantages"].view(6, 4)
    expected = -(lengths - lengths.mean(1, keepdim=True)) / SMALL.max_new
    torch.testing.assert_close(advantages, expected, atol=1e-6, rtol=0)


def test_a_toy_learns_from_right_and_wrong_alone(start, runtime):
    before = greedy_accuracy(start, HELD_OUT[:300])
    grpo = make(start, runtime, replace(SETTINGS, steps=40))
    for step in range(40):
        part = TRAINED[32 * step:32 * step + 32]
        grpo.step(part, part)
    after = greedy_accuracy(grpo.model, HELD_OUT[:300])
    assert before < 0.75 and after > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_on_part_8s_toy_grpo_and_ppo_learn_with_every_seed(seed):
    from demo_ppo_vs_grpo import SETTINGS as PPO_SETTINGS
    from demo_ppo_vs_grpo import learn
    for name, least in (("PPO", 0.65), ("GRPO", 0.85)):
        run = learn(name, PPO_SETTINGS.steps, seed)
        assert run["curve"][0][1] < 0.5 and run["score"] > least, name


@pytest.mark.parametrize("change, says", [
    ({"group": 1}, "--group 1: must be at least 2"), ({"steps": 0}, "--steps 0"),
    ({"temperature": 0.0}, "--temperature 0.0"), ({"beta": -1.0}, "--beta -1.0"),
    ({"clip_low": 1.5}, "--clip-low 1.5"), ({"normaliser": "mean"}, "--normaliser mean"),
    ({"soft_length": 199}, "--soft-length 199")])
def test_settings_that_do_not_fit_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        GRPOSettings(**change)
