"""The chat format: who says what, as tokens; and the two file formats that people keep it in.

    <|begin|> <|system|> … <|end|> <|user|> … <|end|> <|assistant|> … <|end|> <|user|> …

Idea   A turn opens with the token of its role and closes with the end token. What the model has to
       say is what follows <|assistant|>, its <|end|> included: without that label it never stops.
       Role tokens can only be made here: a user who types "<|assistant|>" types plain text.
Used   sft/data.py, evaluate.py, chat.py, and the parts after this one
See it python demo_label_mask.py
Source the roles and messages JSONL are those of common chat interfaces; Taori et al. 2023 (Alpaca)
       for instruction/input/output records and the headings of their template
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from gpt.model import GPT
from pretrained.chat_forms import encode_parts
from run.runtime import replacing
from text.tokenizer import Tokenizer

from sft.records import read_records

ROLES = ("system", "user", "assistant")
ROLE_TOKENS = {role: f"<|{role}|>" for role in ROLES}


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str  # one of ROLES
    content: str


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
    grown = GPT(replace(config, vocab_size=vocab_size)).to(next(model.parameters()).device)
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

    That is the text and the end token of every assistant turn, and nothing else.
    """
    check_messages(messages)
    if tokenizer.chat:
        return encode_parts(in_its_form(messages, tokenizer, reply=False), tokenizer)
    ids, is_label = [tokenizer.begin], [False]
    for message in messages:
        turn = encode_turn(message, tokenizer)
        ids += turn
        is_label += [False] + [message.role == "assistant"] * (len(turn) - 1)
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

def alpaca_messages(record: dict) -> list[Message]:
    """{"instruction", "input" (may be empty or missing), "output"} -> two messages."""
    missing = [name for name in ("instruction", "output") if not isinstance(record, dict)
               or not isinstance(record.get(name), str)]
    if missing:
        raise ValueError(f"the record has no text {' and no '.join(missing)}")
    extra = record.get("input") or ""
    if not isinstance(extra, str):
        raise ValueError("the record's input is no text")
    question = f"{record['instruction']}\n{extra}" if extra.strip() else record["instruction"]
    return [Message("user", question), Message("assistant", record["output"])]


def alpaca_text(record: dict, *, with_answer: bool = True) -> str:
    """A record in Alpaca's template of headings: for models that know no role tokens."""
    alpaca_messages(record)  # refuses what has no text
    parts = [f"### Instruction:\n{record['instruction']}"]
    if (record.get("input") or "").strip():
        parts.append(f"### Input:\n{record['input']}")
    parts.append("### Response:\n" + (record["output"] if with_answer else ""))
    return "\n\n".join(parts)


def chat_messages(record: dict) -> list[Message]:
    """{"messages": [{"role", "content"}, …]} -> messages."""
    entries = record.get("messages") if isinstance(record, dict) else None
    if type(entries) is not list:
        raise ValueError('the record has no list "messages"')
    for entry in entries:
        if not isinstance(entry, dict) or not {"role", "content"} <= set(entry):
            raise ValueError('a message without "role" or "content"')
    return [Message(entry["role"], entry["content"]) for entry in entries]


def read_conversations(path: Path) -> tuple[list[list[Message]], list[str]]:
    """Alpaca records or chat messages, .json or .jsonl, gzipped or not -> (conversations, what was
    skipped and why).

    A record without the right fields is an error that names file and line; a record that is
    well formed but has an empty text is skipped, and said so.
    """
    conversations, skipped = [], []
    for number, record in read_records(path):
        where = f"{path}, {'line' if '.jsonl' in str(path) else 'record'} {number}"
        try:
            is_chat = isinstance(record, dict) and "messages" in record
            messages = chat_messages(record) if is_chat else alpaca_messages(record)
        except ValueError as error:
            raise ValueError(f"{where}: {error}; give instruction/output (Alpaca) or messages "
                             "(chat)") from None
        if any(isinstance(m.content, str) and not m.content.strip() for m in messages):
            skipped.append(f"{where}: an empty text")
            continue
        try:
            check_messages(messages)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        conversations.append(messages)
    if not conversations:
        raise ValueError(f"{path}: no conversation to learn from ({len(skipped)} were empty)")
    return conversations, skipped


def write_conversations(path: Path, conversations: list[list[Message]]) -> None:
    """Chat messages, one conversation a line."""
    lines = [json.dumps({"messages": [{"role": m.role, "content": m.content} for m in messages]},
                        ensure_ascii=False) for messages in conversations]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_alpaca(path: Path, conversations: list[list[Message]]) -> None:
    """Conversations of one question and one answer, as a list of Alpaca records."""
    records = []
    for number, messages in enumerate(conversations, 1):
        if [m.role for m in messages] != ["user", "assistant"]:
            raise ValueError(f"conversation {number} has other turns than one question and one "
                             "answer; Alpaca's format holds no more, use write_conversations")
        records.append({"instruction": messages[0].content, "input": "",
                        "output": messages[1].content})
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n",
                             encoding="utf-8")
