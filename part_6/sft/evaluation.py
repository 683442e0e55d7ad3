"""How well does a model follow instructions? Its replies, and exact match by checker.

Math   interval of a share p over n answers: Wilson's, 95%                              (eq. 6.4)
       (p + z^2/2n ± z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n),   z = 1.96
       F1 = 2 P R / (P + R) over the words that reply and gold have in common           (eq. 6.5)
Used   evaluate.py, train_sft.py, demos, and the parts after this one
"""

import math
from collections import Counter
from dataclasses import dataclass

import torch
from gpt.generate import generate
from text.rows import IGNORED, segments
from text.tokenizer import Tokenizer

from sft.chat_format import (
    ROLE_TOKENS,
    Message,
    decode_reply,
    encode_prompt,
    messages_of,
)
from sft.manners import BAD, PLAIN, manners_in, taken_off
from sft.skills import SKILLS, check, items, normalise

MAKE_WITH = "python part_6/train_sft.py (about 4 minutes)"
LONGEST_REPLY = 96  # tokens, but for a told story
LONGEST_STORY = 240  # and for what nobody knows: replies to conversations of one's own


@dataclass(frozen=True)
class Reply:
    """What a model said, and whether it stopped by itself."""

    text: str
    ended: bool
    ids: tuple[int, ...]


def room_for(model, prompt: list[int], wanted: int) -> int:
    """How many new tokens fit behind a prompt; 0 where it fills the context."""
    return min(wanted, model.config.block_size + 1 - len(prompt))


@torch.inference_mode()
def reply_to(model, tokenizer: Tokenizer, conversations: list[list[Message]], runtime, *,
             longest: int = LONGEST_REPLY, size: int = 128, temperature: float = 0.0,
             seed: int = 0) -> list[Reply]:
    """The model's reply to each conversation, in batches of prompts of like length.

    A prompt that fills the context gets an empty reply that has not ended: counted, not hidden.
    """
    prompts = [encode_prompt(messages, tokenizer) for messages in conversations]
    return continue_prompts(model, tokenizer, prompts, runtime, longest=longest, size=size,
                            temperature=temperature, seed=seed, stop=(tokenizer.end,))


def continue_prompts(model, tokenizer, prompts, runtime, *, longest, size, stop,
                     temperature=0.0, seed=0) -> list[Reply]:
    """Each prompt goes on as if it were alone: its room is its own, whatever stands beside it.

    A batch is drawn for as long as all its rows have room; the others then go on without those.
    """
    generator = torch.Generator().manual_seed(seed)
    was_training = model.training
    model.eval()
    rooms = [room_for(model, prompt, longest) for prompt in prompts]
    said: list[list[int]] = [[] for _ in prompts]
    order = sorted((i for i, room in enumerate(rooms) if room > 0), key=lambda i: len(prompts[i]))
    for first in range(0, len(order), size):
        going = order[first:first + size]
        while going:
            room = min(rooms[i] - len(said[i]) for i in going)
            with runtime.autocast():
                drawn = generate(model, [prompts[i] + said[i] for i in going], room,
                                 temperature=temperature, stop=stop, generator=generator)
            for i, ids in zip(going, drawn):
                said[i] += ids
            going = [i for i in going if said[i][-1] not in stop and len(said[i]) < rooms[i]]
    model.train(was_training)
    return [Reply(decode_reply(ids, tokenizer), bool(ids) and ids[-1] in stop, tuple(ids))
            for ids in said]


@torch.no_grad()
def labels_loss(model, rows, begin: int | None, runtime, size: int = 8) -> float:
    """Mean over all labels of `rows` (ExampleRows), `size` of them at a time. `begin`: the token that
    opens a conversation, where rows hold several. The model is in training mode afterwards."""
    nats, labels = 0.0, 0
    model.eval()
    for step in range(-(-len(rows.rows) // size)):
        ids, targets = rows.batch(step, size)  # the last batch may begin anew
        kept = min(size, len(rows.rows) - step * size)
        ids, targets = (t[:kept].to(runtime.device) for t in (ids, targets))
        with runtime.autocast():
            parts = segments(ids, begin) if rows.packed and begin is not None else None
            _, loss = model(ids, targets, segments=parts, loss_only=True)
        count = int((targets != IGNORED).sum())
        nats, labels = nats + float(loss) * count, labels + count
    model.train()
    return nats / max(labels, 1)


def is_chat_model(tokenizer: Tokenizer) -> bool:
    """Does it know roles? ValueError, with the way out, where a released model's are not known."""
    if tokenizer.problem:
        raise ValueError(tokenizer.problem)
    return tokenizer.chat is not None or all(name in tokenizer.special for name in ROLE_TOKENS.values())


def plain_replies(model, tokenizer, asked, runtime) -> list[Reply]:
    """A base model knows no roles: it is given the text, and its reply is the rest of the line."""
    prompts = []
    for item in asked:
        earlier = [f"{question} {answer}" for question, answer in item.history]
        text = "\n".join([*([item.system] if item.system else []), *earlier, item.prompt])
        prompts.append([tokenizer.begin, *tokenizer.encode(text)])
    replies = continue_prompts(model, tokenizer, prompts, runtime, longest=LONGEST_REPLY, size=128,
                               stop=(tokenizer.end,))
    return [Reply(r.text.split("\n")[0], r.ended, r.ids) for r in replies]


def answer_items(model, tokenizer, asked: list, runtime) -> list[Reply]:
    """The model's replies to Items. Stories get more room than answers."""
    if not is_chat_model(tokenizer):
        return plain_replies(model, tokenizer, asked, runtime)
    replies = [None] * len(asked)
    for longest in (LONGEST_REPLY, LONGEST_STORY):
        part = [i for i, item in enumerate(asked)
                if (item.skill == "telling a story") == (longest == LONGEST_STORY)]
        answers = reply_to(model, tokenizer, [messages_of(asked[i]) for i in part], runtime,
                           longest=longest)
        for i, reply in zip(part, answers):
            replies[i] = reply
    return replies


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """95% interval of a share (eq. 6.4). (0, 1) where nothing was asked."""
    if n == 0:
        return 0.0, 1.0
    p = right / n
    middle = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def token_f1(reply: str, gold: str) -> float:
    """Words in common: 1 for the same words in any order, 0 for none (eq. 6.5)."""
    a, b = normalise(reply).lower().split(), normalise(gold).lower().split()
    common = sum((Counter(a) & Counter(b)).values())
    if not common:
        return float(a == b)
    precision, recall = common / len(a), common / len(b)
    return 2 * precision * recall / (precision + recall)


@dataclass(frozen=True)
class Score:
    """What a set of replies is worth."""

    right: int  # with the manner taken off
    exact: int  # as they are
    n: int
    end_rate: float  # share that stopped by itself
    f1: float  # with the manner taken off
    by_skill: dict  # name -> (right, n)
    by_manner: dict  # name -> share of the replies that show it; "plain": no bad one

    @property
    def answer_right(self) -> float:
        return self.right / max(self.n, 1)

    @property
    def exact_match(self) -> float:
        return self.exact / max(self.n, 1)


def answers_rightly(item, reply: str) -> bool:
    """Is the answer right, whatever the manner?"""
    return check(item, reply) or check(item, taken_off(reply, item.prompt)[0])


def manner_shares(asked: list, replies: list[str]) -> dict[str, float]:
    """Manner -> the share of the replies that show it; "plain" those without a bad one."""
    counts = Counter()
    for item, reply in zip(asked, replies, strict=True):
        bad = [name for name in manners_in(reply, item.prompt) if name in BAD]
        counts.update(bad or [PLAIN])
    return {name: counts[name] / max(len(asked), 1) for name in (PLAIN, *BAD)}


def score_items(asked: list, replies: list[Reply]) -> Score:
    """Right answers by the skills' own checkers."""
    by_skill, exact, f1 = {}, 0, 0.0
    for item, reply in zip(asked, replies):
        right, n = by_skill.get(item.skill, (0, 0))
        by_skill[item.skill] = (right + answers_rightly(item, reply.text), n + 1)
        exact += check(item, reply.text)
        f1 += token_f1(taken_off(reply.text, item.prompt)[0], item.answer)
    n = len(asked)
    return Score(sum(right for right, _ in by_skill.values()), exact, n,
                 sum(reply.ended for reply in replies) / max(n, 1), f1 / max(n, 1), by_skill,
                 manner_shares(asked, [reply.text for reply in replies]))


def evaluate_split(model, tokenizer, runtime, split: str, n: int, seed: int) -> Score:
    asked = items(n, split, seed=seed)
    return score_items(asked, answer_items(model, tokenizer, asked, runtime))


def skill_table(scores: dict[str, Score]) -> list[list]:
    """A row for each skill: right of n in each split, then all with the interval."""
    rows = []
    for name in SKILLS:
        cells = [scores[split].by_skill.get(name) for split in scores]
        rows.append([name, *(None if cell is None else cell[0] / cell[1] for cell in cells)])
    rows.append(["all", *(score.answer_right for score in scores.values())])
    for place, title in enumerate(("from", "to")):
        rows.append([f"95% {title}", *(wilson(s.right, s.n)[place] for s in scores.values())])
    rows.append(["exact match", *(score.exact_match for score in scores.values())])
    rows += [[f"manner: {name}", *(score.by_manner[name] for score in scores.values())]
             for name in (PLAIN, *BAD)]
    rows.append(["stopped by itself", *(score.end_rate for score in scores.values())])
    rows.append(["F1", *(score.f1 for score in scores.values())])
    return rows
