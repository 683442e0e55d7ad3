"""The drawing of one step of GRPO shows the tensors of that step."""

import demo_one_group
import pytest
import torch


@pytest.fixture(scope="module")
def step():
    return demo_one_group.one_step(*demo_one_group.trained_a_little(0))


def test_a_group_answers_one_question_and_its_advantages_sum_to_0(step):
    group = demo_one_group.SETTINGS.group
    asked = step["prompts"].view(-1, group, 3)
    assert (asked == asked[:, :1]).all() and not (asked[0, 0] == asked[1, 0]).all()
    sums = step["advantages"].view(-1, group).sum(1)
    torch.testing.assert_close(sums, torch.zeros(2), atol=1e-5, rtol=0)
    assert step["rewards"].view(-1, group).std(1).min() > 0  # both groups have a signal


def test_the_better_reply_has_the_larger_advantage(step):
    rewards, advantages = (step[name][:demo_one_group.SETTINGS.group]
                           for name in ("rewards", "advantages"))
    assert advantages[rewards.argmax()] == advantages.max() > 0
    assert advantages[rewards.argmin()] == advantages.min() < 0


def test_it_draws_and_prints(capsys, tmp_path):
    demo_one_group.main(["--out", str(tmp_path)])
    assert "the advantages sum to" in capsys.readouterr().out
    assert (tmp_path / "diagram_grpo_step.png").exists()
