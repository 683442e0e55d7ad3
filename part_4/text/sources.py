"""Where texts come from: the little world, this Python's own library, files, or a named public set.

    world            stories, facts and sums made here, with known probabilities  (world/world.py)
    stdlib           the sources of Python's standard library on this machine, about 30 MB
    a file or folder any text files of your own
    tinyshakespeare  and other NAMED_SETS: fetched once, checked, kept in a cache
    world+stdlib     several, joined by +

Used   text/data.py.   Every source gives documents (strings) for a split, "train" or "validation"; which
split a document belongs to is decided by a hash of its text, so no document is ever in both.
"""

import hashlib
import os
import sysconfig
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from run.runtime import replacing
from world.world import World

TEXT_ENDINGS = (".txt", ".md", ".rst", ".py", ".json", ".jsonl", ".html", ".c", ".h", ".tex", ".csv")
LONGEST_DOCUMENT = 8_000  # characters; a longer file is cut at a line's end
VALIDATION_SHARE = 0.05    # of the documents of a file, folder or set


@dataclass(frozen=True)
class NamedSet:
    """A public text: one file behind an https address, perhaps inside a zip archive."""

    url: str
    sha256: str        # of the text itself, after unpacking
    most_bytes: int    # a download beyond this is broken off
    licence: str


NAMED_SETS = {
    "tinyshakespeare": NamedSet(
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed", 2_000_000,
        "public domain"),
    "enwik8": NamedSet(
        "https://mattmahoney.net/dc/enwik8.zip",
        "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8", 110_000_000,
        "CC BY-SA 3.0 (Wikipedia)"),
}


def read_source(spec: str, split: str, *, seed: int, world_bytes: int, cache: Path):
    """Yield the documents of "world", "stdlib", a path, a named set, or several joined by +."""
    for name in spec.split("+"):
        if name == "world":
            yield from read_world(split, seed, world_bytes)
        elif name in NAMED_SETS:
            yield from read_files([fetch(name, cache)], split)
        else:
            yield from read_files(files_of(name), split)


def files_of(name: str) -> list[Path]:
    """The files of "stdlib" or of a path."""
    if name == "stdlib":
        return stdlib_files()
    path = Path(name).expanduser()
    if not path.exists():
        raise ValueError(f"--data {name}: no such file or folder, and not one of "
                         f"world, stdlib, {', '.join(NAMED_SETS)}")
    return find_texts(path)


def stamp_of(spec: str) -> str:
    """16 hex digits that change when the texts of a source have: prepared data is then made anew.

    Of the world its code counts, of files their sizes and times.
    """
    digest = hashlib.sha256()
    for name in spec.split("+"):
        if name == "world":
            for path in sorted((Path(__file__).parent.parent / "world").glob("*.py")):
                digest.update(path.read_bytes())
        elif name in NAMED_SETS:
            digest.update(NAMED_SETS[name].sha256.encode())
        else:
            for path in files_of(name):
                about = path.stat()
                digest.update(f"{path.name} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def read_world(split: str, seed: int, size: int):
    """Documents of the little world, until `size` bytes of text are made."""
    made = 0
    for text in World().sample(seed, split):
        made += len(text.text.encode())
        yield text.text
        if made >= size:
            return


def split_of_document(text: str) -> str:
    """ "train" or "validation": decided by the text alone, so the same on every machine."""
    is_validation = zlib.crc32(text.encode()) % 10_000 < VALIDATION_SHARE * 10_000
    return "validation" if is_validation else "train"


def read_files(paths: list[Path], split: str):
    """The documents of text files that belong to `split`. A text that occurs twice is given once."""
    seen = set()
    for path in paths:
        for text in cut(path.read_text(encoding="utf-8", errors="replace")):
            digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
            if text.strip() and digest not in seen and split_of_document(text) == split:
                seen.add(digest)
                yield text


def cut(text: str, longest: int = LONGEST_DOCUMENT) -> list[str]:
    """A long text -> pieces of at most about `longest` characters that end where a line ends."""
    pieces, start = [], 0
    while len(text) - start > longest:
        end = text.rfind("\n", start, start + longest) + 1 or start + longest
        pieces.append(text[start:end])
        start = end
    return [*pieces, text[start:]]


def find_texts(path: Path) -> list[Path]:
    """The file itself, or all text files below a folder, in a stable order."""
    if path.is_file():
        return [path]
    files = [file for file in sorted(path.rglob("*")) if file.suffix in TEXT_ENDINGS]
    if not files:
        raise ValueError(f"--data {path}: no text files below it ({' '.join(TEXT_ENDINGS)})")
    return files


def stdlib_files() -> list[Path]:
    """The .py files of this Python's standard library, installed packages left out."""
    root = Path(sysconfig.get_paths()["stdlib"])
    packages = {"site-packages", "dist-packages", "__pycache__"}
    return [path for path in sorted(root.rglob("*.py"))
            if not packages & set(path.relative_to(root).parts)]


def fetch(name: str, cache: Path) -> Path:
    """A named set as a local file: from the cache, else over https, checked before it is kept."""
    chosen = NAMED_SETS[name]
    target = Path(cache) / f"{name}.txt"
    if target.exists() and sha256_of(target) == chosen.sha256:
        return target
    Path(cache).mkdir(parents=True, exist_ok=True)
    remedy = f"or download it yourself and give the file with --data {name}.txt"
    with replacing(target) as temporary:
        try:
            download(chosen, temporary)
        except URLError as error:
            raise ValueError(f"--data {name}: {chosen.url} cannot be reached ({error.reason}); "
                             f"check the network, {remedy}") from None
        if chosen.url.endswith(".zip"):
            unpack(temporary)
        found = sha256_of(temporary)
        if found != chosen.sha256:
            raise ValueError(f"--data {name}: {chosen.url} gave another text than expected (sha256 "
                             f"{found[:12]}, not {chosen.sha256[:12]}); try again, {remedy}")
    return target


def download(chosen: NamedSet, path: Path) -> None:
    """Fetch into a file, and stop when more comes than should."""
    size = 0
    with urllib.request.urlopen(chosen.url, timeout=30) as answer, open(path, "wb") as file:
        while block := answer.read(1 << 20):
            size += len(block)
            if size > chosen.most_bytes:
                raise ValueError(f"{chosen.url}: more than {chosen.most_bytes:,} bytes; refused")
            file.write(block)


def unpack(path: Path) -> None:
    """Replace a zip archive by the one file in it."""
    inner = path.with_name(path.name + ".inner")
    try:
        with (zipfile.ZipFile(path) as archive, open(inner, "wb") as file,
              archive.open(archive.namelist()[0]) as member):
            while block := member.read(1 << 20):
                file.write(block)
        os.replace(inner, path)
    except zipfile.BadZipFile:
        raise ValueError(f"{path}: the download is not a zip archive; try again") from None
    finally:
        inner.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
