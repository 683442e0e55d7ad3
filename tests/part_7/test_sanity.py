"""The checks themselves: a scorer that knows the truth passes, one that counts letters does not."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reward import report as reward_report
from reward.faults import HELD_OUT, TRAINED, Reply, degraded
from reward.judge import judge_reply, quality
from reward.model import RewardModel
from reward.preferences import asked_items, make_pair, world_pairs
from reward.report import measure, own_choice, right_against, within_prompts
from reward.sanity_checks import (
    BAD,
    Scorer,
    bad_rates,
    bad_reply,
    length_check,
    other_prompt_rate,
    padding_error,
    step_rates,
)
from reward.sources import RewardData
from sft.chat_format import ROLE_TOKENS

TOKENIZER = SimpleNamespace(encode=list)  # a letter a token


class Judge:
    """Scores as the judge does."""

    tokenizer = TOKENIZER

    def __call__(self, items, replies):
        return [judge_reply(item, reply.text, reply.ended).value
                for item, reply in zip(items, replies)]


class Counter(Judge):
    """Likes what is long."""

    def __call__(self, items, replies):
        return [float(len(reply.text)) for reply in replies]


@pytest.fixture(scope="module")
def asked():
    return asked_items(40, "new_items", 0)


@pytest.fixture
def untouched(loaded, runtime):
    body, tokenizer = loaded
    torch.manual_seed(0)
    return Scorer(RewardModel(body, reply_token=tokenizer.id_of(ROLE_TOKENS["assistant"])).eval(),
                  tokenizer, runtime, mean=1.0, std=2.0)


def test_the_judge_passes_every_check(asked):
    assert min(bad_rates(Judge(), asked, 0).values()) > 0.95
    means, falls = step_rates(Judge(), asked, 0)
    assert falls > 0.85  # two steps of a wrong answer may both be worth nothing: a tie, half
    assert means == sorted(means, reverse=True) and means[0] == 1
    assert other_prompt_rate(Judge(), asked) > 0.95


def test_a_counter_of_letters_fails_them(asked):
    assert bad_rates(Counter(), asked, 0)["banana"] < 0.6
    assert step_rates(Counter(), asked, 0)[1] < 0.5
    assert other_prompt_rate(Counter(), asked) == pytest.approx(0.5, abs=0.2)
    others = [[Reply(other.answer)] for other in (*asked[1:], asked[0])]
    pairs = world_pairs(asked, others, seed=0, flipped=0.0)
    correlation, matched, n = length_check(Counter(), pairs)
    assert correlation == pytest.approx(1) and n > 0
    assert matched < 0.8, "at equal length there is nothing to count"
    assert length_check(Judge(), pairs)[1] == 1


def test_length_matched_pairs_are_equally_long(asked):
    pairs = [make_pair(asked[0], Reply(asked[0].answer), Reply(text), "", False)
             for text in ("x" * len(asked[0].answer), "x" * (len(asked[0].answer) + 5))]
    assert length_check(Judge(), pairs)[2] == 1


@pytest.mark.parametrize("kind", BAD)
def test_bad_replies_are_bad(asked, kind):
    rng = random.Random(0)
    worth = [quality(item, reply.text, reply.ended)
             for item in asked for reply in [bad_reply(kind, item, rng)]]
    assert sum(value < 0.7 for value in worth) > 0.9 * len(worth)


def test_an_unknown_kind_is_refused(asked):
    with pytest.raises(ValueError, match="polite but wrong"):
        bad_reply("silly", asked[0], random.Random(0))


def test_padding_changes_nothing_and_a_broken_model_is_found_out(untouched, asked, monkeypatch):
    short = [item for item in asked if len(item.prompt) < 60][:4]
    assert padding_error(untouched, short) < 1e-5
    monkeypatch.setattr(RewardModel, "forward",
                        lambda model, ids, last, shared: model.token_scores(ids, last)[:, -1])
    assert padding_error(untouched, short) > 1e-3


def test_scores_are_in_standard_deviations_from_the_mean(untouched):
    assert untouched.scaled(torch.tensor([1.0, 5.0])) == [0.0, 2.0]


def truth(model, tokenizer, runtime, asked, sets):
    return [[judge_reply(item, reply.text, reply.ended).value for reply in replies]
            for item, replies in zip(asked, sets)]


def test_the_truth_correlates_with_itself_and_its_opposite_does_not(asked, monkeypatch):
    monkeypatch.setattr(reward_report, "reply_scores", truth)
    replies = [[Reply(item.answer)] * 2 for item in asked]
    assert within_prompts(None, None, None, asked, replies, 0) == pytest.approx(1)
    monkeypatch.setattr(reward_report, "reply_scores", lambda *rest: [
        [-score for score in scores] for scores in truth(*rest)])
    assert within_prompts(None, None, None, asked, replies, 0) == pytest.approx(-1)


def test_a_reply_that_comes_twice_is_ranked_once(asked, monkeypatch):
    def all_different(model, tokenizer, runtime, asked, sets):
        assert all(len(set(replies)) == len(replies) for replies in sets)
        return truth(model, tokenizer, runtime, asked, sets)

    monkeypatch.setattr(reward_report, "reply_scores", all_different)
    replies = [[Reply(item.answer)] * 2 for item in asked]
    assert within_prompts(None, None, None, asked, replies, 0) == pytest.approx(1)


def test_right_replies_are_held_against_every_kind(asked, monkeypatch):
    monkeypatch.setattr(reward_report, "reply_scores", truth)
    replies = [[Reply(item.answer), Reply("banana")] for item in asked]
    shares = right_against(None, None, None, asked, replies, 0)
    assert set(shares) == {*TRAINED, *HELD_OUT, "model"}
    assert all(share == 1 for share in shares.values())


def test_the_reply_that_is_picked_is_the_one_with_the_highest_score(asked, monkeypatch):
    replies = [[Reply("banana"), Reply(item.answer), Reply("")] for item in asked]
    known = [[quality(item, reply.text) for reply in some] for item, some in zip(asked, replies)]
    best, worst = (sum(map(f, known)) / len(known) for f in (max, min))
    monkeypatch.setattr(reward_report, "reply_scores", truth)
    found = own_choice(None, None, None, asked, replies)
    assert found["quality_of_the_one_picked"] == found["quality_of_the_best"] == pytest.approx(best)
    assert found["own_pairs_in_order"] == 1 and best > worst
    assert found["quality_of_a_random_one"] == pytest.approx(np.mean(known))
    monkeypatch.setattr(reward_report, "reply_scores", lambda *rest: [
        [-score for score in scores] for scores in truth(*rest)])
    found = own_choice(None, None, None, asked, replies)
    assert found["quality_of_the_one_picked"] == pytest.approx(worst)
    assert found["own_pairs_in_order"] == 0
    alike = [[Reply(item.answer)] * 2 for item in asked]
    assert own_choice(None, None, None, asked, alike)["own_pairs_in_order"] == 0.5


def test_what_is_measured_on_known_scores(asked, loaded, runtime, monkeypatch):
    """Scores that follow the truth: right on all pairs but the flipped ones."""
    monkeypatch.setattr(reward_report, "reply_scores", truth)
    monkeypatch.setattr(reward_report, "pair_scores", lambda model, pairs, *rest: (
        np.array([10 * max(pair.gap, 0) for pair in pairs]),
        np.array([10 * max(-pair.gap, 0) for pair in pairs]), pairs))
    replies = [[Reply(item.answer)] for item in asked]
    pairs = world_pairs(asked, replies, seed=0, flipped=0.2)
    data = RewardData([], pairs, pairs[:5], asked, replies)
    metrics, _, (mean, std) = measure(None, None, runtime, data, 0)
    flipped = sum(pair.gap < 0 for pair in pairs) / len(pairs)
    assert metrics["accuracy"] == metrics["accuracy_ceiling"] == pytest.approx(1 - flipped)
    assert metrics["true_accuracy"] == 1 and metrics["held_out_pairs"] == len(pairs)
    assert mean == pytest.approx(1) and std == pytest.approx(1e-6)


def test_of_a_file_nobody_knows_the_ceiling(asked, loaded, runtime, monkeypatch):
    monkeypatch.setattr(reward_report, "pair_scores", lambda model, pairs, *rest: (
        np.ones(len(pairs)), np.zeros(len(pairs)), pairs))
    pairs = world_pairs(asked, [[] for _ in asked], seed=0)
    metrics, _, spread = measure(None, None, runtime, RewardData([], pairs), 0)
    assert set(metrics) == {"accuracy", "calibration_error", "held_out_pairs"}
    assert metrics["accuracy"] == 1
    assert spread == pytest.approx((0.5, 0.5), abs=0.01)  # of the file's own replies


def test_degraded_replies_begin_with_the_right_one(asked):
    assert degraded(asked[0], random.Random(0))[0] == Reply(asked[0].answer)
