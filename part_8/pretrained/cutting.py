"""How a tokenizer.json cuts a text before its merges: the stages of its "pre_tokenizer".

Idea    Each stage cuts the pieces of the stage before it. Most are a regular expression: what it
        finds is a piece, and so is what lies between ("Isolated"). Two stages that many models have
        are one expression, known by name in text/tokenizer_files.py, and fast.
Used    pretrained/tokenizer.py
"""

import regex
from text.bpe import SPLIT
from text.tokenizer_files import BYTE_LEVEL_PATTERNS, DIGITS_SPLIT, GPT2_SPLIT, require

WHOLE = r"[\s\S]+"  # one piece, whatever it holds: for texts that are cut already


def cut(text: str, stages: tuple[str, ...]) -> list[str]:
    """cut("ab 12", (r"\\p{N}",)) -> ["ab ", "1", "2"]: what is found, and what lies between."""
    pieces = [text]
    for pattern in stages:
        parts = []
        for piece in pieces:
            place = 0
            for match in regex.finditer(pattern, piece):
                parts += [piece[place:match.start()], match[0]]
                place = match.end()
            parts.append(piece[place:])
        pieces = [piece for piece in parts if piece]
    return pieces


def stages_of(pre, path) -> tuple[str, ...]:
    """The "pre_tokenizer" of a tokenizer.json -> its patterns, in their order."""
    steps = [pre]
    if isinstance(pre, dict) and pre.get("type") == "Sequence":
        steps = pre.get("pretokenizers")
    require(isinstance(steps, list) and steps and all(isinstance(step, dict) for step in steps),
            f"{path}: the pre-tokenizer is {pre!r:.80}; only those that end in ByteLevel can be "
            "read (a tokenizer of SentencePiece, as Llama 2 has it, cannot)")
    kinds = " + ".join(str(step.get("type")) for step in steps)
    require(steps[-1].get("type") == "ByteLevel",
            f"{path}: the pre-tokenizer is {kinds}; only those that end in ByteLevel can be read "
            "(a tokenizer of SentencePiece, as Llama 2 has it, cannot)")
    require(not any(step.get("add_prefix_space") for step in steps),
            f"{path}: the pre-tokenizer adds a space before the text (add_prefix_space), which is "
            "not supported")
    patterns = [pattern for step in steps if (pattern := pattern_of(step, kinds, path))]
    if patterns == [r"\p{N}", GPT2_SPLIT]:
        patterns = [DIGITS_SPLIT]
    require(patterns, f"{path}: the pre-tokenizer {kinds} cuts nothing, which is not supported")
    return tuple(patterns)


def pattern_of(step: dict, kinds: str, path) -> str | None:
    """The pattern of one stage; None for one that cuts nothing."""
    kind = step.get("type")
    if kind == "ByteLevel":
        return GPT2_SPLIT if step.get("use_regex", True) else None
    if kind == "Digits":
        return r"\p{N}" if step.get("individual_digits") else r"\p{N}+"
    require(kind == "Split", f"{path}: the pre-tokenizer {kinds} holds {kind}, which is not "
                             "supported; Split, Digits and ByteLevel are")
    said = step.get("pattern")
    require(isinstance(said, dict) and all(isinstance(text, str) for text in said.values())
            and set(said) in ({"Regex"}, {"String"}), f"{path}: a Split by {said!r:.80}")
    pattern = said["Regex"] if "Regex" in said else regex.escape(said["String"])
    how = (step.get("behavior"), bool(step.get("invert")))
    is_alone = how == ("Isolated", False) or how == ("Removed", True) and pattern in \
        BYTE_LEVEL_PATTERNS  # these find every character: there is nothing to remove
    require(is_alone, f"{path}: a Split that is {how[0]}, invert={how[1]}, is not supported")
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"{path}: the splitting pattern {pattern!r} is wrong: {error}") from None
    return pattern


def single_pattern(stages: tuple[str, ...]) -> str | None:
    """The one pattern that does it alone and finds every character; None where there is none."""
    return stages[0] if len(stages) == 1 and stages[0] in (*BYTE_LEVEL_PATTERNS, SPLIT) else None
