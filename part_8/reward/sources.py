"""What the reward model learns from and is measured on: pairs of the world (reward/own_pairs.py: a file).

Used   train_reward.py, evaluate_reward.py
"""

import random
from dataclasses import dataclass, field, replace

from sft.chat_format import messages_of
from sft.evaluation import reply_to
from sft.skills import Item

from reward.faults import HELD_OUT, Reply
from reward.preferences import Pair, asked_items, world_pairs

DRAWN = 4  # replies of the tuned model to each instruction


@dataclass
class RewardData:
    """Pairs to learn from, and what is held out. A file has no items, no replies, no new faults."""

    pairs: list[Pair]
    held_out: list[Pair]
    new_faults: list[Pair] = field(default_factory=list)  # right against kinds never trained on
    asked: list[Item] = field(default_factory=list)  # what the held-out pairs were made from
    replies: list[list[Reply]] = field(default_factory=list)  # the tuned model's, to each of them
    about: dict = field(default_factory=dict)  # of a file: what the report says of it


def draw_replies(model, tokenizer, asked, runtime, *, each: int, seed: int) -> list[list[Reply]]:
    """`each` replies of the tuned model to every item, at temperature 1."""
    conversations = [messages_of(item) for item in asked for _ in range(each)]
    replies = reply_to(model, tokenizer, conversations, runtime, temperature=1.0, seed=seed)
    drawn = [Reply(reply.text, reply.ended) for reply in replies]
    return [drawn[i:i + each] for i in range(0, len(drawn), each)]


def held_out_data(model, tokenizer, runtime, *, items: int, seed: int,
                  flipped: float) -> RewardData:
    """Pairs on content that no training has seen; none of them is learnt from."""
    asked = asked_items(items, "new_items", seed)
    replies = draw_replies(model, tokenizer, asked, runtime, each=DRAWN, seed=seed)
    nothing_drawn = [[] for _ in asked]
    return RewardData([], world_pairs(asked, replies, seed=seed, flipped=flipped),
                      world_pairs(asked, nothing_drawn, seed=seed + 1, flipped=0.0,
                                  faults=HELD_OUT), asked, replies)


def training_pairs(model, tokenizer, runtime, *, items: int, drawn: int, per_item: int,
                   flipped: float, seed: int, unseen: float = 0.5) -> list[Pair]:
    """Pairs to learn from. A share `unseen` of the instructions has content that tuning kept aside:
    on what it was tuned on the model is right more often, and surer, than it will be later."""
    kept_aside = round(unseen * items)
    asked = asked_items(items - kept_aside, "train", seed)
    asked += asked_items(kept_aside, "validation", seed)
    replies = draw_replies(model, tokenizer, asked, runtime, each=drawn, seed=seed)
    return world_pairs(asked, replies, seed=seed, flipped=flipped, per_item=per_item)


def world_data(args, model, tokenizer, runtime) -> RewardData:
    """Pairs of the world, to learn from and held out."""
    data = held_out_data(model, tokenizer, runtime, items=args.held_out_items,
                         seed=args.seed + 1, flipped=args.flipped)
    data.pairs = training_pairs(model, tokenizer, runtime, items=args.items, drawn=args.drawn,
                                per_item=args.pairs_an_item, flipped=args.flipped, seed=args.seed,
                                unseen=args.unseen)
    return data


def shuffled_labels(pairs: list[Pair], seed: int) -> list[Pair]:
    """Each pair turned round or not, at random: nothing is left to learn."""
    rng = random.Random(f"shuffled {seed}")
    return [replace(pair, chosen=pair.rejected, rejected=pair.chosen, gap=-pair.gap)
            if rng.random() < 0.5 else pair for pair in pairs]
