"""Problems: true steps, kept-apart splits, graded lengths, and files of GSM8K's form."""

import json
import random
import re

import pytest
from reasoning.rewards import has_form, is_right, steps_of
from reasoning.task_families import FAMILIES, solutions, walk
from reasoning.tasks import (
    SPLITS,
    TEST_SPLITS,
    Problem,
    direct,
    is_held_out,
    problems,
    read_gsm8k,
    split_by_question,
    write_gsm8k,
)
from sft.skill_form import final_answer
from show_problems import main


@pytest.fixture(scope="module")
def drawn():
    return {split: problems(200, split, seed=3) for split in SPLITS}


def test_every_gold_reply_is_right_in_form_and_true_step_by_step(drawn):
    for problem in [p for found in drawn.values() for p in found]:
        assert is_right(problem, problem.gold) and has_form(problem.gold)
        steps = steps_of(problem.gold)
        assert len(steps) == len(problem.steps) and all(step.holds for step in steps)
        last = problem.target if problem.target is not None else int(problem.answer)
        assert steps[-1].result == last


def test_chains_are_worked_out_as_arithmetic_says(drawn):
    for problem in drawn["train"] + drawn["longer"]:
        if problem.family == "chain":
            text = re.search(r"\d+(?: [+-] \d+)+", problem.question)[0].split()
            total = int(text[0]) + sum(int(n) if sign == "+" else -int(n)
                                       for sign, n in zip(text[1::2], text[2::2]))
            assert str(total) == problem.answer


def test_a_story_tells_what_its_steps_reckon_with(drawn):
    for problem in drawn["train"]:
        if problem.family == "story":
            told = [int(n) for n in re.findall(r"\d+", problem.question)]
            assert told == list(problem.numbers)
            signs = ["+" if verb in ("got", "found", "bought") else "-" for verb in
                     re.findall(r"Then \w+ (got|found|bought|gave|lost|sold)", problem.question)]
            assert signs == [step.split()[1] for step in problem.steps]


def test_together_adds_what_both_have(drawn):
    for problem in drawn["train"]:
        if problem.family == "together":
            start, *gains, change = problem.numbers
            first = start + sum(gains)
            second = first + change if "more than" in problem.question else first - change
            assert problem.answer == str(first + second) and second >= 1


def test_countdown_has_a_solution_that_a_full_search_finds_too(drawn):
    for problem in drawn["new_operands"][:60] + drawn["longer"][:60]:
        if problem.family == "countdown":
            assert problem.answer in solutions(problem.numbers, problem.target)
            assert problem.numbers[0] >= max(problem.numbers[1:])


def test_a_search_compares_all_that_is_joined_and_stops_at_the_target(drawn):
    for problem in drawn["train"] + drawn["longer"]:
        if problem.family == "countdown":
            verdicts = re.findall(r"= (\d+)\. Is it (\d+)\? (Yes|No)\.", problem.gold)
            assert len(verdicts) == problem.gold.count("?") >= 1
            assert [said for *_, said in verdicts] == ["No"] * (len(verdicts) - 1) + ["Yes"]
            assert all((int(result) == problem.target) == (said == "Yes")
                       and int(target) == problem.target for result, target, said in verdicts)


def test_operands_are_trained_on_or_held_out_never_both(drawn):
    trained = {(p.family, tuple(sorted(p.numbers))) for p in drawn["train"]}
    for split in TEST_SPLITS:
        assert not trained & {(p.family, tuple(sorted(p.numbers))) for p in drawn[split]}
        assert all(is_held_out(p.family, p.numbers) for p in drawn[split])
    assert is_held_out("chain", (1, 2, 3)) == is_held_out("chain", (3, 1, 2))


def test_wordings_and_lengths_are_held_out_where_the_split_says_so(drawn):
    kept = {name: len(kind.wordings) - 2 for name, kind in FAMILIES.items()}
    assert all(p.wording < kept[p.family] for p in drawn["train"] + drawn["longer"])
    assert all(p.wording >= kept[p.family] for p in drawn["new_wordings"])
    counts = {split: {len(p.steps) for p in found if p.family in ("chain", "story")}
              for split, found in drawn.items()}
    assert counts["train"] == counts["new_operands"] == {2, 3, 4} and counts["longer"] == {5}


def test_all_families_come_equally_often_and_the_seed_decides(drawn):
    for found in drawn.values():
        counts = {name: sum(p.family == name for p in found) for name in FAMILIES}
        assert max(counts.values()) - min(counts.values()) <= 25
        assert len({p.question for p in found}) == len(found) == 200
    assert problems(20, "train", 3) == problems(20, "train", 3) != problems(20, "train", 4)


def test_a_walk_stays_between_0_and_its_limit():
    for seed in range(200):
        changes, steps = walk(random.Random(seed), 6, 1)
        totals = [int(step.split("= ")[1]) for step in steps]
        assert all(0 <= total <= 40 for total in totals)
        assert totals[-1] == 1 + sum(changes) and all(1 <= abs(c) <= 9 for c in changes)


def test_a_direct_question_has_the_answer_alone():
    problem = problems(1, "train", 0, ("chain",))[0]
    asked = direct(problem, random.Random(0))
    assert problem.question in asked.question and asked.question != problem.question
    assert asked.answer == problem.answer and asked.steps == ()


@pytest.mark.parametrize("options, says", [
    ({"split": "test"}, "split='test'"), ({"families": ("chess",)}, "chess"),
    ({"families": ()}, "families none")])
def test_what_does_not_exist_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        problems(1, **options)


# ---- files

def test_a_file_of_gsm8ks_form_comes_back_as_the_same_questions(tmp_path, drawn):
    asked = [p for p in drawn["train"] if p.target is None][:10]
    write_gsm8k(tmp_path / "a.jsonl", asked)
    found = read_gsm8k(tmp_path / "a.jsonl")
    assert [(p.question, p.answer) for p in found] == [(p.question, p.answer) for p in asked]
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])["answer"].count("\n") \
        == len(asked[0].steps)


def test_gsm8ks_own_habits_are_understood(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(
        {"question": "How much?", "answer": "2 x 600 = <<2*600=1200>>1200\n#### 1,200"}) + "\n\n")
    [problem] = read_gsm8k(tmp_path / "a.jsonl")
    assert problem.answer == "1200" and is_right(problem, "That makes 1,200 dollars.")


@pytest.mark.parametrize("line, says", [
    ('{"question": "a"}', "line 1: needs a text"),
    ('{"question": "a", "answer": "12"}', "needs a text"),
    ('{"question": "a", "answer": "#### "}', "line 1: the answer '' is no number"),
    ('{"question": "a", "answer": "#### 41 or 42"}', "'41 or 42' is no number, sum or text"),
    ('{"question": " ", "answer": "#### 4"}', "needs a text"),
    ('["a"]', "needs a text"), ("{", "not JSON"), ("", "no problem in it")])
def test_records_that_are_no_problems_are_named(tmp_path, line, says):
    (tmp_path / "a.jsonl").write_text(line)
    with pytest.raises(ValueError, match=says):
        read_gsm8k(tmp_path / "a.jsonl")


@pytest.mark.parametrize("answer, gold", [
    ("#### $18", "18"), ("#### $18.00", "18"), ("… = <<9+9=18>>18\n#### 18 dollars", "18"),
    ("#### 1,234", "1234"), ("#### −7", "-7"), ("#### 1/2", "0.5"), ("#### 1/3", "1/3"),
    ("#### 50%", "50"), ("So it is \\boxed{18}.", "18"), ("#### Paris", "Paris")])
def test_a_gold_answer_is_read_as_a_replys_is(tmp_path, answer, gold):
    (tmp_path / "a.jsonl").write_text(json.dumps({"question": "How much?", "answer": answer}))
    [problem] = read_gsm8k(tmp_path / "a.jsonl")
    assert problem.answer == gold and problem.target is None and is_right(problem, problem.gold)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("split", SPLITS)
def test_what_is_written_is_read_back_and_graded_alike(tmp_path, family, split):
    asked = problems(40, split, 5, (family,))
    write_gsm8k(tmp_path / "a.jsonl", asked)
    found = read_gsm8k(tmp_path / "a.jsonl")
    write_gsm8k(tmp_path / "b.jsonl", found)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    for problem, other in zip(asked, found, strict=True):
        assert (other.question, other.answer, other.target) == \
            (problem.question, problem.answer, problem.target)
        assert is_right(other, problem.gold) and is_right(other, other.gold)
        assert is_right(problem, other.gold) and len(other.steps) == len(problem.steps)
        if problem.target is not None:
            assert sorted(other.numbers) == sorted(problem.numbers)
            for reply in solutions(problem.numbers, problem.target):
                assert is_right(other, f"The answer is {reply}.")
            assert not is_right(other, f"The answer is {problem.target}.")


def asked_of(questions):
    return [Problem("file", question, str(i), (), ()) for i, question in enumerate(questions)]


def test_a_file_is_split_by_question_and_duplicates_stay_on_one_side():
    found = asked_of([f"How much is {i % 300}?{' ' * (i // 300)}" for i in range(600)])
    split = split_by_question(found, lambda p: True)
    words = [{" ".join(p.question.split()) for p in side} for side in (split.learnt, split.held_out)]
    assert not words[0] & words[1] and len(words[0] | words[1]) == 300
    assert split.repeated == 300 and split.too_long == 0 and 15 <= len(split.held_out) <= 45
    upper = asked_of([p.question.upper() for p in found])
    assert {p.question.lower() for p in split_by_question(upper, lambda p: True).held_out} \
        == {p.question.lower() for p in split.held_out}
    more = split_by_question(found + asked_of(["And more?"]), lambda p: True)
    assert set(split.held_out) <= set(more.held_out), "a question stays on its side"


@pytest.mark.parametrize("n", [2, 3, 6])
def test_a_short_file_has_something_on_both_sides(n):
    for start in range(20):
        split = split_by_question(asked_of([f"{start + i}?" for i in range(n)]), lambda p: True)
        assert split.learnt and split.held_out and len(split.learnt) + len(split.held_out) == n


def test_what_does_not_fit_is_counted_and_one_problem_is_too_few():
    found = asked_of(["a?", "b?", "c?", "a long one?"])
    split = split_by_question(found, lambda p: len(p.question) < 5)
    assert split.too_long == 1 and len(split.learnt) + len(split.held_out) == 3
    with pytest.raises(ValueError, match="1 of 2 problems have room in the context"):
        split_by_question(found[2:], lambda p: len(p.question) < 5)


def test_the_script_shows_and_writes(tmp_path, capsys):
    main(["--show", "1", "--write", str(tmp_path / "p.jsonl")])
    assert "countdown" in capsys.readouterr().out
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 1000
    with pytest.raises(ValueError, match="--show 0"):
        main(["--show", "0"])


def test_a_problem_without_steps_is_its_answer():
    assert final_answer(Problem("file", "How much?", "12", (), ()).gold) == "12"
