"""From conversations to rows of tokens: which targets count, what is cut, how rows are packed.

Math   loss = - (1/n) sum over the n labels i of  log p(x_i | x_<i)                     (eq. 6.2)
       i is a label when x_i is the assistant's: its text and its end token             (lesson 6.2)
       Prompts cost nothing and are learnt from by nobody: the model is to answer, not to ask.
Used   train_sft.py, evaluate.py.   See it: python demo_label_mask.py, python demo_packing.py
Shapes R rows of a step, T context
"""

import random
from collections import Counter
from dataclasses import dataclass

import torch
from text.rows import IGNORED, pad_rows
from text.tokenizer import Tokenizer
from world.world import World

from sft.chat_format import Message, answered, encode_conversation
from sft.manners import GOLD, PEOPLE, SETS, in_manner, last_line
from sft.skills import sample

REPLAYED = {"facts": 1.0, "words": 0.6, "sums": 1.4}  # shares of the kinds of text
# How often a skill comes, beside the others' 1: one story is as long as ten other conversations, and
# where there are few contents, many examples of them would only be learnt by heart.
SHARES = {"telling a story": 0.9, "story questions": 0.6, "capital cities": 0.4,
          "young animals": 0.4, "greetings": 0.3, "remembering names": 0.3, "days and months": 0.8,
          "plurals": 0.6, "opposites": 0.8, "larger of two": 0.6, "addition": 1.5,
          "subtraction": 1.5, "backwards": 2.0, "sorting": 1.3, "series": 1.6}


@dataclass(frozen=True)
class Example:
    """One conversation as tokens. len(ids) - 1 tokens are read, so many are predicted."""

    ids: tuple[int, ...]
    is_label: tuple[bool, ...]  # is ids[i] the assistant's?
    difficulty: int = 1  # of the item it was made from; 1 where that is unknown

    @property
    def read(self) -> int:
        """How many tokens the model reads: all but the last."""
        return len(self.ids) - 1


def shortened(messages: list[Message], tokenizer: Tokenizer, context: int):
    """A conversation that fits: the oldest turns go first, then the beginning of the question.

    The answer is never cut: half an answer, with an end token, would teach to stop in the middle.
    None where the answer alone does not fit.
    """
    messages = list(messages)
    while len(encode_conversation(messages, tokenizer)[0]) > context + 1:
        first = 1 if messages[0].role == "system" else 0
        if len(messages) - first > 2:
            del messages[first:first + 2]
            continue
        over = len(encode_conversation(messages, tokenizer)[0]) - context - 1
        words = tokenizer.encode(messages[first].content)
        kept = tokenizer.decode(words[over:]).strip("\ufffd \n") if over < len(words) else ""
        if not kept:
            return None
        messages[first] = Message("user", kept)
    return messages


def encode_example(messages: list[Message], tokenizer: Tokenizer, context: int,
                   difficulty: int = 1) -> tuple[Example | None, str]:
    """-> (the example or None, "whole", "shortened" or "skipped")."""
    ids, is_label = encode_conversation(messages, tokenizer)
    fate = "whole"
    if len(ids) > context + 1:
        messages = shortened(messages, tokenizer, context)
        if messages is None:
            return None, "skipped"
        ids, is_label = encode_conversation(messages, tokenizer)
        fate = "shortened"
    return Example(tuple(ids), tuple(is_label), difficulty), fate


def encode_all(conversations, tokenizer: Tokenizer, context: int) -> tuple[list[Example], Counter]:
    """Conversations, or (conversation, difficulty) pairs -> examples, and how many were whole,
    shortened, skipped. The caller shows the counts."""
    examples, counts = [], Counter(whole=0, shortened=0, skipped=0)
    for entry in conversations:
        messages, difficulty = entry if isinstance(entry, tuple) else (entry, 1)
        example, fate = encode_example(messages, tokenizer, context, difficulty)
        counts[fate] += 1
        if example is not None:
            examples.append(example)
    return examples, counts


def with_manners(messages: list[Message], rng: random.Random) -> list[Message]:
    """The conversation with each answer in some manner, as people have them."""
    return [Message(m.role, in_manner(m.content, last_line(before.content), rng))
            if m.role == "assistant" else m for before, m in zip([None, *messages], messages)]


def world_examples(n: int, seed: int, tokenizer: Tokenizer, context: int, split: str = "train",
                   joined: float = 0.15, manners: str = PEOPLE) -> tuple[list[Example], Counter]:
    """n examples of the little world's skills. A share `joined` of the conversations go on with a
    second question about something else, so that the model learns to answer the last one.

    `manners`: "people", each answer as somebody would have given it, or "gold", all of them plain.
    The contents are the same. Raises ValueError for another word.
    """
    if manners not in SETS:
        raise ValueError(f"manners={manners!r}: choose from {', '.join(SETS)}")
    rng, source = random.Random(f"conversations {seed}"), sample(seed, split, None, SHARES)
    manner_rng = random.Random(f"manners {seed}")

    def conversations():
        for _ in range(n):
            item = next(source)
            messages, difficulty = answered(item), item.difficulty
            if rng.random() < joined and not item.system and item.skill != "telling a story":
                second = next(source)
                while second.system or second.history:
                    second = next(source)
                messages = [*messages, *answered(second)]
                difficulty = max(difficulty, second.difficulty)
            yield (messages if manners == GOLD else with_manners(messages, manner_rng)), difficulty

    return encode_all(conversations(), tokenizer, context)


def replay_examples(n: int, seed: int, tokenizer: Tokenizer, context: int) -> list[Example]:
    """n short texts of the world, as the base model read them: no roles, every token a label.

    What is not asked for in tuning would be forgotten: facts above all (lesson 6.2).
    """
    texts = World(REPLAYED).texts(n, seed=seed)
    ids = [[tokenizer.begin, *tokenizer.encode(text.text), tokenizer.end] for text in texts]
    return [Example(tuple(one), (False, *[True] * (len(one) - 1)))
            for one in ids if len(one) <= context + 1]


def pad_batch(examples: list[Example], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One example a row -> (ids, targets), both (B, longest): targets are shifted, and IGNORED
    where they are not the assistant's."""
    return to_tensors([[example] for example in examples], pad, None)


def to_tensors(rows: list[list[Example]], pad: int, width: int | None):
    """Rows of one or more examples, one behind the other -> (ids, targets)."""
    ids = [[token for e in row for token in e.ids[:-1]] for row in rows]
    targets = [[token if counts else IGNORED for e in row
                for token, counts in zip(e.ids[1:], e.is_label[1:])] for row in rows]
    return pad_rows(ids, pad, width), pad_rows(targets, IGNORED, width)


def pack(examples: list[Example], context: int, chunk: int = 256) -> list[list[Example]]:
    """Put whole examples together into rows of at most `context` tokens: first fit, longest first.

    Only `chunk` examples at a time are sorted, so that the order of a curriculum stays.
    Nothing is split, so no answer loses its question.
    """
    rows = []
    for first in range(0, len(examples), chunk):
        open_rows, room = [], []
        for example in sorted(examples[first:first + chunk], key=lambda e: -e.read):
            if example.read > context:
                raise ValueError(f"an example of {example.read} tokens does not fit in "
                                 f"context={context}; encode_all makes them fit")
            place = next((i for i, left in enumerate(room) if example.read <= left), None)
            if place is None:
                open_rows.append([])
                room.append(context)
                place = len(room) - 1
            open_rows[place].append(example)
            room[place] -= example.read
        random.Random(first).shuffle(open_rows)  # else the long ones come first in every chunk
        rows += open_rows
    return rows


class ExampleRows:
    """Batches by number, without end: batch s is a pure function of (examples, seed, s).

    `packed`: rows of T tokens with several conversations each (attention must be kept apart by
    `segments`); else one conversation a row. `shuffled`: a new order every epoch; else as given.
    """

    def __init__(self, examples: list[Example], context: int, *, pad: int, packed: bool = True,
                 shuffled: bool = True, seed: int = 0):
        if not examples:
            raise ValueError("there are no examples to learn from")
        self.context, self.pad = context, pad
        self.packed, self.shuffled, self.seed = packed, shuffled, seed
        self.rows = pack(examples, context) if packed else [[example] for example in examples]
        self._order = (-1, None)

    def order(self, epoch: int) -> list[int]:
        if self._order[0] != epoch:
            order = list(range(len(self.rows)))
            if self.shuffled:
                random.Random(f"epoch {self.seed} {epoch}").shuffle(order)
            self._order = (epoch, order)
        return self._order[1]

    def batch(self, step: int, rows: int, rank: int = 0,
              world: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """(ids, targets) of a step, (rows, T); unpacked rows are as wide as the longest. Of `world`
        processes each gets rows / world of them, the one of that rank its own."""
        chosen, first = [], step * rows + rank * (rows // world)
        for number in range(first, first + rows // world):
            epoch, place = divmod(number, len(self.rows))
            chosen.append(self.rows[self.order(epoch)[place]])
        return to_tensors(chosen, self.pad, self.context if self.packed else None)
