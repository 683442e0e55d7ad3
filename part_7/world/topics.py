"""The short texts of the little world: topics, their wordings, and the walk through a document.

A document stays with one topic and has three to seven lines, each a wording of the topic's Event
with fresh draws, no main word {w} twice. A slot whose draw is a function of the slots before it (a
sum, a spelling) has one possible word: probability 1.

Used   world/world.py
"""

from world import facts as f
from world import words as w
from world.engine import Event
from world.facts import between, only, others
from world.words import Word

FACT_KINDS = ("facts", "words", "sums")
TOPICS = {kind: [] for kind in FACT_KINDS}


def topic(group, weight, lines, main, /, **draws):
    """A topic whose slot {w} is drawn from `main` without repeating within a document."""
    name = f"{group}{len(TOPICS[group])}"
    event = Event(name, lines, draws=draws)
    TOPICS[group].append((event, main, weight))


OPPOSITES = f.table(f.OPPOSITES) + f.table({value: key for key, value in f.OPPOSITES.items()
                                            if value not in f.OPPOSITES})
STRANGERS = {kind: tuple(word for word in f.MEMBERS if word not in kind.members)
             for kind in f.KINDS}
OTHER_KINDS = {kind: tuple(other for other in f.KINDS if other != kind) for kind in f.KINDS}


def other(local):
    return (local["w"].other,)


def other_kinds(local):
    return OTHER_KINDS[local["w"].kind]


def member(place):
    """One of three members in the order of their table: the first, second or third (0, 1, 2)."""
    def draw(local):
        listed = local["w"].members
        before = listed.index(local["mn"[place - 1]]) + 1 if place else 0
        return listed[before:len(listed) - 2 + place]
    return draw


# ---- facts --------------------------------------------------------------------------------------

topic("facts", 3, """
The opposite of {w} is {w.other}.
{w.Cap} is the opposite of {w.other}.
What is the opposite of {w}? {w.Other}.
If it is not {w}, it may be {w.other}.
""", OPPOSITES)
topic("facts", 3, """
{w.One} is a kind of {kind}.
What is {w.one}? {kind.A}.
Is {w.one} {kind.a}? Yes, it is.
Is {w.one} {other.a}? No, {w.one} is {kind.a}.
""", f.MEMBERS, kind=lambda local: (local["w"].kind,), other=other_kinds)
topic("facts", 1.5, """
Name three {w.many}. {m.Cap}, {n} and {o}.
Three {w.many} are {m}, {n} and {o}.
Of all {w.many}, I know {m}, {n} and {o} best.
Which is not {w.a}: {m}, {odd} or {n}? {odd.Cap}.
""", f.KINDS, m=member(0), n=member(1), o=member(2), odd=lambda local: STRANGERS[local["w"]])
topic("facts", 3, """
After {w} comes {w.next}.
Before {w} comes {w.before}.
Which {w.what} comes after {w}? {w.next}.
Which {w.what} comes before {w}? {w.before}.
{w} is one of the {w.many}.
{w} is {w.what} number {w.nth}.
""", f.DATES)
topic("facts", 0.5, """
The colour of {w} is {w.other}.
What colour is {w}? {w.Other}.
{w.Cap} is {w.other}.
""", f.table(f.COLOURS))
topic("facts", 2.5, """
One {w}, two {w.other}.
The plural of {w} is {w.other}.
What is the plural of {w}? {w.Other}.
I have one {w}, and you have {n.name} {w.other}.
""", f.table(f.PLURALS), n=between(2, 12))
topic("facts", 2, """
A young {w} is called {young.a}.
What is a young {w} called? {young.A}.
""", f.table(f.YOUNG), young=other)
topic("facts", 0.3, """
{w.A} {w.other}.
Which animal {w.other}? {w.A}.
What does {w.a} do? It {w.other}.
""", f.table(f.SOUNDS))
topic("facts", 0.3, """
{w.A} lives in {home.a}.
Where does {w.a} live? In {home.a}.
The home of {w.a} is {home.a}.
""", f.table(f.HOMES), home=other)
topic("facts", 0.3, """
{w.A} {w.other}.
What does {w.a} do? {w.A} {w.other}.
Who {w.other}? {w.A}.
""", f.table(f.WORK))
topic("facts", 0.3, """
We {w} with our {w.other}.
What do we {w} with? With our {w.other}.
To {w}, we use our {w.other}.
""", f.table(f.SENSES))
topic("facts", 2, """
The capital of {w} is {w.other}.
What is the capital of {w}? {w.other}.
{w.other} is the capital of {w}.
""", f.table(f.CAPITALS))
topic("facts", 0.3, """
With {w.a} you can {w.use}.
What can you do with {w.a}? {Use}.
""", w.THINGS, Use=lambda local: (Word(local["w"].use).Cap,))


SIZES = tuple(map(Word, f.SIZES))


def sized(choose):
    return lambda local: (choose(local["w"], local["v"], key=f.SIZES.index),)


topic("facts", 0.3, """
Which is bigger, {w.a} or {v.a}? {big.A}.
Which is smaller, {w.a} or {v.a}? {small.A}.
""", SIZES, v=others(SIZES), big=sized(max), small=sized(min))

# ---- words and their letters --------------------------------------------------------------------

topic("words", 1, """
{w} is spelled {w.spelled}.
How do you spell {w}? {w.spelled}.
The letters of {w} are {w.spelled}.
""", f.SPELLING)
topic("words", 1.5, """
{w} is {w.spelled}. Backwards it is {w.spelled_back}: {w.back}.
Spell {w} backwards. {w.spelled} turns into {w.spelled_back}: {w.back}.
""", f.SPELLING)
topic("words", 1.5, """
{w} in capital letters is {w.upper}.
Write {w} in capital letters. {w.upper}.
""", f.SPELLING)
topic("words", 1, """
{w} is {w.spelled}. It has {w.length} letters.
How many letters are in {w}? {w.spelled}: {w.length}.
""", f.SPELLING)
topic("words", 1, """
{w} begins with {w.first} and ends with {w.last}.
The first letter of {w} is {w.first}.
The last letter of {w} is {w.last}.
""", f.SPELLING)

# ---- numbers and sums ---------------------------------------------------------------------------

UP_TO_20, UP_TO_99 = between(0, 20), between(1, 99)


def plus(local):
    return local["w"].n + local["b"].n


def minus(local):
    return local["w"].n - local["b"].n


def steps_plus(local):
    """38 + 47: tens, ones, total."""
    a, b = local["w"], local["b"]
    tens, ones = a.n // 10 * 10 + b.n // 10 * 10, a.n % 10 + b.n % 10
    return (f"{a.tens} + {b.tens} = {tens}. {a.ones} + {b.ones} = {ones}. "
            f"{tens} + {ones} = {tens + ones}.")


def steps_minus(local):
    """85 - 47: first the tens of the second number, then its ones."""
    a, b = local["w"], local["b"]
    left = a.n - b.n // 10 * 10
    return f"{a.n} - {b.tens} = {left}. {left} - {b.ones} = {left - b.n % 10}."


topic("sums", 5, """
{w} + {b} = {sum}.
What is {w} + {b}? {sum}.
{w} plus {b} is {sum}.
If you add {w} and {b}, you get {sum}.
""", between(0, 10), b=between(0, 10), sum=only(plus))
topic("sums", 4, """
{w} - {b} = {rest}.
What is {w} - {b}? {rest}.
{w} minus {b} is {rest}.
If you have {w} and lose {b}, {rest} are left.
""", UP_TO_20, b=lambda local: between(0, min(10, local["w"].n)), rest=only(minus))
topic("sums", 1.5, """
{w} + {b} = {sum}.
What is {w} + {b}? {sum}.
""", between(11, 89), b=between(1, 10), sum=only(plus))
topic("sums", 1.5, """
{w} - {b} = {rest}.
What is {w} - {b}? {rest}.
""", between(20, 99), b=between(1, 10), rest=only(minus))
topic("sums", 1.5, """
{w} - {b} = {rest}.
What is {w} - {b}? {rest}.
From {w} down to {b} it is {rest}.
""", between(11, 99), b=lambda local: between(local["w"].n - 10, local["w"].n - 1),
      rest=only(minus))
topic("sums", 2, """
{w} + {b}: {steps} So {w} + {b} = {sum}.
What is {w} + {b}? {steps} The answer is {sum}.
""", between(10, 89), b=lambda local: between(10, 99 - local["w"].n), steps=only(steps_plus),
      sum=only(plus))
topic("sums", 2, """
{w} - {b}: {steps} So {w} - {b} = {rest}.
What is {w} - {b}? {steps} The answer is {rest}.
""", between(20, 99), b=lambda local: between(10, local["w"].n), steps=only(steps_minus),
      rest=only(minus))
topic("sums", 1, """
Which is larger, {w} or {b}? {large}.
Which is smaller, {w} or {b}? {small}.
{w} and {b}: the larger one is {large}.
{w} and {b}: the smaller one is {small}.
""", UP_TO_99, b=others(UP_TO_99), large=only(lambda l: max(l["w"].n, l["b"].n)),
      small=only(lambda l: min(l["w"].n, l["b"].n)))


def in_order(local, down=False):
    return ", ".join(map(str, sorted((local[slot].n for slot in "wbcd"), reverse=down)))


topic("sums", 1, """
Sort {w}, {b}, {c}, {d}. {up}.
{w}, {b}, {c}, {d} in order: {up}.
{w}, {b}, {c}, {d} from large to small: {down}.
""", UP_TO_99, b=others(UP_TO_99), c=others(UP_TO_99), d=others(UP_TO_99), up=only(in_order),
      down=only(lambda local: in_order(local, True)))


def run(local, first, count):
    step = local["k"].n
    return ", ".join(str(local["w"].n + step * i) for i in range(first, first + count))


topic("sums", 1, """
Count in steps of {k}: {w}, {run}.
From {w} in steps of {k}: {w}, {run}.
{w} plus {k}, again and again: {w}, {run}.
""", between(1, 60), k=between(1, 10), run=only(lambda local: run(local, 1, 5)))
topic("sums", 0.3, """
{w} is written {w.name}.
{w.name} is {w}.
Write {w} as a word. {w.name}.
After {w} comes {next}.
Before {w} comes {before}.
""", UP_TO_99, next=only(lambda l: l["w"].n + 1), before=only(lambda l: l["w"].n - 1))
topic("sums", 1, """
{who} had {w} {things}. {friend} gave {who.him} {b} more. {w} + {b} = {sum}. \
Now {who} has {sum} {things}.
{who} picked {w} {things} and then {b} more. {w} + {b} = {sum}. That makes {sum} {things}.
""", between(2, 10), b=between(2, 9), who=w.NAMES, friend=others(w.NAMES), things=f.COUNTED,
      sum=only(plus))
topic("sums", 1, """
{who} had {w} {things} and gave {b} to {friend}. {w} - {b} = {rest}. Now {who} has {rest} {things}.
There were {w} {things}. {who} took {b}. {w} - {b} = {rest}. So {rest} {things} were left.
""", between(5, 20), b=lambda local: between(2, min(9, local["w"].n - 2)), who=w.NAMES,
      friend=others(w.NAMES), things=f.COUNTED, rest=only(minus))


class Facts:
    """The state of a document of facts: its topic, and how many lines it has."""

    only = None
    body = 0

    def __init__(self, kind):
        self.kind, self.topic, self.lines, self.bind, self.gap = kind, None, 0, {}, ""

    def copy(self):
        twin = Facts.__new__(Facts)
        twin.__dict__.update(self.__dict__)
        twin.bind = dict(self.bind)
        return twin

    def key(self):
        return self.kind, self.topic, self.lines, tuple(self.bind.items())

    def pool(self, role, fresh=()):
        return TOPICS[self.kind][role[0]][1], len(self.bind)

    def options(self):
        if self.lines == 7 or self.topic == "stop":
            return []
        if self.topic is None:
            return [(weight, event, {"w": (i, 0)}, i)
                    for i, (event, _, weight) in enumerate(TOPICS[self.kind])]
        event = TOPICS[self.kind][self.topic][0]
        options = [(3, event, {"w": (self.topic, self.lines)}, self.topic)]
        if self.lines >= 3:
            options.append((1, None, {}, "stop"))
        return options

    def apply(self, event, roles, changes, text):
        self.topic = changes
        self.lines += event is not None
        self.gap = "\n"
