"""The chat format: who says what, as tokens; and conversations from files of any known shape.

    <|begin|> <|system|> … <|end|> <|user|> … <|end|> <|assistant|> … <|end|> <|user|> …

Idea   A turn opens with the token of its role and closes with the end token. What the model has to
       say is what follows <|assistant|>, its <|end|> included: without that label it never stops.
       Role tokens can only be made here: a user who types "<|assistant|>" types plain text.
Used   sft/data.py, evaluate.py, chat.py, and the parts after this one
See it python demo_label_mask.py
Files  files/shapes.py knows the shapes, files/reading.py whole files
Source the roles and messages JSONL are those of common chat interfaces; Taori et al. 2023 (Alpaca)
       for instruction/input/output records and the headings of their template
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from files.reading import Reading, read_file
from files.records import write_text
from files.shapes import GIVE, PAIR, Shaped, conversation_of, optional_text, text_of
from gpt.model import GPT
from pretrained.chat_forms import encode_parts
from text.tokenizer import Tokenizer

ROLES = ("system", "user", "assistant")
ROLE_TOKENS = {role: f"<|{role}|>" for role in ROLES}


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str  # one of ROLES
    content: str
    learn: bool = True  # False: an answer that is read and not learnt ("weight": 0 in a file)


def check_messages(messages: Iterable[Message], *, answered: bool = True) -> None:
    """Raise ValueError unless it is: perhaps one system line, then user and assistant in turn.

    `answered`: the last word must be the assistant's (training), else the user's (generation).
    """
    messages = list(messages)
    for number, message in enumerate(messages, 1):
        if message.role not in ROLES:
            raise ValueError(f"message {number}: the role {message.role!r} is unknown; "
                             f"the roles are {', '.join(ROLES)}")
        if not isinstance(message.content, str) or not message.content.strip():
            raise ValueError(f"message {number} ({message.role}): the content is empty")
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    for number, message in enumerate(turns):
        if message.role != ROLES[1 + number % 2]:
            raise ValueError(f"a message of the {message.role} where the {ROLES[1 + number % 2]} "
                             "should speak: after at most one system line, user and assistant "
                             "take turns, and the user begins")
    last = turns[-1].role if turns else "nobody"
    if last != ("assistant" if answered else "user"):
        raise ValueError(f"the last word is {last}'s; it must be "
                         + ("the assistant's" if answered else "the user's"))


# ---------------------------------------------------------------- tokens

def chat_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with the role tokens; itself where it has them all, or a form of its own."""
    if tokenizer.problem:  # a released model whose template is not known
        raise ValueError(tokenizer.problem)
    if tokenizer.chat:
        return tokenizer
    missing = [name for name in ROLE_TOKENS.values() if name not in tokenizer.special]
    return tokenizer.with_special(*missing) if missing else tokenizer


@torch.no_grad()
def grow_vocabulary(model: GPT, vocab_size: int, seed: int = 0) -> GPT:
    """A copy of the model with more tokens. A new row: the mean of the old ones, a little noise.

    A row at random would be far from all others, and its score would spoil every prediction.
    """
    config = model.config
    if vocab_size < config.vocab_size:
        raise ValueError(f"vocab_size={vocab_size}: the model has {config.vocab_size} already")
    grown = type(model)(replace(config, vocab_size=vocab_size)).to(next(model.parameters()).device)
    generator = torch.Generator().manual_seed(seed)
    weights = model.state_dict()
    for name in ("token_embedding.weight", "head.weight"):
        old = weights[name]
        noise = torch.randn(vocab_size - len(old), old.size(1), generator=generator)
        spread = old.std(0).mean()
        weights[name] = torch.cat([old, old.mean(0) + 0.1 * spread * noise.to(old.device)])
    if config.tied:
        weights["head.weight"] = weights["token_embedding.weight"]
    grown.load_state_dict(weights)
    return grown.train(model.training)


def encode_turn(message: Message, tokenizer: Tokenizer) -> list[int]:
    """[role, … text …, end]. The text is encoded as text, whatever it looks like.

    An answer begins with a blank, as it does after a question in plain text: the base model knows
    " Athens", one token, and hardly ever saw "Athens" at the beginning of anything.
    """
    text = f" {message.content}" if message.role == "assistant" else message.content
    return [tokenizer.id_of(ROLE_TOKENS[message.role]), *tokenizer.encode(text), tokenizer.end]


def encode_conversation(messages: list[Message], tokenizer: Tokenizer):
    """-> (ids, is_label): is_label[i] says whether ids[i] is the assistant's to say.

    That is the text and the end token of every assistant turn that is to be learnt, and nothing else.
    """
    check_messages(messages)
    if tokenizer.chat:
        ids, is_label = encode_parts(in_its_form(messages, tokenizer, reply=False), tokenizer)
        return ids, labels_learnt(is_label, messages)
    ids, is_label = [tokenizer.begin], [False]
    for message in messages:
        turn = encode_turn(message, tokenizer)
        ids += turn
        is_label += [False] + [message.role == "assistant" and message.learn] * (len(turn) - 1)
    return ids, is_label


def encode_prompt(messages: list[Message], tokenizer: Tokenizer) -> list[int]:
    """A conversation in which the assistant is next: ids that end with <|assistant|>."""
    check_messages(messages, answered=False)
    if tokenizer.chat:
        return encode_parts(in_its_form(messages, tokenizer, reply=True), tokenizer)[0]
    turns = [token for message in messages for token in encode_turn(message, tokenizer)]
    return [tokenizer.begin, *turns, tokenizer.id_of(ROLE_TOKENS["assistant"])]


def decode_reply(ids: list[int], tokenizer: Tokenizer) -> str:
    """Generated ids -> the text up to the end token."""
    if tokenizer.end in ids:
        ids = ids[:ids.index(tokenizer.end)]
    text = tokenizer.decode(ids).strip()
    return tokenizer.chat.reply_of(text) if tokenizer.chat else text


def in_its_form(messages: list[Message], tokenizer: Tokenizer, *, reply: bool) -> list:
    """A conversation in the form of a released model (pretrained/chat_forms.py)."""
    return tokenizer.chat.parts([(m.role, m.content) for m in messages], reply=reply)


def labels_learnt(is_label: list[bool], messages: list[Message]) -> list[bool]:
    """The labels without those of answers that are only read. Between two answers somebody else
    speaks, so that each answer is one run of labels."""
    learn, marked = iter([m.learn for m in messages if m.role == "assistant"]), []
    for before, label in zip([False, *is_label], is_label):
        if label and not before:
            learnt = next(learn)
        marked.append(label and learnt)
    return marked


def encode_answer(text: str, tokenizer: Tokenizer) -> list[int]:
    """An answer behind what encode_prompt gives, without its end token."""
    return tokenizer.encode(tokenizer.chat.answer(text) if tokenizer.chat else f" {text}")


def reply_token(tokenizer: Tokenizer) -> int:
    """The token that stands in front of every reply, and in none."""
    return tokenizer.id_of(tokenizer.chat.opener if tokenizer.chat else ROLE_TOKENS["assistant"])


def conversation_token(tokenizer: Tokenizer) -> int | None:
    """The token that begins every conversation and stands nowhere else: packed rows are kept apart
    by it. None where there is no such token (ChatML)."""
    if tokenizer.chat:
        return tokenizer.special[tokenizer.chat.begin] if tokenizer.chat.begin else None
    return tokenizer.begin if tokenizer.begin != tokenizer.end else None


def messages_of(item) -> list[Message]:
    """An Item of sft/skills.py -> its conversation up to the question."""
    messages = [Message("system", item.system)] if item.system else []
    for question, answer in item.history:
        messages += [Message("user", question), Message("assistant", answer)]
    return [*messages, Message("user", item.prompt)]


def answered(item) -> list[Message]:
    """An Item of sft/skills.py -> its conversation with the gold answer."""
    return [*messages_of(item), Message("assistant", item.answer)]


# ---------------------------------------------------------------- files

def alpaca_text(record: dict, *, with_answer: bool = True) -> str:
    """A record in Alpaca's template of headings: for models that know no role tokens."""
    text_of(record, "instruction")  # refuses what has no text
    parts = [f"### Instruction:\n{record['instruction']}"]
    if optional_text(record, "input"):
        parts.append(f"### Input:\n{record['input']}")
    parts.append("### Response:\n" + (text_of(record, "output") if with_answer else ""))
    return "\n\n".join(parts)


NO_ANSWER = {"Alpaca without an answer": "the record has no text output",
             "prompt alone": "the record is a prompt without a completion: for part_8/train_ppo.py"}


def unusable_chat(shaped: Shaped) -> str:
    """Why a record is no conversation to learn from, or "". What follows the last answer that is to
    be learnt is taken off, and so are answers in front of the first question in ShareGPT's form."""
    if {"chosen", "rejected"} <= shaped.unread and shaped.shape in NO_ANSWER:
        raise ValueError(f"{PAIR}; {GIVE}")
    if shaped.shape in NO_ANSWER:
        raise ValueError(f"{NO_ANSWER[shaped.shape]}; {GIVE}")
    turns = shaped.turns
    if not turns or not any(turn.role == "assistant" for turn in turns):
        return "nobody answers in it"
    if any(not turn.content.strip() for turn in turns):
        return "an empty text"
    while turns and not (turns[-1].role == "assistant" and turns[-1].learn):
        if turns.pop().role == "user":
            shaped.notes["a last question that nobody answers, left out"] = 1
    if not turns:
        return "no answer in it is to be learnt (weight 0)"
    if shaped.shape == "ShareGPT":
        first = 1 if turns[0].role == "system" else 0
        while turns[first:] and turns[first].role == "assistant":
            del turns[first]
            shaped.notes["an answer before the first question, left out"] = 1
    try:
        check_messages([Message(*turn) for turn in turns])
    except ValueError as error:
        if shaped.shape == "ShareGPT":
            return str(error)
        raise
    return ""


def read_chats(path: Path) -> Reading:
    """Conversations to learn from, of any shape that files/shapes.py knows; `kept[i].turns` can be
    made Messages. Raises ValueError where there is none."""
    reading = read_file(path, conversation_of, unusable_chat)
    if not reading.kept:
        why = f"; {reading.skipped[0]}" if reading.skipped else ""
        raise ValueError(f"{path}: no conversation to learn from ({len(reading.skipped)} were left "
                         f"out{why})")
    return reading


def read_conversations(path: Path) -> tuple[list[list[Message]], list[str]]:
    """-> (the conversations of a file, what was left out and why). As read_chats."""
    reading = read_chats(path)
    return [[Message(*turn) for turn in shaped.turns] for shaped in reading.kept], reading.skipped


def message_record(message: Message) -> dict:
    """One message as a file holds it."""
    weight = {} if message.learn else {"weight": 0}
    return {"role": message.role, "content": message.content, **weight}


def write_conversations(path: Path, conversations: list[list[Message]]) -> None:
    """Chat messages, one conversation a line; gzipped where the name ends in .gz."""
    write_text(path, "".join(
        json.dumps({"messages": [message_record(m) for m in messages]}, ensure_ascii=False) + "\n"
        for messages in conversations))


def write_alpaca(path: Path, conversations: list[list[Message]]) -> None:
    """Conversations of one question and one answer, as a list of Alpaca records."""
    records = []
    for number, messages in enumerate(conversations, 1):
        if [m.role for m in messages] != ["user", "assistant"] or not messages[1].learn:
            raise ValueError(f"conversation {number} has other turns than one question and one "
                             "answer; Alpaca's format holds no more, use write_conversations")
        records.append({"instruction": messages[0].content, "input": "",
                        "output": messages[1].content})
    write_text(path, json.dumps(records, indent=1, ensure_ascii=False) + "\n")
