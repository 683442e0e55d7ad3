"""Reads a story of the little world as a person would: by its verbs, and nothing else.

It knows who is a person and what is a thing, a place or a hiding spot, but neither the deeds nor
their wordings: a sentence is cut into clauses, each has a subject, and the verb says what becomes
of it. So it can be held against the state from which a story was told.
"""

import re

from world import words as w
from world.events import SAYINGS, SPOTS


def one_of(words):
    return "(?:" + "|".join(sorted(words, key=len, reverse=True)) + ")"


THING = re.compile(rf"\b{one_of(w.THINGS)}\b")
OWNER = re.compile(rf"\b{one_of(w.THINGS)} of ({one_of(w.NAMES)})\b")
SPOT = re.compile(one_of(SPOTS))
PLACES = one_of([place.noun for place in w.PLACES])
PLACE = re.compile(rf"\bthe ({PLACES})\b")
IDLE = re.compile(one_of(["to whistle", *w.DOINGS, *w.MEALS, *w.LESSONS, *(thing.use for thing in w.THINGS)]))

IN_PLACE = rf"\b(?:at|in|on|by) the ({PLACES})\b"
STAYS = re.compile(rf"(?<!^It )\b(?:was|were|sat|stood|had)\b.*?{IN_PLACE}"
                   rf"|^It begins {IN_PLACE}")
SETTING = re.compile(rf"^(?:Far away|Meanwhile) {IN_PLACE}|^The way to the ({PLACES})\b")
GOES = re.compile(rf"\b(?:to|left for) the ({PLACES})\b")
GOES_HOME = re.compile(r"\b(?:went|go|going|ran|walked|hurried) (home|to bed)\b")
GIVES = re.compile(r"\b(?:gave|handed|made|left h\w+|let|came to (?!the))\b")
TAKES = re.compile(r"\b(?:took|picked|found|got|grabbed|snatched|pulled|carried|brought)\b")
HOLDS = re.compile(r"\b(?:has|had|holding|held|carrying|with|showed|kept|hid|put)\b")
LAYS = re.compile(r"\b(?:lay|lies|fell|landed|dropped|put|laid|hid|left|saw|was|stayed)\b")
NOTHING = re.compile(r"\b(?:not|never|no|lost|wanted|asked|without|learned|heard|needed|would|could)\b")
MOVES = r"\b(?:went|walked|came|ran|hurried|crept|set|left|met|looked|stood|sat|was|were)\b"
VERB = re.compile("|".join([MOVES, *(verb.pattern for verb in (GIVES, TAKES, HOLDS, LAYS))]))
TAG = re.compile(rf"^{one_of([*SAYINGS, 'asked', 'thought', 'laughed'])} ")
CUT = re.compile(rf", (?!{SPOT.pattern})| (?=(?:until|who|that|where|which|to find) )"
                 rf"| (?=and (?!{one_of(w.NAMES)} (?:walked|went|were|made)\b))")
SUMS_UP = re.compile(r"^(?:So now|And now|Now) (?=[A-Zn].* (?:was|were|had) )")


class Reader:
    """Who is where (`at`) and who has what (`has`: a person, or (place, spot)) so far.

    `wrong`: sentences that only sum up ("Now Tom had the bell.") and do not agree with the rest."""

    def __init__(self):
        self.at, self.has, self.wrong = {}, {}, []
        self.hero = self.subject = self.thing = self.offered = self.spoken_of = self.setting = None
        self.named = []    # people, the last named first

    def read(self, text):
        for number, part in enumerate(IDLE.sub("idle", text).split('"')):
            for sentence in re.findall(r"[^.!?:]+", part):
                if number % 2:
                    self.hear(sentence)
                elif SUMS_UP.match(sentence.strip()):
                    self.check(sentence)
                else:
                    for clause in CUT.split(sentence.strip()):
                        self.clause(clause.strip())

    # ---- of whom and what -----------------------------------------------------------------------

    def people(self, text):
        """[(position, name)] of the people in a clause, pronouns too."""
        found = []
        for word in re.finditer(r"\w+", text):
            who, form = None, word[0].lower()
            if word[0] in w.NAMES:
                who = word[0]
                self.named = [who, *(other for other in self.named if other != who)]
            elif form in ("he", "she"):
                who = self.meant(form, "he", [self.subject, *self.named])
            elif form == "him" or form == "her" and not re.match(r" (?!and\b|the\b|an?\b)\w",
                                                                 text[word.end():]):
                doers = [name for _, name in found] or [self.subject]
                who = (self.meant(form, "him", [one for one in self.named if one not in doers])
                       or self.subject)
            if who and text[word.end():word.end() + 2] != "'s" and who not in [name for _, name in found]:
                found.append((word.start(), who))
        return found

    @staticmethod
    def meant(word, form, names):
        forms = {name: getattr(name, form) for name in w.NAMES}
        return next((name for name in names if forms.get(name) == word), None)

    # ---- what is said ---------------------------------------------------------------------------

    def hear(self, speech):
        """Speech is believed where it is about somebody or something not met before."""
        thing, place, spot = THING.search(speech), PLACE.search(speech), SPOT.search(speech)
        self.thing = thing[0] if thing else self.thing
        self.spoken_of = place[1] if place else self.spoken_of
        for _, who in self.people(speech):
            if place and who not in self.at:
                self.at[who] = place[1]
        if place and spot and self.thing not in self.has:
            self.has[self.thing] = (place[1], spot[0])
        self.offered = thing[0] if thing and speech.startswith("This") else None

    # ---- what is told ---------------------------------------------------------------------------

    def clause(self, text):
        people, thing, verb = self.people(text), THING.search(text), VERB.search(text)
        before = [who for at, who in people if not verb or at < verb.start()]
        if TAG.match(text) and people:
            before = [people[0][1]]
        elif text.startswith("who "):
            before = self.named[:1]
        self.subject = subject = before[-1] if before else self.subject
        self.hero = self.hero or subject
        self.thing = thing[0] if thing else self.thing
        if self.offered and TAG.match(text):
            self.has[self.offered], self.offered = subject, None
        names = [who for _, who in people]
        self.places(text, names, subject)
        if self.thing and (thing or re.search(r"\b(?:it|one)\b|^(?:that|which)", text, re.IGNORECASE)):
            self.hands(text, [who for who in names if who != subject], subject)

    def places(self, text, names, subject):
        there, spot = PLACE.search(text), SPOT.search(text)
        for who in names:    # who is not said to be elsewhere is here
            if who not in self.at and (there or self.hero in self.at):
                self.at[who] = there[1] if there else self.at[self.hero]
        setting = SETTING.search(text)
        if setting:    # "Far away at the mill, Tom ...": of whoever is named next
            self.setting = setting[1] or setting[2]
            return
        if self.setting:
            self.at[subject], self.setting = self.setting, None
        if re.search(r"\bthey\b", text):
            movers = [who for who in self.at if self.at[who] == self.at[self.hero]
                      and who in self.named[:2]]
        else:
            movers = names if re.search(r"^\w+ and [A-Z]\w+ (?:w|m)", text) else [subject]
        if "they went there" in text:
            self.at.update(dict.fromkeys(movers, self.spoken_of))
        for found in (GOES.search(text), GOES_HOME.search(text), STAYS.search(text)):
            if found and not spot:
                self.at.update(dict.fromkeys(movers, next(filter(None, found.groups()))))
                break

    def hands(self, text, others, subject):
        place, spot, owner = PLACE.search(text), SPOT.search(text), OWNER.search(text)
        if owner:
            self.has[self.thing] = owner[1]
        elif NOTHING.search(text):
            return
        elif GIVES.search(text):
            if others or "left h" in text:
                self.has[self.thing] = others[0] if others else subject
        elif spot and LAYS.search(text):
            holder = self.has.get(self.thing)
            here = self.at[holder] if holder in self.at else self.at[self.hero]
            self.has[self.thing] = (place[1] if place else here, spot[0])
        elif TAKES.search(text) or HOLDS.search(text):
            self.has[self.thing] = subject

    def check(self, text):
        """A sentence that only sums up."""
        names, things = [who for _, who in self.people(text)], THING.findall(text)
        place = PLACE.search(text)
        self.subject = names[0] if names else self.subject
        free = "nobody had" in text
        agrees = [self.at.get(who) == place[1] for who in names if place]
        agrees += [isinstance(self.has.get(things[0]), tuple)] if free else [
            self.has.get(thing) == who for who, thing in zip(names, things)]
        if not all(agrees):
            self.wrong.append(text.strip())
