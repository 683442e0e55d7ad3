"""The little world's own probability of the next token, exactly; and who has what just then.

Math   p(t | ids) = sum of p(text) over the world's texts that go on with token t,
                    over the sum of all texts that go on from ids                       (eq. 9.11)
Idea   `states_of` walks along the text as World.logprob does and keeps every state on the way.
       From each, all lines that agree with what is known are spelled on, only so far that the next
       token is decided: merges never cross chunks, so one chunk and two characters are enough.
       A text whose tokens are cut in another way does not go on from these ids, and is left out:
       so the product along a text is exactly the text's probability.
Used   seeing/views.py.   See it: python part_9/page.py
"""

import math
import re

from text.bpe import split_chunks
from world.engine import LOG, pool_of
from world.world import World, followed, log_sum, start, with_pronouns

ENOUGH = re.compile(r"\s?(?:\w+\W|[^\w\s]+[\w\s]).", re.DOTALL)  # the next token is decided


def states_of(text: str, world: World) -> dict[int, list]:
    """{place: [(log-probability, state)]}: every way in which the world can have told text[:place]
    in whole lines. The same walk as World.derivations, which keeps only the ends."""
    states: dict[int, list] = {}
    for kind, share in world.kinds.items():
        frontier = {(0, None): (math.log(share), start(kind), 0)}
        while frontier:
            following = {}
            for logp, walk, at in frontier.values():
                states.setdefault(at, []).append((logp, walk))
                options = with_pronouns(walk.options(), walk)
                total = sum(option[0] for option in options)
                for weight, event, roles, changes in options:
                    for end, twin, log_line in followed(event, roles, walk, text, at):
                        twin.apply(event, roles, changes, text[at + len(walk.gap):end])
                        now = logp + math.log(weight / total) + log_line
                        key = (end, twin.key())
                        if key in following:
                            now = log_sum([now, following[key][0]])
                        following[key] = (now, twin, end)
            frontier = following
    return states


def beginnings(event, roles, walk, spelled: str, known: str):
    """(text, is the line whole?, new words, log-probability) of the ways to tell `event` behind
    `spelled`, that agree with `known`; each only as far as decides the next token."""
    def grow(shape, index, text, local, fresh, logp):
        if not (text.startswith(known) or known.startswith(text)):
            return
        if index == len(shape.parts) or ENOUGH.match(text[len(known):]):
            yield text, index == len(shape.parts), fresh, logp
            return
        part = shape.parts[index]
        if isinstance(part, str):
            yield from grow(shape, index + 1, text + part, local, fresh, logp)
            return
        slot, form = part
        role = roles.get(slot)
        word = local.get(slot) or (walk.bind.get(role) if role else None)
        if word is not None:
            words, taken = [word], None
        else:
            words, taken = walk.pool(role, fresh) if role else (pool_of(event, slot, local), 0)
            taken += sum(other in words for other in fresh.values()) if role else 0
            logp -= LOG[len(words) - taken]
            if role:
                used = {*fresh.values(), *(walk.bind.values() if taken else ())}
                words = [w for w in words if w not in used]
        for w in words:
            new = {**fresh, role: w} if role and taken is not None else fresh
            yield from grow(shape, index + 1, text + (getattr(w, form) if form else w),
                            {**local, slot: w}, new, logp)

    for shape in event.shapes:
        yield from grow(shape, 0, spelled, {}, {}, -event.log_shapes)


def goes_on(logp: float, walk, known: str, spelled: str = ""):
    """(what follows `known`, does the text end there?, log-probability): every way on from a state
    that has told all before `known`."""
    options = with_pronouns(walk.options(), walk)
    if not options and len(spelled) >= len(known):
        yield spelled[len(known):], True, logp
    total = sum(option[0] for option in options)
    for weight, event, roles, changes in options:
        log_option = logp + math.log(weight / total)
        lines = [(spelled, True, {}, 0.0)] if event is None else \
            beginnings(event, roles, walk, spelled + walk.gap, known)
        for text, is_whole, fresh, log_line in lines:
            if len(text) <= len(known):
                continue  # states_of has that state, too
            if ENOUGH.match(text[len(known):]):
                yield text[len(known):], False, log_option + log_line
            elif is_whole:
                twin = walk.copy()
                twin.bind.update(fresh)
                twin.apply(event, roles, changes, text[len(spelled) + len(walk.gap):])
                yield from goes_on(log_option + log_line, twin, known, text)


class Truth:
    """The world's own probabilities along a text, place by place."""

    def __init__(self, text: str, tokenizer, world: World | None = None):
        self.text, self.tokenizer = text, tokenizer
        self.states = states_of(text, world or World())
        self.over: dict[tuple, int] = {}  # from which place on a state has no way on
        self.ids = tokenizer.encode(text)
        lengths = [len(tokenizer.decode_bytes([i])) for i in self.ids]
        self.ends = [0]  # ends[t]: characters in front of token t
        for length in lengths:
            self.ends.append(self.ends[-1] + length)
        self.chunks = [0]  # where chunks begin: merges never cross these
        for chunk in split_chunks(text, pattern=tokenizer.pattern):
            self.chunks.append(self.chunks[-1] + len(chunk))

    def following(self, t: int) -> dict[int, float]:
        """{token: p} of what may follow the first t tokens, by eq. 9.11; {} where none may."""
        n = self.ends[t]
        chunk = max(c for c in self.chunks if c < n) if n else 0
        before = self.ids[self.ends.index(chunk):t]
        mass: dict[int, float] = {}
        seen: dict[tuple, float] = {}
        for at, states in self.states.items():
            for i, (logp, walk) in enumerate(states):
                if not at <= n < self.over.get((at, i), n + 1):
                    continue
                ways = list(goes_on(logp, walk, self.text[at:n]))
                if not ways:
                    self.over[at, i] = n
                for text, is_end, log_way in ways:
                    seen[text, is_end] = seen.get((text, is_end), 0.0) + math.exp(log_way)
        for (text, is_end), p in seen.items():
            ids = self.tokenizer.encode(self.text[chunk:n] + text)
            ids += [self.tokenizer.end] * is_end
            if ids[:len(before)] == before:
                mass[ids[len(before)]] = mass.get(ids[len(before)], 0.0) + p
        total = sum(mass.values())
        return {token: p / total for token, p in mass.items()} if total else {}

    def holdings(self, t: int) -> dict | None:
        """Who has what and who is where, when the first t tokens are told; None but for stories."""
        told = [at for at in self.states if at <= self.ends[t]]
        _, walk = max(self.states[max(told)], key=lambda state: state[0])
        if walk.kind != "story":
            return None
        word = walk.bind.get
        things = [[word(x), word(who)] if isinstance(who, str) else
                  [word(x), f"nobody: it lies {word(who[1])}, {word(who[0])}"]
                  for x, who in walk.has.items()]
        return {"has": things, "at": [[word(a), word(p)] for a, p in walk.at.items()]}

    def places(self, most: int, count: int = 10) -> dict:
        """For page.html: lists by place, behind the begin token, of `most` tokens. `p_world` is 0
        where the world would not have said what stands there; from there on it says nothing."""
        columns = {"p_world": [None], "world": [[]], "holdings": [None]}
        for t, token in enumerate([*self.ids, self.tokenizer.end][:most]):
            following = self.following(t)
            columns["p_world"].append(following.get(token, 0.0))
            top = sorted(following.items(), key=lambda pair: -pair[1])[:count]
            columns["world"].append([[i, self.tokenizer.decode([i]), p] for i, p in top])
            columns["holdings"].append(self.holdings(t))
        return columns
