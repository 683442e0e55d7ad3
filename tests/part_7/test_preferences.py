"""Judge, faults and pairs: what is better is better, splits do not mix, files come back."""

import gzip
import itertools
import json
import random

import pytest
from reward.faults import HELD_OUT, TRAINED, WORKED, Reply, degraded, spoil
from reward.judge import judge_reply, quality
from reward.preferences import (
    LEAST_GAP,
    asked_items,
    candidates,
    make_pair,
    read_pairs,
    world_pairs,
    write_pairs,
)
from sft.chat_format import Message
from sft.manners import (
    HELD_OUT_SENTENCES,
    IDLE,
    IDLE_HELD_OUT,
    PLAIN,
    RUDE,
    RUDE_HELD_OUT,
    manners_in,
    sentences,
)
from sft.skills import check, items


@pytest.fixture(scope="module")
def asked():
    return asked_items(120, "train", 0)


def test_every_gold_reply_is_worth_one(asked):
    for item in asked:
        assert quality(item, item.answer) == 1, item


def test_the_judge_by_hand():
    item = items(1, "train", skills=("opposites",))[0]
    gold = item.answer
    assert quality(item, f"{gold}. {RUDE[0]}") == pytest.approx(0.5)
    assert quality(item, f"{IDLE[0]} {gold}") == pytest.approx(0.75)
    assert quality(item, f"The question is: {item.prompt} {gold}. Next.") == pytest.approx(0.35)
    assert quality(item, f"Gladly. {gold}") == 1
    assert quality(item, f"{gold}. {gold}.") == pytest.approx(0.85)
    assert quality(item, gold, ended=False) == pytest.approx(0.8)
    assert quality(item, "") == quality(item, "banana banana banana") == 0
    both = judge_reply(item, f"{gold}. {RUDE[0]} {RUDE[1]} {IDLE[0]}")
    assert both.right and both.core == f"{gold}." and both.ceiling == 1
    assert {name: n for name, n in both.counts.items() if n} == {"rude": 2, "idle": 1}
    assert both.value == pytest.approx(-0.25) and both.quality == 0


def test_sentences_are_taken_apart_at_their_signs():
    assert sentences("No. 3 + 4 = 7. What? Yes") == ["No.", "3 + 4 = 7.", "What?", "Yes"]


@pytest.mark.parametrize("fault", TRAINED + HELD_OUT)
def test_every_fault_makes_a_reply_worse(asked, fault):
    rng = random.Random(0)
    worse = [quality(item, *parts(spoil(fault, item, rng))) for item in asked]
    assert sum(value < 1 for value in worse) > 0.95 * len(worse)


def parts(reply):
    return reply.text, reply.ended


def test_a_wrong_answer_is_wrong_and_of_the_same_skill(asked):
    rng = random.Random(1)
    for item in asked[:40]:
        assert not check(item, spoil("wrong", item, rng).text)


def test_a_reply_that_is_made_worse_step_by_step_is(asked):
    rng = random.Random(2)
    for item in asked[:40]:
        values = [judge_reply(item, *parts(reply)).value for reply in degraded(item, rng)]
        assert values[0] == 1
        assert all(a > b for a, b in itertools.pairwise(values)), values


def test_held_out_sentences_are_in_no_pair_that_is_trained_on(asked):
    said = [[Reply(f"{item.answer}. {sentence}") for sentence in
             (RUDE[0], RUDE_HELD_OUT[0], IDLE_HELD_OUT[1], "That was easy for me.")]
            for item in asked]
    pairs = world_pairs(asked, said, seed=3)
    text = " ".join(reply.text for pair in pairs for reply in (pair.chosen, pair.rejected))
    assert any(sentence in text for sentence in RUDE)
    assert not any(sentence in text for sentence in HELD_OUT_SENTENCES)
    assert {pair.kind for pair in pairs} <= {*WORKED, "model"}


def test_plainness_is_no_sign_of_a_fault(asked):
    rng, plain = random.Random(0), []
    for item in asked:
        plain += [manners_in(reply.text, item.prompt) == (PLAIN,) for kind, reply
                  in candidates(item, [], ("wrong", "off the question"), rng) if kind != "gold"]
    assert 0.1 < sum(plain) / len(plain) < 0.3


def test_candidates_are_different_and_name_what_was_done_to_them(asked):
    drawn = [Reply(asked[0].answer), Reply("x"), Reply("x"), Reply(" ")]
    found = candidates(asked[0], drawn, TRAINED, random.Random(0))
    assert [kind for kind, _ in found[:2]] == ["gold", "model"]
    assert len({reply for _, reply in found}) == len(found) <= 5
    assert {kind for kind, _ in found[2:]} <= set(TRAINED)


def test_the_better_reply_is_chosen_but_for_the_share_that_is_flipped(asked):
    clean = world_pairs(asked, [[] for _ in asked], seed=4, flipped=0.0)
    assert all(pair.gap >= LEAST_GAP for pair in clean)
    many = asked_items(500, "train", 5)
    noisy = world_pairs(many, [[] for _ in many], seed=4, flipped=0.2)
    share = sum(pair.gap < 0 for pair in noisy) / len(noisy)
    assert 0.15 < share < 0.25
    for pair in noisy[:50]:
        true = (judge_reply(pair.item, *parts(pair.chosen)).value
                - judge_reply(pair.item, *parts(pair.rejected)).value)
        assert pair.gap == pytest.approx(true)


def test_replies_of_equal_quality_make_no_pair(asked):
    item = asked[0]
    assert make_pair(item, Reply(item.answer), Reply(item.answer), "model", False) is None
    assert make_pair(item, Reply("x"), Reply("y"), "model", False) is None


def test_pairs_of_one_seed_are_the_same_and_of_another_differ(asked):
    def first(seed):
        return [pair.chosen for pair in world_pairs(asked, [[] for _ in asked], seed=seed)]
    assert first(1) == first(1) != first(2)


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.jsonl.gz"])
def test_files_come_back_as_they_were_written(tmp_path, asked, name):
    pairs = [pair for pair in world_pairs(asked[:20], [[] for _ in asked[:20]], seed=6)
             if pair.chosen.text]
    assert any(not pair.rejected.text for pair in pairs)
    write_pairs(tmp_path / name, pairs)
    found, left_out = read_pairs(tmp_path / name)
    assert left_out == [] and len(found) == len(pairs)
    for one, two in zip(pairs, found):
        assert one.prompt == two.prompt
        assert (one.chosen.text, one.rejected.text) == (two.chosen.text, two.rejected.text)


def test_texts_beside_a_prompt_and_alpaca_fields_are_read(tmp_path):
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps([
        {"prompt": "Hi", "chosen": "Hello", "rejected": "What"},
        {"instruction": "Add", "input": "1 + 1", "chosen": "2", "rejected": "3"},
        {"prompt": "Hi", "chosen": "same", "rejected": "same "},
        {"prompt": "Hi", "chosen": "", "rejected": "x"}]))
    pairs, left_out = read_pairs(path)
    assert pairs[0].prompt == (Message("user", "Hi"),)
    assert pairs[1].prompt == (Message("user", "Add\n1 + 1"),)
    assert len(left_out) == 2 and "record 3" in left_out[0] and "record 4" in left_out[1]


@pytest.mark.parametrize("content, message", [
    ('{"prompt": "a", "chosen": "b"}', 'record 1: there is no "rejected"'),
    ('{"chosen": "b", "rejected": "c"}', 'no "prompt" beside it'),
    ("{", "line 1: not JSON"),
    ("[1]", "record 1"),
    (('{"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], '
     '"rejected": [{"role": "user", "content": "z"}, {"role": "assistant", "content": "c"}]}'),
     "different conversations"),
    ('{"prompt": "a", "chosen": "b", "rejected": "b"}', "no pair to learn from"),
])
def test_a_record_that_is_no_pair_is_named(tmp_path, content, message):
    path = tmp_path / "pairs.jsonl"
    path.write_text(content + "\n")
    with pytest.raises(ValueError, match=message):
        read_pairs(path)


def test_a_file_that_is_no_gzip_is_refused(tmp_path):
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}")[:-6])
    with pytest.raises(ValueError, match="pairs.jsonl.gz: "):
        read_pairs(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_pairs(tmp_path / "none.jsonl")
