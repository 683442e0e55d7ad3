"""The calculator against exact arithmetic, and everything that must be refused, quickly."""

import random
import time
from fractions import Fraction

import pytest
from reasoning.tools import CALC, LOOK, TABLES, Refused, calculate, look_up, run_tool, written
from world import facts as f


def random_expression(rng, depth):
    """(text, value) built together, so that no parser is needed to know the value."""
    if depth == 0 or rng.random() < 0.2:
        n = rng.randint(0, 30)
        return str(n), Fraction(n)
    left, a = random_expression(rng, depth - 1)
    right, b = random_expression(rng, depth - 1)
    sign = rng.choice("+-*/")
    if sign == "/" and b == 0:
        sign = "+"
    value = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else None}[sign]
    return f"({left}) {sign} ({right})", value


def test_bracketed_expressions_have_their_exact_value():
    rng = random.Random(0)
    for _ in range(300):
        text, value = random_expression(rng, 3)
        assert calculate(text) == value


@pytest.mark.parametrize("text, value", [
    ("1 + 2 * 3", 7), ("10 - 4 - 3", 3), ("8 / 4 / 2", 1), ("2 ^ 3 ^ 2", 512), ("-2 ^ 2", -4),
    ("(-2) ^ 2", 4), ("2 * -3", -6), ("--3", 3), ("2 ^ -2", Fraction(1, 4)), ("1.5 * 4", 6),
    ("7-2", 5), (" 3 ", 3), ("0 ^ 0", 1), ("12 + 9 - 4 + 30", 47)])
def test_signs_bind_as_they_do_on_paper(text, value):
    assert calculate(text) == value


@pytest.mark.parametrize("text, says", [
    ("__import__('os')", "no part of a sum"), ("x.y", "no part of a sum"), ("f(1)", "no part"),
    ("1e9", "no part of a sum"), ("2 ** 3", "where a number should be"), ("1, 2", "no part"),
    ("(1", "not closed"), ("1)", "where the expression should end"), ("", "empty"),
    ("1 +", "'the end' stands"), ("1 2", "where the expression should end"),
    ("1 / 0", "division by zero"), ("0 ^ -1", "division by zero"), ("1 / (2 - 2)", "by zero"),
    ("9 ^ 9 ^ 9", "whole numbers up to 64"), ("2 ^ 0.5", "whole numbers"),
    ("999999999999 ^ 60", "a power of about"), ("9" * 13, "more than 12 digits"),
    ("(" * 50 + "1" + ")" * 50, "20 deep"), ("-" * 50 + "1", "20 deep"),
    ("^".join("1" * 40), "20 deep"), ("1+" * 150 + "1", "characters"),
    ("*".join(["999999999999"] * 9), "bits on the way"),
    ("1" + "/999999999999" * 9, "bits on the way")])
def test_what_is_wrong_or_meant_to_harm_is_refused_at_once(text, says):
    start = time.perf_counter()
    with pytest.raises(Refused, match=says):
        calculate(text)
    assert time.perf_counter() - start < 0.5
    assert run_tool(CALC, text) == "error"


def test_results_are_written_as_people_write_them():
    assert [written(Fraction(x)) for x in ("17", "-3", "1/4", "1/3")] == ["17", "-3", "0.25",
                                                                          "0.333333"]


@pytest.mark.parametrize("asked, result", [
    ("1/10000000", "0.0000001"), ("-1/10000000", "-0.0000001"), ("0.9999999", "0.9999999"),
    ("100000000000*100000000000/3", "3333333333333333333333.333333"), ("1/3", "0.333333"),
    ("2/3", "0.666667"), ("-2/3", "-0.666667"), ("1/8", "0.125"), ("0 - 0", "0"), ("-0", "0"),
    ("1/30000000", "0.0000000333333"), ("-1/30000000", "-0.0000000333333"), ("5/2", "2.5"),
    ("2999999999/3000000000", "0.999999999666667"), ("1/30", "0.033333"), (".5 + .25", "0.75"),
    ("1.10 + 2.20", "3.3"), ("99999999999*99999999999", "9999999999800000000001"),
    ("0.1 + 0.2", "0.3"), ("1/2^20", "0.00000095367431640625"), ("7/1", "7"), ("3.00", "3")])
def test_results_are_exact_and_never_a_whole_number_that_they_are_not(asked, result):
    assert run_tool(CALC, asked) == result


def test_a_written_result_is_within_half_a_millionth_and_has_no_loose_end():
    rng = random.Random(3)
    for _ in range(2000):
        value = Fraction(rng.randint(-10**rng.randint(1, 30), 10**12), rng.randint(1, 10**9))
        text = written(value)
        assert abs(Fraction(text) - value) <= Fraction(1, 2 * 10**6)
        assert not text.endswith(".") and text != "-0" and (text == "0") == (value == 0)
        assert (Fraction(text).denominator == 1) <= (value.denominator == 1)


def test_names_are_looked_up_in_the_worlds_tables():
    assert look_up("capital France") == run_tool(LOOK, "capital France") == f.CAPITALS["France"]
    assert all(look_up(f"{table} {name}") == value
               for table, entries in TABLES.items() for name, value in entries.items())


@pytest.mark.parametrize("text, says", [
    ("capital Atlantis", "has no 'Atlantis'"), ("secret key", "no table 'secret'"),
    ("", "no table"), ("capital", "has no ''"), ("capital " + "x" * 300, "characters"),
    ("__class__ x", "no table '__class__'")])
def test_a_name_that_is_not_there_is_refused(text, says):
    with pytest.raises(Refused, match=says):
        look_up(text)
    assert run_tool(LOOK, text) == "error"
