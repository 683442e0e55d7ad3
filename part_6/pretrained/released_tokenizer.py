"""A released model's tokenizer, whole: byte-level BPE from its folder, with its added tokens.

Idea    A text is cut at the added tokens, the rest brought to its normal form and cut into words,
        and in each word neighbours are merged. All four steps are told by tokenizer.json. Some
        alphabets are not whole: a byte without a token becomes the unknown token, or nothing.
Used    pretrained/loading.py; wherever a checkpoint is read
Source  Radford et al. 2019 (GPT-2), section 2.2, for byte-level BPE

`encode` reads special tokens as such only where they are allowed, as text/tokenizer.py does: what a
user types cannot end a turn. Added tokens that are not special ("<think>") count always.
"""

import json
import re
import unicodedata

import tiktoken
from text.bpe import special_pattern
from text.tokenizer import Tokenizer, check_ids
from text.tokenizer_files import (
    byte_characters,
    check_model,
    normalizer_name,
    ordered_tokens,
    require,
    to_bytes,
    without_duplicates,
)

from pretrained.chat_forms import ChatForm
from pretrained.cutting import WHOLE, cut, single_pattern, stages_of

RELEASED, RELEASED_VERSION = "released tokenizer", 1
FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
         "generation_config.json")  # what is kept of a folder, as it stands there


class ReleasedTokenizer(Tokenizer):
    """The tokenizer of a released model. `files`: name -> text, of FILES those that are there.

    vocab_size  that of the model, which is often a little larger than the tokenizer's
    chat        how a conversation becomes tokens; None: the roles of sft/chat_format.py
    problem     why there is no `chat` although the folder has a template; "" where all is well
    """

    def __init__(self, files: dict, vocab_size: int, chat: ChatForm | None, ids: dict,
                 problem: str = "", source: str = "tokenizer.json"):
        self.files, self.vocab_size, self.chat = dict(files), vocab_size, chat
        self.ids, self.problem = dict(ids), problem  # ids: of begin, end and pad
        try:
            self.read(parsed_json(files["tokenizer.json"], source), source)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"{source}: not built as a tokenizer.json is "
                             f"({type(error).__name__}: {error})") from None
        known = {*self.tokens.values(), *self.special.values()}
        require(max(known) < vocab_size, f"{source}: the tokenizer has the id {max(known)}, the "
                f"model a vocabulary of {vocab_size}: they do not belong together")
        require(set(ids) == {"begin", "end", "pad"} and set(ids.values()) <= known,
                f"{source}: begin, end and pad are {ids}; they must be tokens")

    def read(self, data: dict, source: str) -> None:
        """Take everything out of tokenizer.json; ValueError names what is not known here."""
        model = data["model"]
        check_model(model, source)
        added = data.get("added_tokens") or []
        self.special, self.raw, self.always = read_added(added, source)
        self.stages = stages_of(data.get("pre_tokenizer"), source)
        self.pattern = single_pattern(self.stages) or WHOLE
        self.normalizer = read_normalizer(data.get("normalizer"), source)
        self.prefix = read_prefix(data.get("post_processor"), source)
        vocab = without_duplicates(list(model["vocab"].items()))
        if model.get("ignore_merges"):  # whole words are looked up first: the ids are the ranks
            table = byte_characters()
            self.tokens = {to_bytes(text, table): i for text, i in vocab.items()
                           if text not in self.special}
            require(None not in self.tokens, f"{source}: a token is not written in bytes; only "
                                             "byte-level BPE can be read, not SentencePiece")
        else:
            self.tokens = ordered_tokens(vocab, model["merges"], self.special, source)
        check_ids(self.tokens, "token")
        self.unknown, self.fused = model.get("unk_token"), bool(model.get("fuse_unk"))
        if self.unknown is not None:
            self.unknown = {**vocab, **self.special}[self.unknown]
        self.missing = frozenset(i for i in range(256) if bytes([i]) not in self.tokens)
        self.encoding = tiktoken.Encoding("released", pat_str=self.pattern,
                                          mergeable_ranks=self.tokens, special_tokens=self.special)

    # ------------------------------------------------------------ text to ids and back

    def encode(self, text, allowed_special=()):
        """Text -> list of ids, without the begin token."""
        allowed = {*self._allowed(allowed_special), *self.always}
        ids = []
        for part, token in split_at(text, allowed & self.raw):
            if self.normalizer:
                part = unicodedata.normalize(self.normalizer, part)
            for piece, inner in split_at(part, allowed - self.raw):
                ids += self.merged(piece)
                ids += [self.special[inner]] if inner else []
            ids += [self.special[token]] if token else []
        return ids

    def begun(self, text):
        """The ids with which the model was trained to begin such a text."""
        return [*self.prefix, *self.encode(text)] or [self.begin]

    def merged(self, text: str) -> list[int]:
        """The ids of a text without added tokens."""
        lacks = self.missing and not self.missing.isdisjoint(text.encode())
        if self.pattern != WHOLE and not lacks:
            return self.encoding.encode_ordinary(text)
        ids = []
        for piece in cut(text, self.stages):
            raw = piece.encode()
            if self.missing.isdisjoint(raw):
                ids += self.encoding.encode_ordinary(piece) if self.pattern == WHOLE else \
                    merge_bytes(raw, self.tokens)
            else:
                ids += self.merged_with_gaps(raw)
        return ids

    def merged_with_gaps(self, raw: bytes) -> list[int]:
        """The ids of a word in which some bytes have no token."""
        if self.unknown is None:  # as if they were not there
            return merge_bytes(bytes(b for b in raw if b not in self.missing), self.tokens)
        ids, run = [], bytearray()
        for byte in raw:
            if byte not in self.missing:
                run.append(byte)
                continue
            ids += merge_bytes(bytes(run), self.tokens)
            after_unknown = not run and ids[-1:] == [self.unknown]
            ids += [] if self.fused and after_unknown else [self.unknown]
            run.clear()
        return ids + merge_bytes(bytes(run), self.tokens)

    def encode_batch(self, texts, allowed_special=(), threads=2):
        return [self.encode(text, allowed_special) for text in texts]

    def decode_bytes(self, ids):
        """Ids -> bytes. An id that no token has, of the rows a model has to spare, shows as U+FFFD."""
        pieces = []
        for i in ids.tolist() if hasattr(ids, "tolist") else ids:
            try:
                pieces.append(self.encoding.decode_single_token_bytes(i))
            except (KeyError, OverflowError):
                pieces.append("\N{REPLACEMENT CHARACTER}".encode())
        return b"".join(pieces)

    pad = property(lambda self: self.ids["pad"])
    begin = property(lambda self: self.ids["begin"])

    @property
    def end(self) -> int:
        """What ends a reply: the chat form says it, or else the folder."""
        return self.special.get(self.chat.closer, self.ids["end"]) if self.chat else self.ids["end"]

    def with_special(self, *names):
        """More special tokens, behind the model's vocabulary: the model must grow."""
        if known := [name for name in names if name in self.special]:
            raise ValueError(f"{known} are special tokens already")
        data = json.loads(self.files["tokenizer.json"])
        data["added_tokens"] = [*(data.get("added_tokens") or []), *(
            {"id": self.vocab_size + i, "content": name, "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False, "special": True}
            for i, name in enumerate(names))]
        files = self.files | {"tokenizer.json": json.dumps(data, ensure_ascii=False)}
        return ReleasedTokenizer(files, self.vocab_size + len(names), self.chat, self.ids,
                                 self.problem)

    # ------------------------------------------------------------ to a checkpoint and back

    def to_dict(self):
        return {"format": RELEASED, "version": RELEASED_VERSION, "files": self.files,
                "vocab_size": self.vocab_size, "ids": self.ids, "problem": self.problem,
                "chat": self.chat.to_dict() if self.chat else None}

    @classmethod
    def from_dict(cls, data, source="this data"):
        kinds = {"files": dict, "vocab_size": int, "ids": dict, "problem": str}
        odd = [name for name, kind in kinds.items() if type(data.get(name)) is not kind]
        require(not odd and repr(data.get("version")) == repr(RELEASED_VERSION)
                and all(isinstance(text, str) for text in data["files"].values())
                and all(type(i) is int for i in data["ids"].values()),
                f"{source}: the tokenizer is damaged, or of another version ({', '.join(odd)})")
        return cls(data["files"], data["vocab_size"], ChatForm.from_dict(data.get("chat"), source),
                   data["ids"], data["problem"], source)


# ---------------------------------------------------------------- parts of tokenizer.json

def parsed_json(text: str, source: str) -> dict:
    """The data of a JSON text; ValueError names the file where it is none."""
    try:
        data = json.loads(text, object_pairs_hook=without_duplicates)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source} is no whole JSON file (cut short?): {error}") from None
    require(isinstance(data, dict), f"{source}: must be a JSON object, not {data!r:.40}")
    return data


def read_added(added, source: str):
    """"added_tokens" -> {text: id}; those that are looked for before the text is normalised; and
    those that are not special."""
    special, raw, always = {}, set(), set()
    for token in added:
        odd = [key for key in ("lstrip", "rstrip", "single_word") if token.get(key)]
        require(not odd, f"{source}: the added token {token['content']!r} uses "
                         f"{', '.join(odd)}, which is not supported")
        require(isinstance(token["content"], str) and token["content"],
                f"{source}: an added token without text: {token!r:.80}")
        special[token["content"]] = token["id"]
        raw |= set() if token.get("normalized") else {token["content"]}
        always |= set() if token.get("special") else {token["content"]}
    check_ids(special, "added token")
    return special, frozenset(raw), frozenset(always)


def read_normalizer(normalizer, source: str) -> str | None:
    if isinstance(normalizer, dict) and normalizer.get("type") == "Sequence":
        steps = normalizer["normalizers"]
        require(len(steps) <= 1, f"{source}: {len(steps)} normalizers, one is supported")
        normalizer = steps[0] if steps else None
    return normalizer_name(normalizer, source)


def read_prefix(post, source: str) -> tuple[int, ...]:
    """The ids that the "post_processor" puts before a text (Llama 3: <|begin_of_text|>)."""
    steps = [] if not post else post["processors"] if post["type"] == "Sequence" else [post]
    prefix = []
    for step in steps:
        if step["type"] == "ByteLevel":  # about offsets only
            continue
        require(step["type"] == "TemplateProcessing",
                f"{source}: the post_processor {step['type']} is not supported")
        parts = [next(iter(part.items())) for part in step["single"]]
        kinds = [kind for kind, _ in parts]
        require(kinds == ["SpecialToken"] * (len(kinds) - 1) + ["Sequence"],
                f"{source}: the post_processor puts tokens elsewhere than before the text")
        for _, token in parts[:-1]:
            prefix += step["special_tokens"][token["id"]]["ids"]
    return tuple(prefix)


def split_at(text: str, names):
    """Yield (text, the token that follows it or None), the longest token first."""
    parts = re.split(f"({special_pattern(names)})", text) if names else [text]
    for i in range(0, len(parts), 2):
        yield parts[i], parts[i + 1] if i + 1 < len(parts) else None


def merge_bytes(raw: bytes, tokens: dict[bytes, int]) -> list[int]:
    """BPE in plain Python, for the few words that tiktoken cannot take: the lowest id goes first."""
    if raw in tokens:
        return [tokens[raw]]
    parts = [bytes([byte]) for byte in raw]
    while True:
        ranks = [tokens.get(a + b, -1) for a, b in zip(parts, parts[1:])]
        best = min((rank for rank in ranks if rank >= 0), default=None)
        if best is None:
            return [tokens[part] for part in parts]
        i = ranks.index(best)
        parts[i:i + 2] = [parts[i] + parts[i + 1]]
