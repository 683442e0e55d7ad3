"""The reward model's losses and their gradients are those of `trl` on the same weights."""

import pytest
import torch
from field_losses import MARGINS, PAD, field_model, head, pairs, same_as_trl
from reward.data import PairIds, pair_batch
from reward.losses import bradley_terry, centring
from reward.model import PlainRewardModel


@pytest.fixture
def model(tmp_path):
    made = PlainRewardModel(field_model(tmp_path))
    with torch.no_grad():
        made.head.weight.copy_(torch.tensor([head(made.head.in_features, 1)]))
    return made


def scores(model):
    batch = pair_batch([PairIds((*p, *c), (*p, *r)) for p, c, r in pairs()], PAD)
    found = model(batch.ids, batch.last)
    return found[batch.chosen], found[batch.rejected]


@pytest.mark.parametrize("case,loss", [
    ("reward", bradley_terry),
    ("reward_margin", lambda a, b: bradley_terry(a, b, margin=torch.tensor(MARGINS))),
    ("reward_centred", lambda a, b: bradley_terry(a, b) + 0.01 * centring(a, b))])
def test_the_loss_is_trls(model, case, loss):
    same_as_trl(case, loss(*scores(model)), model.body, **{"score.weight": model.head.weight})
