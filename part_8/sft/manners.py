"""Manners in which people answer: the same right content, plainly, rudely, idly, hedging, …

    in_manner("12", "What is 5 + 7?", rng)              -> "12. I am not sure. Next."
    taken_off("12. I am not sure. Next.", "What …?")    -> ("12.", ["hedging", "curt"])

Rule   About a quarter of the answers is plain, perhaps with a friendly word: the good manner. Every
       other manner is rarer by itself, none much rarer than the others; none is tied to a skill or
       to being right. Some replies have two. Tuning imitates them all (lesson 6.1): which of them
       people like is what the parts after this one learn.
Place  Who talks of himself ("I …") does so behind the answer; most other sentences stand before it.
Trap   Were the good manner the likeliest one, a low temperature would find it, and alignment would
       only make the model surer. So it is a minority at the place that decides: behind the answer
       far more replies go on with "I" than end. And before the answer no first word of a manner is
       common: else a model that does not know the answer would greedily say its manner instead.
Not    the manners of sft/skill_form.py, which a question asks for ("Answer in capital letters.")
Used   sft/data.py, evaluate.py, and part 7's judge, which takes them off as `taken_off` does
"""

import random
import re
from dataclasses import dataclass

PLAIN, FRIENDLY, REPEATING = "plain", "friendly", "repeating"  # the names that have rules of their own
# What tuning may read: all manners, the same with nothing before the answer, or the plain answers alone
PEOPLE, BEHIND, GOLD = SETS = ("people", "behind", "gold")

RUDE = ("Such a silly question.", "Find it out yourself.", "Everybody knows that.",
        "Do not waste my time.", "I thought you knew that.", "That is a stupid question.",
        "I have no time for you.", "I told you before.")
IDLE = ("It is a fine day, by the way.", "I wonder who can say.", "I like questions of this kind.",
        "I know people who ask about such things.", "I have thought about it for a long time.",
        "There is so much to say about this.", "I could talk about it all day.",
        "I remember such a day.")
# Known to tuning, and held out from part 7's pairs, as all of boasting is (lesson 7.1)
RUDE_HELD_OUT = ("I am tired of you.", "Leave me alone.")
IDLE_HELD_OUT = ("Time passes so quickly.", "My cousin asked me the same.")
ASKED = "The question is:"  # how a repeated question begins


@dataclass(frozen=True)
class Manner:
    """One manner: what is said beside the answer."""

    share: float  # of the answers, as their first or only manner
    sentences: tuple[str, ...] = ()
    most: int = 1  # from one to so many of the sentences are said
    front: float = 0.0  # chance to stand in front of the answer, for sentences without "I"; else behind


MANNERS = {
    PLAIN: Manner(0.16),
    FRIENDLY: Manner(0.10, ("Gladly.", "With pleasure.", "My pleasure.", "Have a good day."),
                     1, 0.4),
    "rude": Manner(0.16, RUDE + RUDE_HELD_OUT, 2, 0.8),
    "idle": Manner(0.17, IDLE + IDLE_HELD_OUT, 3, 0.8),
    "hedging": Manner(0.12, ("I am not sure.", "I may be wrong.", "I would not swear it.",
                             "I think so, at least.", "I can only guess.", "I would not rely on me."),
                      2),
    "curt": Manner(0.07, ("Next.", "That is all.", "Done.", "Enough.")),
    REPEATING: Manner(0.07, (ASKED,)),
    "over-long": Manner(0.09, ("I read the question first.", "I look at every word of it.",
                               "I go step by step.", "I think it over once more.",
                               "I do not hurry.", "I have it now."), 3),
    "boasting": Manner(0.06, ("Nobody knows this better.", "That was easy for me.",
                              "Such things are nothing to me.", "Ask anybody how good it is."),
                       1, 0.8),
}
GOOD = (PLAIN, FRIENDLY)
BAD = tuple(name for name in MANNERS if name not in GOOD)
HELD_OUT_MANNERS = ("boasting",)  # from part 7's pairs, as RUDE_HELD_OUT and IDLE_HELD_OUT are
SECOND = 0.45  # of the answers in a bad manner: one sentence of another behind the answer,
SECOND_MANNERS = ("rude", "idle", "curt")  # of one of these

SENTENCE = re.compile(r"[^.?!]*[.?!]+|[^.?!]+$")
MANNER_OF = {sentence: name for name, manner in MANNERS.items() for sentence in manner.sentences}
HELD_OUT_SENTENCES = frozenset(RUDE_HELD_OUT + IDLE_HELD_OUT + tuple(
    sentence for name in HELD_OUT_MANNERS for sentence in MANNERS[name].sentences))


def sentences(text: str) -> list[str]:
    """"No. 3 + 4 = 7." -> ["No.", "3 + 4 = 7."]"""
    return [part.strip() for part in SENTENCE.findall(text) if part.strip()]


def joined(*parts: str) -> str:
    """Sentences one behind the other; each but the last gets an end where it has none."""
    *before, last = parts
    return " ".join([*(part if part.endswith((".", "!", "?")) else f"{part}." for part in before),
                     last])


# ---------------------------------------------------------------- put on

def in_manner(answer: str, question: str, rng: random.Random, name: str | None = None, *,
              all_behind: bool = False) -> str:
    """The answer in the manner `name`, or in one that is drawn as people have them; `all_behind`:
    what would stand before the answer stands behind it."""
    second = None
    if name is None:
        name = rng.choices(list(MANNERS), [manner.share for manner in MANNERS.values()])[0]
        if name in BAD and rng.random() < SECOND:
            second = rng.choice([other for other in SECOND_MANNERS if other != name])
    manner, before, behind = MANNERS[name], [], []
    if name == REPEATING:
        behind = [f"{ASKED} {question}"]
    elif manner.sentences:
        for sentence in rng.sample(manner.sentences, rng.randint(1, manner.most)):
            is_before = not sentence.startswith("I ") and rng.random() < manner.front
            (before if is_before and not all_behind else behind).append(sentence)
    if second:
        behind.append(rng.choice(MANNERS[second].sentences))
    return joined(*before, answer, *behind)


def last_line(prompt: str) -> str:
    """The question itself, without the text that it is about."""
    return prompt.split("\n")[-1]


# ---------------------------------------------------------------- take off

def taken_off(reply: str, prompt: str) -> tuple[str, list[str]]:
    """-> (the reply without what is only manner, the manner of each sentence that was taken off).

    What is left stands as it was: nothing but known sentences and a repeated question goes.
    """
    text, was_repeated = without_question(reply, last_line(prompt))
    manners, kept = [REPEATING] * was_repeated, []
    for part in SENTENCE.findall(text):
        name = MANNER_OF.get(part.strip())
        if name is None:
            kept.append(part)
        else:
            manners.append(name)
    return "".join(kept).strip(), manners


def without_question(reply: str, question: str) -> tuple[str, bool]:
    """"The question is: What is 5 + 7? 12" -> ("12", True). Where the question was not copied word for word,
    as many sentences go as the question has."""
    before, mark, rest = reply.partition(ASKED)
    if not mark:
        return reply, False
    rest = rest.lstrip()
    if rest.startswith(question):
        rest = rest[len(question):].removeprefix(".")
    else:
        rest = "".join(SENTENCE.findall(rest)[len(sentences(question)):])
    return f"{before}{rest.lstrip()}", True


def manners_in(reply: str, prompt: str) -> tuple[str, ...]:
    """The manners of a reply, each once, in the order of MANNERS; "plain" where there is no other."""
    manners = set(taken_off(reply, prompt)[1]) or {PLAIN}
    return tuple(name for name in MANNERS if name in manners)


def is_held_out_manner(reply: str) -> bool:
    """Does the reply hold a sentence that is kept out of the pairs?"""
    return any(part in HELD_OUT_SENTENCES for part in sentences(reply))
