"""DPO's and PPO's losses, and their gradients, are those of `trl` on the same weights and batch.

Two differences are matters of definition:
- smoothing (eq. 8.17) is `label_smoothing` of the loss "sigmoid" in trl 0.24.0, of which the figure
  is; in trl 1.16.0 "sigmoid" has none, and "robust" has the flipped labels' loss with the other
  sign, divided by 1 - 2 * smoothing.
- the value behind a reply's last token: trl averages the value loss over one place more in each
  reply that is shorter than the longest, the state that the end token leads to. Here a reply that
  has ended has no more states: what follows is worth 0 (eq. 8.7). With that place added ours is
  trl's.
"""

import json

import pytest
import torch
from field_losses import (
    FIGURES,
    FULL,
    PAD,
    RAGGED,
    field_model,
    head,
    pairs,
    ppo_batch,
    same_as_trl,
    scaled,
)
from rl.dpo import dpo_loss
from rl.dpo_pairs import PairTokens, pair_rows
from rl.policy import Policy, response_logp
from rl.ppo import policy_loss, value_loss
from rl.rollout import as_rollout

SEEN = json.loads(FIGURES.read_text(encoding="utf-8"))


@pytest.fixture
def model(tmp_path):
    return field_model(tmp_path)


@pytest.mark.parametrize("case,smoothing,gold", [("dpo", 0.0, 0.0), ("dpo_smoothed", 0.1, 0.0),
                                                 ("dpo_gold", 0.0, 0.2)])
def test_dpo_is_trls(model, case, smoothing, gold):
    rows = pair_rows([PairTokens(*pair) for pair in pairs()], 2, PAD, "cpu")
    logp = response_logp(model, rows)
    with torch.no_grad():
        ref = response_logp(scaled(model), rows).sum(1)
    one, other = logp.sum(1).view(-1, 2).unbind(1)
    loss = dpo_loss(one, other, *ref.view(-1, 2).unbind(1), beta=0.1, smoothing=smoothing).loss
    labels = sum(len(chosen) for _, chosen, _ in pairs())
    same_as_trl(case, loss - gold * one.sum() / labels, model)  # eq. 8.18, as train_dpo.py has it


def ppo_parts(model, lengths, longer=0):
    """The policy with its value head, and, (rows, 5) each: where replies are, log-probabilities and
    values, old ones, advantages, returns. `longer`: places that are read behind a reply."""
    prompts, replies, advantages, returns, change = ppo_batch(lengths)
    padded = [reply + [PAD] * min(longer, max(lengths) - len(reply)) for reply in replies]
    rows = as_rollout(prompts, padded, [[0.0] * len(reply) for reply in padded], 2, PAD).rows
    policy = Policy(model)
    with torch.no_grad():
        policy.value_head.weight.copy_(torch.tensor([head(32, 2)]))
        policy.value_head.bias.fill_(0.1)
        old_logp = response_logp(scaled(model), rows)
    logp, _, values = policy(rows)
    old_values = values.detach() + 0.5 * torch.tensor(change)
    return policy, rows.is_response, logp, values, old_logp, old_values, \
        torch.tensor(advantages), torch.tensor(returns)


def heads(policy):
    return {"value.weight": policy.value_head.weight, "value.bias": policy.value_head.bias}


def test_ppo_is_trls(model):
    policy, real, logp, values, old_logp, old_values, advantages, returns = ppo_parts(model, FULL)
    first = policy_loss(logp, old_logp, advantages, real, clip=0.2)
    second = value_loss(values, old_values, returns, real, clip=0.2)
    assert first.clip_fraction == pytest.approx(0.2), "some are clipped, some are not"
    assert float(first.loss) == pytest.approx(SEEN["ppo"]["policy_loss"], abs=1e-4)
    assert float(second) == pytest.approx(SEEN["ppo"]["value_loss"], abs=1e-4)
    same_as_trl("ppo", first.loss + 0.1 * second, model, **heads(policy))


def test_ppo_on_replies_of_different_lengths_is_trls_but_for_the_value_behind_the_end(model):
    _, real, logp, values, old_logp, old_values, advantages, returns = ppo_parts(model, RAGGED)
    first = policy_loss(logp, old_logp, advantages, real, clip=0.2)
    assert float(first.loss) == pytest.approx(SEEN["ppo_ragged"]["policy_loss"], abs=1e-4)
    ours = value_loss(values, old_values, returns, real, clip=0.2)
    assert abs(float(ours) - SEEN["ppo_ragged"]["value_loss"]) > 1e-3
    policy, more, _, values, _, old_values, _, returns = ppo_parts(model, RAGGED, longer=1)
    assert int(more.sum()) == int(real.sum()) + 3  # one place in each of the three shorter replies
    theirs = value_loss(values, old_values, returns, more, clip=0.2)
    assert float(theirs) == pytest.approx(SEEN["ppo_ragged"]["value_loss"], abs=1e-4)
    same_as_trl("ppo_ragged", first.loss + 0.1 * theirs, model, **heads(policy))
