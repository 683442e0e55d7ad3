"""Pairs as tokens: truncation, what is left out, batches that read every reply once."""

import itertools

import torch
from reward.data import PairIds, batches_of, encode_pairs, pair_batch
from reward.faults import Reply
from reward.preferences import Pair
from sft.chat_format import Message

ASK = (Message("user", "What is 3 + 4?"),)


def test_truncation_keeps_the_replies_so_pairs_stay_apart(loaded):
    _, tokenizer = loaded
    long = (Message("user", "word " * 400),)
    pair = Pair(long, Reply("yes"), Reply("no"))
    encoded, kept, left_out = encode_pairs([pair], tokenizer, 64)
    assert kept == [pair] and left_out == {"too long": 0, "the same": 0}
    assert encoded[0].chosen != encoded[0].rejected
    assert max(len(encoded[0].chosen), len(encoded[0].rejected)) <= 64
    answer = (*tokenizer.encode(" yes"), tokenizer.end)
    assert encoded[0].chosen[-len(answer):] == answer


def test_pairs_that_do_not_fit_or_are_the_same_are_counted(loaded):
    _, tokenizer = loaded
    pairs = [Pair(ASK, Reply("word " * 200), Reply("no")), Pair(ASK, Reply("a"), Reply("a")),
             Pair(ASK, Reply("a"), Reply("b"))]
    encoded, kept, left_out = encode_pairs(pairs, tokenizer, 64)
    assert len(encoded) == 1 and kept == [pairs[2]]
    assert left_out == {"too long": 1, "the same": 1}


def test_a_batch_reads_every_reply_once():
    a, b, c = (1, 2), (3,), (5, 6, 7)
    batch = pair_batch([PairIds(a, b), PairIds(a, c), PairIds(c, b)], pad=0)
    assert batch.ids.tolist() == [[1, 2, 0], [3, 0, 0], [5, 6, 7]]
    assert batch.last.tolist() == [1, 0, 2]
    assert batch.chosen.tolist() == [0, 0, 2] and batch.rejected.tolist() == [1, 2, 1]
    assert batch.rows == [a, b, c]


def numbered(prompts: int, each: int):
    """Pairs of several prompts, of different lengths, and their tokens."""
    pairs, encoded = [], []
    for prompt in range(prompts):
        length = 1 + prompt * 7 % 50
        for number in range(each):
            pairs.append(Pair((Message("user", str(prompt)),), Reply("a"), Reply(str(number))))
            encoded.append(PairIds((prompt,) * length, (prompt,) * length + (number,)))
    return pairs, encoded


def test_pairs_of_a_prompt_stay_in_one_batch_and_none_is_in_two():
    pairs, encoded = numbered(prompts=24, each=3)
    batches = batches_of(pairs, encoded, rows=8, seed=0)
    assert sorted(i for batch in batches for i in batch) == list(range(72))
    for batch in batches:
        prompts = [pairs[i].prompt for i in batch]
        assert all(prompts.count(prompt) == 3 for prompt in prompts)
        rows = pair_batch([encoded[i] for i in batch], pad=0).ids
        assert len(rows) == 8, "two prompts with four different replies each"


def test_batches_hold_prompts_of_like_length_and_come_in_random_order():
    pairs, encoded = numbered(prompts=24, each=3)
    batches = batches_of(pairs, encoded, rows=8, seed=0)
    longest = [[len(encoded[i].rejected) for i in batch] for batch in batches]
    in_order = sorted(longest, key=max)
    assert all(max(a) <= min(b) for a, b in itertools.pairwise(in_order))
    assert longest != in_order
    assert batches_of(pairs, encoded, 8, 0) == batches != batches_of(pairs, encoded, 8, 1)


def test_too_few_pairs_for_a_batch_make_one():
    pairs, encoded = numbered(prompts=2, each=1)
    assert [sorted(batch) for batch in batches_of(pairs, encoded, rows=100, seed=0)] == [[0, 1]]


def test_a_batch_scores_pairs_as_if_each_stood_alone(loaded):
    from reward.model import RewardModel
    body, tokenizer = loaded
    model = RewardModel(body).eval()
    pairs = [Pair(ASK, Reply("7"), Reply("8")), Pair(ASK, Reply("It is 7."), Reply("8"))]
    encoded, _, _ = encode_pairs(pairs, tokenizer, 128)
    batch = pair_batch(encoded, tokenizer.pad)
    scores = model(batch.ids, batch.last)
    for place, side in ((batch.chosen, "chosen"), (batch.rejected, "rejected")):
        for number, ids in enumerate(encoded):
            row = getattr(ids, side)
            alone = model(torch.tensor([row]), torch.tensor([len(row) - 1]))
            torch.testing.assert_close(scores[place[number]], alone[0], rtol=1e-4, atol=1e-5)
