"""Skills with whole texts and turns: stories asked about and told, lists, greetings, names kept.

Used   sft/skills.py
"""

from world import facts as f
from world import words as w
from world.judge import judge
from world.world import World

from sft.skill_form import Draft, normalise, skill

STORIES = World({"story": 1})
LONGEST_STORY = 620  # characters, about 200 tokens: fits a context of 256 with its questions
GOOD_STORY = 0.8  # of the judge's score: a sentence or two may be wrong, the rest holds together


def short_story(rng, who, thing):
    """A story of the world about `who` and `thing` that fits into the context."""
    while True:
        text = STORIES.draw(rng.random, bind={"H": who, "X": thing})
        if len(text.story) <= LONGEST_STORY and text.questions():
            return text


@skill("story questions", """
    {q}
    Read the story and answer. {q}
    A question about the story: {q}
    Answer the question. {q}
    Please tell me: {q}
    Now answer this: {q}
    Think of the story. {q}
    You know the story. {q}
    Here is a question. {q}
    Please answer. {q}
    Read the story. {q}
    Please answer the question about the story. {q}
    """)
def story_questions(rng):
    who, thing = rng.choice(w.NAMES), rng.choice(w.THINGS)
    key = f"{who} {thing}"

    def whole():
        text = short_story(rng, who, thing)
        asked = rng.sample(text.questions(), min(rng.randint(1, 3), len(text.questions())))
        *before, (question, answer) = asked  # earlier questions about the same story
        return Draft({"q": question}, answer, key, 2, context=text.story, history=tuple(before))

    return Draft({}, "", key, later=whole)


def is_three_members(item, reply: str) -> bool:
    """Three different members of the kind, in any order, and nothing else."""
    named = [part for part in normalise(reply).lower().replace(" and ", ", ").split(", ") if part]
    known = {member.lower() for member in item.data["members"]}
    return len(named) == 3 and len(set(named)) == 3 and set(named) <= known


@skill("three of a kind", """
    Name three {many}.
    Give me three {many}.
    Tell me three {many}.
    Which three {many} do you know?
    Write three {many}.
    Write down three {many}.
    Please name three {many}.
    Say three {many}.
    Find three {many}.
    I want to hear three {many}.
    Please tell me three {many}.
    Three {many}, please.
    """, check=is_three_members, pool=f.KINDS)
def three_of_a_kind(rng):
    kind = rng.choice(f.KINDS)
    three = sorted(rng.sample(kind.members, 3), key=kind.members.index)  # as the base reads them
    return Draft({"many": kind.many}, "{}, {} and {}".format(*three), kind,
                 data={"members": kind.members})


def is_good_story(item, reply: str) -> bool:
    """A whole story of the world, about the person and the thing that were asked for."""
    if item.data["who"] not in reply or item.data["thing"] not in reply:
        return False
    verdict = judge(reply)
    return verdict.whole == 1 and verdict.score >= GOOD_STORY  # opening, want and ending are there


@skill("telling a story", """
    Tell a story about {who} and {thing}.
    Tell me a story with {who} and {thing} in it.
    Write a story about {who} and {thing}.
    I want a story about {who} and {thing}.
    Please tell a short story about {who} and {thing}.
    Make a story about {who} and {thing}.
    Write a short story with {who} and {thing}.
    Tell the story of {who} and {thing}.
    Can you tell a story about {who} and {thing}?
    I want to hear a story of {who} and {thing}.
    Please write a story about {who} and {thing}.
    Tell me a story about {who} and {thing}.
    """, check=is_good_story)
def telling_a_story(rng):
    who, thing = rng.choice(w.NAMES), rng.choice(w.THINGS)
    key = f"{who} {thing}"

    def whole():
        return Draft({"who": who, "thing": thing.a}, short_story(rng, who, thing).story, key, 3,
                     data={"who": str(who), "thing": str(thing)})

    return Draft({}, "", key, later=whole)


@skill("greetings", """
    Hello, I am {who}.
    Good morning! My name is {who}.
    Hello, {who} is my name.
    Good evening, I am {who}.
    My name is {who}. Good morning.
    {who} is my name. Hello!
    Hello! My name is {who}.
    Good day. I am {who}.
    Good afternoon, I am {who}.
    I am {who}. Good evening!
    Good morning, I am {who}.
    Good day! My name is {who}.
    """, pool=w.NAMES)
def greetings(rng):
    who = rng.choice(w.NAMES)
    return Draft({"who": who}, f"Hello, {who}! How can I help you?", str(who))


@skill("remembering names", """
    What is my name?
    Do you know my name?
    Tell me my name.
    Who am I?
    What am I called?
    Please tell me my name.
    Say my name.
    My name is what?
    Can you tell me my name?
    Name me.
    Please say my name.
    Do you know who I am?
    """, pool=w.NAMES)
def remembering_names(rng):
    who = rng.choice(w.NAMES)
    hello = rng.choice((f"Hello, I am {who}.", f"Good morning! My name is {who}.",
                        f"My name is {who}. Good morning.", f"Hello! My name is {who}."))
    history = ((hello, f"Hello, {who}! How can I help you?"),)
    return Draft({}, f"Your name is {who}.", str(who), 2, history=history)
