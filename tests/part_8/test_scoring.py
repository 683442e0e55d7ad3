"""Where the reward comes from, and what is reported about held-out prompts."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reward.checkpoint import load_reward, save_reward
from reward.judge import quality
from reward.preferences import asked_items
from rl import quality_report
from rl.policy import frozen_copy
from rl.quality_report import (
    LONGEST,
    compare,
    cool_quality,
    gain_interval,
    greedy_answers,
    held_out_items,
    rollout_kl,
    sampled_quality,
)
from rl.rollout import as_rollout, roll_out
from rl.scoring import load_source, true_qualities
from sft.chat_format import encode_prompt, messages_of
from sft.evaluation import Reply
from sft.skills import items
from show_kl import by_place, token_kl
from train_ppo import prompts_of_step, world_prompts, worth_asking

WITH = "python part_7/train_reward.py"


@pytest.fixture
def source(tiny_reward, loaded, runtime):
    return load_source(tiny_reward, loaded[1], runtime, WITH)


def rollout_of(tokenizer, prompts, replies, ended=True):
    end = [tokenizer.end] if ended else []
    texts = [[*tokenizer.encode(reply), *end] for reply in replies]
    return as_rollout([tokenizer.encode(prompt) for prompt in prompts], texts,
                      [[0.0] * len(text) for text in texts], tokenizer.end, tokenizer.pad)


def test_the_score_changes_when_only_the_prompt_changes(source, loaded):
    found = source(rollout_of(loaded[1], ["What is 3 + 4?", "What is 5 + 4?"], [" 7", " 7"]))
    assert abs(found[0] - found[1]) > 1e-4  # and neither is NaN


def test_padding_changes_no_score(source, loaded):
    alone = source(rollout_of(loaded[1], ["What?"], [" 7"]))
    beside = source(rollout_of(loaded[1], ["What?", "A long question about a lot of things."],
                               [" 7", " An answer that goes on and on."]))
    assert beside[0].item() == pytest.approx(alone[0].item(), abs=1e-5)


def test_scores_are_in_deviations_of_the_reference(source, loaded):
    rollout = rollout_of(loaded[1], ["What?", "Who?"], [" 7", " Ann"])
    torch.testing.assert_close(source(rollout), (source.raw(rollout) - 0.1) / 2.0)


def test_a_reply_without_its_end_costs(source, loaded):
    rollout = rollout_of(loaded[1], ["What?"], [" 7"], ended=False)
    expected = (source.raw(rollout) - 0.1) / 2.0 - 1.0
    torch.testing.assert_close(source(rollout), expected)


def test_a_reward_model_with_another_tokenizer_is_refused(tiny_reward, loaded, runtime, tmp_path):
    model, tokenizer, _ = load_reward(tiny_reward, WITH)
    save_reward(tmp_path / "odd.pt", model, tokenizer.with_special("<|more|>"), mean=0.0, std=1.0,
                settings={}, metrics={})
    with pytest.raises(ValueError, match="its tokenizer is not the policy's"):
        load_source(tmp_path / "odd.pt", loaded[1], runtime, WITH)


def test_a_reward_model_that_reads_too_little_is_refused(tiny_reward, loaded, runtime):
    with pytest.raises(ValueError, match="reads 256 tokens, the policy writes up to 300"):
        load_source(tiny_reward, loaded[1], runtime, WITH, block_size=300)


def test_the_judge_marks_each_reply_against_its_own_item(loaded):
    tokenizer = loaded[1]
    asked = asked_items(4, "new_items", 3)
    rollout = as_rollout([encode_prompt(messages_of(i), tokenizer) for i in asked],
                         [[*tokenizer.encode(f" {i.answer}"), tokenizer.end] for i in asked],
                         [[0.0] * (len(tokenizer.encode(f" {i.answer}")) + 1) for i in asked],
                         tokenizer.end, tokenizer.pad)
    assert true_qualities(asked, rollout, tokenizer) == [1.0] * 4
    others = asked[1:] + asked[:1]
    turned = true_qualities(others, rollout, tokenizer)
    assert turned == [quality(b, a.answer) for a, b in zip(asked, others)] != [1.0] * 4


# ---- prompts

def test_prompts_to_train_on_and_held_out_ones_share_nothing(loaded):
    tokenizer = loaded[1]
    trained = {tuple(prompt) for prompt in world_prompts(300, 0, tokenizer)}
    held_out = {tuple(encode_prompt(messages_of(item), tokenizer))
                for item in held_out_items(200, 0)}
    assert len(trained) > 250 and not trained & held_out


@pytest.mark.parametrize("unseen", [0.0, 0.25, 1.0])
def test_a_share_of_the_prompts_is_of_content_that_tuning_kept_aside(loaded, unseen):
    tokenizer = loaded[1]
    aside = {tuple(encode_prompt(messages_of(item), tokenizer))
             for item in asked_items(400, "validation", 0)}
    prompts = world_prompts(80, 0, tokenizer, unseen)
    assert len(prompts) == 80
    assert sum(tuple(prompt) in aside for prompt in prompts) == 80 * unseen


def test_a_pool_is_the_first_items_that_may_be_asked(loaded):
    may = [item for item in items(400, "validation", 3)
           if item.skill not in ("telling a story", "story questions")]
    assert world_prompts(90, 3, loaded[1], 1.0) == [encode_prompt(messages_of(item), loaded[1])
                                                    for item in may[:90]]


def test_prompts_whose_replies_differ_are_worth_asking():
    scores = torch.tensor([[1.0, 1.0], [0.0, 3.0], [-2.0, -2.0], [5.0, 4.0]])
    assert worth_asking(scores, 0.5) == [1, 3] and worth_asking(scores, 0.01) == [1]


def test_every_prompt_of_the_pool_is_asked_once_before_any_is_asked_again():
    pool = [[n] for n in range(10)]
    asked = [prompt[0] for step in range(5) for prompt in prompts_of_step(pool, step, 4, seed=0)]
    assert sorted(asked[:10]) == sorted(asked[10:]) == list(range(10))
    assert asked[:10] != asked[10:]


def test_the_prompts_of_a_step_depend_on_the_step_alone():
    pool = [[n] for n in range(7)]
    assert prompts_of_step(pool, 3, 5, seed=1) == prompts_of_step(pool, 3, 5, seed=1)
    assert prompts_of_step(pool, 3, 5, seed=1) != prompts_of_step(pool, 3, 5, seed=2)


def test_a_pool_of_one_prompt_is_asked_again_and_again():
    assert prompts_of_step([[5, 6]], 2, 3, seed=0) == [[5, 6]] * 3


# ---- the report

def test_the_interval_of_a_gain_by_hand():
    mean, low, high = gain_interval(np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.5, 2.5]))
    assert mean == low == high == 0.5, "all gains are equal: nothing to be unsure of"
    rng = np.random.default_rng(0)
    gain = rng.normal(0.2, 1.0, 400)
    mean, low, high = gain_interval(gain, np.zeros(400))
    assert mean == pytest.approx(gain.mean())
    assert high - low == pytest.approx(2 * 1.96 * gain.std() / 20, rel=0.1)


def test_gains_between_different_prompts_are_refused():
    with pytest.raises(ValueError, match="3 and 2 prompts"):
        gain_interval(np.zeros(3), np.zeros(2))


def test_the_tuned_model_is_taken_at_the_temperature_that_suits_it_best(monkeypatch):
    monkeypatch.setattr(quality_report, "drawn_replies", lambda *rest, temperature, **more: temperature)
    monkeypatch.setattr(quality_report, "judgements", lambda asked, rollout, tokenizer: [
        SimpleNamespace(quality=1 - abs(rollout - 0.4))] * len(asked))
    at, marks = cool_quality(None, ["one", "other"], None, None, samples=3)
    assert at == 0.4 and marks.tolist() == [1.0, 1.0]


def test_policy_tuned_and_cooled_model_have_the_same_room_for_a_reply(loaded, runtime, watch):
    model, tokenizer = loaded
    source = SimpleNamespace(raw=lambda rollout: torch.zeros(len(rollout.rows)))
    drawn = watch(quality_report, "drawn_replies")
    quality_report.compare(model, frozen_copy(model), source, tokenizer, runtime, prompts=2,
                           samples=1, exact=0, seed=0, longest=5)
    assert len(drawn) == 2 + len(quality_report.COOL) and {call.longest for call in drawn} == {5}


def test_greedy_replies_are_compared_with_their_manners_taken_off(monkeypatch):
    def said(model, tokenizer, asked, runtime):
        first = f"{asked[0].answer}. Everybody knows that." if model == "before" else asked[0].answer
        return [Reply(first, True, ()), *(Reply("banana", False, ()) for _ in asked[1:])]

    monkeypatch.setattr(quality_report, "answer_items", said)
    found = greedy_answers(["before", "after"], 4, None, None, 0)
    assert found == {"answer_right_before": 0.25, "answer_right_after": 0.25,
                     "greedy_changed": 0.25, "greedy_end_rate": 0.25}


def test_the_kl_of_a_rollout_is_the_difference_of_the_log_probabilities(loaded, runtime):
    model, tokenizer = loaded
    other = frozen_copy(model)
    with torch.no_grad():
        other.head.weight.add_(0.1 * torch.randn(other.head.weight.shape))
    rollout = rollout_of(tokenizer, ["What is 3?", "Who?"], [" 7 8", " Ann and Bob"])
    found = rollout_kl(model, other, rollout, runtime)
    for i, (row, reply) in enumerate(zip(rollout.token_rows(), rollout.replies())):
        ids, n = torch.tensor([row]), len(reply)
        with torch.no_grad():
            sums = [m(ids)[0][0].log_softmax(-1)[-n - 1:-1].gather(1, ids[0, -n:, None]).sum()
                    for m in (model, other)]
        assert found[i].item() == pytest.approx((sums[0] - sums[1]).item(), abs=1e-4)
    assert rollout_kl(model, model, rollout, runtime).abs().max() == 0
    cool = rollout_kl(model, model, rollout, runtime, temperature=0.5)
    ids, n = torch.tensor([rollout.token_rows()[0]]), len(rollout.replies()[0])
    logits = model(ids)[0][0][-n - 1:-1].detach()
    sums = [x.log_softmax(-1).gather(1, ids[0, -n:, None]).sum() for x in (logits / 0.5, logits)]
    assert cool[0].item() == pytest.approx((sums[0] - sums[1]).item(), abs=1e-4)


def test_a_policy_that_did_not_move_has_gained_nothing(loaded, runtime, source):
    model, tokenizer = loaded
    metrics, after, before = compare(model, frozen_copy(model), source, tokenizer, runtime,
                                     prompts=6, samples=2, exact=0, seed=0)
    assert metrics["quality_gain"] == 0 and metrics["kl"] == 0
    assert metrics["reward_before"] == metrics["reward_after"]
    assert after.quality.shape == before.quality.shape == (6,)
    assert {"reward_std_before", "quality_ceiling", "end_rate", "way_to_the_ceiling"} <= set(metrics)


def test_samples_of_one_prompt_are_averaged_together(loaded, runtime, source):
    model, tokenizer = loaded
    found = sampled_quality(model, model, source, held_out_items(3, 0), tokenizer, runtime,
                            samples=4)
    assert found.reward.shape == (3,) and 0 <= found.ended.min() <= found.ended.max() <= 1
    assert found.means()["reward"] == pytest.approx(found.reward.mean())
    prompts = [encode_prompt(messages_of(item), tokenizer) for item in held_out_items(3, 0)]
    drawn = roll_out(model, prompts, LONGEST, end=tokenizer.end, pad=tokenizer.pad, copies=4,
                     generator=torch.Generator().manual_seed(0))
    rewards = source.raw(drawn)
    np.testing.assert_allclose(found.reward, rewards.view(3, 4).mean(1), atol=1e-5)
    assert not np.allclose(found.reward, rewards.view(4, 3).mean(0), atol=1e-5)


def test_the_kl_by_token_sums_to_that_of_the_reply_and_by_place(loaded, runtime):
    model, tokenizer = loaded
    other = frozen_copy(model)
    with torch.no_grad():
        other.head.weight.add_(0.1 * torch.randn(other.head.weight.shape))
    rollout = rollout_of(tokenizer, ["What is 3?", "Who?", "And?"], [" 7 8", " Ann and Bob", " 1"])
    lines = token_kl(model, other, rollout, runtime, size=2)
    assert [len(line) for line in lines] == [len(reply) for reply in rollout.replies()]
    sums = torch.stack([line.sum() for line in lines])
    assert torch.allclose(sums, rollout_kl(model, other, rollout, runtime), atol=1e-4)
    places = by_place(lines, torch.tensor([True] * 3))
    assert sum(nats for _, nats in places.values()) == pytest.approx(float(sums.mean()), abs=1e-4)


def test_places_by_hand():
    kl = [torch.tensor([1.0, 0.5, 2.0]), torch.tensor([3.0])]
    places = by_place(kl, torch.tensor([True, False]))  # the second was cut off: no end token
    assert places == {"first token": (1.0, 2.0), "between": (0.5, 0.25), "end token": (0.5, 1.0)}
