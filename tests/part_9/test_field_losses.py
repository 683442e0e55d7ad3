"""GRPO's losses, and their gradients, are those of `trl` on the same weights and batch.

Names: our "sequence" is trl's loss "grpo"; "token" is "dapo", and "bnpo" where a batch is not cut
into pieces; "constant" is "dr_grpo", whose length is the limit of a completion. The KL is k3 in both.
"""

import pytest
import torch
from field_losses import LONGEST, OLD, PAD, REWARDS, field_model, grpo_batch, same_as_trl, scaled
from reasoning.grpo import group_advantages, grpo_loss
from rl.policy import response_logp
from rl.rollout import as_rollout


@pytest.fixture
def model(tmp_path):
    return field_model(tmp_path)


@pytest.mark.parametrize("case,normaliser,beta", [
    ("grpo", "sequence", 0.0), ("grpo_kl", "sequence", 0.04), ("dr_grpo", "constant", 0.04),
    ("dapo", "token", 0.04), ("bnpo", "token", 0.0)])
def test_grpo_is_trls(model, case, normaliser, beta):
    prompts, replies = grpo_batch()
    rows = as_rollout(prompts, replies, [[0.0] * len(r) for r in replies], 2, PAD, copies=3).rows
    with torch.no_grad():
        old, ref = response_logp(scaled(model, OLD), rows), response_logp(scaled(model), rows)
    advantages = group_advantages(torch.tensor(REWARDS), 3, scale=case != "dr_grpo")
    found = grpo_loss(response_logp(model, rows), old, ref if beta else None, advantages,
                      rows.is_response, clip_low=0.2, clip_high=0.28, beta=beta,
                      normaliser=normaliser, length=LONGEST)
    assert 0 < found.clip_fraction < 1
    same_as_trl(case, found.loss, model)
