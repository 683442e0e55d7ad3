"""The form of a skill: what it draws, how it is put into words, how a reply is read.

Used   sft/skills_numbers.py, sft/skills_words.py, sft/skills_stories.py (the skills), sft/skills.py (sampling)
"""

import re
from dataclasses import dataclass, field

ANSWER_MARK = "The answer is "  # what comes after it is the answer of a worked reply
HELD_OUT_WORDINGS = 2  # the last ones of every skill are never trained on

# Manners: how an answer is to be given. Each is asked for in words and applied to the gold answer.
MANNERS = {
    "capitals": ("Answer in capital letters.", str.upper),
    "twice": ("Say the answer twice.", lambda answer: f"{answer} {answer}"),
    "shout": ("End with an exclamation mark.", lambda answer: f"{answer}!"),
    "politely": ("Call me sir.", lambda answer: f"{answer}, sir"),
}
NUMBER_MANNERS = ("twice", "shout", "politely")  # a number in capital letters stays what it is


@dataclass(frozen=True)
class Draft:
    """What a skill draws, before it is put into words."""

    slots: dict  # what the wordings' slots are filled with
    answer: str  # the gold answer
    key: str  # what makes this content this content; its hash decides the split
    difficulty: int = 1  # 1 easy, 2 middle, 3 hard
    steps: str = ""  # worked steps that lead to the answer; "" where there are none
    worked: bool = False  # are the steps shown without being asked for?
    context: str = ""  # a text the question is about; it opens the conversation
    history: tuple = ()  # earlier turns: (question, answer), …
    data: dict = field(default_factory=dict)  # what an open checker needs
    later: object = None  # function() -> the whole Draft, where that is dear: a story


@dataclass(frozen=True)
class Skill:
    """One ability: how it is asked for, how content is drawn, how a reply is checked."""

    name: str
    wordings: tuple[str, ...]
    draw: object  # function(rng) -> Draft
    check: object = None  # function(item, reply) -> bool; None: the answer itself, word for word
    manners: tuple[str, ...] = ()  # in which the answer may be asked for
    pool: tuple[str, ...] = ()  # all keys, where there are few; () where there is no end to them


@dataclass(frozen=True)
class Item:
    """One instruction, with everything that is needed to judge a reply."""

    skill: str
    prompt: str
    answer: str  # the gold reply, with its steps where they are shown
    final: str  # the gold answer alone
    difficulty: int
    wording: int
    manner: str  # "" or a name of MANNERS
    asked: str  # "steps", "direct" (the answer alone), or "" where neither was asked for
    key: str
    system: str = ""  # a manner may be asked for here, before the conversation
    history: tuple = ()  # earlier turns: (question, answer), …
    data: dict = field(default_factory=dict, compare=False)


SKILLS: dict[str, Skill] = {}


def skill(name: str, wordings: str, check=None, manners=(), pool=()):
    """Register a skill: the decorated function draws its content."""
    def register(draw):
        lines = tuple(line.strip() for line in wordings.strip().splitlines())
        SKILLS[name] = Skill(name, lines, draw, check, tuple(manners), tuple(map(str, pool)))
        return draw
    return register


def normalise(text: str) -> str:
    """Blanks and a final full stop do not matter; capitals and all other signs do."""
    return re.sub(r"\s+", " ", text).strip().removesuffix(".").strip()


def final_answer(reply: str) -> str:
    """The answer of a reply: what follows the last "The answer is ", else the whole reply."""
    return normalise(reply.rsplit(ANSWER_MARK, 1)[-1])
