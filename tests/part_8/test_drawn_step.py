"""The drawings of one step of PPO and of DPO show the tensors of that step."""

import demo_one_step
import pytest
import torch


@pytest.fixture(scope="module")
def steps():
    model, value_head, reference = demo_one_step.trained_a_little(0)
    ppo = demo_one_step.one_ppo_step(model, value_head, reference)
    dpo = demo_one_step.one_dpo_step(model, reference, ppo["ids"], ppo["is_response"],
                                     ppo["scores"])
    return ppo, dpo


def test_the_score_stands_with_the_last_token_and_every_token_pays_its_kl(steps):
    ppo, _ = steps
    kl = (ppo["old_logp"] - ppo["ref_logp"]) * ppo["is_response"]
    torch.testing.assert_close(ppo["rewards"].sum(1) + demo_one_step.SETTINGS.beta * kl.sum(1),
                               ppo["scores"])
    assert (ppo["rewards"][~ppo["is_response"]] == 0).all()


def test_both_replies_of_a_pair_answer_one_prompt_and_the_better_one_is_chosen(steps):
    ppo, dpo = steps
    ids, scores = ppo["ids"].view(-1, 2, ppo["ids"].size(1)), ppo["scores"].view(-1, 2)
    assert (ids[:, 0, :2] == ids[:, 1, :2]).all()
    for chosen, rows, both in zip(dpo["chosen"], ids, scores):
        assert (chosen == rows[both.argmax()]).all()
    assert scores.std(1).max() > 0  # or nothing is better than anything


def test_a_replys_log_probability_is_the_sum_over_its_tokens(steps):
    ppo, dpo = steps
    best = ppo["scores"].view(-1, 2).argmax(1) + 2 * torch.arange(len(dpo["chosen"]))
    summed = torch.where(ppo["is_response"], ppo["old_logp"], 0.0).sum(1)
    torch.testing.assert_close(dpo["logp_chosen"], summed[best])


def test_both_are_drawn(steps, tmp_path):
    demo_one_step.draw_ppo(tmp_path / "diagram_ppo_step.png", steps[0], "")
    demo_one_step.draw_dpo(tmp_path / "diagram_dpo_step.png", steps[1], "")
    assert len(list(tmp_path.glob("*.png"))) == 2
