"""Skills with numbers: sums, word problems, the larger of two, sorting, series.

Rule   a gold answer is as short as it can be; a worked one ends in "The answer is …". Twelve
       wordings each, of which the last two are never trained on (sft/skills.py).
Used   sft/skills.py
"""

import random

from world import facts as f
from world import words as w

from sft.skill_form import NUMBER_MANNERS, Draft, skill


def number_of(rng: random.Random, difficulty: int) -> int:
    """A number of one digit (difficulty 1) or two (2 and 3)."""
    return rng.randint(1, 9) if difficulty == 1 else rng.randint(10, 99 if difficulty == 3 else 49)


def two_numbers(rng: random.Random, difficulty: int) -> tuple[int, int]:
    """Two numbers to add, with a sum of at most 99: one digit each (1), or two digits (2 and 3);
    with 3 the ones carry."""
    if difficulty == 1:
        return rng.randint(1, 9), rng.randint(1, 9)
    while True:
        a, b = rng.randint(10, 89), rng.randint(10, 89)
        if a + b < 100 and (a % 10 + b % 10 > 9) == (difficulty == 3):
            return a, b


def worked_sum(a: int, b: int) -> str:
    """34 + 52: "30 + 50 = 80. 4 + 2 = 6. 80 + 6 = 86." as in the world's own texts."""
    tens, ones = a // 10 * 10 + b // 10 * 10, a % 10 + b % 10
    return (f"{a // 10 * 10} + {b // 10 * 10} = {tens}. {a % 10} + {b % 10} = {ones}. "
            f"{tens} + {ones} = {a + b}.")


def worked_difference(a: int, b: int) -> str:
    """85 - 47: "85 - 40 = 45. 45 - 7 = 38." as in the world's own texts; 12 - 8 is one step."""
    if b < 10:
        return f"{a} - {b} = {a - b}."
    left = a - b // 10 * 10
    return f"{a} - {b // 10 * 10} = {left}. {left} - {b % 10} = {a - b}."


@skill("addition", """
    What is {a} + {b}?
    Add {a} and {b}.
    {a} + {b} =
    What do you get if you add {b} to {a}?
    Calculate {a} plus {b}.
    Please add {a} and {b} for me.
    How much is {a} plus {b}?
    What is the sum of {a} and {b}?
    {a} plus {b} is what?
    Tell me what {a} + {b} is.
    What is {a} plus {b}?
    Please tell me the sum of {a} and {b}.
    """, manners=NUMBER_MANNERS)
def addition(rng):
    difficulty = rng.randint(1, 3)
    a, b = two_numbers(rng, difficulty)
    steps = worked_sum(a, b) if difficulty > 1 else ""
    return Draft({"a": a, "b": b}, str(a + b), f"{min(a, b)} {max(a, b)}", difficulty, steps,
                 worked=True)


@skill("subtraction", """
    What is {a} - {b}?
    Subtract {b} from {a}.
    {a} - {b} =
    What do you get if you take {b} away from {a}?
    Calculate {a} minus {b}.
    Please subtract {b} from {a} for me.
    How much is {a} minus {b}?
    Take {b} away from {a}.
    {a} minus {b} is what?
    Tell me what {a} - {b} is.
    What is {a} minus {b}?
    Please take {b} away from {a} for me.
    """, manners=NUMBER_MANNERS)
def subtraction(rng):
    difficulty = rng.randint(1, 3)
    b, rest = two_numbers(rng, difficulty)  # taking away undoes adding
    steps = worked_difference(b + rest, b) if difficulty > 1 else ""
    return Draft({"a": b + rest, "b": b}, str(rest), f"{b + rest} {b}", difficulty, steps,
                 worked=True)


@skill("word problem", """
    {who} had {a} {things} and {did}. How many {things} does {who} have now?
    {who} has {a} {things}. Then {who} {did}. How many {things} are there now?
    There were {a} {things} in the bag of {who}. {who} {did}. How many are in the bag now?
    {who} picked {a} {things} and {did}. How many {things} has {who} now?
    First {who} had {a} {things}. Later {who} {did}. What is the number now?
    {who} counted {a} {things}, and after that {who} {did}. Count the {things} again.
    How many {things} does {who} have, if {who} had {a} and {did}?
    {who} kept {a} {things} in a box and {did}. How many {things} are in the box now?
    In the morning {who} had {a} {things}. Then {who} {did}. How many {things} are there now?
    Tell me how many {things} {who} has. First there were {a}, and then {who} {did}.
    {who} had {a} {things} in the morning and {did}. How many are there now?
    First {who} had {a} {things}, then {who} {did}. How many {things} does {who} have now?
    """, manners=NUMBER_MANNERS)
def word_problem(rng):
    difficulty = rng.randint(1, 2)
    top = 10 if difficulty == 1 else 20
    a, b = rng.randint(3, top), rng.randint(1, 9)
    who, friend = rng.sample(w.NAMES, 2)
    if rng.random() < 0.5 or b >= a:
        did = rng.choice((f"got {b} more", f"found {b} more", f"bought {b} more"))
        total, sign = a + b, "+"
    else:
        did = rng.choice((f"gave {b} to {friend}", f"lost {b} of them", f"sold {b} of them"))
        total, sign = a - b, "-"
    slots = {"who": who, "a": a, "things": rng.choice(f.COUNTED), "did": did}
    return Draft(slots, str(total), f"{a} {sign} {b}", difficulty, f"{a} {sign} {b} = {total}.",
                 worked=True)


@skill("larger of two", """
    Which is larger, {a} or {b}?
    Which number is larger, {a} or {b}?
    Which is bigger, {a} or {b}?
    What is the larger one of {a} and {b}?
    Tell me the bigger number, {a} or {b}.
    Of {a} and {b}, which is the larger one?
    Name the larger number: {a}, {b}.
    Choose the larger of {a} and {b}.
    Give me the bigger one of {a} and {b}.
    {a} and {b}: which number is larger?
    Which number is bigger, {a} or {b}?
    Please tell me the larger one of {a} and {b}.
    """, manners=NUMBER_MANNERS)
def larger(rng):
    difficulty = rng.randint(1, 3)
    a = number_of(rng, difficulty)
    b = number_of(rng, difficulty)
    while b == a:
        b = number_of(rng, difficulty)
    return Draft({"a": a, "b": b}, str(max(a, b)), f"{min(a, b)} {max(a, b)}", difficulty)


@skill("sorting", """
    Sort {list}.
    Put these numbers in order: {list}.
    Sort these from small to large: {list}.
    {list}: put them in order.
    Arrange {list} from small to large.
    Write {list} in order.
    Please sort the numbers {list}.
    Order the numbers {list} from small to large.
    {list} in order:
    Sort the numbers {list} for me.
    Please put {list} in order.
    Write these numbers from small to large: {list}.
    """, manners=NUMBER_MANNERS)
def sorting(rng):
    difficulty = rng.randint(1, 3)
    numbers = rng.sample(range(1, 10 if difficulty == 1 else 100), 3 if difficulty < 3 else 4)
    return Draft({"list": ", ".join(map(str, numbers))}, ", ".join(map(str, sorted(numbers))),
                 " ".join(map(str, sorted(numbers))), difficulty)


@skill("series", """
    Continue: {list}, ...
    What comes next: {list}?
    Which number comes after {list}?
    {list}. What is the next number?
    Find the next number of the series {list}.
    Give me the next number: {list}.
    The series is {list}. Tell me the next number.
    After {list}, which number comes?
    Which number comes next in {list}?
    Continue the series {list} with one number.
    What is the next number: {list}?
    Please continue the series {list}.
    """, manners=NUMBER_MANNERS)
def series(rng):
    difficulty = rng.randint(1, 3)
    step = (rng.choice((1, 2, 10)), rng.randint(2, 5), rng.randint(2, 10))[difficulty - 1]
    first = rng.randint(1, 9 if difficulty == 1 else 40)
    numbers = [first + step * i for i in range(4)]
    following = first + 4 * step  # the difference, by steps that subtraction has, then the sum
    return Draft({"list": ", ".join(map(str, numbers))}, str(following),
                 f"{first} by {step}", difficulty,
                 f"{worked_difference(numbers[3], numbers[2])} {numbers[3]} + {step} = "
                 f"{following}.", worked=True)
