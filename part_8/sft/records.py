"""Records in files: a list in a .json file, or one record a line in a .jsonl file; gzipped or not.

Rule   Somebody else's file may hold anything. Whatever is wrong with it ends in one ValueError that
       names the file, and the line where there is one.
Used   sft/chat_format.py, and the parts after this one
"""

import gzip
import json
import zlib
from pathlib import Path


def read_records(path: Path) -> list[tuple[int, object]]:
    """.json or .jsonl, perhaps .gz -> [(number of the line or of the record, what stands there)].

    Blank lines are left out. Raises FileNotFoundError, or ValueError for what cannot be read.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    one_a_line = path.name.removesuffix(".gz").endswith(".jsonl")
    number, where = 0, f"{path}"
    try:
        text = read_text(path)
        if not one_a_line:
            data = parsed(text)
            if type(data) is not list:
                raise ValueError("expected a list of records; one record a line is .jsonl")
            return list(enumerate(data, 1))
        found = []
        for number, line in enumerate(text.split("\n"), 1):  # splitlines splits at U+2028 too,
            where = f"{path}, line {number}"                 # which may stand inside a text
            if line.strip():
                found.append((number, parsed(line)))
        return found
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number or error.lineno}: not JSON ({error.msg})") from None
    except RecursionError:
        raise ValueError(f"{where}: nested too deeply for a record") from None
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{where}: {error}") from None


def parsed(text: str):
    """The value of a JSON text. ValueError too for half of a sign, as the escape ud800 is one: it could
    be neither encoded nor written."""
    value = json.loads(text)
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode()  # UnicodeEncodeError is a ValueError
    return value


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, gzipped where its name ends in .gz. A byte order mark, which
    some editors put in front, is left out."""
    with (gzip.open if path.name.endswith(".gz") else open)(path, "rt", encoding="utf-8-sig") as file:
        return file.read()
