"""Scenes of the little world: a few people, what they hold and where they are, in short sentences.

They are to stories what finger exercises are to music: the same questions, but the answer is only a
few words back. A model learns here to copy names and to follow a thing from hand to hand, and needs
far fewer stories to do it there.

Used   world/world.py
"""

from world import words as w
from world.engine import Event
from world.events import LISTS
from world.questions import QUESTIONS

PEOPLE, THINGS, PLACES = ("A", "B", "C"), ("U", "V", "W"), ("P", "Q", "R")
JOBS = ("J", "K", "L")
POOLS = {    # role -> (its words, the roles that may not share one)
    role: (words, roles) for words, roles in ((w.NAMES, PEOPLE), (w.THINGS, THINGS),
                                              (w.PLACES, PLACES), (w.JOBS, JOBS)) for role in roles}
MOVES = 4    # sentences after the first ones, at most


def event(name, lines):
    return Event(name, lines, draws=LISTS)


HOLD = event("hold", """
{a} has {x.a}.
{a} holds {look.a} {x}.
{a} the {j} has {x.a}.
In the hands of {a} there is {x.a}.
""")
STAND = event("stand", """
{a} is {p.at}.
{a} the {j} is {p.at}.
{a} is {doing} {p.at}.
""")
EMPTY = event("empty", """
{a} has nothing.
{a} is there too.
""")
GIVE = event("give", """
{a} gives the {x} to {b}. Now {b} has the {x}.
{a} {how} hands the {x} to {b}. Now {b} has the {x}.
{b} takes the {x} from {a}. Now {b} has the {x}.
{b} {how} gets the {x} from {a}. Now {b} has the {x}.
Then {a} gives {b} the {x}. Now {b} has the {x}.
""")
SWAP = event("swap", """
{a} and {b} swap the {x} and the {y}. Now {a} has the {y} and {b} has the {x}.
{a} gives {b} the {x} for the {y}. Now {a} has the {y} and {b} has the {x}.
""")
GO = event("go", """
{a} goes {p.to}. Now {a} is {p.at}.
{a} {how} walks {p.to}. Now {a} is {p.at}.
Then {a} runs {p.to}. Now {a} is {p.at}.
{a} leaves and goes {p.to}. Now {a} is {p.at}.
""")
JOIN = event("join", """
{a} goes to {b} {p.at}. Now {a} is {p.at}.
{a} follows {b} {p.to}. Now {a} is {p.at}.
""")


class Scene:
    """Either of hands (who has what) or of places (who is where); two or three people."""

    kind, only, body = "scene", None, 0

    def __init__(self):
        self.bind, self.has, self.at, self.asked = {}, {}, {}, ()
        self.about, self.people, self.moves, self.gap, self.stage = None, 0, 0, "", "set"

    def copy(self):
        twin = Scene.__new__(Scene)
        twin.__dict__.update(self.__dict__)
        twin.bind, twin.has, twin.at = dict(self.bind), dict(self.has), dict(self.at)
        return twin

    def key(self):
        return tuple(tuple(sorted(value.items())) if isinstance(value, dict) else value
                     for value in self.__dict__.values())

    def pool(self, role, fresh=()):
        words, rivals = POOLS[role]
        return words, sum(1 for rival in rivals if rival in self.bind)

    def options(self):
        """[(weight, event, roles, changes)]; changes: stage, has {thing: who}, at {who: where}."""
        return getattr(self, "_" + self.stage)()

    def _stop(self):
        return []

    def _set(self):
        """The people come one by one; the first decides what the scene is about."""
        at = len(self.at)
        who, thing, place = PEOPLE[at], THINGS[at], PLACES[at]
        job = {"j": "JKL"[at]}
        hold = (HOLD, {"a": who, "x": thing, **job}, {"has": {thing: who}, "at": {who: None}})
        empty = (EMPTY, {"a": who}, {"at": {who: None}})
        stand = (STAND, {"a": who, "p": place, **job}, {"at": {who: place}})
        if at == 0:
            return [(weight, *option[:2], {**option[2], "about": about, "people": people})
                    for weight, option, about in ((3, hold, "hands"), (2, stand, "places"))
                    for people in (2, 2, 3)]
        stage = {"stage": "move"} if at + 1 == self.people else {}
        chosen = [(3, hold), (1, empty)] if self.about == "hands" else [(1, stand)]
        return [(weight, *option[:2], {**option[2], **stage}) for weight, option in chosen]

    def _move(self):
        pairs = [(a, b) for a in self.at for b in self.at if a != b]
        if self.about == "hands":
            options = [(1, GIVE, {"a": a, "b": b, "x": x}, {"has": {x: b}})
                       for a, b in pairs for x, holder in self.has.items() if holder == a]
            options += [(0.5, SWAP, {"a": a, "b": b, "x": x, "y": y}, {"has": {x: b, y: a}})
                        for x, a in self.has.items() for y, b in self.has.items() if a != b]
        else:
            options = [(1, GO, {"a": a, "p": place}, {"at": {a: place}})
                       for a in self.at for place in dict.fromkeys((*self.at.values(), "R"))
                       if place != self.at[a]]
            options += [(1, JOIN, {"a": a, "b": b, "p": self.at[b]}, {"at": {a: self.at[b]}})
                        for a, b in pairs if self.at[a] != self.at[b]]
        total = sum(option[0] for option in options)
        if self.moves == MOVES:
            options = []
        if self.moves:    # time for the questions: one line further
            options.append((0.6 * total or 1.0, None, {}, {"stage": "ask"}))
        return options

    def _ask(self):
        options = []
        for thing, who in self.has.items():
            options.append((1, QUESTIONS["who_has"], {"x": thing, "a": who}, {}))
        for who, place in self.at.items():
            if self.about == "places":
                options.append((1, QUESTIONS["where_is"], {"a": who, "p": place}, {}))
        options = [option for option in options if named(option) not in self.asked]
        if len(self.asked) == 4:
            return []
        if len(self.asked) > 1:
            options.append((len(options) * 0.5 or 1.0, None, {}, {"stage": "stop"}))
        return options

    def apply(self, event, roles, changes, text):
        self.stage = changes.get("stage", self.stage)
        self.gap = " " if self.stage != "ask" else "\n"
        self.about = changes.get("about", self.about)
        self.people = changes.get("people", self.people)
        self.has.update(changes.get("has", {}))
        self.at.update(changes.get("at", {}))
        if event is None:
            return
        if self.stage == "ask":
            self.asked += (named((1, event, roles)),)
        self.moves += event in (GIVE, SWAP, GO, JOIN)


def named(option):
    """What tells one question from another."""
    return option[1].name, *option[2].values()
