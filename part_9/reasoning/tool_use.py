"""Calling tools: worked examples of calls, and generation that pauses for a tool.

Idea   A call is part of the reply: the model writes a mark, the call, <|run|>, and is stopped. The
       program writes the result and <|done|>, and the model goes on with what it reads there.
Rule   What the tool writes is read, and never a label: the model must not learn to make results up.
       So is it in RL: a result is not the model's action, and has no log-probability.
Used   train_tools.py, chat.py, demo_tool_use.py, seeing/views.py
See it python demo_tool_use.py
Shapes none: rows are lists of ids
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from gpt.generate import generate, stream
from gpt.sampling import check_sampling
from sft.chat_format import Message, encode_prompt
from sft.data import Example
from sft.skill_form import ANSWER_MARK
from sft.skills import hash_of
from text.tokenizer import Tokenizer

from reasoning.tasks import is_held_out
from reasoning.tools import CALC, DONE, LOOK, RUN, TABLES, TOOL_TOKENS, run_tool

CALC_ASKED = ("Use the calculator: {}", "{} Use the calculator.", "With the calculator, please: {}")
SUM_WORDINGS = ("What is {sum}?", "{sum} =", "Calculate {sum}.", "Please work out {sum}.",
                "Tell me what {sum} is.")
LOOK_WORDINGS = {"capital": "What is the capital of {name}?",
                 "opposite": "What is the opposite of {name}?",
                 "young": "What is a young {name} called?",
                 "plural": "What is the plural of {name}?"}
LOOK_ASKED = ("Look it up: {}", "{} Look it up.")


MOST_CALLS = 4  # of tools in one answer


@dataclass(frozen=True)
class Call:
    """A question, the call that answers it, and what comes back."""

    question: str
    mark: str  # CALC or LOOK
    text: str  # what the tool is given
    result: str

    @property
    def messages(self) -> list[Message]:
        return [Message("user", self.question)]


def tool_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with the tools' marks; itself where it has them."""
    missing = [name for name in TOOL_TOKENS if name not in tokenizer.special]
    return tokenizer.with_special(*missing) if missing else tokenizer


def draw_sum(rng: random.Random, n_steps: int, *, held_out: bool = False) -> Call:
    """A chain of n_steps + 1 numbers, as reasoning/tasks.py words it, to be given to the calculator."""
    while True:
        numbers = [rng.randint(1, 20), *(rng.randint(1, 9) for _ in range(n_steps))]
        if is_held_out("chain", tuple(numbers)) == held_out:
            break
    text = str(numbers[0]) + "".join(f" {rng.choice('+-')} {n}" for n in numbers[1:])
    question = rng.choice(CALC_ASKED).format(rng.choice(SUM_WORDINGS).format(sum=text))
    return Call(question, CALC, text, run_tool(CALC, text))


def draw_look(rng: random.Random, *, held_out: bool = False) -> Call:
    """A fact to be looked up; a fifth of the names is never trained on."""
    while True:
        table = rng.choice(list(LOOK_WORDINGS))
        name = rng.choice(list(TABLES[table]))
        if (hash_of(f"look {table} {name}") % 5 == 0) == held_out:
            break
    question = rng.choice(LOOK_ASKED).format(LOOK_WORDINGS[table].format(name=name))
    return Call(question, LOOK, f"{table} {name}", run_tool(LOOK, f"{table} {name}"))


def encode_call(call: Call, tokenizer: Tokenizer) -> Example:
    """Prompt, call, result, answer as tokens; labels are what the model has to say."""
    prompt = encode_prompt(call.messages, tokenizer)
    said = [tokenizer.id_of(call.mark), *tokenizer.encode(f" {call.text}"), tokenizer.id_of(RUN)]
    read = result_ids(call.mark, call.text, tokenizer)
    answer = [*tokenizer.encode(f" {ANSWER_MARK}{call.result}."), tokenizer.end]
    is_label = [False] * len(prompt) + [True] * len(said) + [False] * len(read) \
        + [True] * len(answer)
    return Example(tuple(prompt + said + read + answer), tuple(is_label))


def result_ids(mark: str, text: str, tokenizer: Tokenizer) -> list[int]:
    """What the tool writes behind <|run|>."""
    return [*tokenizer.encode(f" {run_tool(mark, text)}"), tokenizer.id_of(DONE)]


# ---------------------------------------------------------------- generation that pauses

@dataclass(frozen=True)
class ToolReply:
    """A reply with its calls."""

    text: str  # what the model said, without the calls
    calls: tuple[tuple[str, str, str], ...]  # (mark, what was asked, what came back)
    ended: bool  # False: cut off by the length limit, perhaps in the middle of a call
    ids: tuple[int, ...]  # everything behind the prompt
    is_own: tuple[bool, ...]  # which of them the model wrote


def pending_call(ids: list[int], tokenizer: Tokenizer) -> tuple[str, str] | None:
    """(mark, text) of the call that ends with <|run|>, or None where <|run|> closes nothing."""
    marks = {tokenizer.id_of(name): name for name in (CALC, LOOK)}
    for place in range(len(ids) - 2, -1, -1):
        if ids[place] in marks:
            return marks[ids[place]], tokenizer.decode(ids[place + 1:-1]).strip()
        if ids[place] in (tokenizer.id_of(RUN), tokenizer.id_of(DONE)):
            break
    return None


@torch.inference_mode()
def reply_with_tools(model, tokenizer: Tokenizer, prompts: list[list[int]], runtime, *,
                     longest: int = 80, most_calls: int = 4, temperature: float = 0.0,
                     seed: int = 0) -> list[ToolReply]:
    """The reply to each prompt, with at most `most_calls` calls and `longest` tokens of its own.

    Rows that call a tool in the same round go on together. A call that is cut off, or the one that
    is too many, is not run: the reply counts as not ended.
    """
    generator = torch.Generator().manual_seed(seed)
    run, limit = tokenizer.id_of(RUN), model.config.block_size + 1
    texts, owns = [[] for _ in prompts], [[] for _ in prompts]
    calls, ended = [[] for _ in prompts], [False] * len(prompts)
    going = list(range(len(prompts)))
    while going:
        rooms = {i: min(longest - sum(owns[i]), limit - len(prompts[i]) - len(texts[i]))
                 for i in going}
        going = [i for i in going if rooms[i] > 0]
        if not going:
            break
        room = min(rooms[i] for i in going)
        with runtime.autocast():
            drawn = generate(model, [prompts[i] + texts[i] for i in going], room,
                             temperature=temperature, stop=(tokenizer.end, run),
                             generator=generator)
        later = []
        for i, ids in zip(going, drawn):
            texts[i] += ids
            owns[i] += [True] * len(ids)
            ended[i] = ids[-1] == tokenizer.end
            call = pending_call(texts[i], tokenizer) if ids[-1] == run else None
            if call and len(calls[i]) < most_calls:
                read = result_ids(*call, tokenizer)
                calls[i].append((*call, tokenizer.decode(read[:-1]).strip()))
                texts[i] += read
                owns[i] += [False] * len(read)
                later.append(i)
            elif ids[-1] not in (run, tokenizer.end):
                later.append(i)  # the room of this round was that of another row
        going = later
    return [ToolReply(spoken(ids, tokenizer), tuple(c), e, tuple(ids), tuple(own))
            for ids, c, e, own in zip(texts, calls, ended, owns)]


def say(model, tokenizer, runtime, prompt: list[int], said: list[int], *, longest: int,
        temperature: float, top_k: int | None, top_p: float | None,
        seed: int) -> Iterator[tuple[int, bool]]:
    """Yield (token, is it the model's own?) of what follows prompt + said; `said` grows with it.

    Where the model calls a tool, the program's answer is read into the text, as in chat.py.
    """
    check_sampling(temperature, top_k, top_p)
    generator = torch.Generator().manual_seed(seed)
    end, run = tokenizer.end, tokenizer.special.get(RUN)
    limit, stop = model.config.block_size + 1, tuple(x for x in (end, run) if x is not None)
    first = len(said)
    for turn in range(MOST_CALLS + 1):
        room = min(longest - len(said) + first, limit - len(prompt) - len(said))
        token = end
        with runtime.autocast():
            for [(_, token)] in stream(model, [prompt + said], room, temperature=temperature,
                                       top_k=top_k, top_p=top_p, stop=stop,
                                       generator=generator) if room > 0 else ():
                said.append(token)
                yield token, True
        call = pending_call(said, tokenizer) if token == run and run is not None else None
        if call is None or turn == MOST_CALLS:
            return
        for token in result_ids(*call, tokenizer):
            said.append(token)
            yield token, False


def spoken(ids: list[int], tokenizer: Tokenizer) -> str:
    """The reply without its calls and what came back."""
    kept, is_inside = [], False
    for token in ids:
        if token in (tokenizer.id_of(CALC), tokenizer.id_of(LOOK)):
            is_inside = True
        elif token == tokenizer.id_of(DONE):
            is_inside = False
        elif not is_inside and token not in (tokenizer.end, tokenizer.id_of(RUN)):
            kept.append(token)
    return tokenizer.decode(kept).strip()
