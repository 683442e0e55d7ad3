"""DPO's pairs as tokens, as rows of a batch, and in the order in which they are read.

Used   train_dpo.py
Shapes P pairs, 2P rows
"""

import random
from dataclasses import dataclass

from run.distributed import Processes, part_of
from sft.chat_format import encode_answer, encode_prompt

from rl.policy import Rows
from rl.rollout import as_rollout


@dataclass(frozen=True)
class PairTokens:
    """One pair as tokens: a prompt and its two replies."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    @property
    def longest(self) -> int:
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))

    @property
    def together(self) -> int:
        """Tokens of the row in which both replies share the prompt."""
        return len(self.prompt) + len(self.chosen) + len(self.rejected)


def pair_tokens(pairs: list, tokenizer, context: int) -> tuple[list[PairTokens], int]:
    """-> (the pairs that fit and can be told apart, how many were left out)."""
    kept = []
    for pair in pairs:
        replies = [(encode_answer(reply.text, tokenizer) if reply.text else [])
                   + ([tokenizer.end] if reply.ended else [])
                   for reply in (pair.chosen, pair.rejected)]
        tokens = PairTokens(encode_prompt(list(pair.prompt), tokenizer), *replies)
        if all(replies) and replies[0] != replies[1] and tokens.longest <= context:
            kept.append(tokens)
    return kept, len(pairs) - len(kept)


def pair_rows(pairs: list[PairTokens], end: int, pad: int, device) -> Rows:
    """P pairs -> 2P rows: chosen and rejected in turn, as they are read together."""
    replies = [reply for pair in pairs for reply in (pair.chosen, pair.rejected)]
    nothing = [[0.0] * len(reply) for reply in replies]
    return as_rollout([pair.prompt for pair in pairs for _ in range(2)], replies, nothing, end, pad,
                      device, copies=2).rows


def batches_of(pairs: list[PairTokens], size: int, seed: int) -> list[list[PairTokens]]:
    """One pass in batches of like length, the batches in random order."""
    rng = random.Random(f"order {seed}")
    order = sorted(rng.sample(pairs, len(pairs)), key=lambda pair: pair.longest)
    batches = [order[i:i + size] for i in range(0, len(order), size)]
    rng.shuffle(batches)
    return batches


def own_pairs(batch: list[PairTokens], most: int,
              processes: Processes) -> list[tuple[list[PairTokens], int]]:
    """Those of a step's pairs that this process reads, in equal pieces of at most `most` tokens, padding
    included (or one pair), and how often each counts: once. What a pass keeps for the way back grows
    with its tokens: 32 of the longest at once would keep 2 GB. With --shard all must read equally often,
    so one that has nothing left reads what counts 0 times."""
    size = max(1, most // max(pair.together for pair in batch))
    own, times = part_of(batch, processes), -(-len(batch) // (size * processes.world))
    pieces = [own[len(own) * i // times:len(own) * (i + 1) // times] for i in range(times)]
    return [(piece or batch[:1], int(bool(piece))) for piece in pieces if piece or processes.shards]
