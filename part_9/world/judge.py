"""Does a story hold together? Reads a text back into events, replays them, lists what is wrong.

    verdict = judge("One sunny day, Tom the baker was ...")
    verdict.score, verdict.faults

Score  read x sound x (1 + whole) / 2, each from 0 to 1: the share of the text that is sentences of
       the world, the share of those that agree with what happened before, and whether opening,
       want and ending are there.
Used   parts 6 to 9 judge what a model writes; every story of the world itself scores 1.
"""

import re
from dataclasses import dataclass, field
from types import MappingProxyType

from world.deeds import EVENTS
from world.engine import matches
from world.events import LISTS
from world.questions import QUESTIONS
from world.stories import FINDS, GIFTS, PRONOUN

WANTS = {"keep": "ax", "wish": "ax", "wish_far": "ax", "quest": "ax", "lost": "ax",
         "gift": "axb", "errand": "axc"}    # who wants what (for whom), as slots
END = re.compile(r"[.!?]|$")
REPEATS = 3    # no event happens more often in one story of the world


@dataclass
class Verdict:
    score: float = 0.0
    read: float = 0.0      # share of the characters that belong to sentences of the world
    sound: float = 0.0     # share of the events, questions included, without a fault
    whole: float = 0.0     # opening, want and ending: a third each
    faults: list = field(default_factory=list)
    events: list = field(default_factory=list)    # (name, text) in order


class NoWords:
    """Stands in for a story's state when none of its words are known yet."""

    bind = MappingProxyType({})


class Record:
    """What a reader knows so far, in words: who is where, who has what."""

    def __init__(self):
        self.at, self.has, self.jobs, self.looks, self.counts = {}, {}, {}, {}, {}
        self.gave = self.found = self.wants = self.only = None

    def holds(self, fact, local):
        """Is a fact such as ("a", "has", "x") true? None if a slot is not named in the text."""
        first, relation, *rest = fact
        if any(slot not in local for slot in (first, *rest)):
            return None
        one, *more = (local[slot] for slot in (first, *rest))
        if relation == "at":
            return self.at.get(one) == more[0]
        if relation == "with":
            return one in self.at and self.at[one] == self.at.get(more[0])
        if relation == "has":
            return self.has.get(more[0]) == one
        if relation == "lies":
            return self.has.get(one) == tuple(more)
        if relation == "off":
            return one in self.has and self.has[one][0] != more[0]
        if relation == "free":
            return isinstance(self.has.get(one), tuple)
        if relation == "empty":
            return one in self.at and one not in self.has.values()
        if relation == "job":
            return self.jobs.get(one) == more[0]
        if relation == "looks":
            return self.looks.get(one) == more[0]
        known = {"gave": self.gave, "found": self.found, "wants": self.wants}[relation]
        return known == (one, *more)

    def faults(self, event, local):
        """What is wrong with an event at this point of the story."""
        wrong = [" ".join(local.get(word, word) for word in fact) for fact in event.needs
                 if self.holds(fact, local) is False]
        new = {fact[0] for fact in event.makes if fact[1] == "new"}
        for slot, word in local.items():
            known = self.at if slot in "abc" else self.has if slot in "xy" else None
            if known is not None and (word in known) == (slot in new):
                wrong.append(f"{word} is {'known already' if slot in new else 'new here'}")
        people = [local[slot] for slot in "abc" if slot in local]
        if len(set(people)) < len(people):
            wrong.append(f"{people[0]} is named twice")
        if event in TWINS and local["a"] != self.only:
            wrong.append(f"{local['a'].he} does not mean {self.only}")
        if self.counts.get(event.name, 0) >= REPEATS:
            wrong.append(f"{event.name} happens again and again")
        return wrong

    def apply(self, event, local):
        self.counts[event.name] = self.counts.get(event.name, 0) + 1
        for first, relation, *rest in event.makes:
            if first not in local or any(slot not in local for slot in rest):
                continue
            one, *more = (local[slot] for slot in (first, *rest))
            if relation == "at":
                self.at[one] = more[0]
            elif relation == "has":
                self.has[more[0]] = one
            elif relation == "lies":
                self.has[one] = tuple(more)
            elif relation == "job":
                self.jobs[one] = more[0]
            elif relation == "looks":
                self.looks[one] = more[0]
        if event.name in WANTS:
            self.wants = tuple(local[slot] for slot in WANTS[event.name])
        if event.name in GIFTS:
            self.gave = tuple(local[slot] for slot in GIFTS[event.name])
        if event.name in FINDS:
            self.found = (local[FINDS[event.name]], local["x"])
        self.only = local["a"] if event.alone else None


TWINS = {twin for twin in PRONOUN.values() if twin}
READABLE = {}    # first character of a sentence -> events that may begin so
for _event in (*EVENTS.values(), *TWINS):
    for _shape in _event.shapes:
        _part = _shape.parts[0]
        _starts = {_part[0]} if isinstance(_part, str) else {
            (getattr(word, _part[1]) if _part[1] else word)[0] for word in LISTS[_part[0]]}
        for _start in _starts:
            READABLE.setdefault(_start, {})[_event] = True


def readings(events, text, start):
    """[(end, event, words of its slots)] of the wordings that fit `text` at `start`."""
    return [(end, event, local) for event in events
            for end, _, local, _ in matches(event, {}, NoWords, text, start)]


def implied(event, local, record):
    """A wording need not name the place: it is where the person is."""
    who = local.get("a") or local.get("b")
    about_place = any("p" in fact for fact in event.needs + event.makes)
    if about_place and "p" not in local and who in record.at:
        return {**local, "p": record.at[who]}
    return local


def judge(text):
    """A Verdict on a story, with or without questions and answers on the lines after it."""
    verdict, record = Verdict(), Record()
    body, *lines = text.strip().split("\n")
    read = sound = at = 0
    while at < len(body):
        best = None
        for end, event, local in readings(READABLE.get(body[at], ()), body, at):
            if end < len(body) and body[end] != " ":
                continue
            local = implied(event, local, record)
            faults = record.faults(event, local)
            if best is None or (-len(faults), end) > (-len(best[3]), best[0]):
                best = end, event, local, faults
        if best is None:
            stop = END.search(body, at).end()
            verdict.faults.append(f"not a sentence of the world: {body[at:stop]}")
            at = stop + 1
            continue
        end, event, local, faults = best
        record.apply(event, local)
        verdict.faults += faults
        verdict.events.append((event.name, body[at:end]))
        sound += not faults
        read += min(end + 1, len(body)) - at
        at = end + 1
    asked = 0
    for line in lines:
        fitting = [event for end, event, local in readings(QUESTIONS.values(), line, 0)
                   if end == len(line) and all(record.holds(fact, local) for fact in event.needs)]
        asked += 1
        sound += bool(fitting)
        if not fitting:
            verdict.faults.append(f"wrong or not a question of the world: {line}")
    names = [name for name, _ in verdict.events]
    verdict.read = read / len(body) if body else 0.0
    verdict.sound = sound / max(1, len(names) + asked)
    verdict.whole = ((names[:1] == ["open"]) + any(name in WANTS for name in names)
                     + (names[-1:] > ["end"] and names[-1].startswith("end"))) / 3
    verdict.score = verdict.read * verdict.sound * (1 + verdict.whole) / 2
    return verdict


def consistent(text):
    """How well a story holds together, from 0 to 1."""
    return judge(text).score
