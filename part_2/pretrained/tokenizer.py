"""The tokenizer of a released model: its tokenizer.json becomes a tiktoken encoding.

Idea    Byte-level BPE has three pieces: a pattern that cuts text into words, an order of merges,
        and names for ids. tokenizer.json tells all three, with bytes written as printable letters
        (the space is "Ġ"). tiktoken wants the pattern and the bytes of every token by rank.
Used    load_pretrained.py   (lesson 3.8)
Source  Radford et al. 2019 (GPT-2), section 2.2, for byte-level BPE

Refused by name: all that is no byte-level BPE (SentencePiece's, WordPiece, Unigram), and settings
that tiktoken has no word for. Text of special tokens, such as "<|endoftext|>", is ordinary text
unless `special=True`: what a user types cannot end a document.
"""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import tiktoken

from pretrained.safetensors_io import strict_json

_GPT2_PATTERN = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|"
                 r"\s+(?!\S)|\s+")  # what "ByteLevel" means if it is to cut the text itself
_DIGITS_PATTERN = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|"
                   r"\s+(?![^\s\p{N}])|\s+")  # the same, after single digits were taken out
_MOST_ABSENT = 64  # bytes without a token: with more, it is hardly byte-level
_LONGEST_RUN = 200_000  # blanks: tiktoken's search gives up, with a panic, at a million


@dataclass(frozen=True)
class FolderTokenizer:
    """`encoding` is tiktoken's; around it what a model's folder asks for besides."""

    encoding: tiktoken.Encoding
    always: frozenset[str] = frozenset()  # added tokens that count as such in any text
    normal_form: str | None = None        # "NFC": text is brought to that Unicode form first
    prefix: tuple[int, ...] = ()          # ids before every text, such as the begin token
    missing: frozenset[int] = frozenset()  # bytes without a token: SmolLM2 lacks 21 rare ones

    @property
    def vocab_size(self) -> int:
        return self.encoding.n_vocab

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Text -> ids, without `prefix`. Special tokens are read as such only if `special`."""
        if self.normal_form:
            text = unicodedata.normalize(self.normal_form, text)
        if lacks := self.missing.intersection(text.encode("utf-8") if self.missing else ()):
            raise ValueError(f"this tokenizer has no token for the byte 0x{min(lacks):02x}, which "
                             f"is in {text[:60]!r}")
        names = self.encoding.special_tokens_set if special else self.always
        longest_first = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        parts = re.split(f"({longest_first})", text) if names else [text]
        ids = []
        for number, part in enumerate(parts):
            ids += ([self.encoding.encode_single_token(part)] if number % 2 else
                    self._ordinary(part))
        if self.encoding.decode_bytes(ids) != text.encode("utf-8"):
            raise ValueError(f"the pattern of this tokenizer leaves out a part of {text[:60]!r}")
        return ids

    def _ordinary(self, text: str) -> list[int]:
        """The ids of a text without special tokens."""
        long_run = len(text) >= _LONGEST_RUN and any(
            run.end() - run.start() >= _LONGEST_RUN for run in re.finditer(r"\s+", text))
        if long_run:  # cut by Python's `regex`: slower, and without a limit
            return self.encoding._encode_only_native_bpe(text)
        return self.encoding.encode_ordinary(text)

    def decode(self, ids: list[int]) -> str:
        """Ids -> text. Bytes that are no UTF-8, and ids that no token has, show as U+FFFD.

        (A model's vocabulary is often a little larger than its tokenizer's.)
        """
        pieces = []
        for i in ids:
            try:
                pieces.append(self.encoding.decode_single_token_bytes(i))
            except KeyError:
                pieces.append("\N{REPLACEMENT CHARACTER}".encode())
        return b"".join(pieces).decode("utf-8", errors="replace")


def _byte_letters() -> dict[str, int]:
    """Letter -> byte. Printable Latin-1 letters are themselves; the rest take U+0100, U+0101, …

    _byte_letters()["A"] == 65, _byte_letters()["Ġ"] == 32 (the space), _byte_letters()["Ċ"] == 10
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(0x100 + n): b for n, b in enumerate(other)}


def _need(condition: bool, where: Path, what: str) -> None:
    """Raise ValueError "tokenizer.json: `what`" unless `condition`."""
    if not condition:
        raise ValueError(f"{where}: {what}; only byte-level BPE (as GPT-2, Llama 3 and Qwen have "
                         "it) can be read here")


def _steps(value, key: str) -> list[dict]:
    """A stage of tokenizer.json as a list: [] for null, its members for a "Sequence"."""
    if not value:
        return []
    return value[key] if value.get("type") == "Sequence" else [value]


def _read_pattern(data: dict, where: Path) -> str:
    """The regular expression that cuts text into words, from the "pre_tokenizer"."""
    stages = _steps(data.get("pre_tokenizer"), "pretokenizers")
    names = " + ".join(stage.get("type", "?") for stage in stages) or "none"
    byte_level = stages[-1] if stages and stages[-1].get("type") == "ByteLevel" else None
    _need(byte_level is not None, where, f"pre_tokenizer {names} is not byte-level")
    _need(not byte_level.get("add_prefix_space"), where, "add_prefix_space is not known here")
    cuts = stages[:-1]
    if byte_level.get("use_regex", True):
        if [cut.get("type") for cut in cuts] == ["Digits"] and cuts[0].get("individual_digits"):
            return _DIGITS_PATTERN
        _need(not cuts, where, f"pre_tokenizer {names} cuts twice")
        return _GPT2_PATTERN
    _need(len(cuts) == 1 and cuts[0].get("type") == "Split", where,
          f"pre_tokenizer {names} must be one Split and ByteLevel")
    pattern = cuts[0].get("pattern", {}).get("Regex")
    how = (cuts[0].get("behavior"), bool(cuts[0].get("invert")))
    _need(isinstance(pattern, str) and how in (("Isolated", False), ("Removed", True)), where,
          f"a Split by {cuts[0].get('pattern')}, {how[0]}, invert={how[1]}, is not known here")
    return pattern


def _read_ranks(model: dict, added: dict[str, int], where: Path) -> dict[bytes, int]:
    """Bytes -> id, of all tokens that merges make. tiktoken takes the id as the rank of the merge.

    So the merges must stand in the order of the ids that they make, and every token of more than
    one byte must come from a merge.
    """
    letters = _byte_letters()
    ranks: dict[bytes, int] = {}
    for token, i in model["vocab"].items():
        if added.get(token) == i:
            continue
        foreign = sorted(set(token) - letters.keys())
        _need(not foreign, where, f"the token {token!r} holds {foreign}, which stand for no byte")
        ranks[bytes(letters[c] for c in token)] = i
    absent = [b for b in range(256) if bytes([b]) not in ranks]
    _need(len(absent) <= _MOST_ABSENT, where,
          f"{len(absent)} of the 256 bytes have no token (first: {absent[:5]})")
    made, last = set(), -1
    for merge in model["merges"]:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        _need(len(pair) == 2 and set("".join(pair)) <= letters.keys(), where,
              f"bad merge {merge!r}")
        whole = bytes(letters[c] for c in "".join(pair))
        _need(whole in ranks, where, f"the merge {merge!r} makes a token without an id")
        _need(ranks[whole] >= last, where, f"the merge {merge!r} comes later than its id "
              f"{ranks[whole]} says: the order of merges and ids differ")
        last = ranks[whole]
        made.add(whole)
    if not model.get("ignore_merges"):
        orphans = [token for token in ranks if len(token) > 1 and token not in made]
        _need(not orphans, where, f"{len(orphans)} tokens come from no merge ({orphans[:5]})")
    return ranks


def _read_added(data: dict, where: Path) -> tuple[dict[str, int], frozenset[str]]:
    """"added_tokens" -> (text: id, for all; the texts that are not "special")."""
    added, always = {}, set()
    for token in data.get("added_tokens") or []:
        odd = [k for k in ("lstrip", "rstrip", "single_word") if token.get(k)]
        _need(not odd, where, f"the added token {token.get('content')!r} has {', '.join(odd)}")
        added[token["content"]] = token["id"]
        if not token.get("special"):
            always.add(token["content"])
    return added, frozenset(always)


def _read_prefix(data: dict, where: Path) -> tuple[int, ...]:
    """The ids that the "post_processor" puts before a text (Llama 3: <|begin_of_text|>)."""
    prefix: list[int] = []
    for stage in _steps(data.get("post_processor"), "processors"):
        if stage.get("type") == "ByteLevel":  # about offsets only
            continue
        _need(stage.get("type") == "TemplateProcessing", where,
              f"post_processor {stage.get('type')} is not known here")
        parts = [next(iter(part.items())) for part in stage["single"]]
        kinds = [kind for kind, _ in parts]
        _need(kinds == ["SpecialToken"] * (len(kinds) - 1) + ["Sequence"], where,
              "the post_processor puts tokens elsewhere than before the text")
        for _, token in parts[:-1]:
            prefix += stage["special_tokens"][token["id"]]["ids"]
    return tuple(prefix)


def load_hf_tokenizer(folder: Path) -> FolderTokenizer:
    """A model's folder, or its tokenizer.json, -> FolderTokenizer.

    Raises FileNotFoundError without that file, and ValueError that names what cannot be read.
    """
    where = Path(folder) if Path(folder).is_file() else Path(folder) / "tokenizer.json"
    if not where.is_file():
        raise FileNotFoundError(f"{where} is missing: the folder has no byte-level BPE tokenizer "
                                "in that format (a tokenizer.model is SentencePiece's)"
                                if where.parent.is_dir() else f"{where.parent}: no such folder")
    data = strict_json(where.read_text(encoding="utf-8"), str(where))
    try:
        return _build_tokenizer(data, where)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{where}: not built as a tokenizer.json is "
                         f"({type(error).__name__}: {error})") from None


def _build_tokenizer(data: dict, where: Path) -> FolderTokenizer:
    """The content of a tokenizer.json -> FolderTokenizer; each stage is checked by name."""
    model = data["model"]
    _need(model.get("type", "BPE") == "BPE", where, f"the model is {model.get('type')}, not BPE")
    for key in ("byte_fallback", "dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        _need(not model.get(key), where, f"{key}={model.get(key)!r} in the model")
    forms = [stage.get("type") for stage in _steps(data.get("normalizer"), "normalizers")]
    _need(forms in ([], ["NFC"], ["NFKC"], ["NFD"], ["NFKD"]), where, f"normalizer {forms}")
    added, always = _read_added(data, where)
    ranks = _read_ranks(model, added, where)
    taken = {i: text for text, i in added.items()}
    twice = [token for token, i in ranks.items() if i in taken]
    _need(not twice and len(set(ranks.values())) == len(ranks), where, "two tokens share an id")
    pattern = _read_pattern(data, where)
    try:
        encoding = tiktoken.Encoding(where.parent.name or "folder",
                                     pat_str=pattern, mergeable_ranks=ranks,
                                     special_tokens=added)
    except ValueError as error:  # the regular expression
        raise ValueError(f"{where}: {str(error).splitlines()[0]}") from None
    return FolderTokenizer(encoding, always, forms[0] if forms else None,
                           _read_prefix(data, where), frozenset(
                               b for b in range(256) if bytes([b]) not in ranks))
