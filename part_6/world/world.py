"""The little world: texts with known probabilities.

    world = World()
    for text in world.sample(seed=1, split="train"): print(text.text, text.logprob)

Math   -log p(text), averaged over texts drawn from the world, is its entropy: no model can have a
       lower loss   (eq. 4.5)
Used   text/data.py, train.py, eval.py, and every later part.   See it: python demo_world.py
"""

import math
import random
import zlib
from itertools import islice

from world.engine import Shape, choose, matches, tell
from world.judge import judge
from world.questions import askable
from world.scenes import Scene
from world.stories import POOLS, PRONOUN, Story
from world.topics import Facts

KINDS = {"story": 0.37, "scene": 0.04, "facts": 0.25, "words": 0.15, "sums": 0.19}   # of the texts
KEY_LENGTH = 96        # a text's split is decided by its first characters
SPLITS = {"train": (0, 96), "validation": (96, 98), "test": (98, 100)}   # per cent


def split_of(text):
    """The split a text belongs to, from a hash of its beginning: the same on every machine."""
    point = zlib.crc32(text[:KEY_LENGTH].encode()) % 100
    return next(name for name, (low, high) in SPLITS.items() if low <= point < high)


def start(kind):
    return {"story": Story, "scene": Scene}[kind]() if kind in ("story", "scene") else Facts(kind)


def with_pronouns(options, walk):
    """Where the last sentence named one person only, half of the next ones say he or she."""
    only = walk.only if walk.kind == "story" else None
    if only is None:
        return options
    more = []
    for option in options:
        twin = PRONOUN.get(option[1].name) if option[1] and option[2].get("a") == only else None
        if twin and walk.stage in ("loop", "want"):
            more.append((option[0] / 2, *option[1:]))
            more.append((option[0] / 2, twin, *option[2:]))
        else:
            more.append(option)
    return more


class Text:
    """One text of the world: its `kind`, the `text`, its `logprob`, the last state of its `walk`,
    and `trace`, its lines with the log-probability of each: [(line, logprob)]."""

    __slots__ = ("kind", "logprob", "text", "trace", "walk")

    def __init__(self, kind, text, logprob, walk, trace=()):
        self.kind, self.text, self.logprob, self.walk, self.trace = kind, text, logprob, walk, trace

    def __repr__(self):
        return f"Text({self.kind!r}, {self.text[:40]!r}..., logprob={self.logprob:.1f})"

    @property
    def story(self):
        """The text without its questions."""
        return self.text[:self.walk.body - 1] if self.walk.body else self.text

    def questions(self):
        """[(question, answer)] that the final state can answer; empty for other kinds."""
        return [pair[:2] for pair in self._answers()]

    def cloze(self):
        """[(prefix, answer, distractors)]: the story up to a question, its answer and wrong ones.

        prefix + answer is text as the corpus has it; answers begin with a blank."""
        return [(f"{self.story}\n{question}", " " + answer, [" " + wrong for wrong in wrongs])
                for question, answer, wrongs in self._answers() if wrongs]

    def _answers(self):
        walk = self.walk
        answers = []
        for event, roles in (askable(walk) if self.kind == "story" else ()):
            local = {slot: walk.bind[role] for slot, role in roles.items()}
            shape = event.shapes[0]
            question, answer = shape.text.split("? ")
            wrongs = []
            for slot, role in roles.items():
                if "{" + slot not in answer or slot == "p" and "s" in roles:
                    continue
                for rival in set_apart(walk.rivals(role), roles):
                    wrong = Shape(answer).fill({**local, slot: walk.bind[rival]})
                    if Shape(question).fill({**local, slot: walk.bind[rival]}) == \
                            Shape(question).fill(local):
                        wrongs.append(wrong)
            right = Shape(answer).fill(local)
            wrongs = [wrong for wrong in dict.fromkeys(wrongs) if wrong != right]
            answers.append((Shape(question + "?").fill(local), right, wrongs))
        return answers


def set_apart(rivals, roles):
    """Without those that the answer names anyway: nobody gives a thing to himself."""
    return [rival for rival in rivals if rival not in roles.values()]


class World:
    """The source. `kinds` gives the share of each kind of document (default: KINDS)."""

    def __init__(self, kinds=None):
        kinds = dict(kinds or KINDS)
        unknown = set(kinds) - set(KINDS)
        if unknown or min(kinds.values()) < 0 or not sum(kinds.values()):
            raise ValueError(f"kinds={kinds}: give shares >= 0, not all 0, "
                             f"to some of {', '.join(KINDS)}")
        total = sum(kinds.values())
        self.kinds = {kind: share / total for kind, share in kinds.items() if share}

    def draw(self, rng, split=None, bind=None):
        """One text, or None if it belongs to another split. `bind` fixes words of a story."""
        (_, kind), logp = choose([(share, kind) for kind, share in self.kinds.items()], rng)
        walk = start(kind)
        if bind:
            walk.bind.update(bind)
        pieces, trace, length, checked = [], [], 0, split is None
        while options := with_pronouns(walk.options(), walk):
            (_, event, roles, changes), log_option = choose(options, rng)
            line, log_line = tell(event, roles, walk, rng) if event is not None else ("", 0.0)
            logp += log_option + log_line
            trace.append((line, log_option + log_line))
            if event is not None:
                pieces += (walk.gap, line)
                length += len(walk.gap) + len(line)
                if not checked and length >= KEY_LENGTH:
                    if split_of("".join(pieces)) != split:
                        return None
                    checked = True
            walk.apply(event, roles, changes, line)
        text = "".join(pieces)
        if not checked and split_of(text) != split:
            return None
        return Text(kind, text, logp, walk, trace)

    def tell(self, seed, **bind):
        """A story about given words: tell(1, H="Tom", X="bell"); its `logprob` is given these.

        H is the hero, F and T are the others (if they come), X is the wanted thing, Y another one
        (if it comes), P the first place."""
        chosen = {}
        for role, name in bind.items():
            pool = POOLS[role][0] if role in ("H", "F", "T", "X", "Y", "P") else ()
            chosen[role] = next((word for word in pool if word == name), None)
            if chosen[role] is None:
                raise ValueError(f"{role}={name!r}: not a word of the world for one of H F T X Y P")
        return World({"story": 1}).draw(random.Random(f"tell {seed}").random, bind=chosen)

    def sample(self, seed, split="train", kinds=None):
        """Texts without end, the same for the same seed; `kinds`: the only ones to draw."""
        if split not in SPLITS:
            raise ValueError(f"split={split!r}: choose from {', '.join(SPLITS)}")
        source = self if kinds is None else World({kind: self.kinds.get(kind, 0) for kind in kinds})
        rng = random.Random(f"{split} {seed}").random
        while True:
            text = source.draw(rng, split)
            if text is not None:
                yield text

    def texts(self, n=None, split="train", seed=0, size=None, kinds=None):
        """A list of n texts, or as many as it takes to reach `size` bytes."""
        if (n is None) == (size is None):
            raise ValueError(f"n={n}, size={size}: give one of them")
        if n is not None:
            return list(islice(self.sample(seed, split, kinds), n))
        drawn, have = [], 0
        for text in self.sample(seed, split, kinds):
            drawn.append(text)
            have += len(text.text.encode())
            if have >= size:
                return drawn

    def consistent(self, text):
        """How well a story holds together, from 0 to 1; world_judge.judge says what is wrong."""
        return judge(text).score

    # ---- exact probabilities --------------------------------------------------------------------

    def logprob(self, text):
        """log p(text), summed over every walk that spells it; -inf if none does."""
        ends = [log_end for log_end, _ in self.derivations(text)]
        return log_sum(ends)

    def derivations(self, text):
        """[(log-probability, last state)] of the ways to make `text`; walks that meet merge."""
        ends = []
        for kind, share in self.kinds.items():
            frontier = {(0, None): (math.log(share), start(kind), 0)}
            while frontier:
                following = {}
                for logp, walk, at in frontier.values():
                    options = with_pronouns(walk.options(), walk)
                    if not options:
                        if at == len(text):
                            ends.append((logp, walk))
                        continue
                    total = sum(option[0] for option in options)
                    for weight, event, roles, changes in options:
                        for end, twin, log_line in followed(event, roles, walk, text, at):
                            twin.apply(event, roles, changes, text[at + len(walk.gap):end])
                            key = (end, twin.key())
                            log_now = logp + math.log(weight / total) + log_line
                            if key in following:
                                log_now = log_sum([log_now, following[key][0]])
                            following[key] = (log_now, twin, end)
                frontier = following
        return ends


def followed(event, roles, walk, text, at):
    """The ways an option continues `text`: (end, the state with its new words, log-probability)."""
    if event is None:
        yield at, walk.copy(), 0.0
    elif text.startswith(walk.gap, at):
        for end, fresh, _, logp in matches(event, roles, walk, text, at + len(walk.gap)):
            twin = walk.copy()
            twin.bind.update(fresh)
            yield end, twin, logp


def log_sum(logs):
    """log of the sum of exponentials; -inf for nothing."""
    top = max(logs, default=-math.inf)
    return top if top == -math.inf else top + math.log(sum(math.exp(x - top) for x in logs))
