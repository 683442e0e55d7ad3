"""What can happen in a story of the little world, and the words for it.

Slots  a, b, c people · j, k their jobs · x, y things · m, n their looks · p, q places · s a spot;
       every other slot ({sky}, {mood}, ...) is a fresh draw from the list of that name.
Rule   a wording names everybody it is about and says nothing that `needs` and `makes` leave out:
       the judge reads stories back with these wordings.
Here   the lists, the openings and wants, and people who come and go; world/deeds.py has the rest.
"""

from world import words as w
from world.engine import Event

SKILLS = w.words(
    "bake climb cook dance fish juggle knit paint ride row sail sing skate swim weave whistle")
WAYS = w.words(
    "absently awkwardly boldly bravely briskly calmly carefully cautiously cheerfully clumsily "
    "dreamily eagerly firmly fondly gently gladly gracefully gratefully grumpily happily hastily "
    "hopefully idly impatiently kindly lazily lightly loudly merrily neatly nervously nimbly "
    "patiently playfully politely promptly proudly quickly quietly rapidly sadly secretly shyly "
    "silently sleepily slowly smartly softly solemnly steadily stiffly suddenly swiftly tenderly "
    "thoughtfully timidly wearily willingly wisely")
SAYINGS = w.words(
    "announced answered called chuckled cried declared exclaimed explained giggled grumbled "
    "laughed mumbled murmured muttered remarked said sang shouted sighed whispered")
WHENS = tuple(w.Word(when) for when in (
    "after a while", "a little later", "all at once", "an hour later", "as the clock struck",
    "at last", "at that moment", "before long", "by and by", "in the meantime", "just then",
    "not long after", "presently", "quite unexpectedly", "shortly after", "soon",
    "soon afterwards", "some time later", "suddenly", "then"))
COATS = w.words("big black brown grey little old pale spotted tiny white young")
SPOTS = tuple(spot for place in w.PLACES for spot in place.spots)
LISTS = {
    "sky": w.SKIES, "time": w.TIMES, "month": w.MONTHS, "town": w.TOWNS, "doing": w.DOINGS,
    "trait": w.TRAITS, "creature": w.CREATURES, "creature2": w.CREATURES, "coat": COATS, "coat2": COATS,
    "act": w.CREATURE_DOINGS, "act2": w.CREATURE_DOINGS,
    "mood": w.MOODS, "glad": w.GLAD, "glad2": w.GLAD, "sad": w.SAD, "meal": w.MEALS,
    "lesson": w.LESSONS, "skill": SKILLS, "look": w.LOOKS, "how": WAYS, "say": SAYINGS,
    "when": WHENS,
    # what the slots of people and things may be, for a reader who does not know the story's words
    **dict.fromkeys("abc", w.NAMES), **dict.fromkeys("jkl", w.JOBS), **dict.fromkeys("xy", w.THINGS),
    **dict.fromkeys("mn", w.LOOKS), **dict.fromkeys("pq", w.PLACES), "s": SPOTS,
}
NOW = ("Now {}.", "So now {}.", "And now {}.")
EVENTS = {}    # complete once world/deeds.py has been imported as well


def event(name, lines, needs="", makes="", now=""):
    """Adds an Event with these wordings, one a line. `now`: what is said once more at their end."""
    if now:
        lines = "\n".join(f"{line} {NOW[i % len(NOW)].format(now)}"
                          for i, line in enumerate(lines.strip().split("\n")))
    EVENTS[name] = Event(name, lines, needs, makes, LISTS)


# ---- the opening: who, and where ----------------------------------------------------------------

event("open", """
One {sky} {time}, {a} the {trait} {j} was {doing} {p.at}.
It was a {sky} {time}. {a}, {trait.a} {j}, was {doing} {p.at}.
{a} was {trait.a} {j} from {town}. One {sky} {time}, {a.he} was {doing} {p.at}.
There was once {trait.a} {j} called {a}. On a {sky} {time}, {a.he} sat {p.at}, {doing}.
On a {sky} {time} in {month}, {a} the {trait} {j} stood {p.at}, {doing}.
Long ago, {trait.a} {j} named {a} lived in {town}. One {time} {a.he} was {doing} {p.at}.
Nobody in {town} was as {trait} as {a} the {j}. One {sky} {time}, {a.he} was {p.at}, {doing}.
The {time} was {sky}, and {a} the {trait} {j} was {doing} {p.at}.
This is a story about {a}, {trait.a} {j}. It begins {p.at} on a {sky} {time}.
In {month}, when the days were {sky}, {a} the {j} was often {p.at}. One {time}, {a.he} was \
{doing}.
""", makes="a new, a job j, a at p")

# ---- the want -----------------------------------------------------------------------------------

event("keep", """
{a} had {m.a} {x} and wanted to keep it, because with it {a.he} could {x.use}.
With {a.him} {a} had {m.a} {x}, and {a.he} wanted to keep it for ever. With it {a.he} could \
{x.use}.
{a}'s grandmother had left {a.him} {m.a} {x}. {a.He} wanted to keep the {x}, so that {a.he} \
could {x.use}.
In {a.his} bag {a} had {m.a} {x}. {a.He} wanted to keep it and {x.use}.
{a} had saved up for {m.a} {x}. Now {a.he} had it at last, and {a.he} wanted to keep it and \
{x.use}.
""", makes="a has x, x new, x looks m")

event("wish", """
{b} the {k} was there too, holding {m.a} {x}. {a} wanted the {x}, because with it {a.he} could \
{x.use}.
Beside {a.him} was {b}, {trait.a} {k}, who had {m.a} {x}. How {a} wanted that {x}! With it \
{a.he} could {x.use}.
{a} wanted {x.a} so that {a.he} could {x.use}. "Look what I have," {say} {b} the {k}, and held \
up {m.a} {x}.
{when.Cap} {b} the {k} walked up with {m.a} {x}. {a} wanted the {x} at once, so that {a.he} \
could {x.use}.
"What a fine {x}!" {say} {a} to {b} the {k}, who had {m.a} one. {a} wanted it, so that {a.he} \
could {x.use}.
""", needs="a at p", makes="b new, b job k, b at p, b has x, x new, x looks m")

event("wish_far", """
{a} wanted {x.a} so that {a.he} could {x.use}. {b} the {k} had {m.a} one, and {b} was {q.at}.
{a} had often heard of the {m} {x} that {b} the {k} had {q.at}. {a} wanted it, so that {a.he} \
could {x.use}.
"If only I had {x.a}!" {say} {a}. "Then I could {x.use}." {b}, {trait.a} {k}, had {m.a} one \
{q.at}.
More than anything, {a} wanted the {m} {x} of {b} the {k}, who was {q.at}. With it {a.he} could \
{x.use}.
""", makes="b new, b job k, b at q, b has x, x new, x looks m")

event("gift", """
{a} had {m.a} {x} and wanted to give it to {b} the {k}, who was {q.at}. Then {b} could {x.use}.
Under {a.his} arm {a} had {m.a} {x}. It was a present for {b} the {k}, who was {q.at} and \
wished to {x.use}.
It was the birthday of {b} the {k}, who was {q.at}. {a} had {m.a} {x} for {b.him}, to {x.use}.
"This {m} {x} is for {b}," thought {a}. {b} the {k} was {q.at} and wished to {x.use}.
""", makes="b new, b job k, b at q, a has x, x new, x looks m")

event("quest", """
People said that {m.a} {x} lay {q.at}, {s}. {a} wanted to find it and {x.use}.
An old song told of {m.a} {x} that lay {q.at}, {s}. {a} wanted to find the {x}, so that {a.he} \
could {x.use}.
{a} wanted {x.a} so that {a.he} could {x.use}. In a dream {a.he} saw {m.a} one {q.at}, {s}.
A note in a bottle said: "{m.A} {x} lies {q.at}, {s}." {a} wanted to find it and {x.use}.
""", makes="x lies q s, x new, x looks m")

event("lost", """
{a} had lost {m.a} {x} the day before and wanted it back. It lay {q.at}, {s}, but {a.he} did \
not know that.
{a} was {sad}. {a.His} {m} {x} was gone, and {a.he} wanted it back to {x.use}. It had dropped \
{q.at}, {s}.
"Where is my {m} {x}?" thought {a}. {a.He} wanted it back. Nobody had told {a.him} that it lay \
{q.at}, {s}.
The day before, {a} had left {m.a} {x} {q.at}, {s}. Now {a.he} wanted it back, but could not \
remember where it was.
""", makes="x lies q s, x new, x looks m")

event("errand", """
{b} the {k} came up with {m.a} {x}. "Please take this to {c} the {l} {q.at}," {say} {b} and \
gave {a} the {x}. {a} promised.
"{c} the {l} is {q.at} and wishes to {x.use}," {say} {b} the {k}. {b} gave {a} {m.a} {x} and \
asked {a.him} to take it to {c}.
{b}, {trait.a} {k}, gave {a} {m.a} {x}. "It is for {c} the {l}, who is {q.at}," {say} {b}. {a} wanted \
to take it to {c} at once.
""", needs="a at p", makes="b new, b job k, b at p, c new, c job l, c at q, a has x, x new, x looks m")

# ---- people come and go -------------------------------------------------------------------------

event("meet", """
{b} the {trait} {k} was {p.at} as well, {doing}.
Not far away {a} saw {b}, {trait.a} {k}, {doing}.
{when.Cap} {b} the {k} came by. "Good {time}, {a}!" {say} {b}.
{a} was not alone: {b} the {trait} {k} was there too, {doing}.
"Hello, {a}! How are you?" called {b} the {k}. "Fine, thank you," {say} {a}.
{when.Cap} {trait.a} {k} named {b} sat down beside {a}.
There {a} met {b}, {trait.a} {k} from {town}.
""", needs="a at p", makes="b new, b job k, b at p",
      now="{b} was {p.at}")

event("meet_with", """
{b} the {trait} {k} was {p.at} as well, with {n.a} {y}.
There {a} met {b}, {trait.a} {k}, who had {n.a} {y}.
{when.Cap} {b} the {k} came by with {n.a} {y}. "Good {time}, {a}!" {say} {b}.
{trait.A} {k} named {b} was there too and showed {a} {n.a} {y}.
"Hello, {a}!" {say} {b} the {k}, who was carrying {n.a} {y}. "Hello, {b}!" {say} {a}.
""", needs="a at p", makes="b new, b job k, b at p, b has y, y new, y looks n",
      now="{b} was {p.at} with the {y}")

event("come", """
{when.Cap} {b} came {p.to}. "Hello again, {a}!" {say} {b}.
{when.Cap} {b} came {p.to} too.
"Wait for me!" {say} {b}, and came running {p.to}.
{when.Cap} {b} left {q} and came {how} {p.to}, {doing}.
""", needs="a at p, b at q", makes="b at p",
      now="{b} was {p.at}")

event("come_with", """
{when.Cap} {b} came {p.to} with the {x}.
{when.Cap} {b} came {p.to}, and {b.he} still had the {x}.
{when.Cap} {b} left {q} and came {how} {p.to}, carrying the {x}.
"Look what I have here!" {say} {b}, and came {how} {p.to} with the {x}.
""", needs="a at p, b at q, b has x", makes="b at p",
      now="{b} was {p.at} with the {x}")

event("leave", """
{when.Cap} {b} said goodbye and {how} went {q.to}.
"I must go now," {say} {b}, and {how} went {q.to}.
{b} had work to do and left for {q}.
{when.Cap} {b} was {mood} and walked off {q.to}.
""", needs="a with b", makes="b at q",
      now="{b} was {q.at}")

event("leave_with", """
{when.Cap} {b} took the {x} along and {how} went {q.to}.
"I must go now," {say} {b}, and {how} went {q.to} with the {x}.
{b} still had the {x} and took it {q.to}.
With the {x} under {b.his} arm, {b} set off {how} {q.to}.
""", needs="a with b, b has x", makes="b at q",
      now="{b} had the {x} {q.at}")

event("together", """
"Come with me," {say} {a} to {b}, and together they went {q.to}.
{a} and {b} walked {q.to} together, talking about {meal}.
Side by side, {a} and {b} went {q.to}.
"Shall we go {q.to}?" asked {b}. "Yes, let us go," {say} {a}. So they went there together.
""", needs="a with b", makes="a at q, b at q",
      now="{a} and {b} were {q.at}")

event("walk", """
{when.Cap} {a} went on {q.to}, {doing}.
{a} felt {mood} and walked {q.to}.
{when.Cap} {a} walked {q.to}. The way was long and the wind was {sky}.
After some {meal}, {a} went {q.to}.
""", makes="a at q",
      now="{a} was {q.at}")

event("walk_with", """
{a} {how} took the {x} and went {q.to}.
{when.Cap} {a} carried the {x} {q.to}, {doing}.
With the {x} in {a.his} hands, {a} walked {q.to}.
{a} put the {x} in {a.his} bag and set off {how} {q.to}.
""", needs="a has x", makes="a at q",
      now="{a} had the {x} {q.at}")

event("to_thing", """
So {a} {how} hurried {q.to}, where the {x} was.
{a} knew where to look and ran {how} {q.to}.
Without waiting, {a} went {q.to} to fetch the {x}.
{a} packed some {meal} and set off {how} {q.to} to get the {x}.
""", needs="x lies q s", makes="a at q",
      now="{a} was {q.at}")

event("to_holder", """
So {a} {how} went {q.to}. There was {b}, and {b} still had the {x}.
{a} {how} hurried {q.to} to find {b}, who had the {x}.
{a} {how} walked {q.to}, where {b} was {doing} with the {x} beside {b.him}.
The way {q.to} was long, but at last {a} stood before {b}, who had the {x}.
""", needs="b at q, b has x", makes="a at q",
      now="{a} was {q.at}")

event("to_person", """
So {a} {how} took the {x} {q.to}, where {b} was {doing}.
{a} {how} carried the {x} {q.to} to find {b}.
With the {x} in {a.his} bag, {a} set off {how} {q.to}. {b} was there already.
{a} {how} brought the {x} {q.to}, and {b} waved to {a.him}.
""", needs="a has x, b at q", makes="a at q",
      now="{a} was {q.at} with the {x}")
