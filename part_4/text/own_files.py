"""Texts of one's own: which files of a folder count, what they hold, and what is held out of them.

Used   text/sources.py, eval.py   (lesson 4.2)

A file is read as UTF-8, or refused with the byte that is none: letters that are read wrong are
learnt wrong, and nobody sees it. Packed by gzip (.gz) it is unpacked. A file of records
{"text": ...}, one a line, holds one document a record; any other is cut into documents.
"""

import gzip
import hashlib
import json
import zlib
from pathlib import Path

TEXT_ENDINGS = (".txt", ".md", ".rst", ".py", ".json", ".jsonl", ".html", ".c", ".h", ".tex", ".csv")
RECORD_ENDINGS = (".jsonl", ".ndjson", ".json")
LONGEST_DOCUMENT = 8_000  # characters; a longer text is cut at a line's end
SHORTEST_DOCUMENT = 200   # a small text is cut into shorter pieces, but not below this
VALIDATION_SHARE = 0.05   # of the documents
SMALL = 4_000_000         # bytes; up to here both splits are made sure to get something


# ---------------------------------------------------------------- which files

def existing(name: str) -> Path:
    """The path of that name; ValueError where nothing is there."""
    path = Path(name).expanduser()
    try:
        if path.exists():
            return path
        what = "a link to something that is not there" if path.is_symlink() else \
            "no such file or folder"
    except OSError as error:  # a name that is too long
        what = error.strerror
    raise ValueError(f"--data {str(name)[:200]}: {what}")


def ending(path: Path) -> str:
    """Lower case, that of what is packed: "a.TXT" and "a.txt.gz" -> ".txt"."""
    path = Path(path)
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


def find_texts(path: Path) -> list[Path]:
    """The file itself, or all text files below a folder, in a stable order."""
    if not path.is_dir():
        return [path]
    files = [file for file in files_below(path) if counts(file)]
    if not files:
        raise ValueError(f"--data {path}: no text files below it (UTF-8, not empty, not hidden)")
    return files


def files_below(folder: Path) -> list[Path]:
    """All files of a folder and its subfolders, sorted; hidden ones are left out."""
    return sorted(file for file in folder.rglob("*") if file.is_file()
                  and not any(part.startswith(".") for part in file.relative_to(folder).parts))


def counts(file: Path) -> bool:
    """Is a file of a folder a text? By what it holds; one whose name says so counts in any case,
    and is refused later if it is none."""
    if ending(file) in TEXT_ENDINGS:
        return True
    head = read_bytes(file, 65536)
    if b"\0" in head or not head.strip():
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 and len(head) == 65536  # a letter cut in two at the end
    return True


# ---------------------------------------------------------------- what they hold

def read_bytes(path: Path, most: int = -1) -> bytes:
    """The bytes of a file, at most `most`; unpacked if it is a .gz. ValueError names the file."""
    try:
        with open(path, "rb") as file:
            if Path(path).suffix.lower() != ".gz":
                return file.read(most)
            with gzip.open(file) as unpacked:
                return unpacked.read(most)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"--data {path}: cannot be read ({reason})") from None


def read_text(path: Path, *, strict: bool = True) -> str:
    """A file as text, its lines ended by \\n. What is no UTF-8 is refused with its place.

    Not `strict`: what is none is replaced by U+FFFD.
    """
    data = read_bytes(path)
    try:
        text = data.decode("utf-8-sig", "strict" if strict else "replace")
    except UnicodeDecodeError as error:
        byte, line = data[error.start], data.count(b"\n", 0, error.start) + 1
        what = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "another encoding, or no text"
        raise ValueError(f"--data {path}: byte {error.start:,} (line {line:,}) is 0x{byte:02x}, "
                         f"which is not UTF-8; it seems to be {what}: save it as UTF-8") from None
    if strict and "\0" in text:
        raise ValueError(f"--data {path}: byte {data.index(0):,} is 0x00, which no text holds; "
                         "leave the file out, or save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def documents_of(path: Path, *, longest: int = LONGEST_DOCUMENT, strict: bool = True) -> list[str]:
    """The documents of one file: its records' texts, or the text itself; long ones in pieces."""
    text = read_text(path, strict=strict)
    whole = records_of(text, path) if ending(path) in RECORD_ENDINGS else None
    return [piece for document in (whole or [text]) for piece in cut(document, longest)]


def records_of(text: str, path: Path) -> list[str] | None:
    """The texts of records {"text": ...}, one a line; of a .json also in one list. None for a .json
    that holds something else: it is a text like any other.

    Raises ValueError, with the line, for a record without a text.
    """
    is_lines, texts = ending(path) != ".json", []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        record = read_record(line)
        if isinstance(record, dict) and isinstance(record.get("text"), str):
            texts.append(record["text"])
        elif is_lines or texts:
            keys = ", ".join(map(str, record)) if isinstance(record, dict) else \
                "no whole record" if record is None else type(record).__name__
            raise ValueError(f'--data {path}: line {number} has no "text" ({keys[:80]}); records '
                             'to learn from are {"text": "..."}, one a line')
        else:
            break
    if not texts and not is_lines:
        record = read_record(text)
        if isinstance(record, list) and record and all(
                isinstance(one, dict) and isinstance(one.get("text"), str) for one in record):
            return [one["text"] for one in record]
    return texts or None


def read_record(text: str):
    """What a piece of JSON holds; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def cut(text: str, longest: int = LONGEST_DOCUMENT) -> list[str]:
    """A long text -> pieces of at most about `longest` characters that end where a line ends."""
    pieces, start = [], 0
    while len(text) - start > longest:
        end = text.rfind("\n", start, start + longest) + 1 or start + longest
        pieces.append(text[start:end])
        start = end
    return [*pieces, text[start:]]


# ---------------------------------------------------------------- what is held out

def split_of_document(text: str) -> str:
    """ "train" or "validation": decided by the text alone, so the same on every machine."""
    is_validation = zlib.crc32(text.encode()) % 10_000 < VALIDATION_SHARE * 10_000
    return "validation" if is_validation else "train"


def read_files(paths: list[Path], split: str, *, strict: bool = True, alone: bool = True):
    """The documents of text files that belong to `split`. A text that occurs twice is given once.

    Each text's hash decides. Of a small text that may leave one side empty: then one document goes
    there all the same, and the text is cut into enough pieces for that. (Not where other sources
    stand beside it: `alone` is False.)
    """
    if alone and sum(path.stat().st_size for path in paths) <= SMALL:
        yield from small_split(paths, split, strict)
        return
    seen = set()
    for path in paths:
        for text in documents_of(path, strict=strict):
            digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
            if text.strip() and digest not in seen and split_of_document(text) == split:
                seen.add(digest)
                yield text


def small_split(paths: list[Path], split: str, strict: bool) -> list[str]:
    """As read_files, for what fits into the memory easily: no side is left empty."""
    texts = [text for path in paths for text in documents_of(path, strict=strict)]
    longest = max(SHORTEST_DOCUMENT, min(LONGEST_DOCUMENT, sum(map(len, texts)) // 20))
    if len(texts) < 20:  # few and long: cut them further
        texts = [piece for text in texts for piece in cut(text, longest)]
    texts = [text for text in dict.fromkeys(texts) if text.strip()]
    if len(texts) == 1:  # of two pieces one can be held out
        texts = [piece for piece in cut(texts[0], max(1, len(texts[0]) // 2)) if piece.strip()]
    if len(texts) < 2:
        names = ", ".join(str(path) for path in paths[:3])
        raise ValueError(f"--data {names}: too little text ({sum(map(len, texts))} letters) to "
                         "hold a part of it out; give more")
    sides = {"train": [], "validation": []}
    for text in texts:
        sides[split_of_document(text)].append(text)
    for empty, full in (("train", "validation"), ("validation", "train")):
        if not sides[empty]:  # the one whose hash is the smallest changes sides
            chosen = min(sides[full], key=lambda text: (zlib.crc32(text.encode()), text))
            sides[full].remove(chosen)
            sides[empty].append(chosen)
    return sides[split]
