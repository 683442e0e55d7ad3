"""Tiny worked cases of part 9, continued: votes, answers, the calculator, verified rewards."""

from fractions import Fraction
from types import SimpleNamespace

import torch
from worked_cases import case


def vote(load, *texts, ended=None, **what):
    return load("reasoning.sampling").elected(list(texts), ended or [True] * len(texts), **what)


@case("9.6", "the replies 7, 8, 8: which one is elected (from 0)")
def most(load):
    return vote(load, "It is 7.", "It is 8.", "So 8.")


@case("9.6", "7, 8, 8, 7: a tie")
def tie(load):
    return vote(load, "It is 7.", "It is 8.", "So 8.", "So 7.")


@case("9.6", "7, 8, 8 where the 8s were cut off")
def cut_off(load):
    return vote(load, "It is 7.", "It is 8.", "So 8.", ended=[True, False, False])


@case("9.6", "8 and 8 said by the way, 7 marked: 'The answer is 7.'")
def marked(load):
    return vote(load, "It is 8.", "So 8.", "The answer is 7.")


@case("9.6", "7.0, 7 and 8: the same answer written in two ways")
def two_ways(load):
    return vote(load, "It is 8.", "It is 7.0.", "It is 7.")


@case("9.6", "two empty replies and one 7; and none but empty ones")
def empty(load):
    return [vote(load, "", "", "It is 7."), vote(load, "", "")]


@case("9.6", "the best of three with the scores 1, 3, 3")
def best(load):
    return load("reasoning.sampling").best_of(["a", "b", "c"], [1.0, 3.0, 3.0])


@case("9.6", "pass@1, pass@2, pass@3 of 4 samples, one of them right")
def pass_at(load):
    return [load("reasoning.sampling").pass_at(k, 4, 1) for k in (1, 2, 3)]


@case("9.6", "pass@3 of 4, two right; pass@2 of 5, none right, and all")
def sure(load):
    return [load("reasoning.sampling").pass_at(*x) for x in ((3, 4, 2), (2, 5, 0), (2, 5, 5))]


@case("9.6", "pass@5 of 4 samples, pass@0, 5 of 4 right: refused")
def refused(load):
    found = []
    for args in ((5, 4, 1), (0, 4, 1), (2, 4, 5)):
        try:
            load("reasoning.sampling").pass_at(*args)
            found.append("fine")
        except ValueError:
            found.append("refused")
    return found


def problem(load, answer="7", target=None, numbers=()):
    return load("reasoning.tasks").Problem("sums", "?", answer, (), numbers, target=target)


@case("9.6", "two problems, three samples each, one cut off: how many are right")
def counts(load):
    samples = SimpleNamespace(texts=[["It is 7.", "It is 8.", "So 7."], ["9", "It is 9.", "8"]],
                              ended=[[True, True, False], [True, True, True]])
    return load("reasoning.sampling").right_counts([problem(load), problem(load, "9")], samples)


def read(load, *replies):
    return [str(load("reasoning.answers").read_answer(reply)) for reply in replies]


@case("9.6b", "the answers of: 'It is 7.'; 'Athens'; '' ; '3 + 4 = 7'; '7 or 8'")
def five_replies(load):
    return read(load, "It is 7.", "The answer is Athens.", "", "3 + 4 = 7", "It is 7 or 8.")


@case("9.6b", "'18 dollars for 3 days', 'more than 18', 'in 1990'")
def beside(load):
    return read(load, "It costs 18 dollars for 3 days.", "It is more than 18.", "It was in 1990.")


@case("9.6b", "'The answer is 41. Or 42.', 'The answer is 41. 42.', 'The answer is 41. Good.'")
def hedged(load):
    return read(load, "The answer is 41. Or 42.", "The answer is 41. 42.",
                "The answer is 41. Good.")


@case("9.6b", "the sums '4+10 - 3' and '(10 - 3 + 4)' as answers")
def sums(load):
    return read(load, "The answer is 4+10 - 3.", "(10 - 3 + 4)")


@case("9.6b", "two times the root of 2")
def roots(load):
    return read(load, "The answer is 2√2.", "The answer is \\sqrt{2}.")


@case("9.6b", "the values of 7, -1,200.50, 1/2, 2e3, .5")
def values(load):
    return [str(load("reasoning.answers").value_of(x)) for x in ("7", "-1,200.50", "1/2", "2e3", ".5")]


@case("9.6b", "what is no number: 1,5  3:30  1/0  1/2/3, and fifty digits")
def no_values(load):
    return [load("reasoning.answers").value_of(x) for x in ("1,5", "3:30", "1/0", "1/2/3", "1" * 50)]


@case("9.6b", "the one number of '5 and 5', '5 and 6', '-2', 'at least 4, so 6'")
def one_number(load):
    return [str(load("reasoning.answers").the_number(x)) for x in (
        "5 and 5", "5 and 6", "- 2", "at least 4, so 6", "3 days and 4 for 5")]


@case("9.6b", "'4+10 - 3', '1 - 2 + 30' in order")
def ordered(load):
    return [load("reasoning.answers").in_order(x) for x in ("4+10 - 3", "1 - 2 + 30")]


@case("9.6b", "'  The  Red Cat. ' and '**Yes**' as texts")
def texts(load):
    return [load("reasoning.answers").as_text(x) for x in ("  The  Red Cat. ", "**Yes**")]


def worked_out(load, *texts):
    tools, found = load("reasoning.tools"), []
    for text in texts:
        try:
            found.append(str(tools.Parser(text).all()))
        except tools.Refused:
            found.append("refused")
    return found


@case("9.7", "1 + 2 * 3 and 2 * 3 + 1")
def precedence(load):
    return worked_out(load, "1 + 2 * 3", "2 * 3 + 1")


@case("9.7", "10 - 4 - 3 and 8 / 4 / 2")
def to_the_left(load):
    return worked_out(load, "10 - 4 - 3", "8 / 4 / 2")


@case("9.7", "10 - 4 + 3 and 8 / 4 * 2")
def mixed(load):
    return worked_out(load, "10 - 4 + 3", "8 / 4 * 2")


@case("9.7", "2 ^ 3 ^ 2 and 2 ^ 3 * 2")
def powers(load):
    return worked_out(load, "2 ^ 3 ^ 2", "2 ^ 3 * 2")


@case("9.7", "-2 ^ 2, (-2) ^ 2, 2 * -3, --3, 2 ^ -2")
def signs(load):
    return worked_out(load, "-2 ^ 2", "(-2) ^ 2", "2 * -3", "--3", "2 ^ -2")


@case("9.7", "(1 + 2) * (3 - 1), ((7)), 1 / 3")
def brackets(load):
    return worked_out(load, "(1 + 2) * (3 - 1)", "((7))", "1 / 3")


@case("9.7", "1 2, 3 +, (4, 5), 1 / 0, 7 / (2 - 2), ()")
def nonsense(load):
    return worked_out(load, "1 2", "3 +", "(4", "5)", "1 / 0", "7 / (2 - 2)", "()")


@case("9.7", "thirty brackets in one another; fifteen; fifteen beside each other")
def deep(load):
    return worked_out(load, "(" * 30 + "1" + ")" * 30, "(" * 15 + "1" + ")" * 15,
                      "+".join(["(1)"] * 15))


def bearable(load, name, *pairs):
    tools, found = load("reasoning.tools"), []
    for args in pairs:
        try:
            found.append(str(getattr(tools, name)(*map(Fraction, args))))
        except tools.Refused:
            found.append("refused")
    return found


@case("9.7b", "2 ^ 10, 2 ^ -2, 0 ^ 0, (1/2) ^ 3")
def small_powers(load):
    return bearable(load, "raised", (2, 10), (2, -2), (0, 0), (Fraction(1, 2), 3))


@case("9.7b", "2 ^ (1/2), 2 ^ 65, 0 ^ -1, (10^12) ^ 60, 1 ^ 64")
def large_powers(load):
    return bearable(load, "raised", (2, Fraction(1, 2)), (2, 65), (0, -1), (10**12, 60), (1, 64))


@case("9.7b", "2^255, 2^256 and 1 / 2^256: which are still worked with")
def sizes(load):
    found = bearable(load, "checked", (2**255,), (2**256,), (Fraction(1, 2**256),))
    return [x if x == "refused" else "fine" for x in found]


@case("9.7b", "17, 1/4, 1/3, 2/3, -5/2 written")
def written(load):
    return bearable(load, "written", (17,), (Fraction(1, 4),), (Fraction(1, 3),),
                    (Fraction(2, 3),), (Fraction(-5, 2),))


@case("9.7b", "1/10000000 and 1/30000000 written")
def tiny(load):
    return bearable(load, "written", (Fraction(1, 10**7),), (Fraction(1, 3 * 10**7),))


@case("9.7b", "1 + 1/3 of a millionth written, and 1 / 2^30")
def nearly_whole(load):
    return bearable(load, "written", (1 + Fraction(1, 3 * 10**7),), (Fraction(1, 2**30),))


def rewards(load):
    return load("reasoning.rewards")


@case("9.8", "the steps of '12 + 9 = 21. 21 - 4 = 18. The answer is 18.'")
def steps(load):
    return [[s.left, s.sign, s.right, s.result] for s in rewards(load).steps_of(
        "12 + 9 = 21. 21 - 4 = 18. The answer is 18.")]


@case("9.8", "do they hold: a true one, a false one, no step at all")
def hold(load):
    return [rewards(load).steps_hold(x) for x in (
        "12 + 9 = 21. The answer is 21.", "12 + 9 = 21. 21 - 4 = 18.", "The answer is 21.")]


@case("9.8", "comparisons: 21 is it 16? No / Yes; 16 is it 16? Yes / No")
def comparisons(load):
    return [rewards(load).steps_hold(x) for x in (
        "12 + 9 = 21. Is it 16? No.", "12 + 9 = 21. Is it 16? Yes.",
        "12 + 4 = 16. Is it 16? Yes.", "12 + 4 = 16. Is it 16? No.")]


@case("9.8", "gold 7: 'The answer is 7.', 7.0, 8, 7 not ended, 17, '7 or 8'")
def right(load):
    p = problem(load)
    return [rewards(load).is_right(p, text, ended) for text, ended in (
        ("The answer is 7.", True), ("It is 7.0.", True), ("It is 8.", True),
        ("It is 7.", False), ("It is 17.", True), ("It is 7 or 8.", True))]


@case("9.8", "countdown, 3 4 10 to 11: 10 + 4 - 3, 4 - 3 + 10, 11, 10 + 4 + 3, 4 + 4 + 3, 10 + 1")
def countdown(load):
    p = problem(load, "10 + 4 - 3", 11, (3, 4, 10))
    return [rewards(load).is_right(p, f"The answer is {x}.") for x in (
        "10 + 4 - 3", "4 - 3 + 10", "11", "10 + 4 + 3", "4 + 4 + 3", "10 + 1")]


@case("9.8", "in form: with steps; not ended; words in front; no step; words behind")
def form(load):
    good = "12 + 9 = 21. The answer is 21."
    return [rewards(load).has_form(*x) for x in (
        (good,), (good, False), ("Well. " + good,), ("The answer is 21.",), (good + " Good.",))]


@case("9.8", "the rewards: right and in form, right alone, in form alone, neither, not ended")
def reward(load):
    checker, p = rewards(load).Checker(None, 0.25), problem(load, "21")
    good = "12 + 9 = 21. The answer is 21."
    return [checker.reward(p, *x) for x in (
        (good, True), ("It is 21.", True), ("12 + 9 = 22. The answer is 22.", True),
        ("It is 3.", True), (good, False))]


class Letters:
    end, chat = 2, None

    def decode(self, ids):
        return "".join(map(chr, ids))


@case("9.8", "two problems (7 and 9), two replies each: 7, 9, 7, 9")
def rows(load):
    said = [[*map(ord, f"It is {n}."), 2] for n in (7, 9, 7, 9)]
    rollout = SimpleNamespace(replies=lambda: said, ended=torch.tensor([True, True, True, False]))
    return rewards(load).Checker(Letters())(rollout, [problem(load), problem(load, "9")])
