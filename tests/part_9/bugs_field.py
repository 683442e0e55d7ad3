"""Mistakes that make a loss another than the field's; each must fail a test."""

from planted import Bug


def test(part: int) -> str:
    return f"tests/part_{part}/test_field_losses.py"


BUGS = [
    Bug("a loss that counts all tokens, not the labels", "part_6/gpt/head_loss.py",
        "count = is_counted.sum().clamp(min=1)", "count = torch.tensor(len(targets))", test(6)),
    Bug("centring is the square of a difference", "part_7/reward/losses.py",
        "return (chosen + rejected).square().mean()", "return (chosen - rejected).square().mean()",
        test(7)),
    Bug("a margin is added, not asked for", "part_7/reward/losses.py",
        "d = chosen - rejected - margin", "d = chosen - rejected + margin", test(7)),
    Bug("the score is read before the last token", "part_7/reward/model.py",
        "return self.token_scores(ids).gather(1, last[:, None]).squeeze(1)",
        "return self.token_scores(ids).gather(1, last[:, None] - 1).squeeze(1)", test(7)),
    Bug("the flipped labels' loss with the other sign", "part_8/rl/dpo.py",
        "+ smoothing * F.logsigmoid(-d)).mean()", "- smoothing * F.logsigmoid(-d)).mean()", test(8)),
    Bug("the value is clipped around the returns", "part_8/rl/ppo.py",
        "near = old_values + (values - old_values).clamp(-clip, clip)",
        "near = returns + (values - returns).clamp(-clip, clip)", test(8)),
    Bug("the value loss without its half", "part_8/rl/ppo.py",
        "return 0.5 * masked_mean(loss, is_response)", "return masked_mean(loss, is_response)", test(8)),
    Bug("advantages over the biased deviation", "part_9/reasoning/grpo.py",
        "(groups.std(dim=1, keepdim=True) + eps)",
        "(groups.std(dim=1, keepdim=True, correction=0) + eps)", test(9)),
    Bug("the same clip on both sides", "part_9/reasoning/grpo.py",
        "clipped = -advantage * ratio.clamp(1 - clip_low, 1 + clip_high)",
        "clipped = -advantage * ratio.clamp(1 - clip_low, 1 + clip_low)", test(9)),
    Bug("the KL turned round", "part_9/reasoning/grpo.py",
        "    d = ref_logp - logp\n", "    d = logp - ref_logp\n", test(9)),
    Bug("dr_grpo divides by the longest reply", "part_9/reasoning/grpo.py",
        "return values.sum(dim=1).mean() / length", "return values.sum(dim=1).mean() / values.size(1)",
        test(9)),
]
