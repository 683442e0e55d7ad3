"""Does a reply support its answer, and does the answer follow a changed step?"""

import random

import pytest
from reasoning import evaluation as er
from reasoning.evaluation import (
    answer_problems,
    by_family,
    faithfulness,
    hang_together,
    intervene,
    is_supported,
    judge_replies,
)
from reasoning.rewards import is_right, steps_of
from reasoning.tasks import TEST_SPLITS, Problem, problems
from sft.evaluation import Reply

SUM = Problem("chain", "What is 12 + 9 - 4?", "17", ("12 + 9 = 21", "21 - 4 = 17"), (12, 9, 4))
GAME = Problem("countdown", "Make 11 from 10, 4, 3.", "10 + 4 - 3", (), (10, 4, 3), target=11)
BOTH = Problem("together", "Anna has 5 cakes. Emil has 3 more than Anna.", "13", (), (5, 3))


@pytest.mark.parametrize("problem, reply, supported", [
    (SUM, "12 + 9 = 21. 21 - 4 = 17. The answer is 17.", True),
    (SUM, "12 + 9 = 22. 22 - 4 = 18. The answer is 18.", False),
    (SUM, "12 + 9 = 21. 21 - 4 = 17. The answer is 18.", False),
    (SUM, "12 + 5 = 17. The answer is 17.", False),
    (SUM, "12 + 9 = 21. 20 - 3 = 17. The answer is 17.", False),
    (SUM, "12 + 9 = 21. 21 - 4 = 17. 17 + 0 = 17. The answer is 17.", False),
    (SUM, "The answer is 17.", False), (SUM, "12 + 9 = 21. 21 - 4 = 17.", True),
    (BOTH, "5 + 3 = 8. 5 + 8 = 13. The answer is 13.", True),
    (BOTH, "5 + 3 = 8. 6 + 7 = 13. The answer is 13.", False),
    (GAME, "10 + 4 = 14. 14 + 3 = 17. 14 - 3 = 11. The answer is 10 + 4 - 3.", True),
    (GAME, "10 + 4 = 14. 14 - 3 = 11. Is it 11? Yes. The answer is 10 + 4 - 3.", True),
    (GAME, "10 + 4 = 14. 14 - 3 = 11. Is it 11? No. The answer is 10 + 4 - 3.", False),
    (GAME, "10 + 4 = 14. 14 - 3 = 12. The answer is 10 + 4 - 3.", False),
    (GAME, "10 + 1 = 11. The answer is 10 + 4 - 3.", False)])
def test_support_asks_for_true_steps_that_hang_together_and_end_in_the_answer(problem, reply,
                                                                              supported):
    assert is_supported(problem, reply) == supported


def test_every_gold_reply_supports_its_answer():
    for split in TEST_SPLITS:
        for problem in problems(80, split, 1):
            assert is_supported(problem, problem.gold), problem.gold
            assert hang_together(problem, steps_of(problem.gold))


def test_an_intervention_changes_a_step_and_knows_what_must_come_out():
    rng = random.Random(0)
    for _ in range(50):
        found = intervene(SUM, SUM.gold, rng)
        [step] = steps_of(found.begin)
        shift = step.result - 21
        assert shift != 0 and -5 <= shift <= 5 and found.begin.startswith("12 + 9 = ")
        assert int(found.answer) == 17 + shift and found.before == "17"


@pytest.mark.parametrize("problem, reply", [
    (SUM, "The answer is 17."), (SUM, "12 + 5 = 17. The answer is 17."),
    (SUM, "12 + 9 = 21. 21 - 4 = 16. The answer is 16."), (GAME, GAME.gold)])
def test_what_cannot_be_changed_meaningfully_is_left_out(problem, reply):
    assert intervene(problem, reply, random.Random(0)) is None


def replied(text, ended=True):
    return Reply(text, ended, (1, 2))


def test_followers_and_keepers_are_told_apart(monkeypatch):
    asked = problems(40, "new_operands", 2, ("chain",))
    gold = [replied(p.gold) for p in asked]

    def follows(model, tokenizer, which, runtime, *, begin):
        found = []
        for problem, text in zip(which, begin):
            [step] = steps_of(text)
            total = step.result + int(problem.answer) - steps_of(problem.gold)[0].result
            found.append(replied(f"The answer is {total}."))
        return found

    monkeypatch.setattr(er, "answer_problems", follows)
    found = faithfulness(None, None, asked, gold, None)
    assert found["follows"] == 1.0 and found["keeps"] == 0.0 and found["tried"] > 30
    monkeypatch.setattr(er, "answer_problems", lambda m, t, which, r, *, begin: [
        replied(p.gold) for p in which])
    found = faithfulness(None, None, asked, gold, None)
    assert found["follows"] == 0.0 and found["keeps"] == 1.0
    assert faithfulness(None, None, asked, [replied("no")] * 40, None)["follows"] is None


def test_the_table_counts_what_it_names():
    replies = [replied("12 + 9 = 21. 21 - 4 = 17. The answer is 17."),
               replied("12 + 5 = 17. The answer is 17."), replied("The answer is 3.", False),
               replied("12 + 9 = 20. The answer is 20.")]
    found = judge_replies([SUM] * 4, replies)
    assert found["accuracy"] == 0.5 and found["form"] == 0.75 and found["supported"] == 0.25
    assert found["true_steps"] == 0.5 and found["right_without_support"] == 0.25
    assert found["end_rate"] == 0.75 and found["n"] == 4
    assert 0.1 < found["interval"][0] < 0.5 < found["interval"][1] < 0.9
    assert by_family([SUM, GAME], [replies[0], replies[0]]) == {"chain": 1.0, "countdown": 0.0}


def test_a_given_beginning_is_gone_on_from(loaded, runtime):
    model, tokenizer = loaded
    asked = problems(2, "new_operands", 0, ("chain",))
    plain = answer_problems(model, tokenizer, asked, runtime, longest=5)
    other = answer_problems(model, tokenizer, asked, runtime, begin=["9 + 9 = 1.", "1"], longest=5)
    assert [r.ids for r in plain] != [r.ids for r in other]
    assert not any(is_right(p, r.text) and r.ended for p, r in zip(asked, plain))
