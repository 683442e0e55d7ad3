"""What a record with two replies is: the forms in which people keep preferences.

    {"prompt", "chosen", "rejected"}, texts; or "instruction" and "input"      prompt and texts
    {"prompt": [messages], "chosen": [messages], "rejected": [messages]}       prompt lists (TRL)
    {"chosen": [messages], "rejected": [messages]}, whole conversations        messages, UltraFeedback
    {"conversations": […], "chosen": {"from", "value"}, "rejected": {…}}       ShareGPT
    {"chosen": "\\n\\nHuman: … \\n\\nAssistant: …", "rejected": …}               HH-RLHF

Rule   As in files/shapes.py: a field is used, or refused, or named as not read. "system" and "history"
       belong to the prompt, and both sides must answer the same conversation.
Used   reward/preferences.py, and PPO's prompts in the part after this one
"""

from dataclasses import dataclass

from files.shapes import (
    QUESTIONS,
    Shaped,
    Turn,
    conversation_of,
    human_assistant,
    is_human_assistant,
    kind_of,
    opening,
    turns_of,
    with_system,
)

SIDES = ("chosen", "rejected")
LISTS = ("conversations", "conversation", "messages")


@dataclass
class PairShape(Shaped):
    """`turns`: the conversation up to the replies."""

    chosen: str = ""
    rejected: str = ""


def is_pair(record) -> bool:
    return isinstance(record, dict) and set(SIDES) <= set(record)


def pair_of(record) -> PairShape:
    """A record of any of these forms -> prompt and replies. ValueError says what was found."""
    if not isinstance(record, dict):
        raise ValueError(f'the record is {kind_of(record)}; expected {{"chosen": …, "rejected": …}}')
    missing = [name for name in SIDES if name not in record]
    if missing:
        given = ", ".join(record) or "no field"
        raise ValueError(f'there is no "{missing[0]}": give a text, or a list of messages; the '
                         f"record has {given}")
    pair = PairShape(unread=set(record) - set(SIDES))
    (before, pair.chosen), (also, pair.rejected) = (side_of(record, name, pair)
                                                    for name in SIDES)
    if before != also:
        raise ValueError("the two sides answer different conversations")
    if not before or before[-1].role != "user":
        raise ValueError("the prompt does not end with the user's turn")
    pair.turns = before
    return pair


def side_of(record: dict, name: str, pair: PairShape) -> tuple[list[Turn], str]:
    """One side -> (the conversation before the reply, the reply)."""
    value = record[name]
    if is_human_assistant(value):
        pair.shape = "HH-RLHF"
        *before, last = human_assistant(value)
        if last.role != "assistant":
            raise ValueError(f'"{name}" ends with the human\'s turn')
        return agreed(record, before, pair), last.content
    if isinstance(value, str):
        pair.shape = "prompt and texts"
        return question_of(record, name, pair), value.lstrip()
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value:
        raise ValueError(f'"{name}" is {kind_of(value)}{" without messages" if value == [] else ""}: '
                         "give a text, or a list of messages")
    *before, last = turns_of(value, name, pair)
    if last.role != "assistant":
        raise ValueError(f'"{name}" ends with a turn of the {last.role}; a reply is the assistant\'s')
    if not before:
        pair.shape = "prompt and messages"
        return question_of(record, name, pair), last.content
    pair.shape = "messages"
    return agreed(record, before, pair), last.content


def question_of(record: dict, name: str, pair: PairShape) -> list[Turn]:
    """The prompt that stands beside a reply: a text, fields of Alpaca's, or a list of turns."""
    if set(QUESTIONS) & set(record):
        return opening(record, pair)
    listed = next((other for other in LISTS if other in record), None)
    if listed is None:
        raise ValueError(f'"{name}" is a reply, and there is no "prompt" beside it')
    pair.unread.discard(listed)
    return with_system(record, turns_of(record[listed], listed, pair), pair)


def agreed(record: dict, before: list[Turn], pair: PairShape) -> list[Turn]:
    """A whole conversation; a "prompt" beside it must be a part of it, as UltraFeedback has it."""
    if "prompt" in record:
        asked = [turn.content for turn in opening({"prompt": record["prompt"]}, pair)]
        if any(text not in [turn.content for turn in before] for text in asked):
            raise ValueError('the "prompt" is not what the conversations ask')
        pair.unread.discard("prompt")
    return with_system(record, before, pair)


def prompt_of(record) -> Shaped:
    """The question in a record of any shape, a pair's or a conversation's; answers are taken off."""
    if is_pair(record):
        return pair_of(record)
    shaped = conversation_of(record)
    while shaped.turns and shaped.turns[-1].role == "assistant":
        shaped.turns.pop()
    return shaped
