"""Rollouts: what is drawn, its log-probabilities, rows that end, prompts of different lengths."""

import pytest
import torch
from gpt.generate import filled, generate
from rl.policy import response_logp
from rl.rollout import as_rollout, draw, roll_out

END, PAD = 10, 11
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9], [2, 2]]


def drawn(model, **changes):
    settings = {"end": END, "pad": PAD, "copies": 3,
                "generator": torch.Generator().manual_seed(1)}
    return roll_out(model, PROMPTS, 8, **{**settings, **changes})


def test_tokens_are_drawn_as_often_as_their_probability_says():
    logits = torch.tensor([[0.0, 1.0, 2.0, float("-inf")]])
    tokens, logp = draw(logits.expand(20000, -1), 1.0, torch.Generator().manual_seed(0))
    share = torch.bincount(tokens, minlength=4) / 20000
    torch.testing.assert_close(share, logits.softmax(-1)[0], atol=0.012, rtol=0)
    assert share[3] == 0, "what has no chance is never drawn"
    torch.testing.assert_close(logp, logits.log_softmax(-1)[0][tokens])


def test_temperature_acts_on_the_draw_and_on_the_log_probability():
    logits = torch.tensor([[0.0, 2.0]]).expand(20000, -1)
    tokens, logp = draw(logits, 2.0, torch.Generator().manual_seed(0))
    assert tokens.float().mean().item() == pytest.approx(torch.tensor(1.0).sigmoid().item(),
                                                         abs=0.012)
    torch.testing.assert_close(logp[tokens == 1][0], torch.tensor(1.0).sigmoid().log())


@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_stored_log_probabilities_equal_recomputed_ones(tiny, temperature):
    found = drawn(tiny, temperature=temperature)
    with torch.no_grad():
        again = response_logp(tiny, found.rows, temperature=temperature)
    torch.testing.assert_close(found.logp, again, atol=1e-5, rtol=0)
    assert (found.logp[~found.rows.is_response] == 0).all()


def test_a_batch_gives_the_log_probabilities_of_single_rows(tiny):
    found = drawn(tiny)
    for i, (row, reply) in enumerate(zip(found.token_rows(), found.replies())):
        with torch.no_grad():
            logp = tiny(torch.tensor([row]))[0][0].log_softmax(-1)
        first = len(row) - len(reply)
        alone = torch.stack([logp[first - 1 + j, token] for j, token in enumerate(reply)])
        torch.testing.assert_close(found.logp[i, :len(reply)], alone, atol=1e-5, rtol=0)


def test_replies_belong_to_their_prompts_in_the_order_given(tiny):
    for size in (1, 6, 100):
        found = drawn(tiny, size=size)
        starts = [row[:first] for row, first in zip(found.token_rows(), found.rows.first.tolist())]
        assert starts == [prompt for prompt in PROMPTS for _ in range(3)]


def test_the_end_token_is_the_last_of_a_reply_and_stands_nowhere_else(tiny):
    found = drawn(tiny, copies=20)
    for reply, ended in zip(found.replies(), found.ended.tolist()):
        assert (reply[-1] == END) == ended and END not in reply[:-1]
        assert ended or len(reply) == 8
    assert found.ended.any() and not found.ended.all(), "both kinds were looked at"


def test_rows_that_have_ended_are_not_computed_any_more(tiny):
    seen = []
    handle = tiny.token_embedding.register_forward_hook(
        lambda _, args, __: seen.append(args[0].numel()))
    found = drawn(tiny, copies=20)
    handle.remove()
    lengths = found.rows.is_response.sum(1)
    prompt_columns = 4 * 5  # the prompts are read once, padded to the longest
    steps = sum(int((lengths > t).sum()) for t in range(1, int(lengths.max())))
    assert sum(seen) == prompt_columns + steps


def test_looking_seldom_gives_complete_replies_too(tiny):
    found = drawn(tiny, copies=20, look_every=3)
    with torch.no_grad():
        torch.testing.assert_close(found.logp, response_logp(tiny, found.rows), atol=1e-5, rtol=0)
    assert all(END not in reply[:-1] for reply in found.replies())


def test_a_reply_may_be_one_token(tiny):
    found = roll_out(tiny, PROMPTS, 1, end=END, pad=PAD, copies=2)
    assert found.rows.is_response.shape == (8, 1) and found.rows.is_response.all()


def test_dropout_is_off_while_drawing_and_the_mode_is_restored(tiny):
    tiny.dropout.p = 0.5
    tiny.train()
    found = drawn(tiny)
    assert tiny.training
    with torch.no_grad():
        again = response_logp(tiny.eval(), found.rows)
    torch.testing.assert_close(found.logp, again, atol=1e-5, rtol=0)


def test_the_same_seed_draws_the_same_and_another_does_not(tiny):
    same, other = drawn(tiny), drawn(tiny, generator=torch.Generator().manual_seed(2))
    assert drawn(tiny).replies() == same.replies() != other.replies()


@pytest.mark.parametrize("changes, message", [
    ({"copies": 0}, "copies=0"), ({"temperature": 0.0}, "temperature=0.0")])
def test_settings_without_a_meaning_are_refused(tiny, changes, message):
    with pytest.raises(ValueError, match=message):
        drawn(tiny, **changes)


def test_prompts_that_leave_no_room_are_refused(tiny):
    with pytest.raises(ValueError, match="do not fit in block_size=24"):
        roll_out(tiny, [[1] * 20], 8, end=END, pad=PAD)


def test_each_reply_has_the_room_it_would_have_alone(tiny):
    limit = tiny.config.block_size
    prompts = [[1, 2], [3] * (limit - 4), [4, 5, 6], [7] * (limit - 1), [8] * (limit - 4), [9]]
    rooms = [min(12, limit + 1 - len(prompt)) for prompt in prompts]
    options = {"end": END, "pad": PAD, "temperature": 1e-5}
    together = roll_out(tiny, prompts, rooms, copies=2, size=4, **options)
    alone = [roll_out(tiny, [p], room, **options) for p, room in zip(prompts, rooms)]
    assert together.replies() == [one.replies()[0] for one in alone for _ in range(2)]
    assert together.ended.tolist() == [bool(one.ended) for one in alone for _ in range(2)]
    assert {len(one.replies()[0]) for one in alone if not one.ended} >= {5, 2}, "rooms differ"
    same = [roll_out(tiny, PROMPTS, room, generator=torch.Generator().manual_seed(3), end=END,
                     pad=PAD).replies() for room in (8, [8] * 4)]
    assert same[0] == same[1]
    with pytest.raises(ValueError, match="the batch is empty"):
        roll_out(tiny, [], [], **options)


def test_lists_become_rows_padded_on_the_right():
    found = as_rollout([[1, 2], [3]], [[4, END], [5]], [[-1.0, -2.0], [-3.0]], END, PAD)
    assert found.rows.ids.tolist() == [[1, 2, 4, END], [3, 5, PAD, PAD]]
    assert found.rows.is_response.tolist() == [[True, True], [True, False]]
    assert found.logp.tolist() == [[-1.0, -2.0], [-3.0, 0.0]]
    assert found.ended.tolist() == [True, False]


def test_as_few_rows_as_possible_move_when_some_leave():
    assert filled([0, 2, 5, 6]) == [0, 6, 2, 5]
    assert filled([0, 1, 2]) == [0, 1, 2] and filled([3]) == [3]


def test_a_cache_keeps_the_rows_that_it_is_told_to(tiny):
    cache = tiny.make_cache(4, 6, start=torch.tensor([0, 1, 2, 3]))
    tiny(torch.randint(0, 10, (4, 4)), cache=cache)
    before = [x.clone() for x in (*cache.keys, *cache.values)]
    kept = torch.tensor([0, 3, 2])
    cache.keep(kept)
    for old, new in zip(before, (*cache.keys, *cache.values)):
        assert torch.equal(old[kept, :, :4], new[:, :, :4])
    assert cache.start.tolist() == [0, 3, 2]


def test_greedy_replies_do_not_depend_on_which_rows_leave_first(tiny):
    alone = [generate(tiny, [prompt], 8, stop=(3, 7))[0] for prompt in PROMPTS]
    assert generate(tiny, PROMPTS, 8, stop=(3, 7)) == alone
