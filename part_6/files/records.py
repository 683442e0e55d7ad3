"""Records in files: one a line, or all in one list; gzipped or not. What is inside decides, not the name.

Rule   Somebody else's file may hold anything. Whatever is wrong with it ends in one ValueError that
       names the file, and the record and its line where there is one.
Used   sft/chat_format.py, and the parts after this one
"""

import gzip
import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

from run.runtime import replacing


@dataclass(frozen=True)
class Record:
    """One record of a file, and where it stands."""

    value: object
    number: int       # from 1, blank lines not counted
    line: int | None  # of the file; None in a list, whose records have no lines of their own
    path: Path

    @property
    def where(self) -> str:
        """The place, for an error."""
        line = "" if self.line is None else f", line {self.line}"
        return f"{self.path}{line}, record {self.number}"


def placed_records(path: Path) -> list[Record]:
    """.json or .jsonl, perhaps .gz -> its records. A list in a .jsonl is read as a list, and lines
    in a .json as lines: people's files are named either way. Blank lines are left out.

    Raises FileNotFoundError, or ValueError for what cannot be read.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    where = f"{path}"
    try:
        text = read_text(path)
        values = whole_text(text)
        if values is not None:
            return [Record(value, number, None, path) for number, value in enumerate(values, 1)]
        records = []
        for line, content in enumerate(text.split("\n"), 1):  # splitlines splits at U+2028 too,
            where = f"{path}, line {line}"                    # which may stand inside a text
            if content.strip():
                records.append(Record(parsed(content), len(records) + 1, line, path))
        return records
    except json.JSONDecodeError as error:
        place = where if "line" in where[len(str(path)):] else f"{path}, line {error.lineno}"
        raise ValueError(f"{place}: not JSON ({error.msg})") from None
    except RecursionError:
        raise ValueError(f"{where}: nested too deeply for a record") from None
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{where}: {error}") from None


def whole_text(text: str) -> list | None:
    """The records of a text that is one JSON value: a list, or a single record over several lines.
    None where it is one record a line."""
    start = text.lstrip()
    if start.startswith("["):
        return parsed(text)
    if start.split("\n", 1)[0].rstrip() == "{":  # no record is so short
        try:
            return [parsed(text)]
        except json.JSONDecodeError:
            return None  # the lines say where
    return None


def read_records(path: Path) -> list[tuple[int, object]]:
    """As placed_records -> [(number of the line, or of the record in a list; what stands there)]."""
    return [(record.line or record.number, record.value) for record in placed_records(path)]


def parsed(text: str):
    """The value of a JSON text. ValueError too for half of a sign, as the escape ud800 is one: it could
    be neither encoded nor written."""
    value = json.loads(text, object_pairs_hook=fields, parse_int=whole)
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode()  # UnicodeEncodeError is a ValueError
    return value


def fields(pairs: list) -> dict:
    """The fields of an object. ValueError where a name comes twice: one of the two would vanish."""
    record = {}
    for name, value in pairs:
        if name in record:
            raise ValueError(f'the field "{name}" stands there twice')
        record[name] = value
    return record


def whole(text: str) -> int:
    """A whole number. Python reads none of more than 4,300 digits, and no record means one."""
    if len(text) > 4000:
        raise ValueError(f"a number of {len(text):,} digits: {text[:20]}…")
    return int(text)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, gzipped where its name ends in .gz. A byte order mark, which
    some editors put in front, is left out."""
    with (gzip.open if path.name.endswith(".gz") else open)(path, "rt", encoding="utf-8-sig") as file:
        return file.read()


def write_text(path: Path, text: str) -> None:
    """Write what read_text reads, whole or not at all: gzipped where the name ends in .gz."""
    path = Path(path)
    with replacing(path) as temporary:
        make = gzip.open if path.name.endswith(".gz") else open
        with make(temporary, "wt", encoding="utf-8") as file:
            file.write(text)


def fingerprint(path: Path | None) -> str:
    """A short sum of what a file holds, whatever it is called and however it is packed; "None" where
    there is no file. A run may go on only with the data that it began with."""
    if path is None:
        return "None"
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        return hashlib.sha256(read_text(path).encode()).hexdigest()[:16]
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: {error}") from None
