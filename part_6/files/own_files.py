"""Conversations of somebody's own file, as train_sft.py learns and measures them.

Rule   Held out is a part of that file, by prompt, of what fits into the context; and the room for a
       reply comes from that file's answers, not from those of the little world.
Used   train_sft.py, evaluate.py
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sft.chat_format import Message, read_chats
from sft.data import Example, encode_example
from sft.evaluation import LONGEST_REPLY
from text.tokenizer import Tokenizer

from files.reading import divide, prompt_keys


@dataclass(frozen=True)
class FileChats:
    """Examples to learn from and held out; the held-out conversations; the counts of their making."""

    learnt: list[Example]
    held_out: list[Example]
    held_out_chats: list[list[Message]]
    counts: Counter  # whole, shortened, skipped
    division: dict  # for the report


def file_chats(path: Path, tokenizer: Tokenizer, context: int) -> FileChats:
    """Read, encode and divide a file, and say what became of it."""
    reading = read_chats(path)
    print("\n".join(reading.lines()))
    chats, examples, counts = [], [], Counter(whole=0, shortened=0, skipped=0)
    for shaped in reading.kept:
        messages = [Message(*turn) for turn in shaped.turns]
        example, fate = encode_example(messages, tokenizer, context)
        counts[fate] += 1
        if example is not None and any(example.is_label):
            chats.append(messages)
            examples.append(example)
    if not examples:
        raise ValueError(f"{path}: no answer fits into the model's context of {context} tokens")
    division = divide([prompt_keys(chat) for chat in chats], [tuple(chat) for chat in chats])
    print(division.line())
    return FileChats([examples[i] for i in division.learnt],
                     [examples[i] for i in division.held_out],
                     [chats[i] for i in division.held_out], counts,
                     {"prompts": division.prompts, "read_once": division.twice})


def room_for_answers(answers: list[str], tokenizer: Tokenizer) -> int:
    """Tokens for a reply where people answered like this: half as many again as their longest."""
    longest = max((len(tokenizer.encode(text)) for text in answers), default=0)
    return max(LONGEST_REPLY, longest + longest // 2 + 1)
