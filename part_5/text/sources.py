"""Where texts come from: the little world, this Python's own library, files, or a named public set.

    world            stories, facts and sums made here, with known probabilities  (world/world.py)
    stdlib           the sources of Python's standard library on this machine, about 30 MB
    a file or folder any text files of your own
    tinyshakespeare  and other NAMED_SETS: fetched once, checked, kept in a cache
    world+stdlib     several, joined by +

Used   text/data.py.   Every source gives documents (strings) for a split, "train" or "validation"; which
split a document belongs to is decided by a hash of its text, so no document is ever in both
(text/own_files.py).
"""

import hashlib
import os
import sysconfig
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from run.runtime import replacing
from world.world import KINDS, World

from text.own_files import counts, existing, files_below, find_texts, read_files


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


def names_of(spec: str) -> list[str]:
    """The sources that `spec` names, one after another. A path may hold a + itself.

    names_of("world+my.txt") -> ["world", "my.txt"]; names_of("a+b.txt") -> ["a+b.txt"], if that is
    a file.
    """
    parts, names = spec.split("+"), []
    if not all(part.strip() for part in parts) and not is_there(spec):
        what = "nothing stands on one side of a +" if spec.strip() else "empty"
        raise ValueError(f"--data {spec!r}: {what}; name world, stdlib, a file, a folder, "
                         f"{' or '.join(NAMED_SETS)}")
    while parts:
        count = next((n for n in range(len(parts), 1, -1) if is_there("+".join(parts[:n]))), 1)
        names.append("+".join(parts[:count]))
        del parts[:count]
    return names


def is_there(name: str) -> bool:
    try:
        return bool(name) and Path(name).expanduser().exists()
    except OSError:  # a name that is too long
        return False


def read_source(spec: str, split: str, *, seed: int, world_bytes: int, cache: Path,
                stories: float = 0.0):
    """Yield the documents of "world", "stdlib", a path, a named set, or several joined by +."""
    names = names_of(spec)
    for name in names:
        if name == "world":
            yield from read_world(split, seed, world_bytes, stories)
        elif name in NAMED_SETS:
            yield from read_files([fetch(name, cache)], split)
        else:  # a few files of the library are in old encodings, on purpose
            yield from read_files(files_of(name), split, strict=name != "stdlib",
                                  alone=len(names) == 1)


def files_of(name: str) -> list[Path]:
    """The files of "stdlib" or of a path."""
    if name == "stdlib":
        return stdlib_files()
    try:
        return find_texts(existing(name))
    except ValueError as error:
        known = "" if is_there(name) else \
            f", and not one of world, stdlib, {', '.join(NAMED_SETS)}"
        raise ValueError(f"{error}{known}") from None


def left_out(spec: str) -> list[Path]:
    """Files of the folders that `spec` names which hold no text, and are passed over."""
    folders = [Path(name).expanduser() for name in names_of(spec)
               if name not in ("world", "stdlib", *NAMED_SETS)]
    return [file for folder in folders if folder.is_dir()
            for file in files_below(folder) if not counts(file)]


def stamp_of(spec: str) -> str:
    """16 hex digits that change when the texts of a source have: prepared data is then made anew.

    Of the world its code counts, of files what they hold, whatever they are called.
    """
    digest = hashlib.sha256()
    for name in names_of(spec):
        if name in NAMED_SETS:
            digest.update(NAMED_SETS[name].sha256.encode())
            continue
        world = sorted((Path(__file__).parent.parent / "world").glob("*.py"))
        for path in world if name == "world" else files_of(name):
            try:
                digest.update(sha256_of(path).encode())
            except OSError as error:
                raise ValueError(f"--data {path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()[:16]


def read_world(split: str, seed: int, size: int, stories: float = 0.0):
    """Documents of the little world, until `size` bytes of text are made. `stories`: their share of
    the documents; 0: as many as the world has."""
    others = sum(share for kind, share in KINDS.items() if kind != "story")
    kinds = {**KINDS, "story": others * stories / (1 - stories)} if stories else KINDS
    made = 0
    for text in World(kinds).sample(seed, split):
        made += len(text.text.encode())
        yield text.text
        if made >= size:
            return


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
        digest = sha256_of(temporary)
        if digest != chosen.sha256:
            raise ValueError(f"--data {name}: {chosen.url} gave another text than expected (sha256 "
                             f"{digest[:12]}, not {chosen.sha256[:12]}); try again, {remedy}")
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
