"""Chat templates of released models, in the few forms that most of them have.

Idea    A template is a program in a language of its own (Jinja). Here none is run: the known forms
        are written down, and a folder's template is only looked at to tell which one it is. One
        that is not known is refused by name; nothing is almost right.
Used    pretrained/released_tokenizer.py, sft/chat_format.py

    chatml   <|im_start|>user\\n … <|im_end|>\\n<|im_start|>assistant\\n … <|im_end|>\\n
    llama3   <|start_header_id|>user<|end_header_id|>\\n\\n … <|eot_id|> …
    mistral  [INST] … [/INST] … </s>
"""

import json
import re
from dataclasses import asdict, dataclass, fields

CHOICES = ("auto", "plain", "chatml", "llama3", "mistral")
TEXT, TOKEN = "text", "token"  # what a Part is made of
CUTOFF, TODAY = "Cutting Knowledge Date: December 2023\n", "26 Jul 2024"  # Llama 3.1's own


@dataclass(frozen=True)
class Part:
    """A piece of a conversation: ordinary text, or a token by name (text where there is no such)."""

    kind: str
    text: str
    is_label: bool = False  # is it the assistant's to say?


@dataclass(frozen=True)
class ChatForm:
    """One form, with the small things in which templates of the same form differ."""

    name: str            # chatml, llama3 or mistral
    system: str = ""     # said where a conversation has no system line
    begin: str = ""      # the token before everything
    close: str = ""      # mistral: the token behind an answer
    tool: str = "tool"   # the role of a tool's result; "user": inside <tool_response> (Qwen)
    think: bool = False  # the last answer begins with a thought, if an empty one (Qwen3)
    dated: bool = False  # the system line begins with dates (Llama 3.1 and later)
    inner: str = ""      # mistral: what stands between [INST] and the text, and before [/INST]
    before: str = ""     # mistral: what stands before an answer

    @property
    def closer(self) -> str:
        """The token that ends a reply."""
        return {"chatml": "<|im_end|>", "llama3": "<|eot_id|>"}.get(self.name, self.close)

    @property
    def opener(self) -> str:
        """The last token in front of a reply, or (ChatML) the one that opens its turn."""
        return {"chatml": "<|im_start|>", "llama3": "<|end_header_id|>"}.get(self.name, "[/INST]")

    @property
    def needs(self) -> tuple[str, ...]:
        """The tokens without which the form cannot be written. (Mistral's marks may be text.)"""
        return {"chatml": ("<|im_start|>", "<|im_end|>"), "mistral": (),
                "llama3": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")}[self.name]

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, data, source: str = "this data") -> "ChatForm | None":
        if data is None:
            return None
        kinds = {one.name: type(getattr(cls("chatml"), one.name)) for one in fields(cls)}
        if not isinstance(data, dict) or set(data) != set(kinds) or data["name"] not in CHOICES[2:] \
                or any(type(data[name]) is not kind for name, kind in kinds.items()):
            raise ValueError(f"{source}: the chat form {data!r:.80} is damaged")
        return cls(**data)

    def parts(self, messages, *, reply: bool) -> list[Part]:
        """[(role, content), …] -> what stands there; with `reply`, up to where the answer begins."""
        messages = list(messages)
        if self.name == "mistral":
            return mistral_parts(self, messages)
        opened = [Part(TOKEN, self.begin)] if self.begin else []
        body = (chatml_parts if self.name == "chatml" else llama3_parts)(self, messages)
        if reply:
            body += chatml_head("assistant") if self.name == "chatml" else llama3_head("assistant")
        return opened + body

    def answer(self, text: str) -> str:
        """What the assistant has to say for this text to be its answer."""
        return with_thought(text, True, True) if self.think else self.before + text

    def reply_of(self, text: str) -> str:
        """A reply without the thought in front of it."""
        return text.rpartition("</think>")[2].strip() if self.think else text.strip()


def encode_parts(parts: list[Part], tokenizer) -> tuple[list[int], list[bool]]:
    """Parts -> (ids, is_label). Neighbouring texts are one text for the tokenizer, but where a label
    begins: there the model begins to speak, and what it reads ends."""
    runs: list[Part] = []
    for part in parts:
        is_text = part.kind == TEXT or part.text not in tokenizer.special
        if is_text and runs and (runs[-1].kind, runs[-1].is_label) == (TEXT, part.is_label):
            runs[-1] = Part(TEXT, runs[-1].text + part.text, part.is_label)
        else:
            runs.append(Part(TEXT if is_text else TOKEN, part.text, part.is_label))
    ids, is_label = [], []
    for run in runs:
        new = tokenizer.encode(run.text) if run.kind == TEXT else [tokenizer.special[run.text]]
        ids += new
        is_label += [run.is_label] * len(new)
    return ids, is_label


# ---------------------------------------------------------------- the three forms

def chatml_head(role: str) -> list[Part]:
    return [Part(TOKEN, "<|im_start|>"), Part(TEXT, f"{role}\n")]


def chatml_turn(role: str, content: str) -> list[Part]:
    said = role == "assistant"
    return [*chatml_head(role), Part(TEXT, content, said), Part(TOKEN, "<|im_end|>", said),
            Part(TEXT, "\n")]


def chatml_parts(form: ChatForm, messages: list) -> list[Part]:
    if form.system and (not messages or messages[0][0] != "system"):
        messages = [("system", form.system), *messages]
    last_asked = max((i for i, (role, _) in enumerate(messages) if role == "user"), default=-1)
    parts = []
    for i, (role, content) in enumerate(messages):
        if role == "tool" and form.tool == "user":
            first = not i or messages[i - 1][0] != "tool"
            last = messages[i + 1:i + 2] == [] or messages[i + 1][0] != "tool"
            parts += [Part(TOKEN, "<|im_start|>"), Part(TEXT, "user")] if first else []
            parts += [Part(TEXT, "\n"), Part(TOKEN, "<tool_response>"),
                      Part(TEXT, f"\n{content}\n"), Part(TOKEN, "</tool_response>")]
            parts += [Part(TOKEN, "<|im_end|>"), Part(TEXT, "\n")] if last else []
            continue
        if role == "assistant" and form.think:
            content = with_thought(content, i > last_asked, i == len(messages) - 1)
        parts += chatml_turn(role, content)
    return parts


def with_thought(content: str, is_new: bool, is_last: bool) -> str:
    """Thoughts of earlier answers are left out; the last answer has one, and be it empty (Qwen3)."""
    thought, _, said = content.rpartition("</think>")
    thought = thought.rstrip("\n").split("<think>")[-1].lstrip("\n")
    said = said.lstrip("\n") if "</think>" in content else said
    if is_new and (is_last or thought):
        return f"<think>\n{thought.strip(chr(10))}\n</think>\n\n{said.lstrip(chr(10))}"
    return said


def llama3_head(role: str) -> list[Part]:
    return [Part(TOKEN, "<|start_header_id|>"), Part(TEXT, role), Part(TOKEN, "<|end_header_id|>"),
            Part(TEXT, "\n\n")]


def llama3_parts(form: ChatForm, messages: list) -> list[Part]:
    if form.dated:
        system = messages[0][1] if messages and messages[0][0] == "system" else ""
        rest = messages[1:] if messages and messages[0][0] == "system" else messages
        messages = [("system", f"{CUTOFF}Today Date: {TODAY}\n\n{system.strip()}"), *rest]
    parts = []
    for i, (role, content) in enumerate(messages):
        kept = content if form.dated and i == 0 else content.strip()
        if role == "tool" and form.dated:
            role, kept = "ipython", json.dumps(content, ensure_ascii=False)
        said = role == "assistant"
        parts += [*llama3_head(role), Part(TEXT, kept, said), Part(TOKEN, "<|eot_id|>", said)]
    return parts


def mistral_parts(form: ChatForm, messages: list) -> list[Part]:
    """The system line stands in front of the last question."""
    system = messages[0][1] if messages and messages[0][0] == "system" else ""
    messages = messages[1:] if system else messages
    last = max((i for i, (role, _) in enumerate(messages) if role == "user"), default=-1)
    parts = [Part(TOKEN, form.begin)] if form.begin else []
    for i, (role, content) in enumerate(messages):
        if role == "assistant":
            parts += [Part(TEXT, form.before), Part(TEXT, content, True),
                      Part(TOKEN, form.close, True)]
        elif role == "user":
            lead = f"{system}\n\n" if system and i == last else ""
            parts += [Part(TOKEN, "[INST]"), Part(TEXT, f"{form.inner}{lead}{content}{form.inner}"),
                      Part(TOKEN, "[/INST]")]
        else:
            raise ValueError(f"the chat form mistral has no turn of the {role} here; leave it out, "
                             "or choose another form with --chat")
    return parts


# ---------------------------------------------------------------- which form is it?

def form_of(template: str, begin: str, end: str, source: str) -> ChatForm:
    """A template's text -> its form. Raises ValueError, with the way out, for one that is not known."""
    text = template.replace("\\n", "\n")
    opened = begin if "bos_token" in template else ""
    if "<|im_start|>" in text and "<|im_start|>assistant\n" in text and "<|im_sep|>" not in text:
        form = chatml_form(text, opened)
    elif "<|start_header_id|>" in text and "<|eot_id|>" in text and "| trim" in text.replace(
            "|trim", "| trim"):
        dated = "Cutting Knowledge Date" in text
        known = not dated or (CUTOFF in text and TODAY in text)
        form = ChatForm("llama3", begin=begin, dated=dated) if known else None
    elif "[/INST]" in text and not re.search(r"SYSTEM_PROMPT|<<SYS>>|strftime", text):
        form = mistral_form(text, begin, end)
    else:
        form = None
    if form is None:
        raise ValueError(f"{source}: its chat template is of none of the known forms (it begins "
                         f"{template.strip()[:60]!r}); choose one with --chat "
                         f"{'|'.join(CHOICES[1:])}")
    return form


def chatml_form(text: str, opened: str) -> ChatForm | None:
    """ChatML: the system line that is said by default, how tools answer, whether it thinks."""
    if re.search(r"strftime|raise_exception|\|\s*trim|'assistant\n<think>", text):
        return None  # something that the known ones have not: it may change what is written
    system = re.search(r"<\|im_start\|>system\n([^'\"{}|<]+)<\|im_end\|>", text)
    thinks = "</think>" in text
    if thinks and not ("last_query_index" in text and "enable_thinking is false" in text
                       and "content.lstrip('\n')" in text):
        return None
    return ChatForm("chatml", system=system[1] if system else "", begin=opened, think=thinks,
                    tool="user" if "<tool_response>" in text else "tool")


def mistral_form(text: str, begin: str, end: str) -> ChatForm | None:
    """Mistral's: with blanks around a question (the first ones) or without."""
    inner = " " if "[INST] " in text and " [/INST]" in text else ""
    before = " " if re.search(r"""["'] ["']\s*\+\s*message""", text) else ""
    return ChatForm("mistral", begin=begin, close=end, inner=inner, before=before)


def chosen_form(name: str, begin: str, end: str) -> ChatForm | None:
    """--chat NAME, for a model that has no template or an unknown one. None: plain."""
    if name not in CHOICES[1:]:
        raise ValueError(f"--chat {name}: choose one of {', '.join(CHOICES)}")
    return {"plain": None, "chatml": ChatForm("chatml"), "llama3": ChatForm("llama3", begin=begin),
            "mistral": ChatForm("mistral", begin=begin, close=end)}[name]
