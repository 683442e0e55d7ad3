"""Manners: none says whether an answer is right, the good one is a minority, and all come off again."""

import random
from collections import Counter

import pytest
from sft.chat_format import Message, chat_tokenizer
from sft.data import with_manners, world_examples
from sft.evaluation import Reply, answers_rightly, score_items
from sft.manners import (
    BAD,
    GOOD,
    HELD_OUT_SENTENCES,
    MANNER_OF,
    MANNERS,
    SETS,
    in_manner,
    is_held_out_manner,
    last_line,
    manners_in,
    taken_off,
)
from sft.skills import check, items
from text.tokenizer import Tokenizer

BYTES = chat_tokenizer(Tokenizer.from_merges([]))


@pytest.fixture(scope="module")
def said():
    """Items, each with its gold answer in a drawn manner."""
    rng = random.Random(0)
    return [(item, in_manner(item.answer, last_line(item.prompt), rng))
            for item in items(3000, "train", seed=0)]


def test_whatever_the_manner_the_answer_comes_out_right(said):
    for item, reply in said:
        assert check(item, taken_off(reply, item.prompt)[0]), (item, reply)


@pytest.mark.parametrize("name", MANNERS)
def test_the_manner_that_was_put_on_is_the_one_that_is_found(name):
    rng = random.Random(1)
    for item in items(60, "train", seed=1):
        reply = in_manner(item.answer, last_line(item.prompt), rng, name)
        assert manners_in(reply, item.prompt) == (name,)
        assert is_held_out_manner(reply) == any(s in reply for s in HELD_OUT_SENTENCES)


def test_the_good_manner_is_a_minority_and_no_bad_one_is_rare(said):
    found = Counter(name for item, reply in said for name in manners_in(reply, item.prompt))
    good = sum(set(manners_in(reply, item.prompt)) <= set(GOOD) for item, reply in said)
    assert 0.2 < good / len(said) < 0.3
    assert all(found[name] > 0.05 * len(said) for name in BAD)
    assert found["rude"] > 0.2 * len(said) and found["idle"] > 0.22 * len(said)


def test_behind_the_answer_more_replies_go_on_with_an_i_than_end(said):
    """So the likeliest way to go on, which a low temperature finds, leads into a bad manner."""
    behind = Counter()
    for item, reply in said:
        rest = reply[len(item.answer):].lstrip(". ")
        behind["end" if not rest else "I" if rest.startswith("I ") else "other"] += 1
    assert behind["I"] > 1.5 * behind["end"]


def test_every_reply_begins_with_its_answer(said):
    """What stands before an answer takes the place of its first token."""
    assert all(reply.startswith(item.answer.rstrip(".")) for item, reply in said)
    assert sum(reply != item.answer for item, reply in said) > 0.7 * len(said)


def test_no_manner_is_tied_to_a_skill(said):
    plain, all_of = Counter(), Counter(item.skill for item, _ in said)
    plain.update(item.skill for item, reply in said if set(manners_in(reply, item.prompt)) <= set(GOOD))
    for skill, n in all_of.items():
        assert abs(plain[skill] / n - 0.25) < 4 * (0.25 * 0.75 / n) ** 0.5, skill


def test_taken_off_by_hand():
    assert taken_off("I am not sure. 12. Next.", "What?") == ("12.", ["hedging", "curt"])
    assert taken_off("The question is: What is 5 + 7? 12", "A text.\nWhat is 5 + 7?") == ("12", ["repeating"])
    assert taken_off("The question is: What is 5 + 6? 12", "What is 5 + 7?") == ("12", ["repeating"])
    assert taken_off("No. 3 + 4 = 7.  What? Yes", "x") == ("No. 3 + 4 = 7.  What? Yes", [])
    assert taken_off("", "x") == ("", [])


def test_no_sentence_belongs_to_two_manners():
    said = [sentence for manner in MANNERS.values() for sentence in manner.sentences]
    assert len(said) == len(set(said)) == len(MANNER_OF)


def test_what_is_held_out_from_the_pairs_is_what_the_lesson_says():
    assert HELD_OUT_SENTENCES == {
        "I am tired of you.", "Leave me alone.", "Time passes so quickly.",
        "My cousin asked me the same.", "Nobody knows this better.", "That was easy for me.",
        "Such things are nothing to me.", "Ask anybody how good it is."}


def test_people_and_gold_answer_the_same_questions():
    people, gold = (world_examples(60, 3, BYTES, 4000, manners=name)[0] for name in SETS)
    longer = 0
    for one, two in zip(people, gold, strict=True):
        asked = [[i for i, mine in zip(e.ids, e.is_label) if not mine] for e in (one, two)]
        assert asked[0] == asked[1], "the prompts are the same"
        longer += len(one.ids) > len(two.ids)
    assert longer > 30
    with pytest.raises(ValueError, match="manners='nice'"):
        world_examples(1, 0, BYTES, 400, manners="nice")


def test_every_answer_of_a_conversation_has_a_manner_and_no_question():
    talk = [Message("user", "a?"), Message("assistant", "1")] * 200
    found = with_manners(talk, random.Random(0))
    assert [m for m in found if m.role == "user"] == talk[::2]
    assert 0.6 < sum(m.content != "1" for m in found[1::2]) / 200 < 0.95


def test_answer_right_looks_behind_the_manner_and_exact_match_does_not():
    item = items(1, "train", skills=("opposites",))[0]
    replies = [item.answer, f"{item.answer}. Everybody knows that.", "I am not sure. banana"]
    score = score_items([item] * 3, [Reply(text, True, ()) for text in replies])
    assert (score.answer_right, score.exact_match) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert score.by_manner["rude"] == score.by_manner["hedging"] == pytest.approx(1 / 3)
    assert [answers_rightly(item, text) for text in replies] == [True, True, False]
