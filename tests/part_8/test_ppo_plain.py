"""PPO on a page: the fast loop does just what the plain one does, and the plain one learns."""

import copy
from dataclasses import replace

import pytest
import torch
from rl.ppo import gae, token_rewards
from rl.ppo_loop import PPO
from rl.ppo_plain import (
    END,
    PAD,
    PlainSettings,
    learn,
    logp_and_values,
    ppo_loss,
    sample,
    score,
    train,
    whiten,
)
from rl.ppo_plain import gae as plain_gae
from rl.ppo_plain import token_rewards as plain_token_rewards
from rl.ppo_settings import PPOSettings
from run.runtime import Runtime
from torch.testing import assert_close

CPU = Runtime(torch.device("cpu"), None, "", "")
ASKED = [[1, 2, 3], [4], [5, 6, 7], [8], [1, 9], [2, 2, 2, 3]]
# one minibatch in one piece, no number beside the weights, no limit that ends an update
FAST = PPOSettings(steps=1, prompts=6, copies=3, max_new=8, epochs=2, minibatch=18, micro_rows=18,
                   peak=1.0, warmup=0.0, value_rate=1.0,
                   value_weight=0.5, beta=0.1, adaptive=False, group_baseline=False, gamma=0.97,
                   length_control=False, stop_kl=0.0, lam=0.9, clip=0.2, value_clip=0.1,
                   max_norm=0.3)
PLAIN = PlainSettings(epochs=2, beta=FAST.beta, gamma=FAST.gamma, lam=FAST.lam, clip=FAST.clip,
                      value_clip=FAST.value_clip, value_weight=FAST.value_weight,
                      max_norm=FAST.max_norm)


def close(found, wanted):
    assert_close(found, wanted, atol=1e-6, rtol=1e-6)


@pytest.fixture
def both(tiny):
    """A fast PPO that has moved from its reference, a rollout of it, scores, and the order of its
    one minibatch."""
    ppo = PPO(tiny, lambda rollout: torch.tensor([r.count(3) - 0.1 * len(r)
                                                  for r in rollout.replies()]),
              FAST, end=10, pad=11, runtime=CPU)
    torch.nn.init.normal_(ppo.policy.value_head.weight, std=0.3)
    move(ppo.policy.body, 0.02)
    rollout = ppo.sample(ASKED, torch.Generator().manual_seed(3))
    assert len(set(rollout.rows.is_response.sum(1).tolist())) > 3, "rows of different lengths"
    return ppo, rollout, ppo.score(rollout), ppo.pass_over(rollout.rows, torch.Generator())


def move(module, by):
    """Every weight a little further, always the same way."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in module.parameters():
            weight += by * torch.randn(weight.shape, generator=generator)


def padded(rows):
    """The fast loop's rows -> ids (B, T) and is_response (B, T-1) of the plain one."""
    is_response = torch.zeros_like(rows.ids[:, 1:], dtype=torch.bool)
    for b, (first, length) in enumerate(zip(rows.first.tolist(), rows.lengths.tolist())):
        is_response[b, first - 1:length - 1] = True
    return rows.ids, is_response


def in_columns(x, rows):
    """(B, R) of the fast loop -> (B, T-1) of the plain one, zero outside the replies."""
    _, is_response = padded(rows)
    return torch.zeros(is_response.shape).masked_scatter(is_response, x[rows.is_response])


def plain_measures(ppo, rollout, scores):
    """What the plain form measures of a rollout, before it learns."""
    ids, is_response = padded(rollout.rows)
    with torch.no_grad():
        logp, values = logp_and_values(ppo.policy.body, ppo.policy.value_head, ids)
        ref_logp, _ = logp_and_values(ppo.reference, ppo.policy.value_head, ids)
    rewards = plain_token_rewards(scores, logp, ref_logp, is_response, PLAIN.beta)
    return logp, values, ref_logp, rewards, ids, is_response


# ---- the fast loop is held to the plain one

def test_the_same_rollout_has_the_same_log_probabilities_values_and_rewards(both):
    ppo, rollout, scores, order = both
    e = ppo.advantage(rollout, scores, order)
    logp, values, ref_logp, rewards, _, is_response = plain_measures(ppo, rollout, scores)
    for found, wanted in ((e.logp, logp), (e.values, values), (e.ref_logp, ref_logp)):
        assert_close(in_columns(found, rollout.rows), torch.where(is_response, wanted, 0.0),
                     atol=1e-5, rtol=1e-5)  # two ways of reading a row: a rounding apart
    fast = token_rewards(scores, e.logp, e.ref_logp, rollout.rows.is_response, FAST.beta)
    close(in_columns(fast, rollout.rows), rewards)
    assert (e.logp - e.ref_logp).abs().max() > 0.1, "there is a KL to pay for"


def test_the_same_rollout_has_the_same_advantages_and_returns(both):
    ppo, rollout, scores, order = both
    rows = rollout.rows
    e = ppo.advantage(rollout, scores, order)
    _, values, _, rewards, _, is_response = plain_measures(ppo, rollout, scores)
    advantages, returns = plain_gae(rewards, values, is_response, PLAIN.gamma, PLAIN.lam)
    close(in_columns(e.returns, rows), returns)
    raw = gae(token_rewards(scores, e.logp, e.ref_logp, rows.is_response, FAST.beta), e.values,
              rows.is_response, gamma=FAST.gamma, lam=FAST.lam)[0]
    close(in_columns(raw, rows), advantages)
    white = torch.where(is_response, whiten(advantages, is_response), 0.0)
    close(in_columns(e.advantages, rows), white)


@pytest.mark.parametrize("moved", [0.0, 0.05], ids=["first pass", "later pass"])
def test_the_same_rollout_has_the_same_loss_and_gradient(both, moved):
    ppo, rollout, scores, order = both
    rows = rollout.rows
    e = ppo.advantage(rollout, scores, order)
    move(ppo.policy.body, moved)
    move(ppo.policy.value_head, 4 * moved)
    learnt = ppo.gradient(e, order[0])
    named = {name: p for name, p in ppo.policy.named_parameters()}
    fast = {name: p.grad.clone() for name, p in named.items()}
    ppo.policy.zero_grad()
    ids, is_response = padded(rows)
    logp, values = logp_and_values(ppo.policy.body, ppo.policy.value_head, ids)
    fixed = [in_columns(x, rows) for x in (e.logp, e.values, e.advantages, e.returns)]
    loss = ppo_loss(logp, values, *fixed, is_response, PLAIN)
    loss.backward()
    assert loss.item() == pytest.approx(learnt["policy_loss"] + 0.5 * learnt["value_loss"],
                                        abs=1e-6)
    for name, p in named.items():
        assert_close(p.grad, fast[name], atol=1e-6, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    if moved:
        assert 0.05 < learnt["clip_fraction"] < 0.95, "clipping acts"
        far = (values - fixed[1]).abs()[is_response] > PLAIN.value_clip
        assert 0.05 < far.float().mean() < 0.95, "on the values too"
    else:
        assert learnt["ratio"] == 1.0


def test_a_whole_update_of_two_passes_ends_at_the_same_weights(both):
    ppo, rollout, scores, order = both
    ids, is_response = padded(rollout.rows)
    policy = copy.deepcopy(ppo.policy)
    weights = list(ppo.policy.parameters())
    ppo.optimizer = torch.optim.SGD([  # AdamW would blow the roundings of tiny gradients up
        {"params": weights, "scale": 1.0}], lr=1.0)
    before = torch.cat([p.detach().flatten() for p in weights])
    ppo.settings = replace(FAST, steps=2)  # so that the rate of the first step is not 0
    rate = ppo.settings.learning_rate().rate(1 / 3)
    learnt = ppo.update(ppo.advantage(rollout, scores, order), order, torch.Generator())
    assert learnt["gradient_norm"] > FAST.max_norm, "the gradient is clipped"
    plain = [*policy.body.parameters(), *policy.value_head.parameters()]
    reference = copy.deepcopy(ppo.reference)
    learn(policy.body, policy.value_head, ppo.reference, torch.optim.SGD(plain, lr=rate), ids,
          is_response, scores, PLAIN)
    assert rate > 0.1 and (torch.cat([p.detach().flatten() for p in plain]) - before).norm() > 0.1
    fast = dict(ppo.policy.named_parameters())
    for name, p in policy.named_parameters():
        assert_close(p, fast[name], atol=1e-6, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    for a, b in zip(reference.parameters(), ppo.reference.parameters()):
        assert torch.equal(a, b), "the reference stays"


# ---- the plain form by itself

def test_gae_by_hand():
    """Two tokens after a prompt of two, then padding: rewards 0.5 and 1, values 0.2 and 0.4."""
    is_response = torch.tensor([[False, True, True, False]])
    advantages, returns = plain_gae(torch.tensor([[0.0, 0.5, 1.0, 0.0]]),
                                    torch.tensor([[9.0, 0.2, 0.4, 7.0]]), is_response, 0.5, 0.5)
    # the last: 1 - 0.4; the first: 0.5 + 0.5 * 0.4 - 0.2 + 0.25 * 0.6
    close(advantages, torch.tensor([[0.0, 0.65, 0.6, 0.0]]))
    close(returns, torch.tensor([[0.0, 0.85, 1.0, 0.0]]))


def test_padded_rows_are_read_as_if_they_stood_alone(both):
    ppo, rollout, _, _ = both
    body, head = ppo.policy.body, ppo.policy.value_head
    ids, is_response = padded(rollout.rows)
    logp, values = logp_and_values(body, head, ids)
    other = ids.clone()
    for b, length in enumerate(rollout.rows.lengths.tolist()):
        own = [x[0] for x in logp_and_values(body, head, ids[b:b + 1, :length])]
        assert_close(logp[b, :length - 1], own[0], atol=1e-5, rtol=1e-5)
        assert_close(values[b, :length - 1], own[1], atol=1e-5, rtol=1e-5)
        other[b, length:] = 0
    for found, wanted in zip(logp_and_values(body, head, other), (logp, values)):
        assert torch.equal(found[is_response], wanted[is_response])


def test_a_token_changes_neither_its_own_value_nor_what_came_before(tiny):
    head = torch.nn.Linear(16, 1)
    ids = torch.randint(10, (2, 9))
    other = ids.clone()
    other[:, 5] = (ids[:, 5] + 1) % 10
    (logp, values), (logp_2, values_2) = (logp_and_values(tiny, head, x) for x in (ids, other))
    assert torch.equal(logp[:, :4], logp_2[:, :4]), "columns before that of its action"
    assert torch.equal(values[:, :5], values_2[:, :5]), "s_4 is what was read before the token"
    assert (logp[:, 4] != logp_2[:, 4]).all() and (values[:, 5] != values_2[:, 5]).all()


def test_samples_come_from_the_policys_distribution_and_end_once(tiny):
    prompts = torch.tensor([[1, 2, 3]]).repeat(4000, 1)
    ids, is_response = sample(tiny, prompts, 5, end=10, pad=11)
    assert torch.equal(ids[:, :3], prompts) and not is_response[:, :2].any()
    share = ids[:, 3].bincount(minlength=12) / 4000
    chance = tiny(prompts[:1])[0][0, -1].softmax(-1)
    assert ((share - chance).abs() < 5 * (chance * (1 - chance) / 4000).sqrt() + 1e-3).all()
    for row, real in zip(ids[:300, 3:].tolist(), is_response[:300, 2:].tolist()):
        length = row.index(10) + 1 if 10 in row else len(row)
        assert real == [t < length for t in range(len(row))], "END counts, what is behind not"
        assert row[length:] == [11] * (len(row) - length)


def test_samples_go_on_from_what_was_drawn(tiny):
    with torch.no_grad():
        tiny.head.weight.mul_(1e4)  # sure of each token
    ids, _ = sample(tiny, torch.tensor([[1, 2, 3], [4, 5, 6]]), 6, end=10, pad=11)
    for row in ids.tolist():
        own, end = row[:3], len(row) if 10 not in row else row.index(10) + 1
        while len(own) < end:
            own.append(int(tiny(torch.tensor([own]))[0][0, -1].argmax()))
        assert row[:end] == own


def test_the_toys_score_by_hand():
    assert score(torch.tensor([[10, 6, 7, 0, 1, END, PAD], [10, 6, 7, 0, END, PAD, PAD],
                               [10, 6, 0, 7, 1, 3, END]])).tolist() == [1.0, 0.5, 0.25]
    assert score(torch.tensor([[10, 3, 4, END], [10, 3, END, PAD]])).tolist() == [0.25, 0.0]


def test_the_score_rises_from_chance():
    log = train(PlainSettings(steps=40), seed=0)
    assert log[0]["score"] < 0.15 and log[0]["KL"] == 0
    assert sum(line["score"] for line in log[-5:]) / 5 > 0.5, "seeds 0 to 4: 0.62 to 0.85"


def test_settings_without_a_meaning_are_refused():
    with pytest.raises(ValueError, match="steps=0"):
        PlainSettings(steps=0)


@pytest.mark.scripts
def test_the_script_prints_a_table_and_the_seed_matters(run_script):
    texts = [run_script("part_8/train_ppo_plain.py", "--steps", 3, "--seed", seed).stdout
             for seed in (0, 0, 1)]
    header, line, *rows = texts[0].splitlines()[-5:]
    assert header.split()[:2] == ["step", "score"] and set(line) == {"-", " "}
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert texts[0] == texts[1] != texts[2].replace("seed 1", "seed 0")
