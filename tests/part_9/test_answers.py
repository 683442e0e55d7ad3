"""One reader of answers: a table of what people and models write, and what it is worth."""

import random
import time
from fractions import Fraction as F

import pytest
from reasoning.answers import decimal, in_order, is_marked, is_same, plain, read_answer, read_sum
from reasoning.rewards import is_right
from reasoning.tasks import Problem

R, W = True, False
SAID = [  # (gold, what follows "The answer is ", is it right?)
    # plain numbers, decimals, ends of sentences
    ("18", "18.", R), ("18", "18", R), ("18", "18.0.", R), ("18", "18.00", R), ("18", "018", R),
    ("18", "18!", R), ("18", "19.", W), ("18", "1.8", W), ("18", "180", W), ("18", "118", W),
    ("18", "8", W), ("18.5", "18.5.", R), ("18.5", "18.50", R), ("18.5", "18", W), ("0", "0.0", R),
    ("0.5", ".5", R), ("0.5", "0.50.", R), ("0.5", "5", W), ("7.0", "7", R), ("7", "7.0000001", W),
    ("0.1", "0.1000000000000000055511151231257827", W), ("1000000", "1e6", R), ("300", "3e2", R),
    ("0.003", "3e-3", R), ("300000", "3 x 10^5", R), ("300000", "3 × 10^5", R),
    # signs
    ("-7", "-7.", R), ("-7", "−7.", R), ("7", "−7.", W), ("7", "-7", W), ("7", "+7", R),
    ("-7", "- 7", R), ("-7", "minus 7", R), ("-7", "negative 7.", R), ("-7", "7", W),
    ("-7", "(−7)", R), ("0", "-0", R), ("-0.5", "-.5", R), ("-18", "-$18.00", R),
    ("-18", "$-18", R), ("−7", "-7", R),
    # thousands
    ("1000", "1,000", R), ("1,000", "1000.", R), ("1000", "1,000.00.", R), ("1234567", "1,234,567", R),
    ("1000", "1\u2009000", R), ("1000", "1\u202f000", R), ("1000", "1\u00a0000", R),
    ("1000", "1'000", R), ("1000", "1 000", W), ("1000", "1,00", W), ("1000", "10,00", W),
    ("1", "1,000", W), ("1000", "1.000", W), ("1000", "1, 000", W), ("1234567", "1,234 567", W),
    ("1.5", "1,5", W), ("15", "1,5", W), ("2000000", "2 million", R), ("2500000", "$2.5 million", R),
    ("5000", "5 thousand", R), ("5000", "5k", R), ("2", "2 million", W),
    # fractions
    ("0.5", "1/2.", R), ("1/2", "0.5", R), ("2", "1/2.", W), ("1", "1/2", W), ("1/3", "2/6", R),
    ("1/3", "0.333333", W), ("0.5", "½", R), ("1.5", "1 1/2", R), ("1.5", "1½", R), ("1.5", "3/2", R),
    ("-1.5", "-1 1/2", R), ("-0.5", "-1/2", R), ("18", "36/2", R), ("0.5", "1 / 2", R),
    ("1.5", "1 and 1", W), ("1", "1 3/2", W), ("5", "5/0", W), ("0", "5/0", W), ("0", "0/5", R),
    ("0.75", "\\frac{3}{4}", R), ("-0.75", "-\\frac{3}{4}", R), ("0.75", "\\dfrac{3}{4}", R),
    # money, units, percent: a unit is not converted
    ("18", "$18.00.", R), ("18", "$18", R), ("18", "$ 18", R), ("18", "18$", R), ("18", "€18", R),
    ("18", "£18.00", R), ("18", "US$18", R), ("18", "18 USD", R), ("18", "18 dollars.", R),
    ("$18", "18", R), ("$18.00", "18.0", R), ("18.5", "18 dollars and 50 cents", R),
    ("18", "18 cents", R), ("50", "50%", R), ("50", "50 percent.", R), ("50%", "50", R),
    ("0.5", "50%", W), ("50%", "0.5", W), ("50", "0.5", W), ("12.5", "12.5 %", R),
    ("18", "18kg", R), ("18", "18 km/h", R), ("18", "18°", R), ("5", "5 km", R), ("5", "5 m²", R),
    # words around it, and numbers that go with others
    ("18", "18 dollars for 3 days.", R), ("3", "18 dollars for 3 days.", W), ("18", "18 out of 20", R),
    ("18", "18 of the 20 apples", R), ("18", "18 apples in 2024", R), ("18", "about 18", R),
    ("18", "approx. 18.", R), ("18", "18 miles per 2 hours", R), ("18", "on day 3 it is 18", R),
    ("1990", "in 1990.", R), ("18", "18, not 19", R), ("19", "18, not 19", W), ("18", "not 18", W),
    ("18", "more than 18", W), ("18", "at least 18", W), ("18", "less than 18", W),
    ("18", "exactly 18 apples, because 9 + 9", W), ("17", "17 because 12 + 5 = 17", R),
    ("18", "the number 18", R), ("18", "equal to 18", R), ("18", "18-year-old wine", R),
    # two numbers are no answer
    ("42", "41 or 42.", W), ("41", "41 or 42.", W), ("42", "42 or 41", W), ("42", "41, 42", W),
    ("42", "41 and 42", W), ("42", "41 42", W), ("42", "41/42", W), ("42", "41-42", W),
    ("42", "between 41 and 42", W), ("42", "41 to 42", W), ("42", "from 41 to 42", W),
    ("42", "41; 42", W), ("42", "41 (or 42)", W), ("42", "42 apples or 41", W),
    ("3", "in 3 or 4 days", W), ("4", "in 3 or 4 days", W), ("42", "42 or 42.0", R),
    ("42", "41. Or 42.", W), ("42", "42. No, 41.", W), ("42", "41. 42.", W), ("42", "42. Wait, 43", W),
    ("42", "42. It took 3 days.", R), ("3", "42. It took 3 days.", W), ("3", "3:30", W),
    ("3", "3.30.2020", W), ("20", "3 hours and 20 minutes", W),
    # equations and formulas
    ("18", "9 + 9 = 18.", R), ("18", "x = 18", R), ("9", "9 + 9 = 18.", W), ("18", "9 + 9", W),
    ("18", "3 * 6", W), ("2", "2\\pi", W), ("16", "\\sqrt{16}", W), ("2", "√2", W), ("4", "2^2", W),
    # Markdown and LaTeX
    ("18", "**18**.", R), ("18", "`18`", R), ("18", "$18$.", R), ("18", "\\(18\\)", R),
    ("18", "$\\boxed{18}$.", R), ("18", "*18*", R), ("1000", "\\boxed{1{,}000}", R),
    ("18", "\\boxed{18 \\text{ dollars}}", R), ("18", "\\boxed{\\$18}", R), ("50", "\\boxed{50\\%}", R),
    ("42", "\\boxed{41, 42}", W), ("18", "\\boxed{}", W), ("18", "\\boxed{18", W),
    # texts, and nothing
    ("Paris", "paris.", R), ("Paris", "**Paris**", R), ("Paris", "\"Paris\"", R), ("yes", "Yes!", R),
    ("Paris", "Paris. It has 2 rivers.", R), ("Paris", "Rome", W), ("Paris", "", W),
    ("blue  bird", "Blue bird", R), ("18", "eighteen", W), ("18", "", W), ("18", ".", W),
    ("18", "unknown", W), ("B", "(B)", R), ("18", "x2", W), ("2", "H2O", W),
]
WHOLE = [  # (gold, the whole reply, is it right?)
    ("17", "12 + 9 = 21. 21 - 4 = 17. The answer is 17.", R), ("17", "17", R), ("17", "17.", R),
    ("17", "It is 17 apples.", R), ("17", "12 + 9 = 21. 21 - 4 = 17.", R), ("21", "12 + 9 = 21. 17", W),
    ("17", "12 + 9 = 21. 17", R), ("1200", "That makes 1,200 dollars.", R), ("3", "3 apples, then 17", W),
    ("18", "Half of 36 is 18.", R), ("36", "Half of 36 is 18.", W), ("18", "#### 18", R),
    ("18", "so 9 + 9 = <<9+9=18>>18\n#### 18", R), ("1234", "…\n#### 1,234", R),
    ("18", "#### $18.00\nThat is all.", R), ("18", "Answer: 18", R), ("18", "**Answer:** 18", R),
    ("18", "The final answer is: 18.", R), ("18", "So the answer to the question is 18.", R),
    ("18", "the answer is 17. The answer is 18.", R), ("17", "The answer is 17. The answer is 18.", W),
    ("18", "The answer is 17, so \\boxed{18}.", R), ("18", "I get \\boxed{18}. I like the 3 of us.", R),
    ("42", "It is 41. Or 42.", W), ("42", "Perhaps 42 or 41.", W), ("18", "", W), ("18", "I do not know.", W),
    ("18", "The answer is", W), ("18", "The answer is\n18", R), ("18", "The answer is 18\n\nThanks!", R),
    ("Paris", "Paris", R), ("Paris", "I think it is Paris", W), ("18", "I am sure. It is 18. Yes!", R),
]


@pytest.mark.parametrize("gold, said, right", SAID)
def test_what_follows_the_mark_is_compared_by_value(gold, said, right):
    assert is_same(gold, f"12 + 9 = 21. The answer is {said}") is right


@pytest.mark.parametrize("gold, reply, right", WHOLE)
def test_a_whole_reply_is_read_where_its_answer_stands(gold, reply, right):
    assert is_same(gold, reply) is right


def test_the_table_is_long_enough_and_says_nothing_twice():
    assert len(set(SAID)) + len(set(WHOLE)) == len(SAID) + len(WHOLE) >= 150


@pytest.mark.parametrize("said, value", [
    ("18", F(18)), ("−7", F(-7)), ("1/3", F(1, 3)), ("0.1", F(1, 10)), ("41 or 42", None), ("", None),
    ("4+10 - 3", "10 + 4 - 3"), ("Paris", "paris"), ("9" * 41, None), ("1e99999", None),
    ("1/" + "9" * 50, None), ("three", "three")])
def test_a_number_is_read_exactly_and_what_is_none_is_none(said, value):
    assert read_answer(f"The answer is {said}.") == value


def test_no_reply_ends_a_run_and_none_takes_long():
    rng, signs = random.Random(0), list("0123456789.,-−+/*=()[]{}$%\\#:;!? \n\u2009½e'x^") + [
        "The answer is ", "\\boxed{", "####", " or ", "\\frac{1}{2}", "answer:", "million", "for "]
    start = time.perf_counter()
    for _ in range(3000):
        reply = "".join(rng.choices(signs, k=rng.randint(0, 40)))
        read_answer(reply), read_sum(reply), is_same("18", reply), is_same(reply, "18")
    for reply in ("9" * 5000, "1 " * 5000, "-" * 5000, "." * 5000, "{" * 5000, "The answer is " * 500,
                  "1/" * 3000, "1+" * 3000, " " * 5000 + "1", "\\boxed{" * 700, "1,000" * 1000):
        read_answer(reply), read_answer(f"The answer is {reply}"), read_sum(reply)
    assert time.perf_counter() - start < 20


def test_a_marked_answer_is_known_by_its_mark():
    assert all(map(is_marked, ("The answer is 1", "#### 1", "\\boxed{1}", "**Answer:** 1")))
    assert not is_marked("I have no answer, and 1 more") and not is_marked("##### 1") and not is_marked("1")


# ---------------------------------------------------------------- sums

GAME = Problem("countdown", "Make 11 from 10, 4, 3.", "10 + 4 - 3", (), (10, 4, 3), target=11)


@pytest.mark.parametrize("answer, right", [
    ("10 + 4 - 3", R), ("10 - 3 + 4", R), ("4 + 10 - 3", R), ("10+4-3", R), ("10 + 4 − 3", R),
    ("(10 + 4 - 3)", R), ("10 + 4 - 3 = 11", R), ("10 + 4 - 3 = 12", W), ("11", W), ("10 + 4 + 3", W),
    ("10 + 1", W), ("10 + 4 - 3 + 0", W), ("10 + 4 - 4", W), ("10 * 4 - 29", W), ("10", W), ("", W),
    ("-3 + 14", W), ("10 + 4 - 3 or 10 + 4", W), ("10 + 4 - ", W), ("10 - -4 - 3", W)])
def test_countdown_takes_every_sum_that_uses_each_number_once(answer, right):
    assert is_right(GAME, f"10 + 4 = 14. The answer is {answer}.") is right


def test_equal_sums_have_one_form_which_is_a_sum_of_the_same_numbers():
    rng = random.Random(1)
    for _ in range(200):
        first, *rest = [rng.randint(1, 20) for _ in range(rng.randint(2, 5))]
        terms = [(rng.choice("+-"), n) for n in rest]
        chains = [str(first) + "".join(f"{gap}{s}{gap}{n}" for s, n in rng.sample(terms, len(terms)))
                  for gap in ("", " ")]
        one = in_order(chains[0])
        assert one == in_order(chains[1]) == in_order(one) == read_sum(f"The answer is {chains[0]}.")
        assert sorted(one.replace("-", "- ").split()) != [] and one[0].isdigit()
    assert in_order("3 + 10 - 4 - 5 + 7") == "10 + 7 + 3 - 5 - 4"
    assert in_order("10 - 4 + 3") != in_order("10 + 4 - 3")


# ---------------------------------------------------------------- writing numbers

@pytest.mark.parametrize("value, text", [
    (F(18), "18"), (F(-7), "-7"), (F(1, 2), "0.5"), (F(-5, 4), "-1.25"), (F(1, 3), "1/3"),
    (F(1, 10**7), "0.0000001"), (F(0), "0"), (F(100), "100"), (F(12001, 10), "1200.1")])
def test_a_value_is_written_exactly_and_read_back(value, text):
    assert plain(value) == text and read_answer(f"The answer is {text}.") == value


def test_rounding_keeps_every_digit_and_no_zero_below_zero():
    assert decimal(F(10**22, 3), 6) == "3333333333333333333333.333333"
    assert decimal(F(-1, 10**7), 6) == "0" and decimal(F(-1, 3), 2) == "-0.33"
