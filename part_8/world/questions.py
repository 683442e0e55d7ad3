"""What can be asked of a story of the little world, with answers worked out from its state.

Used   world/stories.py ends its stories with some of these; world/world.py makes cloze questions of all.
"""

from world.engine import Event
from world.events import LISTS

JOB_OF = {"H": "J", "F": "K", "T": "L"}    # the role of a person -> the role of the person's work


def question(name, question, answer, needs):
    return Event(name, f"{question} {answer}", needs, "", LISTS)


QUESTIONS = {event.name: event for event in (
    question("who_has", "Who has the {x} now?", "{a} has the {x}.", "a has x"),
    question("nobody_has", "Who has the {x} now?", "Nobody has the {x}.", "x free"),
    question("where_held", "Where is the {x} now?", "{a} has the {x} {p.at}.", "a has x, a at p"),
    question("where_lies", "Where is the {x} now?", "The {x} is {s} {p.at}.", "x lies p s"),
    question("where_is", "Where is {a} now?", "{a} is {p.at}.", "a at p"),
    question("who_got", "Who gave the {x} to {b}?", "{a} gave the {x} to {b}.", "a gave x b"),
    question("who_found", "Who found the {x}?", "{a} found the {x}.", "a found x"),
    question("wanted", "Who wanted the {x}?", "{a} wanted the {x}.", "a wants x"),
    question("wanted_for", "What did {a} want?", "{a} wanted to give the {x} to {b}.",
             "a wants x b"),
    question("wanted_what", "What did {a} want?", "{a} wanted the {x}.", "a wants x"),
)}


def askable(story):
    """[(event, roles)] of the questions the state can answer."""
    has, at, questions = story.has, story.at, []

    def add(name, **roles):
        questions.append((QUESTIONS[name], roles))

    for thing, holder in has.items():
        if holder.__class__ is tuple:
            add("nobody_has", x=thing, p=holder[0], s=holder[1])
            add("where_lies", x=thing, p=holder[0], s=holder[1])
        else:
            add("who_has", x=thing, a=holder)
            add("where_held", x=thing, a=holder, p=at[holder])
    for who, place in at.items():
        add("where_is", a=who, p=place)
    if story.owner == "H":
        add("wanted", a="H", x="X")
        add("wanted_what", a="H", x="X")
    else:
        add("wanted_for", a="H", x="X", b=story.owner)
    if "gave" in story.past:
        giver, thing, taker = story.past["gave"]
        add("who_got", a=giver, x=thing, b=taker)
    if "found" in story.past:
        add("who_found", a=story.past["found"][0], x=story.past["found"][1])
    return questions
