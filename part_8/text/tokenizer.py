"""The tokenizer: BPE merges of our own, special tokens, and tiktoken to apply them at its speed.

Math   encode(text): in each chunk, again and again, join the neighbours whose bytes together are
       the token of the lowest id, until no two neighbours make a token             (eq. 4.3)
       For trained merges that is the order in which they were learned.
Used   data preparation, training and chat in every part from here on
See it python demo_bpe.py

    tokenizer = Tokenizer.train("a rose is a rose", 270)
    tokenizer.decode(tokenizer.encode("a rose"))           -> "a rose"
    tokenizer.encode("<|end|>")                            -> seven ordinary tokens: only text
    tokenizer.encode("<|end|>", allowed_special="all")     -> [tokenizer.end]
"""

import hashlib
import json
import re
import unicodedata

import numpy as np
import regex
import tiktoken
from run.runtime import replacing

from text.bpe import SPLIT, special_pattern, token_bytes
from text.bpe_fast import BLOCK, read_blocks, train_bpe
from text.tokenizer_files import (
    BYTE_LEVEL_PATTERNS,
    read_gpt2,
    read_json,
    read_tokenizer_json,
    require,
)

PAD, BEGIN, END = "<|pad|>", "<|begin|>", "<|end|>"  # three tokens: an end that is also padding
SPECIAL = (PAD, BEGIN, END)  # is never learned, because padding is left out of the loss
FORMAT, VERSION = "llm-from-scratch tokenizer", 1
LARGEST_ID = 2**24  # far above any vocabulary: a larger id is a broken or a hostile file
LONGEST_RUN = 200_000  # blanks: tiktoken's search gives up, with a panic, at a million

# Splittings for which read_blocks' cuts are certain.
CUTTABLE = {SPLIT, *BYTE_LEVEL_PATTERNS}


class Tokenizer:
    """Bytes of a token -> its id, the special tokens, and the pattern that splits the text first.

    tokens      {bytes: id}; a lower id is merged earlier. All 256 single bytes are there.
    special     {text: id}; never made by merges, only by name
    normalizer  None, or "NFC" and the like: applied to a text before it is encoded
    always      special tokens that count as such in any text, as <think> of some released models
    prefix      ids that stand before every text
    """

    chat, problem = None, ""  # released models have a form of conversations (pretrained/)

    def __init__(self, tokens, special, pattern=SPLIT, normalizer=None, always=(), prefix=()):
        check_tokens(tokens)
        check_special(special, tokens)
        check_pattern(pattern, normalizer)
        self.tokens, self.special = dict(tokens), dict(special)
        self.always, self.prefix = list(always), list(prefix)
        require(set(self.always) <= set(special), f"{always!r:.80} are no special tokens")
        require(set(self.prefix) <= {*special.values(), *tokens.values()},
                f"the prefix {prefix!r:.80} holds what is no token")
        self.pattern, self.normalizer = pattern, normalizer
        self.vocab_size = 1 + max([*self.tokens.values(), *self.special.values()])
        self.encoding = tiktoken.Encoding(
            "llm-from-scratch", pat_str=pattern, mergeable_ranks=self.tokens,
            special_tokens=self.special)

    # ------------------------------------------------------------ where tokenizers come from

    @classmethod
    def from_merges(cls, merges, special=SPECIAL, pattern=SPLIT):
        """Merges as trained -> ids 0..255 bytes, then the merges, then the special tokens."""
        tokens = {token: i for i, token in enumerate(token_bytes(merges))}
        if len(tokens) != 256 + len(merges):
            raise ValueError("two merges make the same token: these are no merges of BPE training")
        return cls(tokens, {name: len(tokens) + i for i, name in enumerate(special)}, pattern)

    @classmethod
    def train(cls, texts, vocab_size, special=SPECIAL, workers=1):
        """Learn from one text or an iterable of texts. `vocab_size` counts the special tokens."""
        check_special({name: i for i, name in enumerate(special)}, {})
        return cls.from_merges(train_bpe(texts, vocab_size, special, workers=workers), special)

    @classmethod
    def from_gpt2(cls, vocab, merges):
        """GPT-2's vocab.json and merges.txt, or files of that form."""
        return cls(**read_gpt2(vocab, merges))

    @classmethod
    def from_tokenizer_json(cls, path):
        """A byte-level tokenizer.json of Hugging Face (GPT-2, Llama 3, Qwen 2, SmolLM, ...)."""
        return cls(**read_tokenizer_json(path))

    def with_special(self, *names):
        """The same tokenizer with more special tokens, whose ids follow the present ones."""
        if known := [name for name in names if name in self.special]:
            raise ValueError(f"{known} are special tokens already")
        more = {name: self.vocab_size + i for i, name in enumerate(names)}
        return Tokenizer(self.tokens, self.special | more, self.pattern, self.normalizer,
                         self.always, self.prefix)

    # ------------------------------------------------------------ text to ids and back

    def encode(self, text, allowed_special=()):
        """Text -> list of ids, after `prefix`. Special tokens are read as such only where they are
        allowed: a set of names, or "all". Else one who types <|end|> would end the model's turn."""
        return [*self.prefix, *self._encode(text, self._allowed(allowed_special))]

    def _encode(self, text, allowed):
        if not allowed:
            return self._ordinary(text)
        # tiktoken would try <|end|> and <|end|>x in any order: the longest is looked for first here
        ids = []
        for i, part in enumerate(re.split(f"({special_pattern(allowed)})", text)):
            ids += [self.special[part]] if i % 2 else self._ordinary(part)
        return ids

    def _ordinary(self, text):
        """The ids of a text without special tokens."""
        if self.normalizer:
            text = unicodedata.normalize(self.normalizer, text)
        if has_long_run(text):  # cut by Python's `regex`: slower, and without a limit
            return self.encoding._encode_only_native_bpe(text)
        return self.encoding.encode_ordinary(text)

    def begun(self, text):
        """The ids of a text that begins here: the begin token in front."""
        return [self.begin, *self.encode(text)]

    def encode_batch(self, texts, allowed_special=(), threads=2):
        """Many texts at once -> list of lists of ids. In `threads` threads, unless special tokens
        are allowed."""
        texts = list(texts)
        if (self.normalizer or self.prefix or self._allowed(allowed_special)
                or any(map(has_long_run, texts))):
            return [self.encode(text, allowed_special) for text in texts]
        return self.encoding.encode_ordinary_batch(texts, num_threads=threads)

    def encode_file(self, path, allowed_special=(), block=BLOCK):
        """A UTF-8 file of any size -> arrays of ids, one after another, in little memory.

        Joined, they are exactly the ids of the whole text: it is cut only where chunks surely end.
        """
        allowed = self._allowed(allowed_special)
        if self.pattern not in CUTTABLE:
            raise ValueError(
                f"cannot tell where texts may be cut under the pattern {self.pattern!r}; "
                f"read {path} whole and use encode()")
        if spaced := [name for name in allowed if re.search(r"\s", name)]:
            raise ValueError(f"{spaced}: special tokens with white space could be cut in two; "
                             f"read {path} whole and use encode()")
        dtype = np.uint16 if self.vocab_size <= 2**16 else np.uint32
        if self.prefix:
            yield np.array(self.prefix, dtype)
        for text in read_blocks(path, block):
            yield np.array(self._encode(text, allowed), dtype)

    def decode_bytes(self, ids):
        """Ids (a list, an array or a tensor) -> bytes."""
        ids = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        try:
            return self.encoding.decode_bytes(ids)
        except (KeyError, OverflowError):
            known = {*self.tokens.values(), *self.special.values()}
            bad = next(i for i in ids if i not in known)
            raise ValueError(
                f"id {bad} is no token of this vocabulary of {self.vocab_size}") from None

    def decode(self, ids):
        """Ids -> text. Bytes that are no whole character become U+FFFD, as in half an emoji."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def id_of(self, name):
        """The id of a special token, by name."""
        if name not in self.special:
            raise ValueError(f"this tokenizer has no special token {name!r}, only "
                             f"{sorted(self.special)}; add it with with_special({name!r})")
        return self.special[name]

    pad = property(lambda self: self.id_of(PAD))
    begin = property(lambda self: self.id_of(BEGIN))
    end = property(lambda self: self.id_of(END))

    def _allowed(self, names):
        if isinstance(names, str):
            names = list(self.special) if names == "all" else [names]
        for name in names:
            self.id_of(name)
        return [*names, *(name for name in self.always if name not in names)]

    # ------------------------------------------------------------ to a file and back

    def to_dict(self):
        """Plain data for JSON or a checkpoint. Bytes are written as characters U+0000..U+00FF."""
        more = {"always": self.always, "prefix": self.prefix}  # of released tokenizers alone
        return {"format": FORMAT, "version": VERSION, "pattern": self.pattern,
                "normalizer": self.normalizer, "special": self.special,
                **{name: value for name, value in more.items() if value},
                "tokens": {t.decode("latin-1"): i for t, i in self.tokens.items()}}

    @classmethod
    def from_dict(cls, data, source="this data"):
        """What to_dict gave -> the tokenizer; anything else is refused with the reason."""
        if isinstance(data, dict) and repr(data.get("format")) == repr("released tokenizer"):
            from pretrained.released_tokenizer import ReleasedTokenizer  # which is made of this one
            return ReleasedTokenizer.from_dict(data, source)
        require(isinstance(data, dict) and repr(data.get("format")) == repr(FORMAT),
                f"{source} is no tokenizer of this repository")
        require(repr(data.get("version")) == repr(VERSION),  # it may be anything, a tensor too
                f"{source} has version {data.get('version')!r}, not {VERSION}")
        tokens, special = data.get("tokens"), data.get("special")
        require(isinstance(tokens, dict) and isinstance(special, dict)
                and all(isinstance(key, str) for key in [*tokens, *special]),
                f"{source} has no tables of tokens and special tokens")
        try:
            tokens = {text.encode("latin-1"): i for text, i in tokens.items()}
            return cls(tokens, special, data.get("pattern"), data.get("normalizer"),
                       data.get("always", ()), data.get("prefix", ()))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{source} is damaged: {error}") from None

    def save(self, path):
        """Write a JSON file, whole or not at all."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict()), encoding="utf-8")

    @classmethod
    def load(cls, path):
        return cls.from_dict(read_json(path), source=str(path))

    @property
    def fingerprint(self):
        """16 hex digits that two tokenizers share only if they give the same ids."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def has_long_run(text):
    """Does a text hold a run of blanks that tiktoken's search may give up at?"""
    return len(text) >= LONGEST_RUN and any(
        run.end() - run.start() >= LONGEST_RUN for run in re.finditer(r"\s+", text))


# ---------------------------------------------------------------- what is refused

def check_ids(table, what):
    for token, i in table.items():
        require(type(i) is int and 0 <= i < LARGEST_ID,
                f"{what} {token!r} has the id {i!r}; ids are whole numbers below {LARGEST_ID}")


def check_tokens(tokens):
    check_ids(tokens, "token")
    missing = [i for i in range(256) if bytes([i]) not in tokens]
    require(not missing, f"{len(missing)} of the 256 single bytes are no tokens (the first: "
                         f"{missing[:1]}): not byte-level")
    require(b"" not in tokens, "one token is empty")
    require(len(set(tokens.values())) == len(tokens), "two tokens share an id")


def check_special(special, tokens):
    check_ids(special, "special token")
    for name in special:
        require(isinstance(name, str) and name, f"special token {name!r} is no text, or empty")
    ids = [*special.values(), *tokens.values()]
    require(len(set(ids)) == len(ids), "a special token shares its id with another token")


def check_pattern(pattern, normalizer):
    require(isinstance(pattern, str), f"the splitting pattern is {pattern!r}, not a text")
    require(normalizer in (None, "NFC", "NFD", "NFKC", "NFKD"),
            f"the normalizer {normalizer!r} is unknown; NFC, NFD, NFKC and NFKD are known")
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"the splitting pattern {pattern!r} is wrong: {error}") from None
