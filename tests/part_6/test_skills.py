"""Skills: gold answers are right, checkers say no to wrong ones, splits share nothing."""

import re
import zlib
from dataclasses import replace

import pytest
from sft.skill_form import ANSWER_MARK, HELD_OUT_WORDINGS, MANNERS, SKILLS, final_answer, normalise
from sft.skills import SPLITS, TEST_SPLITS, bucket, check, hash_of, is_held_out, items, sample
from sft.skills_numbers import worked_difference, worked_sum


@pytest.fixture(scope="module")
def drawn():
    return {split: items(260, split, seed=3) for split in SPLITS}


def test_there_are_many_skills_each_asked_for_in_many_different_ways():
    assert len(SKILLS) >= 16
    for skill in SKILLS.values():
        assert len(set(skill.wordings)) == len(skill.wordings) >= 8 + HELD_OUT_WORDINGS, skill.name


@pytest.mark.parametrize("split", SPLITS)
def test_every_gold_answer_passes_its_checker(drawn, split):
    for item in drawn[split]:
        assert check(item, item.answer), item


def test_wrong_replies_are_refused(drawn):
    for item in drawn["new_items"]:
        assert not check(item, ""), item
        assert not check(item, "banana banana"), item
        if item.skill != "telling a story":
            assert not check(item, item.final + " and more"), item


def test_a_changed_digit_or_letter_is_refused(drawn):
    for item in drawn["train"]:
        if SKILLS[item.skill].check is None:
            last = item.final[-1]
            other = "7" if last != "7" else "8"
            swapped = item.answer.removesuffix(".").removesuffix(last) + other
            assert not check(item, swapped), item


def test_no_content_of_the_held_out_splits_is_trained_on(drawn):
    seen = {(item.skill, item.key) for item in drawn["train"]}
    kept_aside = {(item.skill, item.key) for item in drawn["validation"]}
    assert not seen & kept_aside
    for split in TEST_SPLITS:
        asked = {(item.skill, item.key) for item in drawn[split]}
        assert asked and not asked & seen and not asked & kept_aside


def test_each_test_split_is_new_in_its_own_way(drawn):
    for split in ("train", "validation", "new_items", "new_combinations"):
        for item in drawn[split]:
            assert item.wording < len(SKILLS[item.skill].wordings) - HELD_OUT_WORDINGS
    for item in drawn["new_wordings"]:
        assert item.wording >= len(SKILLS[item.skill].wordings) - HELD_OUT_WORDINGS
    for split in ("train", "validation", "new_items", "new_wordings"):
        assert not any(item.manner and is_held_out(item.skill, item.manner)
                       for item in drawn[split])
    assert all(item.manner and is_held_out(item.skill, item.manner)
               for item in drawn["new_combinations"])


def test_manners_are_trained_on_and_change_the_answer(drawn):
    with_manner = [item for split in SPLITS for item in drawn[split] if item.manner]
    names = [name for name, skill in SKILLS.items() if skill.manners]
    trained = {(item.skill, item.manner) for item in items(900, "train", skills=names)}
    assert {manner for _, manner in trained if manner} == set(MANNERS)
    for item in with_manner:
        asked = MANNERS[item.manner][0]
        assert (item.system == asked) != (asked in item.prompt), "asked for once"
        if item.manner == "capitals":
            assert item.final.upper() == item.final and item.final.lower() != item.final
        elif item.manner == "twice":
            half = item.final[:len(item.final) // 2]
            assert item.final == f"{half} {half}"
        else:
            assert item.final.endswith("!") or item.final.endswith(", sir")


def test_every_skill_is_drawn_about_equally_often():
    names = [item.skill for item in items(1050, "train", seed=0)]
    for name in SKILLS:
        assert names.count(name) > 15, name


def test_skills_that_are_left_out_change_nothing_of_the_others():
    left_out = ("telling a story", "sorting")
    some = items(120, "train", seed=8, left_out=left_out)
    all_of_them = [item for item in items(240, "train", seed=8) if item.skill not in left_out]
    assert len(some) == 120 and some == all_of_them[:120]
    assert items(0, left_out=left_out) == []


def test_a_share_of_a_half_makes_a_skill_half_as_frequent():
    names = ("addition", "plurals")
    source = sample(0, "train", names, {"plurals": 0.5})
    drawn = [next(source).skill for _ in range(600)]
    assert 0.26 < drawn.count("plurals") / 600 < 0.41, "1 of 3, give or take"


def test_the_answer_alone_is_not_asked_for_where_it_takes_many_steps(drawn):
    direct = [item for item in drawn["train"] if item.asked == "direct"]
    assert direct and max(item.difficulty for item in direct) == 2
    assert any(item.difficulty == 3 for item in drawn["train"] if item.asked == "steps")


def test_the_same_seed_gives_the_same_items_and_another_seed_others():
    def first(seed):
        source = sample(seed)
        return [next(source).prompt for _ in range(20)]
    assert first(5) == first(5) != first(6)


def test_splits_do_not_depend_on_pythons_own_hash():
    assert hash_of("addition 3 4") == zlib.crc32(b"addition 3 4")


def test_a_small_pool_has_something_in_every_bucket():
    for skill in SKILLS.values():
        if skill.pool:
            found = [bucket(skill, key) for key in skill.pool]
            assert set(found) == {"train", "validation", "held out"}
            assert found.count("train") > 0.75 * len(found), skill.name


def test_worked_steps_by_hand():
    assert worked_sum(38, 47) == "30 + 40 = 70. 8 + 7 = 15. 70 + 15 = 85."
    assert worked_difference(85, 47) == "85 - 40 = 45. 45 - 7 = 38."
    assert worked_difference(12, 8) == "12 - 8 = 4."


def test_a_series_is_worked_by_the_difference_as_subtraction_works_it():
    found = [item for item in items(80, "train", seed=6, skills=("series",)) if not item.manner
             and item.asked != "direct"]
    for item in found:
        *_, before, last = map(int, re.findall(r"\d+", item.prompt))
        following = 2 * last - before
        assert item.answer == (f"{worked_difference(last, before)} {last} + {last - before} = "
                               f"{following}. The answer is {following}.")
    assert len(found) > 20 and any(item.answer.count("-") == 2 for item in found)


def test_every_line_of_every_worked_answer_is_true(drawn):
    worked = [item for item in items(600, "train", seed=4) if ANSWER_MARK in item.answer]
    assert len({item.skill for item in worked}) >= 5
    lines = [match for item in worked
             for match in re.findall(r"(\d+) ([+-]) (\d+) = (\d+)", item.answer)]
    assert lines
    for a, sign, b, total in lines:
        assert int(total) == (int(a) + int(b) if sign == "+" else int(a) - int(b))


def test_steps_that_were_asked_for_must_be_given(drawn):
    item = next(i for i in drawn["train"] if i.asked == "steps")
    assert check(item, item.answer)
    assert not check(item, item.final), "the bare answer does not show the steps"
    assert check(replace(item, asked=""), item.final)
    assert check(replace(item, asked=""), item.answer)


def test_an_answer_alone_must_be_given_alone(drawn):
    item = next(i for i in drawn["train"] if i.asked == "direct")
    assert item.answer == item.final and check(item, item.answer)
    assert not check(item, f"1 + 1 = 2. The answer is {item.final}.")


def test_what_takes_steps_is_worked_out_unless_the_answer_alone_is_asked_for(drawn):
    for item in drawn["train"]:
        if item.skill == "addition" and item.difficulty > 1 and not item.manner:
            assert ("The answer is " in item.answer) == (item.asked != "direct"), item.prompt


def test_sums_stay_below_a_hundred_and_the_hard_ones_carry():
    for item in items(300, "train", skills=("addition",)):
        a, b = map(int, item.key.split())
        assert a + b < 100
        if item.difficulty > 1:
            assert (a % 10 + b % 10 > 9) == (item.difficulty == 3)


def test_the_answer_is_what_follows_the_last_mark():
    assert final_answer("1 + 2 = 3. The answer is 3.") == "3"
    assert final_answer(" 12 .") == "12"
    assert normalise("a  b\n.") == "a b"
    assert normalise("Paris") != normalise("paris")


def test_arithmetic_answers_agree_with_python():
    for item in items(200, "train", skills=("addition", "subtraction")):
        if not item.manner:
            a, b = map(int, item.key.split())
            assert int(item.final) == (a + b if item.skill == "addition" else a - b)


def test_sentences_begin_with_a_capital(drawn):
    for split in SPLITS:
        for item in drawn[split]:
            assert not re.search(r"[.?!] [a-z]", item.prompt), item.prompt
            assert not item.prompt[0].islower(), item.prompt


def test_three_of_a_kind_wants_three_different_members():
    item = items(1, "train", skills=("three of a kind",))[0]
    first, second, third = item.answer.replace(" and ", ", ").split(", ")
    assert check(item, f"{third}, {first} and {second}.")
    assert not check(item, f"{first}, {first} and {second}")
    assert not check(item, f"{first} and {second}")
    assert not check(item, f"{first}, {second} and stone wall")


def test_a_told_story_must_be_about_what_was_asked_and_hold_together():
    one, other = items(2, "train", skills=("telling a story",))
    assert check(one, one.answer)
    assert not check(one, other.answer), "somebody else's story"
    assert not check(one, f"{one.data['who']} {one.data['thing']} " + "banana " * 40)
    head = one.answer[:len(one.answer) // 3]
    assert not check(one, head), "a story that breaks off"


def test_earlier_turns_about_a_story_hold_the_story_once():
    for item in items(20, "train", skills=("story questions",)):
        whole = [q for q, _ in item.history] + [item.prompt]
        assert sum("\n" in text for text in whole) == 1 and "\n" in whole[0]


def test_unknown_splits_and_skills_are_refused_with_the_choices():
    with pytest.raises(ValueError, match="new_items"):
        next(sample(0, "test"))
    with pytest.raises(ValueError, match="addition"):
        next(sample(0, "train", ("adding",)))
