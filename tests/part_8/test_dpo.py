"""DPO: the loss by hand, its gradient, the rows of a batch, and that it learns."""

import math

import pytest
import torch
from reward.faults import Reply
from reward.preferences import Pair
from rl.dpo import dpo_loss, implicit_reward
from rl.dpo_pairs import PairTokens, batches_of, pair_rows, pair_tokens
from rl.policy import frozen_copy, response_logp
from train_dpo import DPOSettings, train

LOGP = [torch.tensor(x) for x in ([-1.0, -4.0], [-3.0, -2.0], [-2.0, -3.0], [-2.5, -3.0])]


def test_the_implicit_reward_by_hand():
    found = implicit_reward(torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -2.0]), 0.5)
    assert found.tolist() == [0.5, -0.5]


def test_the_loss_by_hand():
    found = dpo_loss(*LOGP, beta=0.5)
    # d = 0.5 * ((1 - -0.5), (-1 - 1)) = (0.75, -1)
    expected = (math.log(1 + math.exp(-0.75)) + math.log(1 + math.exp(1.0))) / 2
    assert found.loss.item() == pytest.approx(expected, abs=1e-6)
    assert (found.accuracy, found.chosen, found.rejected) == pytest.approx((0.5, 0.0, 0.125))


def test_with_smoothing_both_orders_count_by_hand():
    found = dpo_loss(*LOGP, beta=0.5, smoothing=0.2)
    parts = [0.8 * math.log(1 + math.exp(-d)) + 0.2 * math.log(1 + math.exp(d))
             for d in (0.75, -1.0)]
    assert found.loss.item() == pytest.approx(sum(parts) / 2, abs=1e-6)


def test_at_the_start_the_loss_is_log_2_and_the_order_is_a_tie():
    logp = torch.tensor([-3.0, -5.0])
    found = dpo_loss(logp, logp, logp, logp, beta=0.1)
    assert found.loss.item() == pytest.approx(math.log(2)) and found.accuracy == 0.5


def test_the_gradient_raises_chosen_lowers_rejected_and_is_large_where_the_order_is_wrong():
    chosen, rejected = (x.clone().requires_grad_() for x in LOGP[:2])
    dpo_loss(chosen, rejected, *LOGP[2:], beta=0.5).loss.backward()
    wrong = torch.sigmoid(-torch.tensor([0.75, -1.0]))
    torch.testing.assert_close(chosen.grad, -0.5 * wrong / 2)
    torch.testing.assert_close(rejected.grad, 0.5 * wrong / 2)


def test_only_the_difference_to_the_reference_counts():
    shifted = [x + 7.0 for x in LOGP]
    assert dpo_loss(*shifted, beta=0.5).loss.item() == \
        pytest.approx(dpo_loss(*LOGP, beta=0.5).loss.item(), abs=1e-6)


@pytest.mark.parametrize("changes, message", [
    ({"beta": 0.0}, "beta=0.0"), ({"beta": 1.0, "smoothing": 0.5}, "smoothing=0.5")])
def test_settings_without_a_meaning_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dpo_loss(*LOGP, **changes)


def test_pairs_of_different_counts_are_refused():
    with pytest.raises(ValueError, match="equal length"):
        dpo_loss(LOGP[0], LOGP[1][:1], *LOGP[2:], beta=0.1)


# ---- pairs as tokens

def pair_of(chosen, rejected):
    from sft.chat_format import Message
    return Pair((Message("user", "What is 3 + 4?"),), chosen, rejected)


def test_a_reply_keeps_its_end_token_unless_it_was_cut_off(loaded):
    _, tokenizer = loaded
    (found,), left_out = pair_tokens([pair_of(Reply("7"), Reply("eig", ended=False))], tokenizer,
                                     200)
    assert left_out == 0
    assert found.chosen == [*tokenizer.encode(" 7"), tokenizer.end]
    assert found.rejected == tokenizer.encode(" eig")
    assert found.prompt[-1] == tokenizer.id_of("<|assistant|>")


def test_nothing_said_is_the_end_token_alone(loaded):
    tokenizer = loaded[1]
    (found,), _ = pair_tokens([pair_of(Reply("7"), Reply(""))], tokenizer, 200)
    assert found.rejected == [tokenizer.end]


def test_pairs_that_do_not_fit_or_cannot_be_told_apart_are_left_out_and_counted(loaded):
    _, tokenizer = loaded
    pairs = [pair_of(Reply("7"), Reply("8")), pair_of(Reply("7"), Reply("7")),
             pair_of(Reply("7"), Reply("8 " * 200))]
    found, left_out = pair_tokens(pairs, tokenizer, 60)
    assert (len(found), left_out) == (1, 2)


def test_in_a_batch_the_two_replies_of_a_pair_are_neighbours_with_one_prompt():
    rows = pair_rows([PairTokens([1, 2], [3, 9], [4, 5, 9]), PairTokens([6], [7], [8, 9])], 9, 0,
                     "cpu")
    assert rows.responses[0, :2].tolist() == [3, 9] and rows.responses[2, 0] == 7
    assert rows.responses[1].tolist() == [4, 5, 9] and rows.responses[3, :2].tolist() == [8, 9]
    assert rows.is_response.sum(1).tolist() == [2, 3, 1, 2]
    assert rows.prompt.tolist() == [0, 0, 1, 1]


def test_one_pass_has_every_pair_once_those_of_like_length_together():
    pairs = [PairTokens([1] * n, [2], [3]) for n in range(1, 11)]
    batches = batches_of(pairs, 4, seed=0)
    found = [len(pair.prompt) for batch in batches for pair in batch]
    assert sorted(found) == list(range(1, 11))
    assert all(max(map(len, [p.prompt for p in b])) - min(map(len, [p.prompt for p in b])) < 4
               for b in batches)


@pytest.mark.parametrize("change, message", [
    ({"items": 0}, "--items 0"), ({"beta": 0.0}, "--beta 0.0"), ({"flipped": 0.6}, "--flipped 0.6"),
    ({"gold_weight": -1.0}, "--gold-weight")])
def test_settings_of_a_run_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        DPOSettings(**change)


# ---- training

class Marks:
    """What training needs of a tokenizer."""

    end, pad = 10, 11


def logp_of(model, pairs, side):
    rows = pair_rows(pairs, Marks.end, Marks.pad, "cpu")
    with torch.no_grad():
        logp = response_logp(model, rows).sum(1)
    return logp[::2] if side == "chosen" else logp[1::2]


@pytest.mark.parametrize("gold_weight", [0.0, 1.0])
def test_training_moves_the_policy_towards_the_chosen_replies(tiny, runtime, gold_weight):
    pairs = [PairTokens([1, n], [n, 3, 10], [n, 4, 10]) for n in range(1, 9)] * 4
    reference = frozen_copy(tiny)
    before = {name: x.clone() for name, x in reference.state_dict().items()}
    settings = DPOSettings(pairs_a_step=8, peak=3e-3, gold_weight=gold_weight)
    log = train(tiny, reference, pairs, Marks, runtime, settings, seed=0)
    gap = logp_of(tiny, pairs, "chosen") - logp_of(tiny, pairs, "rejected")
    old_gap = logp_of(reference, pairs, "chosen") - logp_of(reference, pairs, "rejected")
    assert (gap > old_gap).all() and log[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert log[-1]["accuracy"] == 1.0
    assert all(torch.equal(x, before[name]) for name, x in reference.state_dict().items())
    if gold_weight:
        assert log[-1]["chosen_change"] > 0, "its own term keeps the chosen replies likely"
