"""The little world: are its probabilities exact, its splits disjoint, its facts true?"""

import hashlib
import itertools
import math
import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from world import facts, words, world
from world.deeds import EVENTS
from world.engine import Event, Shape
from world.words import Word
from world.world import KEY_LENGTH, SPLITS, World, split_of

PART = Path(__file__).resolve().parents[2] / "part_4"


@pytest.fixture(scope="module")
def texts():
    return World().texts(1500, seed=11)


@pytest.fixture(scope="module")
def stories(texts):
    return [text for text in texts if text.kind == "story"]


# ---- exact probabilities ------------------------------------------------------------------------

TINY = Event("tiny", "{x} {y}\n{x}.\n{y} {x} {n}",
             draws={"n": lambda local: (Word(local["x"] + "!"),)})
LAST = Event("last", "{x}{y}\nb!")


class TinyWalk:
    """Two lines, two different words out of three, made so that walks meet and texts coincide."""

    kind, only, body = "story", None, 0

    def __init__(self):
        self.bind, self.gap, self.line = {}, "", 0

    def copy(self):
        twin = TinyWalk()
        twin.bind, twin.gap, twin.line = dict(self.bind), self.gap, self.line
        return twin

    def key(self):
        return self.line, tuple(sorted(self.bind.items()))

    def pool(self, role, fresh=()):
        return (Word("a"), Word("b"), Word("bb")), len(self.bind)

    def options(self):
        if self.line == 0:
            return [(3, TINY, {"x": "X", "y": "Y"}, 1), (1, TINY, {"x": "Y", "y": "X"}, 1)]
        if self.line == 1:
            return [(1, LAST, {"x": "X", "y": "Y"}, 2), (2, LAST, {"x": "Y", "y": "X"}, 2),
                    (1, None, {}, 2)]
        return []

    def apply(self, event, roles, changes, text):
        self.line, self.gap = changes, "|"


def every_text(pool=("a", "b", "bb")):
    """The whole distribution of TinyWalk by brute force, with nothing of the engine."""
    found = Counter()

    def draw(slots, roles, bind):
        if not slots:
            yield 1.0, bind
            return
        role = roles[slots[0]]
        free = [word for word in pool if word not in bind.values()]
        for word in [bind[role]] if role in bind else free:
            for p, rest in draw(slots[1:], roles, {**bind, role: word}):
                yield (1.0 if role in bind else 1 / len(free)) * p, rest

    for weight, roles in ((0.75, {"x": "X", "y": "Y"}), (0.25, {"x": "Y", "y": "X"})):
        for slots in ("xy", "x", "yx"):
            for p, bind in draw(slots, roles, {}):
                x, y = bind.get(roles["x"]), bind.get(roles["y"])
                first = {"xy": f"{x} {y}", "x": f"{x}.", "yx": f"{y} {x} {x}!"}[slots]
                p = p * weight / 3
                found[first] += p / 4
                for again, turned in ((0.25, {"x": "X", "y": "Y"}), (0.5, {"x": "Y", "y": "X"})):
                    found[first + "|b!"] += p * again / 2
                    for q, full in draw("xy", turned, bind):
                        last = full[turned["x"]] + full[turned["y"]]
                        found[f"{first}|{last}"] += p * again * q / 2
    return found


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(world, "start", lambda kind: TinyWalk())
    return World({"story": 1})


def test_the_probability_of_every_text_of_a_tiny_world_equals_brute_force(tiny):
    truth = every_text()
    assert sum(truth.values()) == pytest.approx(1)
    assert len(truth) > 30
    for text, p in truth.items():
        assert math.exp(tiny.logprob(text)) == pytest.approx(p), text


def test_texts_of_the_tiny_world_come_as_often_as_their_probability_says(tiny):
    rng, n = random.Random(0).random, 40_000
    seen = Counter(tiny.draw(rng).text for _ in range(n))
    for text, p in every_text().items():
        assert abs(seen[text] / n - p) < 5 * math.sqrt(p / n), text


def test_a_text_that_two_walks_spell_has_the_sum_of_both(tiny):
    rng = random.Random(1).random
    drawn = [tiny.draw(rng) for _ in range(300)]
    assert all(tiny.logprob(t.text) >= t.logprob - 1e-9 for t in drawn)
    assert any(tiny.logprob(t.text) > t.logprob + 0.1 for t in drawn)


def test_reading_a_text_back_gives_the_log_probability_of_drawing_it(texts):
    source = World()
    for text in texts[:300]:
        exact = source.logprob(text.text)
        assert text.logprob - 1e-9 <= exact < text.logprob + 1
        of_kind = math.log(source.kinds[text.kind])
        assert sum(logp for _, logp in text.trace) + of_kind == pytest.approx(text.logprob)


def test_texts_that_the_world_cannot_say_have_probability_zero(stories):
    source, story = World(), stories[0]
    hero = story.walk.bind["H"]
    other = next(name for name in words.NAMES if name not in story.text and name.he == hero.he)
    for wrong in (story.text[:-1], story.text + " ", story.text.replace(hero, other, 1), "",
                  "Hello.", story.story, story.text.replace(". ", ".  ", 1)):
        assert source.logprob(wrong) == -math.inf
    assert source.logprob(story.text) > -math.inf


def test_restricting_the_kinds_renormalises_the_probability():
    everything, sums = World(), World({"sums": 1})
    text = next(sums.sample(3))
    among_all = text.logprob + math.log(everything.kinds["sums"])
    assert everything.logprob(text.text) == pytest.approx(among_all)
    assert next(everything.sample(3, kinds=["sums"])).logprob == pytest.approx(text.logprob)
    assert World({"sums": 5}).logprob(text.text) == pytest.approx(text.logprob)


def test_two_independent_samples_agree_on_the_entropy():
    def floor(seed):
        found = [-t.logprob for t in World({"story": 1}).texts(2500, seed=seed)]
        return sum(found) / len(found)
    assert floor(1) == pytest.approx(floor(2), rel=0.02)


# ---- splits and seeds ---------------------------------------------------------------------------

def test_no_text_and_no_beginning_of_a_text_is_in_two_splits():
    sets = {split: {t.text for t in World().texts(300, split=split, seed=4)} for split in SPLITS}
    for one, two in itertools.combinations(sets.values(), 2):
        assert not one & two
        assert not {t[:KEY_LENGTH] for t in one} & {t[:KEY_LENGTH] for t in two}
    for split, found in sets.items():
        assert all(split_of(text) == split for text in found)


def test_the_splits_have_the_shares_that_they_promise():
    rng, source = random.Random(2).random, World()
    seen = Counter(split_of(source.draw(rng).text) for _ in range(3000))
    for split, (low, high) in SPLITS.items():
        assert abs(seen[split] / 3000 - (high - low) / 100) < 0.02


def test_the_same_seed_gives_the_same_texts_in_every_process():
    program = ("import hashlib; from world.world import World; t = World().texts(200, seed=9);"
               "t = repr([(x.text, round(x.logprob, 9)) for x in t]).encode();"
               "print(hashlib.sha256(t).hexdigest())")
    runs = [subprocess.run([sys.executable, "-c", program], cwd=PART, text=True, check=True,
                           capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed,
                                                     "PYTHONDONTWRITEBYTECODE": "1"}).stdout.strip()
            for seed in ("0", "77")]
    here = [(t.text, round(t.logprob, 9)) for t in World().texts(200, seed=9)]
    assert runs == [hashlib.sha256(repr(here).encode()).hexdigest()] * 2
    assert [t.text for t in World().texts(5, seed=1)] != [t.text for t in World().texts(5, seed=2)]


def test_size_counts_bytes_and_stops_at_the_text_that_reaches_it():
    found = World().texts(size=20_000, seed=5)
    total = sum(len(t.text.encode()) for t in found)
    assert total >= 20_000 > total - len(found[-1].text.encode())


@pytest.mark.parametrize("wrong", [
    lambda: World({"poems": 1}), lambda: World({"story": -1}), lambda: World({"story": 0}),
    lambda: World().texts(), lambda: World().texts(3, size=10),
    lambda: next(World().sample(1, split="dev")), lambda: next(World().sample(1, kinds=["poems"])),
    lambda: World().tell(1, X="dragon"), lambda: World().tell(1, Z="bell")])
def test_nonsense_is_refused_with_the_value_named(wrong):
    with pytest.raises(ValueError, match=r"poems|-1|0|n=|dev|dragon|Z"):
        wrong()


def test_a_story_can_be_told_about_given_words():
    for seed in range(20):
        text = World().tell(seed, H="Tom", X="bell", P="the mill")
        assert "Tom" in text.text.split(".")[0] + text.text.split(".")[1]
        assert "bell" in text.story and "mill" in text.story


# ---- the English --------------------------------------------------------------------------------

def test_stories_have_60_to_200_words(stories):
    lengths = [len(text.story.split()) for text in stories]
    assert 60 <= min(lengths) and max(lengths) <= 200


def test_the_vocabulary_has_at_least_1500_words():
    seen = set()
    for text in World().texts(5000, seed=6):
        seen.update(re.findall(r"[a-z]+(?:-[a-z]+)?", text.text.lower()))
    assert len({word for word in seen if len(word) > 1}) >= 1500


def test_samples_use_at_least_40_sentence_shapes(stories):
    known = sorted({*words.NAMES, *words.JOBS, *words.THINGS, *words.LOOKS, *words.TRAITS,
                    *words.SKIES, *words.CREATURES, *words.PLACES}, key=len, reverse=True)
    blank = re.compile(r"\b(" + "|".join(known) + r")\b")
    shapes = Counter(blank.sub("_", sentence) for text in stories
                     for sentence in re.split(r"(?<=[.!?]) ", text.story))
    assert sum(1 for count in shapes.values() if count >= 5) >= 40


def test_stories_are_the_larger_part_and_every_kind_is_there(texts):
    size = Counter()
    for text in texts:
        size[text.kind] += len(text.text)
    assert 0.6 < size["story"] / size.total() < 0.8
    assert set(size) == set(world.KINDS)


def test_every_form_used_by_a_wording_exists_and_pronouns_follow_a_name():
    for event in EVENTS.values():
        for shape in event.shapes:
            for slot, form in re.findall(r"\{(\w+)\.(\w+)\}", shape.text):
                pool = event.draws[slot]
                assert all(hasattr(word, form) for word in pool), (shape.text, form)
                assert slot not in "abc" or "{" + slot + "}" in shape.text, shape.text
            assert "{" not in Shape(shape.text).fill({s: event.draws[s][0] for s in shape.slots})


# ---- true facts ---------------------------------------------------------------------------------

def test_every_sum_in_the_corpus_is_right():
    count = 0
    for text in World({"sums": 1}).texts(700, seed=8):
        sums = r"(\d+) (\+|-|plus|minus) (\d+)(?:\?| =| is) (\d+)(?![\d ]*[+-])"
        for a, sign, b, c in re.findall(sums, text.text):
            right = int(a) + int(b) if sign in ("+", "plus") else int(a) - int(b)
            assert int(c) == right, text.text
            count += 1
        for line in text.text.split("\n"):
            numbers = [int(n) for n in re.findall(r"\d+", line)]
            if "larger one" in line or "Which is larger" in line:
                assert numbers[2] == max(numbers[:2])
            elif "smaller one" in line or "Which is smaller" in line:
                assert numbers[2] == min(numbers[:2])
            elif "large to small" in line:
                assert numbers[4:] == sorted(numbers[:4], reverse=True)
            elif "Sort" in line or "in order" in line:
                assert numbers[4:] == sorted(numbers[:4])
            elif "steps of" in line or "again and again" in line:
                second = "plus" in line or "From" in line
                step, rest = numbers[second], numbers[1 + second:]
                assert all(y - x == step for x, y in itertools.pairwise(rest)), line
            elif "The answer is" in line:
                a, b = numbers[:2]
                assert numbers[-1] == (a + b if f"{a} + {b}?" in line else a - b), line
    assert count > 500


def is_right_about(word, line):
    """Does everything that the line says of letters hold for this word?"""
    spelled = re.findall(r"(?:\b[a-z] ){2,}[a-z]\b", line)
    counts = re.findall(r"\d+", line)
    return (all(letters.replace(" ", "") in (word, word[::-1]) for letters in spelled)
            and all(int(count) == len(word) for count in counts)
            and ("capital" not in line or word.upper() in line)
            and all(word[0] == a for a in re.findall(r"(?:begins with|first letter of \w+ is) (\w)",
                                                     line))
            and all(word[-1] == a for a in re.findall(r"(?:ends with|last letter of \w+ is) (\w)",
                                                      line)))


def test_every_spelling_in_the_corpus_is_right():
    for text in World({"words": 1}).texts(400, seed=8):
        for line in text.text.split("\n"):
            found = [word for word in re.findall(r"[a-z]{2,}", line) if word in set(facts.SPELLING)]
            assert any(is_right_about(word, line) for word in found), line


def test_tables_of_facts_do_not_contradict_themselves():
    members = [member for group in facts.CATEGORIES.values() for member in group]
    assert [member for member, n in Counter(members).items() if n > 1] == []
    for word, opposite in facts.OPPOSITES.items():
        assert facts.OPPOSITES.get(opposite, word) == word
    assert facts.number_word(0) == "zero" and facts.number_word(99) == "ninety-nine"
    assert [facts.number_word(n) for n in (13, 20, 21)] == ["thirteen", "twenty", "twenty-one"]


def test_words_that_stand_for_people_things_and_places_are_all_different():
    pools = [words.NAMES, words.THINGS, words.PLACES, words.JOBS]
    everything = [word for pool in pools for word in pool]
    assert len(set(everything)) == len(everything)
    assert all(re.fullmatch(r"[a-z]+", thing) for thing in words.THINGS)
    assert [Word(word).a for word in ("apple", "honest", "unicorn")] == [
        "an apple", "an honest", "a unicorn"]
    assert (Word("hat").A, Word("hat").Cap) == ("A hat", "Hat")
