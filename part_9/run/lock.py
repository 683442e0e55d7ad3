"""One run at a time in a folder: a second one says so and ends before it has touched anything.

Used   train_gpt.py   (lesson 2.4)

Two runs in one folder would write into each other's log and remove each other's files. The system
itself keeps the lock, and drops it when the process ends, however it ends: after a crash or a power
cut nothing stands in the way.
"""

import errno
import os
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

NAME = ".running"  # the file that is locked; after a crash it may lie about, and stops nobody
TAKEN = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}


def take(file) -> bool:
    """Lock an open file -> True; False where another process has it. A file system that knows no
    locks gives True: there the second run cannot be told."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return error.errno not in TAKEN
    return True


@contextmanager
def only_run_in(folder: Path):
    """Inside the block no other run works in `folder`. ValueError where one does already."""
    path = Path(folder) / NAME
    with locked(path) as file:
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield
        finally:
            with suppress(OSError):  # Windows does not delete what is open
                path.unlink()


def locked(path: Path):
    """The file of that name, open and locked. One that was deleted since is no lock: then anew."""
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
        if not take(file):
            file.seek(0)
            who = file.read(40).strip() or "unknown"
            file.close()
            raise ValueError(f"--out {path.parent}: another run is at work there (process {who}); "
                             "wait for its end, stop it, or choose another folder with --out")
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()
