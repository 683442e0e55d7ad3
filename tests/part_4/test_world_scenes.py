"""Scenes of the little world: are their answers right, by an interpreter of its own?"""

import re

import pytest
from world import words
from world.world import World

NAME = r"\b(" + "|".join(words.NAMES) + r")\b"
WHO = NAME + r"(?: the \w+)?"
RULES = [    # (sentence, what it does: h = (thing, holder), w = (who, place), n = said once more)
    (rf"{WHO} has an? (\w+)\.", lambda m: [("h", m[2], m[1])]),
    (rf"{NAME} holds an? \w+ (\w+)\.", lambda m: [("h", m[2], m[1])]),
    (rf"In the hands of {NAME} there is an? (\w+)\.", lambda m: [("h", m[2], m[1])]),
    (rf"{NAME} (?:gives|\w+ly hands) the (\w+) to {NAME}\.", lambda m: [("h", m[2], m[3])]),
    (rf"{NAME} (?:takes|\w+ly gets) the (\w+) from {NAME}\.", lambda m: [("h", m[2], m[1])]),
    (rf"Then {NAME} gives {NAME} the (\w+)\.", lambda m: [("h", m[3], m[2])]),
    (rf"{NAME} and {NAME} swap the (\w+) and the (\w+)\.",
     lambda m: [("h", m[3], m[2]), ("h", m[4], m[1])]),
    (rf"{NAME} gives {NAME} the (\w+) for the (\w+)\.",
     lambda m: [("h", m[3], m[2]), ("h", m[4], m[1])]),
    (rf"{NAME} (?:goes to|follows) {NAME} (?:at|in|on|by|to) the (\w+)\.",
     lambda m: [("w", m[1], m[3])]),
    (rf"(?:Then )?{NAME} (?:goes|\w+ly walks|runs|leaves and goes) to the (\w+)\.",
     lambda m: [("w", m[1], m[2])]),
    (rf"Now {NAME} is (?:at|in|on|by) the (\w+)\.", lambda m: [("n", m[1], m[2])]),
    (rf"Now {NAME} has the (\w+)\.", lambda m: [("n", m[2], m[1])]),
    (rf"Now {NAME} has the (\w+) and {NAME} has the (\w+)\.",
     lambda m: [("n", m[2], m[1]), ("n", m[4], m[3])]),
    (rf"{WHO} is .*?(?:at|in|on|by) the (\w+)\.", lambda m: [("w", m[1], m[2])]),
    (rf"{NAME} (?:has nothing|is there too)\.", lambda m: []),
]


@pytest.fixture(scope="module")
def scenes():
    return World({"scene": 1}).texts(400, seed=5)


def replay(story):
    """{thing: holder}, {person: place} after the last sentence."""
    holder, where = {}, {}
    for sentence in re.findall(r"[^.]+\.", story):
        for pattern, meaning in RULES:
            if found := re.fullmatch(pattern, sentence.strip()):
                for kind, one, two in meaning(found):
                    if kind == "n":    # what is said once more must be so already
                        assert {**holder, **where}[one] == two, story
                    else:
                        (holder if kind == "h" else where)[one] = two
                break
        else:
            raise AssertionError(f"no rule for {sentence!r}")
    return holder, where


def test_every_answer_in_a_scene_is_right_by_an_interpreter_of_its_own(scenes):
    checked = 0
    for text in scenes:
        story, *lines = text.text.split("\n")
        holder, where = replay(story)
        assert 1 <= len(lines) <= 4
        for line in lines:
            question, answer = line.split("? ")
            if found := re.fullmatch(r"Who has the (\w+) now", question):
                assert answer == f"{holder[found[1]]} has the {found[1]}.", text.text
            else:
                who = re.fullmatch(rf"Where is {NAME} now", question)[1]
                assert answer.endswith(f" the {where[who]}."), text.text
            checked += 1
    assert checked > 700


def test_nobody_gives_or_takes_what_is_not_there(scenes):
    for text in scenes:
        holder = {}
        for sentence in re.findall(r"[^.]+\.", text.text.split("\n")[0]):
            if found := re.search(rf"{NAME} (?:gives|\w+ly hands) the (\w+) to {NAME}", sentence):
                assert holder[found[2]] == found[1], text.text
            if found := re.search(rf"{NAME} (?:takes|\w+ly gets) the (\w+) from {NAME}", sentence):
                assert holder[found[2]] == found[3], text.text
            for pattern, meaning in RULES:
                if found := re.fullmatch(pattern, sentence.strip()):
                    holder.update({one: two for kind, one, two in meaning(found) if kind == "h"})
                    break


def test_the_probability_of_a_scene_is_at_least_that_of_the_walk_drawn(scenes):
    source = World({"scene": 1})
    for text in scenes[:150]:
        assert text.logprob - 1e-9 <= source.logprob(text.text) < text.logprob + 4
    assert source.logprob(scenes[0].text.replace("now", "then")) == float("-inf")
