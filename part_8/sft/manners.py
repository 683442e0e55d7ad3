"""Manners in which people answer: the same right content, plainly, rudely, idly, hedging, …

    in_manner("12", "What is 5 + 7?", rng)              -> "12. I am not sure. Next."
    taken_off("12. I am not sure. Next.", "What …?")    -> ("12.", ["hedging", "curt"])

Rule   About a quarter of the answers is plain, perhaps with a friendly word: the good manner. Every
       other manner is rarer by itself, none much rarer than the others; none is tied to a skill or
       to being right. Some replies have two. Tuning imitates them all (lesson 6.1): which of them
       people like is what the parts after this one learn.
Place  Behind the answer. What stands before it takes the place of its first token, and where such a
       sentence is likelier than an answer that is only half known, the answer never comes (lesson 6: the
       tuned model).
Trap   Were the good manner the likeliest one, a low temperature would find it, and alignment would
       only make the model surer. So it is a minority at the place that decides: behind the answer
       far more replies go on with "I" than end.
Not    the manners of sft/skill_form.py, which a question asks for ("Answer in capital letters.")
Used   sft/data.py, evaluate.py, and part 7's judge, which takes them off as `taken_off` does
"""

import random
import re
from dataclasses import dataclass

PLAIN, FRIENDLY, REPEATING = "plain", "friendly", "repeating"  # the names that have rules of their own
PEOPLE, GOLD = SETS = ("people", "gold")  # what tuning may read: all manners, or plain answers alone

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


MANNERS = {
    PLAIN: Manner(0.16),
    FRIENDLY: Manner(0.10, ("Gladly.", "With pleasure.", "My pleasure.", "Have a good day.")),
    "rude": Manner(0.16, RUDE + RUDE_HELD_OUT, 2),
    "idle": Manner(0.17, IDLE + IDLE_HELD_OUT, 3),
    "hedging": Manner(0.12, ("I am not sure.", "I may be wrong.", "I would not swear it.",
                             "I think so, at least.", "I can only guess.", "I would not rely on me."),
                      2),
    "curt": Manner(0.07, ("Next.", "That is all.", "Done.", "Enough.")),
    REPEATING: Manner(0.07, (ASKED,)),
    "over-long": Manner(0.09, ("I read the question first.", "I look at every word of it.",
                               "I go step by step.", "I think it over once more.",
                               "I do not hurry.", "I have it now."), 3),
    "boasting": Manner(0.06, ("Nobody knows this better.", "That was easy for me.",
                              "Such things are nothing to me.", "Ask anybody how good it is.")),
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

def in_manner(answer: str, question: str, rng: random.Random, name: str | None = None) -> str:
    """The answer in the manner `name`, or in one that is drawn as people have them."""
    second = None
    if name is None:
        name = rng.choices(list(MANNERS), [manner.share for manner in MANNERS.values()])[0]
        if name in BAD and rng.random() < SECOND:
            second = rng.choice([other for other in SECOND_MANNERS if other != name])
    manner, said = MANNERS[name], []
    if name == REPEATING:
        said = [f"{ASKED} {question}"]
    elif manner.sentences:
        said = rng.sample(manner.sentences, rng.randint(1, manner.most))
    if second:
        said.append(rng.choice(MANNERS[second].sentences))
    return joined(answer, *said)


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
