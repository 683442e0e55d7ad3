"""Does what a story says agree with its state, deed by deed? A second reader follows the text."""

import random
import sys
from pathlib import Path

from world.engine import choose, tell
from world.world import start, with_pronouns

sys.path.insert(0, str(Path(__file__).parent))
from story_reader import Reader


def told(seed):
    """A story, deed by deed: (name, text, who is where, who has what), in words."""
    rng, walk = random.Random(f"deed {seed}").random, start("story")
    while options := with_pronouns(walk.options(), walk):
        (_, event, roles, changes), _ = choose(options, rng)
        if walk.stage == "ask":
            return
        line, _ = tell(event, roles, walk, rng)
        walk.apply(event, roles, changes, line)
        word = walk.bind
        yield (event.name, line, {word[who]: word[place].noun for who, place in walk.at.items()},
               {word[thing]: word[holder] if isinstance(holder, str) else
                (word[holder[0]].noun, word[holder[1]]) for thing, holder in walk.has.items()})


def test_every_deed_leaves_the_state_that_its_sentences_tell():
    deeds, names = 0, set()
    for seed in range(3000):
        reader = Reader()
        for name, line, at, has in told(seed):
            reader.read(line)
            assert reader.at == at, (name, line)
            assert reader.has == has, (name, line)
            assert not reader.wrong, (name, line)
            deeds += 1
            names.add(name)
    assert deeds > 20_000 and len(names) > 35    # no deed was left out


def test_the_reader_sees_who_goes_home_and_who_only_speaks_of_a_place():
    reader = Reader()
    reader.read("One sunny day, Tom the brave baker was dozing at the mill. In his bag Tom had a red "
                "bell. He wanted to keep it and call the sheep home.")
    assert reader.at == {"Tom": "mill"} and reader.has == {"bell": "Tom"}
    reader.read('"Come to the barn," thought Tom.')
    assert reader.at == {"Tom": "mill"}
    reader.read("Tom slowly went home with the bell, ate some salad and slept well.")
    assert reader.at == {"Tom": "home"} and reader.has == {"bell": "Tom"}
    reader.read("Now Tom was at the mill.")
    assert reader.wrong == ["Now Tom was at the mill"]
