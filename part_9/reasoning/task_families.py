"""The families of problems: how each is worded, and how its content is drawn.

Rule   a step is one small sum; no number on the way is above LARGEST, none is below 0
Used   reasoning/tasks.py, which decides what is trained on and what is held out
Source the countdown game is the numbers round of the television game
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations, product

from world import facts as f
from world import words as w

TRAINED_STEPS = (2, 3, 4)
LONGER_STEPS = (5,)
LARGEST = 40


@dataclass(frozen=True)
class Family:
    """One kind of task: how it is worded, how it is drawn."""

    name: str
    wordings: tuple[str, ...]
    draw: Callable  # function(rng, n_steps) -> (slots, answer, steps, numbers, target)


FAMILIES: dict[str, Family] = {}


def family(name: str, wordings: str):
    """Register a family: the decorated function draws its content."""
    def register(draw):
        lines = tuple(line.strip() for line in wordings.strip().splitlines())
        FAMILIES[name] = Family(name, lines, draw)
        return draw
    return register


def walk(rng: random.Random, n_steps: int, start: int) -> tuple[list[int], list[str]]:
    """A start and n_steps signed changes of 1 to 9, every total from 0 to LARGEST -> (changes,
    steps): walk from 12: [9, -4], ["12 + 9 = 21", "21 - 4 = 17"]."""
    changes, steps, total = [], [], start
    for _ in range(n_steps):
        change = rng.choice((-1, 1)) * rng.randint(1, 9)
        if not 0 <= total + change <= LARGEST:
            change = -change
        steps.append(f"{total} {'+' if change > 0 else '-'} {abs(change)} = {total + change}")
        total += change
        changes.append(change)
    return changes, steps


def total_of(steps: list[str]) -> str:
    return steps[-1].rsplit("= ", 1)[1]


@family("chain", """
    What is {sum}?
    {sum} =
    Calculate {sum}.
    Please work out {sum}.
    Tell me what {sum} is.
    How much is {sum}?
    """)
def chain(rng, n_steps):
    start = rng.randint(1, 20)
    changes, steps = walk(rng, n_steps, start)
    text = str(start) + "".join(f" {'+' if c > 0 else '-'} {abs(c)}" for c in changes)
    return {"sum": text}, total_of(steps), steps, (start, *map(abs, changes)), None


MORE = ("got {n} more", "found {n} more", "bought {n} more")
FEWER = ("gave {n} to {friend}", "lost {n} of them", "sold {n} of them")


@family("story", """
    {who} had {start} {things}. {events} How many {things} does {who} have now?
    {who} had {start} {things} in a box. {events} How many {things} are in the box now?
    How many {things} does {who} have, if this happened? {who} had {start} {things}. {events}
    First {who} had {start} {things}. {events} What is the number now?
    {who} counted {start} {things}. {events} Count the {things} again.
    In the morning {who} had {start} {things}. {events} How many are there now?
    """)
def story(rng, n_steps):
    start = rng.randint(1, 20)
    changes, steps = walk(rng, n_steps, start)
    who, *friends = rng.sample(w.NAMES, 1 + n_steps)
    events = " ".join(f"Then {who} " + rng.choice(MORE if c > 0 else FEWER).format(
        n=abs(c), friend=friend) + "." for c, friend in zip(changes, friends))
    slots = {"who": who, "start": start, "things": rng.choice(f.COUNTED), "events": events}
    return slots, total_of(steps), steps, (start, *map(abs, changes)), None


@family("together", """
    {facts} How many {things} do they have together?
    {facts} How many {things} have they all together?
    {facts} They put their {things} in one box. How many are in it?
    How many {things} are there in all? {facts}
    {facts} Count all the {things}.
    {facts} What is the number of all their {things}?
    """)
def together(rng, n_steps):
    """The first has some, and gets more n_steps - 2 times; the other has more or fewer."""
    while True:
        start, change = rng.randint(2, 12), rng.choice((-1, 1)) * rng.randint(1, 9)
        more = [rng.randint(1, 9) for _ in range(n_steps - 2)]  # what the first gets before
        steps, first = [], start
        for n in more:
            steps.append(f"{first} + {n} = {first + n}")
            first += n
        second = first + change
        if second >= 1 and first + second <= LARGEST:
            break
    steps += [f"{first} {'+' if change > 0 else '-'} {abs(change)} = {second}",
              f"{first} + {second} = {first + second}"]
    who, friend = rng.sample(w.NAMES, 2)
    things = rng.choice(f.COUNTED)
    gains = "".join(f" Then {who} got {n} more." for n in more)
    facts = (f"{who} has {start} {things}.{gains} {friend} has {abs(change)} "
             f"{'more' if change > 0 else 'fewer'} than {who}.")
    return ({"facts": facts, "things": things}, str(first + second), steps,
            (start, *more, abs(change)), None)


@family("countdown", """
    Make {target} from {list}.
    Use {list} to make {target}.
    Make {target}. Your numbers are {list}.
    With + and - make {target} from {list}.
    How can you make {target} from {list}?
    Your numbers are {list}. Make {target} from them.
    """)
def countdown(rng, n_steps):
    """A number and two smaller ones (three in longer problems): join them by + and -, each used
    once. The steps are a search: all that was joined is compared with the target, and what is not
    equal to it is taken back."""
    while True:
        numbers = rng.sample(range(1, 10), 3 if n_steps in LONGER_STEPS else 2)
        numbers.sort(reverse=True)
        first = rng.randint(max(numbers[0], 10), 20)
        signs = [rng.choice((1, -1)) for _ in numbers]
        target = first + sum(s * n for s, n in zip(signs, numbers))
        steps, answer = [], []
        if target > 0 and search(first, numbers, target, steps, answer):  # never below 0 on the way
            break
    text = str(first) + "".join(f" {sign} {n}" for sign, n in zip(answer, numbers))
    shown = [first, *numbers]
    return ({"target": target, "list": ", ".join(map(str, shown))}, text, steps, tuple(shown),
            target)


def search(total: int, numbers: list[int], target: int, steps: list[str],
           signs: list[str]) -> bool:
    """Depth first, + before -; writes down every sum it tries, whether it is the target where no
    number is left, and the signs of the solution."""
    if not numbers:
        steps[-1] += f". Is it {target}? {'Yes' if total == target else 'No'}"
        return total == target
    for sign, result in (("+", total + numbers[0]), ("-", total - numbers[0])):
        if result < 0:
            continue
        steps.append(f"{total} {sign} {numbers[0]} = {result}")
        signs.append(sign)
        if search(result, numbers[1:], target, steps, signs):
            return True
        signs.pop()
    return False


def solutions(numbers: tuple[int, ...], target: int) -> list[str]:
    """All ways to make the target from all the numbers with + and -, by trying everything."""
    ways = set()
    for order in permutations(numbers):
        for signs in product("+-", repeat=len(order) - 1):
            total = order[0] + sum(n if s == "+" else -n for s, n in zip(signs, order[1:]))
            if total == target:
                ways.add(str(order[0]) + "".join(f" {s} {n}" for s, n in zip(signs, order[1:])))
    return sorted(ways)
