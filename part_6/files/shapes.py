"""What a record of somebody's file is: the shapes in which people keep conversations, read by one reader.

    {"instruction", "input", "output"}, with "system" and "history"            Alpaca
    {"conversations": [{"from": "human", "value"}, {"from": "gpt", "value"}]}  ShareGPT
    {"messages": [{"role", "content"}, …]}, with tool turns and "weight"       messages
    {"prompt", "completion"}, as texts or as lists of messages                 prompt/completion
    {"prompt"}, or any of the above without an answer                          a prompt alone
    {"prompt": "\\n\\nHuman: … \\n\\nAssistant:", "completion"}                 HH-RLHF's form

Rule   A field is used, or refused by name, or named as not read (`unread`): none vanishes.
       A tool's call is part of the assistant's text, and what came back is a turn of the user:
       <tool_call>{…}</tool_call> and <tool_response>…</tool_response>, as open chat models have it.
       Blanks before a text are left out: a reply opens with a blank of its own (chat_format.py).
Used   sft/chat_format.py, and the parts after this one (pairs, prompts)
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

ROLE_NAMES = {"system": "system", "developer": "system", "user": "user", "human": "user",
              "prompter": "user", "assistant": "assistant", "gpt": "assistant", "bot": "assistant",
              "chatgpt": "assistant", "model": "assistant", "tool": "tool", "function": "tool",
              "observation": "tool", "function_response": "tool", "function_call": "call"}
QUESTIONS, ANSWERS = ("prompt", "instruction"), ("output", "completion", "response")
HUMAN = re.compile(r"(?:^|\n\n)(Human|Assistant):")
PAIR = "the record is a pair of replies (chosen, rejected): for the reward model and DPO"
GIVE = ("give instruction/output (Alpaca), messages, conversations (ShareGPT) or "
        "prompt/completion")


class Turn(NamedTuple):
    """Who says what; `learn`: False where a record says that its answer is not to be learnt."""

    role: str  # system, user or assistant
    content: str
    learn: bool = True


@dataclass
class Shaped:
    """A record as a conversation, and what was found on the way."""

    shape: str = ""  # as a line names it: "Alpaca", "ShareGPT", …
    turns: list = field(default_factory=list)
    notes: Counter = field(default_factory=Counter)   # "a system line", "history", …: once a record
    unread: set = field(default_factory=set)  # fields that were not looked at


# ---------------------------------------------------------------- words for errors

def kind_of(value) -> str:
    """What stands there, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names[type(value)]


def text_of(record: dict, name: str, place: str = "") -> str:
    """The text in a field, without blanks before it."""
    if name not in record:
        raise ValueError(f"{place}the record has no text {name}")
    if not isinstance(record[name], str):
        raise ValueError(f'{place}"{name}" is {kind_of(record[name])}, not a text: '
                         f"the record has no text {name}")
    return record[name].lstrip()


def optional_text(record: dict, name: str) -> str:
    """As text_of; "" where the field is missing or null."""
    return "" if record.get(name) is None else text_of(record, name)


# ---------------------------------------------------------------- turns

def spoken_text(entry: dict, name: str, place: str) -> str:
    """A turn's text: a text, a list of parts of which each is one, or a call of tools."""
    value, calls = entry.get(name), entry.get("tool_calls") or []
    if entry.get("function_call"):
        calls = [{"function": entry["function_call"]}]
    if type(calls) is not list:
        raise ValueError(f'{place}: "tool_calls" is {kind_of(calls)}, not a list')
    said = [call_text(call, place) for call in calls]
    if isinstance(value, list):
        odd = next((part for part in value if not isinstance(part, dict)
                    or part.get("type", "text") != "text"), None)
        if odd is not None:
            what = odd.get("type") if isinstance(odd, dict) else kind_of(odd)
            raise ValueError(f'{place}: "{name}" holds {what!r}; only parts of type text are read')
        value = "\n".join(text_of(part, "text", f"{place}: ") for part in value)
    if value is None and said:
        value = ""
    if not isinstance(value, str):
        raise ValueError(f'{place}: "{name}" is {kind_of(value)}, not a text')
    return "\n".join([*([value.lstrip()] if value.strip() or not said else []), *said])


def call_text(call, place: str) -> str:
    """One call of a tool as the assistant writes it."""
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ValueError(f'{place}: a call of a tool without a "name"')
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except json.JSONDecodeError:
            pass  # a text that is not JSON stays that text
    call = json.dumps({"name": function["name"], "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{call}\n</tool_call>"


def weight_of(entry: dict, place: str) -> bool:
    """Is this answer to be learnt?"""
    weight = entry.get("weight")
    if weight not in (None, 0, 1):
        raise ValueError(f'{place}: "weight" is {weight!r}; 1: it is learnt, 0: it is only read')
    return weight != 0


def turns_of(entries, name: str, shaped: Shaped) -> list[Turn]:
    """A list of {"role", "content"} or {"from", "value"} -> turns; `shaped` gets what to tell."""
    if type(entries) is not list:
        raise ValueError(f'"{name}" is {kind_of(entries)}: the record has no list "{name}"')
    turns, results = [], []
    for number, entry in enumerate(entries, 1):
        place = f'"{name}", turn {number}'
        who, what = ("from", "value") if isinstance(entry, dict) and "from" in entry \
            else ("role", "content")
        if not isinstance(entry, dict):
            raise ValueError(f"{place} is {kind_of(entry)}, not an object with {who} and {what}")
        if who not in entry or not {what, "tool_calls", "function_call"} & set(entry):
            raise ValueError(f'{place}: a message without "{who}" or "{what}"; it has '
                             f"{', '.join(entry) or 'no field'}")
        role = ROLE_NAMES.get(entry[who]) if isinstance(entry[who], str) else None
        if role is None:
            raise ValueError(f"{place}: the role {entry[who]!r} is unknown; the roles are "
                             f"{', '.join(ROLE_NAMES)}")
        learn = weight_of(entry, place)
        shaped.unread |= {f"{name}[].{other}" for other in set(entry) - {
            who, what, "tool_calls", "function_call", "weight", "tool_call_id"}}
        text = spoken_text(entry, what, place)
        if role == "tool":
            results.append(f"<tool_response>\n{text}\n</tool_response>")
            continue
        turns += told(results)
        results = []
        if role == "call":
            text, role = f"<tool_call>\n{text}\n</tool_call>", "assistant"
        if role == "assistant" and not learn:
            shaped.notes["an answer of weight 0"] = 1
        if role == "system":
            if not text.strip():
                continue  # as some exports write one for every conversation
            shaped.notes["a system line"] = 1
        if "<tool_call>" in text:
            shaped.notes["tool turns"] = 1
        turns.append(Turn(role, text, learn or role != "assistant"))
    return turns + told(results)


def told(results: list[str]) -> list[Turn]:
    """What tools gave back, as one turn of the user."""
    return [Turn("user", "\n".join(results))] if results else []


def is_human_assistant(value) -> bool:
    """Is this HH-RLHF's form?"""
    return isinstance(value, str) and value.lstrip().startswith("Human:") and "\n\nAssistant:" in value


def human_assistant(text: str) -> list[Turn]:
    """"\\n\\nHuman: a\\n\\nAssistant: b" -> turns; the last one is empty where the text ends open."""
    parts = HUMAN.split("\n\n" + text.strip())[1:]
    return [Turn("user" if who == "Human" else "assistant", said.strip())
            for who, said in zip(parts[::2], parts[1::2])]


# ---------------------------------------------------------------- records

def opening(record: dict, shaped: Shaped) -> list[Turn]:
    """System line, history and question: all that stands before the answer."""
    name = next((n for n in QUESTIONS if n in record), None)
    if name is None:
        raise ValueError(f"the record has no {' or '.join(QUESTIONS)}")
    shaped.unread -= {name, "system", "history", "input"}
    if isinstance(record[name], list):
        turns = turns_of(record[name], name, shaped)
    elif is_human_assistant(record[name]):
        turns = human_assistant(record[name])
        if turns[-1] == Turn("assistant", ""):
            turns.pop()  # "… Assistant:", where the answer begins
    else:
        question, extra = text_of(record, name), optional_text(record, "input")
        turns = [Turn("user", "\n".join(part for part in (question, extra) if part.strip()))]
    history = [] if record.get("history") is None else record["history"]
    if type(history) is not list or any(
            type(pair) is not list or len(pair) != 2 or not all(isinstance(x, str) for x in pair)
            for pair in history):
        raise ValueError(f'"history" is {kind_of(history)} of something else than [question, '
                         "answer] pairs of texts")
    if history:
        shaped.notes["history"] = 1
        first = 1 if turns and turns[0].role == "system" else 0
        turns[first:first] = [Turn(role, text.lstrip()) for pair in history
                              for role, text in zip(("user", "assistant"), pair)]
    return with_system(record, turns, shaped)


def with_system(record: dict, turns: list[Turn], shaped: Shaped) -> list[Turn]:
    """The line in "system" goes in front; one that stands there already must be the same."""
    system = optional_text(record, "system")
    shaped.unread.discard("system")
    if not system.strip() or (turns and turns[0] == ("system", system, True)):
        return turns
    if turns and turns[0].role == "system":
        raise ValueError('the line in "system" is another than that of the first message')
    shaped.notes["a system line"] = 1
    return [Turn("system", system), *turns]


def conversation_of(record) -> Shaped:
    """A record of any shape -> its conversation as it stands, answered or not.

    Raises ValueError, which says what was found and what to give.
    """
    if not isinstance(record, dict):
        raise ValueError(f"the record is {kind_of(record)}, not an object with fields; {GIVE}")
    shaped = Shaped(unread=set(record))
    listed = next((n for n in ("messages", "conversations", "conversation") if n in record), None)
    answer = next((n for n in ANSWERS if n in record), None)
    if listed:
        shaped.shape = "messages" if listed == "messages" else "ShareGPT"
        turns = turns_of(record[listed], listed, shaped)
        shaped.turns = with_system(record, turns, shaped)
        shaped.unread.discard(listed)
        return shaped
    if not set(QUESTIONS) & set(record):
        raise ValueError(f"{other_shape(record)}; {GIVE}")
    shaped.shape = "Alpaca" if "instruction" in record else "prompt/completion"
    shaped.turns = opening(record, shaped)
    if answer is None:
        shaped.shape = "Alpaca without an answer" if "instruction" in record else "prompt alone"
        return shaped
    shaped.unread.discard(answer)
    if isinstance(record[answer], list):
        shaped.turns += turns_of(record[answer], answer, shaped)
    else:
        shaped.turns.append(Turn("assistant", text_of(record, answer)))
    return shaped


def other_shape(record: dict) -> str:
    """What a record without a known shape is, if it is anything known."""
    if {"chosen", "rejected"} <= set(record):
        return PAIR
    if {"question", "answer"} <= set(record):
        return "the record is a problem (question, answer): for part_9/train_grpo.py --data"
    if "text" in record:
        return "the record is a document (text): for part_4/train.py --data"
    return f"the record has the fields {', '.join(map(str, record)) or '(none)'}: no known shape"
