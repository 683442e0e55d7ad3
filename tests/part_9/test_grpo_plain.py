"""GRPO on a page: the fast loop does just what the plain one does, and the plain one learns."""

import copy
from dataclasses import replace

import pytest
import torch
from gpt.model import GPT, GPTConfig
from reasoning import grpo_plain
from reasoning.grpo import group_advantages as fast_group_advantages
from reasoning.grpo_loop import GRPO
from reasoning.grpo_plain import (
    ASK,
    END,
    PAD,
    PlainSettings,
    group_advantages,
    grpo_loss,
    learn,
    logp_of,
    sample,
    score,
    train,
)
from reasoning.grpo_settings import GRPOSettings
from rl.rollout import roll_out
from run.runtime import Runtime
from torch.testing import assert_close

CPU = Runtime(torch.device("cpu"), None, "", "")
ASKED = [[1, 2, 3], [4], [5, 6, 7], [8], [1, 9], [2, 2, 2, 3]]
# one minibatch in one piece, nothing beside the weights, no row left out
FAST = GRPOSettings(steps=2, prompts=6, group=3, max_new=8, epochs=2, minibatch=0, micro_rows=18,
                    peak=1.0, warmup=0.0, beta=0.1,
                    drop_equal=False, normaliser="token", max_norm=0.3)
PLAIN = PlainSettings(epochs=2, group=FAST.group, beta=FAST.beta, clip_low=FAST.clip_low,
                      clip_high=FAST.clip_high, max_norm=FAST.max_norm)


@pytest.fixture
def tiny():
    """A GPT of 12 tokens with random weights, its head large enough that the logits differ."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=12, block_size=24, n_layer=2, n_head=2, n_kv_head=1,
                          n_embd=16, embedding_std=0.5, tied=False)).eval()
    with torch.no_grad():
        model.head.weight.mul_(10)
    return model


@pytest.fixture
def both(tiny):
    """A fast GRPO that has moved from its reference, a rollout of it, and its rewards."""
    grpo = GRPO(tiny, None, FAST, end=10, pad=11, runtime=CPU)
    move(grpo.model, 0.02)
    rollout = roll_out(grpo.model, ASKED, FAST.max_new, end=10, pad=11, copies=FAST.group,
                       generator=torch.Generator().manual_seed(3))
    assert len(set(rollout.rows.is_response.sum(1).tolist())) > 3, "rows of different lengths"
    rewards = torch.tensor([r.count(3) - 0.1 * len(r) for r in rollout.replies()])
    return grpo, rollout, rewards


def move(module, by):
    """Every weight a little further, always the same way."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in module.parameters():
            weight += by * torch.randn(weight.shape, generator=generator)


def padded(rows):
    """The fast loop's rows -> ids (N, T) and is_response (N, T-1) of the plain one."""
    is_response = torch.zeros_like(rows.ids[:, 1:], dtype=torch.bool)
    for b, (first, length) in enumerate(zip(rows.first.tolist(), rows.lengths.tolist())):
        is_response[b, first - 1:length - 1] = True
    return rows.ids, is_response


def in_columns(x, rows):
    """(N, R) of the fast loop -> (N, T-1) of the plain one, zero outside the replies."""
    _, is_response = padded(rows)
    return torch.zeros(is_response.shape).masked_scatter(is_response, x[rows.is_response])


def measured(grpo, rollout, rewards):
    """-> the fast loop's batch, and its orders."""
    advantages, kept = grpo.advantage(rollout, rewards)
    assert len(kept) == len(rewards)
    orders = grpo.orders(len(rewards), torch.Generator().manual_seed(0))
    return grpo.measure(rollout.rows, advantages, orders), orders


# ---- the fast loop is held to the plain one

def test_the_same_rewards_have_the_same_advantages(both):
    _, _, rewards = both
    assert_close(fast_group_advantages(rewards, 3), group_advantages(rewards, 3), atol=1e-6,
                 rtol=1e-6)
    assert_close(group_advantages(torch.tensor([1.0, 0, 0, 0, 5, 5, 5, 5]), 4),
                 torch.tensor([1.5, -0.5, -0.5, -0.5, 0, 0, 0, 0]), atol=1e-3, rtol=0)


def test_the_same_rollout_has_the_same_log_probabilities(both):
    grpo, rollout, rewards = both
    batch, _ = measured(grpo, rollout, rewards)
    ids, is_response = padded(rollout.rows)
    with torch.no_grad():
        for found, model in ((batch.old_logp, grpo.model), (batch.ref_logp, grpo.reference)):
            assert_close(in_columns(found, rollout.rows),
                         torch.where(is_response, logp_of(model, ids), 0.0), atol=1e-5, rtol=1e-5)
    assert (batch.old_logp - batch.ref_logp).abs().max() > 0.1, "there is a KL to pay for"


@pytest.mark.parametrize("moved", [0.0, 0.05], ids=["first pass", "later pass"])
def test_the_same_rollout_has_the_same_loss_and_gradient(both, moved):
    grpo, rollout, rewards = both
    batch, orders = measured(grpo, rollout, rewards)
    move(grpo.model, moved)
    learnt = grpo.gradient(batch, orders[0][0])
    fast = {name: p.grad.clone() for name, p in grpo.model.named_parameters()}
    grpo.model.zero_grad()
    ids, is_response = padded(rollout.rows)
    loss = grpo_loss(logp_of(grpo.model, ids), in_columns(batch.old_logp, rollout.rows),
                     in_columns(batch.ref_logp, rollout.rows), group_advantages(rewards, 3),
                     is_response, PLAIN)
    loss.backward()
    assert loss.item() == pytest.approx(learnt["loss"], abs=1e-6)
    for name, p in grpo.model.named_parameters():
        assert_close(p.grad, fast[name], atol=1e-6, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    if moved:
        assert 0.05 < learnt["clip_fraction"] < 0.95, "clipping acts"
    else:
        assert learnt["ratio"] == 1.0


def test_a_whole_update_of_two_passes_ends_at_the_same_weights(both):
    grpo, rollout, rewards = both
    ids, is_response = padded(rollout.rows)
    model = copy.deepcopy(grpo.model)
    grpo.optimizer = torch.optim.SGD([  # AdamW would blow the roundings of tiny gradients up
        {"params": list(grpo.model.parameters()), "scale": 1.0}], lr=1.0)
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    rate = FAST.learning_rate().rate(1 / 3)
    learnt = grpo.update(*measured(grpo, rollout, rewards))
    assert learnt["gradient_norm"] > FAST.max_norm, "the gradient is clipped"
    learn(model, grpo.reference, torch.optim.SGD(model.parameters(), lr=rate), ids, is_response,
          rewards, PLAIN)
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert rate > 0.1 and (after - before).norm() > 0.1
    fast = dict(grpo.model.named_parameters())
    for name, p in model.named_parameters():
        assert_close(p, fast[name], atol=1e-6, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


# ---- the plain form by itself

def test_the_loss_by_hand():
    """Two replies, of two tokens and of one: a mean over three tokens, padding left out."""
    s = replace(PLAIN, beta=1.0)
    loss = grpo_loss(torch.tensor([[1.5, 1.1, 2.0], [1.5, 7.0, 7.0]]).log(),
                     torch.zeros(2, 3), torch.tensor([[1.5, 1.1, 2.0], [3.0, 9.0, 9.0]]).log(),
                     torch.tensor([1.0, -1.0]),
                     torch.tensor([[True, True, False], [True, False, False]]), s)
    # ratio 1.5 of a good reply is clipped to 1.28, of a bad one not at all; k3 of one token:
    # 3.0 / 1.5 - 1 - log 2
    wanted = (-1.28 - 1.1 + 1.5 + (1 - torch.tensor(2.0).log())) / 3
    assert_close(loss, wanted)


def test_padded_rows_are_read_as_if_they_stood_alone(both):
    grpo, rollout, _ = both
    ids, is_response = padded(rollout.rows)
    logp, other = logp_of(grpo.model, ids), ids.clone()
    for b, length in enumerate(rollout.rows.lengths.tolist()):
        own = logp_of(grpo.model, ids[b:b + 1, :length])[0]
        assert_close(logp[b, :length - 1], own, atol=1e-5, rtol=1e-5)
        other[b, length:] = 0
    assert torch.equal(logp_of(grpo.model, other)[is_response], logp[is_response])


def test_a_token_does_not_change_what_came_before(tiny):
    ids = torch.randint(10, (2, 9))
    other = ids.clone()
    other[:, 5] = (ids[:, 5] + 1) % 10
    logp, changed = logp_of(tiny, ids), logp_of(tiny, other)
    assert torch.equal(logp[:, :4], changed[:, :4]) and (logp[:, 4] != changed[:, 4]).all()


def test_samples_come_from_the_models_distribution_and_end_once(tiny):
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


def test_the_toys_reward_by_hand():
    ids = torch.tensor([[3, 5, ASK, 5, END, PAD, PAD], [3, 5, ASK, 3, END, PAD, PAD],
                        [3, 5, ASK, 5, 5, END, PAD], [3, 5, ASK, END, PAD, PAD, PAD],
                        [3, 5, ASK, 5, 1, 1, 1]])
    is_response = torch.tensor([[0 <= t < n for t in range(-2, 4)] for n in (2, 2, 3, 1, 4)])
    assert_close(score(ids, is_response), torch.tensor([1.2, 0.2, 1.0, 0.0, 1.0]))


def test_replies_to_one_prompt_stand_side_by_side(watch):
    calls = watch(grpo_plain, "learn")
    train(PlainSettings(steps=2, prompts=5, group=3), seed=0)
    for call in calls:
        groups = call.ids[:, :3].view(5, 3, 3)
        assert (groups == groups[:, :1]).all() and (groups[0] != groups[1]).any()


def test_the_reward_rises_from_chance():
    log = train(PlainSettings(steps=45), seed=0)
    assert log[0]["reward"] < 0.2 and log[0]["KL"] == 0
    assert sum(line["reward"] for line in log[-5:]) / 5 > 0.6, "seeds 0 to 4: 0.79 to 1.03"


def test_settings_without_a_meaning_are_refused():
    with pytest.raises(ValueError, match="group=1"):
        PlainSettings(group=1)


@pytest.mark.scripts
def test_the_script_prints_a_table_and_the_seed_matters(run_script):
    texts = [run_script("part_9/train_grpo_plain.py", "--steps", 3, "--seed", seed).stdout
             for seed in (0, 0, 1)]
    header, line, *rows = texts[0].splitlines()[-5:]
    assert header.split()[:2] == ["step", "reward"] and set(line) == {"-", " "}
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert texts[0] == texts[1] != texts[2].replace("seed 1", "seed 0")
