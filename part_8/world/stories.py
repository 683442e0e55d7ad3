"""The stories of the little world: the state, and what it allows to happen next.

A story follows its hero H, who wants a thing X for somebody (`owner`). F and T are other people, Y
is a second thing, P Q R are places. The state knows who is where, who has what, where a lost thing
lies, and whether H knows that (`knows`). What is likely next depends on the state alone, so what
happens follows from what happened.

Used   world/world.py.   See it: python demo_world.py
"""

from world import words as w
from world.deeds import EVENTS
from world.questions import JOB_OF, askable

POOLS = {}    # role -> (words it is drawn from, the roles that may not share a word)
for _roles, _pool in (("HFT", w.NAMES), ("XY", w.THINGS), ("PQR", w.PLACES), ("JKL", w.JOBS),
                      ("MN", w.LOOKS), ("D", w.TIMES)):
    POOLS.update({role: (_pool, _roles) for role in _roles})
MIN_STEPS, MAX_STEPS, LONG = 2, 6, 120    # the end may come; steps or words that force it
QUIET = 1.6    # moments in which nothing happens, for each step of the plot
PRONOUN = {name: event.with_pronoun() for name, event in EVENTS.items()}


class Story:
    """The state of a story that is being told. Roles, not words, are what the rules speak of."""

    kind = "story"

    def __init__(self):
        self.bind = {}         # role -> word, filled as the words are drawn
        self.at = {}           # person -> place
        self.has = {}          # thing -> person, or (place, spot) where it lies
        self.past = {}         # "gave" -> (person, thing, person), "found" -> (person, thing)
        self.counts = {}       # event -> how often it happened
        self.stage, self.goal, self.owner = "open", None, None
        self.knows = True      # does H know where X is?
        self.steps = self.words = 0
        self.only = None       # the one person of the last sentence, whom "he" or "she" may mean
        self.quiet = False     # was the last event one in which nothing changed?
        self.asked = ()        # questions asked so far
        self.body = 0          # characters of the story itself, before the questions
        self.gap = ""          # what stands between the last text and the next

    def copy(self):
        twin = Story.__new__(Story)
        twin.__dict__.update(self.__dict__)
        for name in ("bind", "at", "has", "past", "counts"):
            setattr(twin, name, dict(getattr(self, name)))
        return twin

    def key(self):
        """Equal keys mean equal futures: walks that meet may be added up."""
        parts = [tuple(sorted(value.items())) if isinstance(value, dict) else value
                 for value in self.__dict__.values()]
        return tuple(parts)

    def pool(self, role, fresh=()):
        """The words a role may be, and how many of them are taken already."""
        if role[0] == "S":    # SQ2 is a spot at place Q
            return (self.bind.get(role[1]) or fresh[role[1]]).spots, 0
        words, rivals = POOLS[role]
        return words, sum(1 for rival in rivals if rival in self.bind)

    def rivals(self, role):
        """Other roles of this story that `role` could be mistaken for."""
        if role[0] == "S":
            return [other for other in self.bind if other[0] == "S" and other != role]
        group = POOLS[role][1]
        known = self.bind if role in "MNJKLPQR" else {**self.at, **self.has}
        return [other for other in group if other != role and other in known]

    # ---- options --------------------------------------------------------------------------------

    def options(self):
        """[(weight, event, roles of its slots, changes to the state's fields)], [] at the end."""
        return getattr(self, "_" + self.stage)()

    def _stop(self):
        return []

    def _open(self):
        return [(1, EVENTS["open"], {"a": "H", "j": "J", "p": "P", "time": "D"}, {"stage": "want"})]

    def _want(self):
        here, friend, loop = {"a": "H", "p": "P"}, {"stage": "friend"}, {"stage": "loop"}
        thing = {"x": "X", "m": "M"}
        far = {"q": "Q", "s": "SQ1"}
        other = {"b": "F", "k": "K"}
        rows = [
            (2, "keep", "H", {**here, **thing}, friend),
            (2, "wish", "H", {**here, **thing, **other}, loop),
            (2, "wish_far", "H", {**here, **thing, **other, **far}, loop),
            (3, "gift", "F", {**here, **thing, **other, **far}, loop),
            (2, "quest", "H", {**here, **thing, **far}, friend),
            (2, "lost", "H", {**here, **thing, **far}, {**friend, "knows": False}),
            (1.5, "errand", "T", {**here, **thing, **other, **far, "c": "T", "l": "L"}, loop),
        ]
        return [(weight, EVENTS[name], roles, {**changes, "goal": name, "owner": owner})
                for weight, name, owner, roles, changes in rows]

    def _friend(self):
        return self._meetings("F", {"stage": "loop"})

    def _meetings(self, who, changes):
        roles = {"a": "H", "b": who, "k": JOB_OF[who], "p": self.at["H"], "time": "D"}
        options = [(2, EVENTS["meet"], roles, changes)]
        if "Y" not in self.has:
            options.append((3, EVENTS["meet_with"], {**roles, "y": "Y", "n": "N"}, changes))
        return options

    def _loop(self):
        over = self.steps >= MAX_STEPS or self.words >= LONG
        done = self.has["X"] == self.owner
        end = self._end() if over or (done and self.steps >= MIN_STEPS) else []
        if over:
            return self._last_chance() or end
        steps = self._steps(done)
        if not steps:
            return self._end()
        total = sum(option[0] for option in steps)
        if end:    # the want is fulfilled: four stories in seven end here
            steps += [(total * 4 / 3, *option[1:]) for option in end]
        if not self.quiet:
            total = sum(option[0] for option in steps)
            steps += self._moments(total * QUIET)
        return steps

    def _last_chance(self):
        """What would be left hanging if a long story ended here: the thing is in reach."""
        holder, here = self.has["X"], self.at["H"]
        near = [who for who in ("F", "T") if self.at.get(who) == here]
        if holder == "H" and self.owner in near:
            name, roles = "give", {"b": self.owner}
        elif holder.__class__ is tuple and holder[0] == here:
            name, roles = "find", {"s": holder[1]}
        elif holder in near and holder != self.owner:
            name, roles = "give_back", {"b": holder}
        else:
            return []
        if self.counts.get(name, 0) == 3:
            return []
        return [(1, EVENTS[name], {"a": "H", "x": "X", "p": here, **roles}, {})]

    def _end(self):
        holder = self.has["X"]
        roles = {"a": "H", "x": "X"}
        if holder.__class__ is tuple:
            name, roles = "end_lost", {**roles, "p": holder[0], "s": holder[1]}
        elif holder == self.owner:
            name = "end_have" if holder == "H" else "end_gave"
            roles["b"] = holder
        elif holder == "H":
            name, roles = "end_kept", {**roles, "b": self.owner}
        else:
            name, roles = "end_other", {**roles, "b": holder}
        return [(1, EVENTS[name], roles, {"stage": "ask"})]

    def _steps(self, done):
        """The options that move the story on, by where X is."""
        holder, here, count = self.has["X"], self.at["H"], self.counts.get
        near = [who for who in ("F", "T") if self.at.get(who) == here]
        away = [who for who in ("F", "T") if who in self.at and self.at[who] != here]
        new = [place for place in "PQR" if place not in self.bind][:1]
        options = []

        def add(weight, name, most=1, changes=None, **roles):
            if count(name, 0) < most:
                roles = {"a": "H", "x": "X", "p": here, **roles}
                options.append((weight, EVENTS[name], roles, changes or {}))

        early = self.steps < MIN_STEPS
        if "T" not in self.at and early:
            for weight, event, roles, changes in self._meetings("T", {}):
                options.append((weight * 0.2, event, roles, changes))
        if holder == "H":
            self._when_held(add, near, away, new, done)
        elif holder in near:
            self._when_near(add, holder, near, away, new, done)
        elif holder.__class__ is tuple:
            self._when_lying(add, holder, near, away, new)
        else:
            self._when_away(add, holder, near, new)
        for who in near:
            if self.has.get("Y") == who and holder != who:
                add(1.5, "give_y", b=who, y="Y")
            if early:
                add(0.5, "teach", b=who)
        if not early and not done:    # time to bring the story to its end, where that can be done
            options = [option for option in options if option[0] >= 3] or options
        return options

    def new_spot(self, place=None):
        """The role of a hiding spot not used so far: SQ2 is the second spot, at place Q."""
        count = sum(1 for role in self.bind if role[0] == "S")
        return f"S{place or self.at['H']}{count + 1}"

    def _when_held(self, add, near, away, new, done):
        for who in near:
            if self.owner == who:
                add(6, "give", 3, b=who)
            else:
                for place in new or [p for p in "PQR" if p != self.at["H"]][:1]:
                    add(1.5, "lend", b=who, q=place)
                    add(1, "take", b=who, q=place)
                    add(1, "steal", b=who, q=place, changes={"knows": False})
            add(0.7, "show", b=who)
        for who in away:
            if self.owner == who:
                add(6, "to_person", 3, b=who, q=self.at[who])
            else:
                add(0.5, "come", b=who, q=self.at[who])
        for place in new:
            add(3, "lose", s=self.new_spot(), q=place, changes={"knows": False})
            if done or self.owner not in self.at:
                add(1.5, "walk_with", q=place)
                for who in near:
                    add(1, "together", b=who, q=place)
        if done and self.steps < MIN_STEPS:
            add(0.7, "hide", s=self.new_spot())

    def _when_near(self, add, holder, near, away, new, done):
        if not done:
            if self.has.get("Y") == "H":
                add(6, "swap", b=holder, y="Y")
            add(4, "give_back", 3, b=holder)
            add(1, "refuse", b=holder)
        for place in new:
            add(1, "leave_with", b=holder, q=place)
            add(0.7, "together", b=holder, q=place)
        if done:
            add(1, "show", b="H", a=holder)
        for who in away:
            add(0.5, "come", b=who, q=self.at[who])

    def _when_lying(self, add, holder, near, away, new):
        place, spot = holder
        here = self.at["H"]
        if place == here:
            add(6, "find", 3, s=spot)
            for who in near:
                add(1.5, "find_by", b=who, s=spot)
            return
        if self.knows:
            add(6, "to_thing", 3, q=place, s=spot)
        else:
            for who in near:
                add(4, "ask_where", 2, b=who, q=place, s=spot, changes={"knows": True})
            add(1, "remember", q=place, s=spot, changes={"knows": True})
            add(1.5, "search")
            for other in [place, *new]:
                add(1, "go_search", 2, q=other)
        for who in away:
            add(1.5, "find_far", b=who, q=place, s=spot, changes={"knows": False})

    def _when_away(self, add, holder, near, new):
        place = self.at[holder]
        if self.knows:
            add(6, "to_holder", 3, b=holder, q=place)
        else:
            for who in near:
                add(4, "ask_who", 2, b=who, c=holder, q=place, changes={"knows": True})
            add(1.5, "hear", 2, b=holder, q=place, changes={"knows": True})
            add(1.5, "search")
            for other in new:
                add(1, "go_search", 2, q=other)
        add(1, "come_with", b=holder, q=place)
        add(0.7, "lose_far", b=holder, q=place, s=self.new_spot(place), changes={"knows": False})

    def _moments(self, weight):
        return [(weight * share, EVENTS[name], {"a": "H", "time": "D"}, {})
                for share, name in ((0.6, "nature"), (0.4, "rest"))]

    def _ask(self):
        if len(self.asked) == 4:
            return []
        open_questions = [(event, roles) for event, roles in askable(self)
                          if (event.name, *roles.values()) not in self.asked]
        options = [(1, event, roles, {}) for event, roles in open_questions]
        if len(self.asked) >= 2:
            options.append((len(options) * 0.5, None, {}, {}))
        return options

    # ---- what an event does to the state --------------------------------------------------------

    def apply(self, event, roles, changes, text):
        """Make the facts of `event` true and take the steps of the plot."""
        if event is None:
            self.stage = "stop"
            return
        if self.stage == "ask":
            self.asked += ((event.name, *roles.values()),)
            self.gap = "\n"
            return
        before = dict(self.has)
        for fact in event.makes:
            first, relation = roles.get(fact[0]), fact[1]
            if relation == "at":
                self.at[first] = roles[fact[2]]
            elif relation == "has":
                self.has[roles[fact[2]]] = first
            elif relation == "lies":
                self.has[first] = (roles[fact[2]], roles[fact[3]])
        self.remember(event, roles, before)
        self.__dict__.update(changes)
        self.counts[event.name] = self.counts.get(event.name, 0) + 1
        self.words += text.count(" ") + 1
        self.quiet = not event.makes and event.name in ("nature", "rest")
        self.steps += not self.quiet and self.goal is not None and event.name != self.goal
        self.only = roles["a"] if event.alone else None
        self.gap = "\n" if self.stage == "ask" else " "
        self.body += len(text) + 1

    def remember(self, event, roles, before):
        """Who gave and who found, for the questions; H sees what happens to X in H's presence."""
        if event.name in GIFTS:
            giver, thing, taker = GIFTS[event.name]
            self.past["gave"] = (roles[giver], roles[thing], roles[taker])
        if event.name in FINDS:
            self.past["found"] = (roles[FINDS[event.name]], roles["x"])
        holder = self.has.get("X")
        if holder == "H" or holder in self.at and self.at[holder] == self.at["H"]:
            self.knows = True


GIFTS = {"give": "axb", "lend": "axb", "give_back": "bxa", "give_y": "bya", "errand": "bxa"}
FINDS = {"find": "a", "find_by": "b", "find_far": "b"}
