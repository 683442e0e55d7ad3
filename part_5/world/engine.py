"""A text is a walk: at every step the state offers options, and each has a known probability.

Math   p(text) = sum, over walks that spell it, of prod_t p(option) p(wording) p(words)   (eq. 4.4)
Used   world/world.py walks; world/stories.py and world/facts.py say which options a state offers.
Terms  a Shape is one wording with slots, "{a} gave {b} the {x}."; an Event is a set of wordings
       with what must hold before and what holds after; a walk has the state and its options.
"""

import math
import re
from functools import lru_cache

SLOT = re.compile(r"\{(\w+)(?:\.(\w+))?\}")
REACH = 500    # no line of the world has more characters
LOG = [float("-inf")] + [math.log(n) for n in range(1, 4000)]


class Shape:
    """One wording, cut at its slots: literal texts and (slot, form) pairs, in order."""

    def __init__(self, text):
        self.text = text
        self.parts, end = [], 0
        for slot in SLOT.finditer(text):
            if slot.start() > end:
                self.parts.append(text[end:slot.start()])
            self.parts.append((slot[1], slot[2]))
            end = slot.end()
        if end < len(text):
            self.parts.append(text[end:])
        self.slots = tuple(dict.fromkeys(slot[1] for slot in SLOT.finditer(text)))
        self.longest = max((part for part in self.parts if isinstance(part, str)),
                           key=len, default="")

    def fill(self, local):
        return "".join(part if part.__class__ is str else
                       getattr(local[part[0]], part[1]) if part[1] else local[part[0]]
                       for part in self.parts)


class Event:
    """Wordings that mean the same; `needs` and `makes` are facts about slots, such as "a has x".

    Facts: "a has x" · "x lies p s" (at place p, hidden at spot s) · "a at p" · "a with b" ·
    "a job j" · "a new" (never named before) · "x gone a" (a no longer has x)
    """

    def __init__(self, name, lines, needs="", makes="", draws=None):
        self.name = name
        self.shapes = tuple(Shape(line.strip()) for line in lines.strip().split("\n"))
        self.needs = tuple(tuple(fact.split()) for fact in needs.split(",") if fact.strip())
        self.makes = tuple(tuple(fact.split()) for fact in makes.split(",") if fact.strip())
        self.draws = draws or {}    # slot -> tuple of words, or function of the slots so far
        slots = {slot for shape in self.shapes for slot in shape.slots}
        self.alone = "a" in slots and not slots & {"b", "c"}    # only one person is mentioned
        self.log_shapes = LOG[len(self.shapes)]

    def with_pronoun(self):
        """The same event told of someone just named: "She gave ..."; None if no wording fits."""
        lines = []
        for shape in self.shapes:
            if shape.text.startswith("{a} "):
                lines.append(shape.text.replace("{a}", "{a.He}", 1))
            elif shape.text.startswith("{when.Cap} {a} "):
                lines.append(shape.text.replace("{a}", "{a.he}", 1))
        if not lines:
            return None
        twin = Event(self.name, "\n".join(lines), draws=self.draws)
        twin.needs, twin.makes, twin.alone = self.needs, self.makes, self.alone
        return twin


def choose(options, rng):
    """One option by weight, and the log of its probability."""
    total = 0.0
    for option in options:
        total += option[0]
    point = rng() * total
    for option in options:
        point -= option[0]
        if point < 0:
            break
    return option, math.log(option[0] / total)


def tell(event, roles, walk, rng):
    """Draw a wording and its free words, bind new roles in `walk`: (text, log-probability)."""
    shapes = event.shapes
    shape = shapes[int(rng() * len(shapes))]
    logp = -event.log_shapes
    bind, local = walk.bind, {}
    for slot in shape.slots:
        role = roles.get(slot)
        word = bind.get(role) if role else None
        if word is None:
            pool, taken = walk.pool(role) if role else (pool_of(event, slot, local), 0)
            word = pool[int(rng() * len(pool))] if len(pool) > 1 else pool[0]
            while taken and word in bind.values():
                word = pool[int(rng() * len(pool))]
            logp -= LOG[len(pool) - taken]
            if role:
                bind[role] = word
        local[slot] = word
    return shape.fill(local), logp


def pool_of(event, slot, local):
    pool = event.draws[slot]
    return pool(local) if callable(pool) else pool


@lru_cache(maxsize=4000)
def _by_letter(pool, form):
    """The words of a pool by the first letter of one of their forms."""
    index = {}
    for word in pool:
        index.setdefault(getattr(word, form)[0] if form else word[0], []).append(word)
    return index


def matches(event, roles, walk, text, start):
    """Every way in which `text` from `start` on can be a wording of `event`.

    Yields (end, {role: new word}, {slot: word}, log-probability)."""
    for shape in event.shapes:
        if text.find(shape.longest, start, start + REACH) >= 0:    # most wordings end here
            yield from _match(event, shape, 0, roles, walk, text, start, {}, {}, -event.log_shapes)


def _match(event, shape, index, roles, walk, text, at, local, fresh, logp):
    parts = shape.parts
    while index < len(parts):
        part = parts[index]
        if part.__class__ is not str:
            slot, form = part
            if slot not in local:
                break
            part = getattr(local[slot], form) if form else local[slot]
        if not text.startswith(part, at):
            return
        at += len(part)
        index += 1
    else:
        yield at, fresh, local, logp
        return
    role = roles.get(slot)
    word = walk.bind.get(role) if role else None
    if word is not None:
        yield from _match(event, shape, index, roles, walk, text, at, {**local, slot: word},
                          fresh, logp)
        return
    pool, taken = walk.pool(role, fresh) if role else (pool_of(event, slot, local), 0)
    taken += sum(1 for other in fresh.values() if other in pool) if role else 0
    likely = _by_letter(pool, form).get(text[at:at + 1], ()) if len(pool) > 1 else pool
    for word in likely:
        piece = getattr(word, form) if form else word
        if text.startswith(piece, at) and not (
                role and (taken and word in walk.bind.values() or word in fresh.values())):
            yield from _match(event, shape, index, roles, walk, text, at, {**local, slot: word},
                              {**fresh, role: word} if role else fresh,
                              logp - LOG[len(pool) - taken])
