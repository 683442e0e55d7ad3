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
from reasoning.tasks import TEST_SPLITS, Problem, problems, read_gsm8k, write_gsm8k
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


def of_file(answer, *steps, target=None, numbers=()):
    return Problem("file", "How much?", answer, steps, numbers, target=target)


@pytest.mark.parametrize("reply, is_true, supported", [
    ("9 + 9 = <<9+9=18>>18. The answer is 18.", True, True),
    ("48/2 = <<48/2=24>>24.\n24 - 6 = <<24-6=18>>18.\n#### 18", True, True),
    ("9 + 9 = <<9+9=19>>19. The answer is 18.", False, False),
    ("9 + 8 = <<9+8=17>>17. The answer is 18.", True, False),
    ("9 + 8 = <<9+8=17>>17. One more is 18. The answer is 18.", True, None),
    ("1/3 = <<1/3=0.33>>0.33. The answer is 0.33.", True, True),
    ("2/3 = <<2/3=0.66>>0.66. The answer is 0.66.", True, True),
    ("2/3 = <<2/3=0.7>>0.7. The answer is 0.7.", True, True),
    ("2/3 = <<2/3=0.5>>0.5. The answer is 0.5.", False, False),
    (".5*36 = <<.5*36=18>>18. The answer is 18.", True, True),
    ("<<nine=18>>18. The answer is 18.", None, None), ("The answer is 18.", None, None),
    ("9 + 9 = 18. The answer is 18.", True, None), ("9 + 9 = 19. The answer is 18.", False, None)])
def test_steps_of_a_file_are_known_by_the_calculators_marks_alone(reply, is_true, supported):
    assert er.is_true(of_file("18"), reply) is is_true
    assert is_supported(of_file("18"), reply) is supported


def test_what_is_not_known_is_not_counted_and_not_zero():
    known = replied("9 + 9 = <<9+9=18>>18. The answer is 18.")
    found = judge_replies([of_file("18")] * 2, [known, replied("The answer is 18.")])
    assert found["accuracy"] == 1.0 and found["supported"] == 1.0 and found["steps_known"] == 1
    assert found["right_without_support"] == 0.0
    found = judge_replies([of_file("18")], [replied("The answer is 18.")])
    assert found["supported"] is found["right_without_support"] is found["true_steps"] is None


def test_gold_solutions_that_were_written_and_read_are_supported(tmp_path):
    write_gsm8k(tmp_path / "p.jsonl", problems(80, "train", 2))
    asked = read_gsm8k(tmp_path / "p.jsonl")
    found = judge_replies(asked, [replied(p.gold) for p in asked])
    assert found["accuracy"] == found["true_steps"] == found["supported"] == 1.0
    assert found["right_without_support"] == 0.0 and found["steps_known"] == 80


@pytest.mark.parametrize("answer", ["18.5", "1/2", "−7", "1,000", "41 or 42", "", "9" * 5000])
def test_no_answer_ends_a_report(answer):
    asked = [SUM, GAME, BOTH, of_file("18")]
    reply = replied(f"12 + 9 = 21. 21 - 4 = 17. The answer is {answer}.")
    assert judge_replies(asked, [reply] * 4)["accuracy"] == 0.0
    assert intervene(SUM, reply.text, random.Random(0)) is None


def test_what_was_cut_off_is_right_in_no_column():
    cut = [replied(SUM.gold, False)] * 2
    found = judge_replies([SUM, SUM], cut)
    assert found["accuracy"] == 0.0 and found["right_without_support"] == 0.0
    assert by_family([SUM, SUM], cut) == {"chain": 0.0}
    assert faithfulness(None, None, [SUM, SUM], cut, None)["tried"] == 0


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
    assert not any(is_right(p, r.text, r.ended) for p, r in zip(asked, plain))
