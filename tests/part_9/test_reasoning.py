"""Votes, the unbiased pass@k, and the cost of samples."""

from itertools import combinations

import pytest
from reasoning.sampling import Samples as S
from reasoning.sampling import (
    best_of,
    draw_samples,
    majority,
    pass_at,
    pass_rate,
    right_counts,
    voted_right,
)
from reasoning.tasks import Problem, problems

P = Problem("chain", "What is 1 + 1?", "2", (), (1, 1))


def answer(n):
    return f"1 + 1 = {n}. The answer is {n}."


def test_pass_at_k_is_the_share_of_all_choices_of_k_that_hold_a_right_one():
    for n in range(1, 8):
        for right in range(n + 1):
            marks = [True] * right + [False] * (n - right)
            for k in range(1, n + 1):
                choices = list(combinations(marks, k))
                expected = sum(map(any, choices)) / len(choices)
                assert pass_at(k, n, right) == pytest.approx(expected)


@pytest.mark.parametrize("k, n, right", [(0, 4, 1), (5, 4, 1), (1, 4, 5), (1, 4, -1)])
def test_impossible_counts_are_refused(k, n, right):
    with pytest.raises(ValueError, match="no more can be right than were drawn"):
        pass_at(k, n, right)


def test_most_votes_win_a_tie_goes_to_the_first_and_silence_has_no_vote():
    assert majority([answer(3), answer(2), answer(2)]) == "2"
    assert majority([answer(3), answer(2), answer(2), answer(3)]) == "3"
    assert majority(["hm", "hm", "hm", answer(2)]) == "2"
    assert majority(["7", "8", "8"]) == "8"
    assert majority(["1 + 1 = 2. The answer is 2.", "The answer is 2", answer(4)]) == "2"


def test_votes_are_counted_by_value_and_empty_double_or_cut_off_answers_have_none():
    assert majority([answer(3), answer("7.0"), answer(7)]) == "7.0"
    assert majority([answer("1/2"), answer(3), answer("0.50")]) == "1/2"
    assert majority([answer("10 + 4 - 3"), answer("9 + 2"), answer("4 + 10 - 3")]) == "10 + 4 - 3"
    assert majority([answer(3), "The answer is .", "The answer is ", "The answer is "]) == "3"
    assert majority([answer(3), answer("4 or 5"), answer("4 or 5")]) == "3"
    assert majority(["", "", answer(3)]) == "3" and majority(["", ""]) == ""
    assert majority([answer(4), answer(4), answer(3)], [False, False, True]) == "3"
    assert majority([answer(4)], [False]) == ""


def test_one_rule_for_accuracy_votes_and_pass_at_k():
    cut = S([[answer(2)] * 3, [answer(2)] * 3], [[False] * 3, [True, False, False]], 0.0)
    assert right_counts([P, P], cut) == [0, 1]
    assert pass_rate(1, [P, P], cut) == pytest.approx(1 / 6)
    assert voted_right(3, [P, P], cut) == 0.5, "the second's one vote is right, the first has none"
    game = Problem("countdown", "?", "10 + 4 - 3", (), (10, 4, 3), target=11)
    texts = [answer("9 + 2"), answer("10 + 4 - 3"), answer("4 + 10 - 3 = 11")]
    assert voted_right(3, [game], S([texts], [[True] * 3], 0.0)) == 1.0


def test_the_best_of_k_has_the_highest_score_and_a_tie_goes_to_the_first():
    assert best_of(["a", "b", "c"], [0.1, 0.9, 0.3]) == "b"
    assert best_of(["a", "b"], [0.5, 0.5]) == "a"


def test_shares_are_means_over_problems():
    samples = S([[answer(2), answer(3), answer(2), answer(3)], [answer(3)] * 4], [[True] * 4] * 2, 0.0)
    assert right_counts([P, P], samples) == [2, 0]
    assert pass_rate(1, [P, P], samples) == pytest.approx(0.25)
    assert pass_rate(4, [P, P], samples) == pytest.approx(0.5)
    assert voted_right(3, [P, P], samples) == 0.5 and voted_right(1, [P, P], samples) == 0.5


def test_samples_are_k_for_each_problem_and_the_seed_decides(loaded, runtime):
    model, tokenizer = loaded
    asked = problems(3, "new_operands", 0, ("chain",))
    one, two = (draw_samples(model, tokenizer, asked, runtime, k=4, longest=6, seed=1)
                for _ in range(2))
    assert [len(texts) for texts in one.texts] == [4, 4, 4] and one == two
    assert len({text for texts in one.texts for text in texts}) > 6
    assert 0 < one.tokens <= 4 * 6
    other = draw_samples(model, tokenizer, asked, runtime, k=4, longest=6, seed=2)
    assert other.texts != one.texts


def test_samples_are_as_long_as_the_context_has_room_for(loaded, runtime):
    model, tokenizer = loaded
    asked = problems(2, "new_operands", 0)
    samples = draw_samples(model, tokenizer, asked, runtime, longest=10 * model.config.block_size)
    assert len(samples.texts) == 2 and samples.tokens <= model.config.block_size


def test_each_sample_has_the_room_it_would_have_alone(loaded, runtime):
    model, tokenizer = loaded
    long = " ".join(["bell"] * 55)  # some 280 tokens of 320
    asked = [Problem("file", question, "2", (), ()) for question in
             ("What is 1 + 1?", f"{long}?", "Say 2.", f"{long} {long}?", "What is 1 + 1?")]

    def drawn(some, copies=1):
        return draw_samples(model, tokenizer, some, runtime, k=copies, temperature=1e-5, longest=90)

    together, alone = drawn(asked, 2), [drawn([one]) for one in asked]
    assert [[texts[0]] * 2 for one in alone for texts in one.texts] == together.texts
    assert [ended[0] for one in alone for ended in one.ended] == [e[0] for e in together.ended]
    assert together.texts[3] == ["", ""] and together.ended[3] == [False, False], "no room at all"
    assert together.tokens == pytest.approx(2 * sum(one.tokens for one in alone) / len(asked))
