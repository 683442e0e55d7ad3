"""What the checker pays for, and what it does not."""

import pytest
import torch
from reasoning.rewards import Checker, Step, has_form, is_right, steps_hold, steps_of
from reasoning.tasks import Problem
from reasoning.tiny_chat import tiny_tokenizer
from rl.policy import Rows
from rl.rollout import Rollout

SUM = Problem("chain", "What is 12 + 9 - 4?", "17", (), (12, 9, 4))
GAME = Problem("countdown", "Make 11 from 10, 4, 3.", "10 + 4 - 3", (), (10, 4, 3), target=11)
GOOD = "12 + 9 = 21. 21 - 4 = 17. The answer is 17."


@pytest.mark.parametrize("reply, right", [
    (GOOD, True), ("The answer is 17", True), ("17", True), ("It is 17 apples.", True),
    ("The answer is 18.", False), ("12 + 9 = 21. 21 - 4 = 17. The answer is 21.", False),
    ("", False), ("I do not know.", False), ("The answer is seventeen.", False),
    ("The answer is 117.", False), ("The answer is -17.", False)])
def test_only_the_final_answer_makes_a_sum_right(reply, right):
    assert is_right(SUM, reply) == right


@pytest.mark.parametrize("answer, right", [
    ("10 + 4 - 3", True), ("10 - 3 + 4", True), ("4 + 10 - 3", True), ("11", False),
    ("10 + 4 + 3", False), ("10 + 1", False), ("10 + 4 - 3 + 0", False), ("10 + 4 - 4", False),
    ("10 +4 - 3", True), ("10 * 4 - 29", False), ("10", False), ("", False)])
def test_countdown_takes_every_solution_that_uses_each_number_once(answer, right):
    assert is_right(GAME, f"10 + 4 = 14. The answer is {answer}.") == right


@pytest.mark.parametrize("reply, ended, form", [
    (GOOD, True, True), (GOOD, False, False), ("The answer is 17.", True, False),
    (GOOD + " And more.", True, False), ("Well. " + GOOD, True, False),
    (GOOD.removesuffix("."), True, False), ("12 + 9 = 20. The answer is 3.", True, True),
    ("12 + 9 = 21. 17", True, False),
    ("10 + 4 = 14. Is it 11? No. 10 - 4 = 6. The answer is 6.", True, True),
    ("Is it 11? No. 10 - 4 = 6. The answer is 6.", True, False),
    ("10 + 4 = 14. Is it 11? Perhaps. The answer is 6.", True, False)])
def test_the_form_is_steps_then_the_answer_then_the_end(reply, ended, form):
    assert has_form(reply, ended) == form


def test_steps_are_read_and_checked():
    steps = steps_of("12 + 9 = 21. 21 - 4 = 16. The answer is 16.")
    assert steps == [Step(12, "+", 9, 21), Step(21, "-", 4, 16)]
    assert [step.holds for step in steps] == [True, False]
    assert Step(3, "-", 5, -2).holds and steps_of("nothing") == []


@pytest.mark.parametrize("reply, hold", [
    (GOOD, True), ("12 + 9 = 20. The answer is 20.", False), ("The answer is 17.", False),
    ("10 + 1 = 11. Is it 11? Yes. The answer is 10 + 1.", True),
    ("10 + 1 = 11. Is it 12? No. 10 - 1 = 9. Is it 9? No.", False),
    ("10 + 1 = 11. Is it 12? Yes.", False), ("10 + 1 = 12. Is it 12? Yes.", False)])
def test_what_steps_say_is_checked_sums_and_comparisons(reply, hold):
    assert steps_hold(reply) == hold


def test_what_was_cut_off_is_right_nowhere():
    assert is_right(SUM, GOOD, True) and not is_right(SUM, GOOD, False)
    assert is_right(GAME, "The answer is 10 + 4 - 3.") \
        and not is_right(GAME, "The answer is 10 + 4 - 3.", False)
    assert Checker(None).reward(SUM, GOOD, False) == 0.0


@pytest.mark.parametrize("reply, reward", [
    ("12 + 9 = 21. 21 - 4 = 17. The answer is 17.0.", 1.2), ("The answer is 18.5.", 0.0),
    ("12 + 9 = 21. The answer is 18.5.", 0.2), ("The answer is 16 or 17.", 0.0),
    ("The answer is 12 + 9 - 4.", 0.0), ("The answer is −17.", 0.0), ("The answer is 34/2.", 1.0)])
def test_values_are_paid_for_and_the_question_said_again_is_not(reply, reward):
    assert Checker(None).reward(SUM, reply, True) == pytest.approx(reward)


def rollout_of(texts, ended, tokenizer):
    replies = [tokenizer.encode(f" {text}") + ([tokenizer.end] if e else [])
               for text, e in zip(texts, ended)]
    width = max(map(len, replies))
    ids = torch.tensor([[tokenizer.begin, *r, *[tokenizer.pad] * (width - len(r))]
                        for r in replies])
    lengths = torch.tensor([len(r) for r in replies])
    rows = Rows(ids, torch.ones(len(texts), dtype=torch.int64), torch.arange(width)
                < lengths[:, None])
    return Rollout(rows, torch.zeros(len(texts), width), torch.tensor(ended))


def test_rewards_go_to_the_rows_they_belong_to_and_nothing_unended_is_paid():
    tokenizer = tiny_tokenizer()
    texts = [GOOD, "The answer is 17.", "10 + 4 = 14. The answer is 10 + 4 - 3.", GOOD]
    rollout = rollout_of(texts, [True, True, True, True], tokenizer)
    checker = Checker(tokenizer, form_weight=0.25)
    assert checker(rollout, [SUM, GAME]).tolist() == [1.25, 1.0, 1.25, 0.25]
    cut = rollout_of(texts, [False, True, False, True], tokenizer)
    assert checker(cut, [SUM, GAME]).tolist() == [0.0, 1.0, 0.0, 0.25]
