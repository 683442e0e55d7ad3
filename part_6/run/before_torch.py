"""Before torch is loaded: how threads wait, what is kept, what Ctrl-C does, what flags may hold.

Used    runtime.py, which every script imports first (lesson 0.2)
See it  python part_0/demo_environment.py

Threads  A thread without work looks for more a while before it falls asleep. Where a core is free
         that saves the time of waking up; where the cores are taken, it takes away the time that
         the others, whom it waits for, would need. The library of threads reads the limit once.
Ctrl-C   Loading torch takes seconds. Until `run_main` begins, Ctrl-C ends the process at once,
         without a traceback from the middle of an import.
Garbage  Loading makes 200,000 objects that all stay. Python's collector would look through them
         again and again, and a last time at the end: 1.2 of the 2.9 seconds of a process that only
         loads torch, its optimizers and matplotlib.
"""

import argparse
import gc
import math
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  # a user who has set one has chosen
SPINS_QUIET, SPINS_BUSY = "20000", "1000"  # rounds of looking for work: under a ms; some 10 us
AMP_NAMES = ("auto", "float32", "bfloat16", "float16")
NONE_FREE = ", none is free"
KEPT_PRODUCTS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"  # how many oneDNN keeps; else 1,024
LARGEST_WHOLE = 10**15  # of a flag: far above all that can be meant, far below what overflows


# ---------------------------------------------------------------- how threads wait

def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def others_running(looks: int = 5, pause: float = 0.004, source: str = "/proc/loadavg") -> int:
    """How many other threads want a core just now: the median of some looks. 0 where none can tell.

    The fourth number of /proc/loadavg, "3/812", says that 3 want one, this one included.
    """
    loads = []
    for _ in range(looks):
        try:
            loads.append(int(Path(source).read_text(encoding="ascii").split()[3].split("/")[0]) - 1)
        except (OSError, ValueError, IndexError):
            return 0
        time.sleep(pause)
    return max(0, sorted(loads)[len(loads) // 2])


def choose_waiting(environment=os.environ, others: int | None = None,
                   n_cores: int | None = None) -> str:
    """Set how long threads look for work, unless the user has -> the choice with its reason."""
    if chosen := [name for name in WAITING if environment.get(name)]:
        return f"{chosen[0]}={environment[chosen[0]]} as asked"
    others = others_running() if others is None else others
    n_cores = n_cores or cores()
    is_busy = others > 0.25 * n_cores  # of many cores one may be taken: some of ours would wait
    environment["GOMP_SPINCOUNT"] = SPINS_BUSY if is_busy else SPINS_QUIET
    if not is_busy:
        return "waiting awake: the other cores are free"
    return f"waiting asleep: {others} others want a core{NONE_FREE if others >= n_cores else ''}"


def forget_waiting(environment=os.environ) -> None:
    """Once torch has read it, what we chose is taken back: a script that this one starts chooses
    for itself."""
    if waiting.startswith("waiting"):
        environment.pop("GOMP_SPINCOUNT", None)


def keep_fewer_products(environment=os.environ) -> None:
    """oneDNN makes code for a product of each new shape, and keeps it with its work space. Replies
    of which one row after another ends have hundreds of shapes that hardly come again: hundreds of
    MB. Unless the user has said how many, the newest 128 are kept."""
    environment.setdefault(KEPT_PRODUCTS, "128")


# ---------------------------------------------------------------- Ctrl-C while modules are loaded

def is_script_here() -> bool:
    """True in a script of this part; False in a test, or where somebody imports a module."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return file is not None and Path(file).resolve().parent in Path(__file__).resolve().parents[:2]


def leave_quietly_until_main() -> bool:
    """From here on Ctrl-C ends the process as it ends `sleep`; `run_main` takes that back."""
    usual = (threading.current_thread() is threading.main_thread()
             and signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    if usual and is_script_here():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        return True
    return False


# ---------------------------------------------------------------- garbage

def collect_later() -> None:
    """From here on nobody looks for garbage; `run_main` takes that back."""
    if is_script_here():
        gc.disable()


def set_aside() -> None:
    """What is there now stays to the end of the process: the collector looks at what comes after
    it alone. In a test, or where somebody calls a script's `main`, nothing happens."""
    if is_script_here():
        gc.freeze()
        gc.enable()


# ---------------------------------------------------------------- output

class StaysOpen:
    """A stream whose reader may leave: what is written then goes nowhere, the work goes on."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            self.stream.write(text)
        except OSError:  # a pipe without a reader, a terminal that was closed, a full disk
            self.let_go()
        return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError:
            self.let_go()

    def let_go(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())  # what is buffered still goes there too
        os.close(nowhere)

    def __getattr__(self, name):
        return getattr(self.stream, name)


def prepare_output(trains: bool) -> None:
    """Letters that the output cannot show become "?"; a training outlives its reader. What was
    closed, as `>&-` does, is nowhere: what is written is lost, and there is nothing to read."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure") and not (stream.encoding or "").lower().startswith("utf"):
            stream.reconfigure(errors="replace")
        if trains and stream is not None and not isinstance(stream, StaysOpen):
            setattr(sys, name, StaysOpen(stream))


# ---------------------------------------------------------------- what a flag may hold

def finite_number(text: str) -> float:
    """The type of all flags with `type=float`: a number, neither nan nor inf."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text}: must be a finite number")
    return value


def whole_number(text: str) -> int:
    """The type of all flags with `type=int`."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: must be a whole number") from None
    if abs(value) > LARGEST_WHOLE:
        raise argparse.ArgumentTypeError(f"{text[:40]}: must be at most 10**15")
    return value


def seed_number(text: str) -> int:
    """The type of --seed."""
    value = whole_number(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{value}: must be from 0 to 2**32 - 1")
    return value


class Parser(argparse.ArgumentParser):
    """argparse's parser, whose refusals are one line, as all others are."""

    def error(self, message: str):
        message = re.sub(r"^argument (--[\w-]+): (.*must be)", r"\1 \2", message)
        self.exit(2, f"error: {message} (--help shows all flags)\n")


def plain_parser(doc: str) -> argparse.ArgumentParser:
    """A parser that shows `doc` as it is, and refuses numbers that are none."""
    parser = Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.register("type", float, finite_number)  # for every flag that a script adds
    parser.register("type", int, whole_number)
    return parser


def make_parser(doc: str, *, presets: tuple[str, ...] = (), preset: str = "",
                seed: int = 0, runs_model: bool = True) -> argparse.ArgumentParser:
    """A parser with the flags that mean the same everywhere: --device --amp --seed …"""
    parser = plain_parser(doc)
    if presets:
        parser.add_argument("--preset", choices=presets, default=preset,
                            help=f"a named group of settings (default: {preset})")
    if runs_model:
        parser.add_argument("--device", default="auto",
                            help="auto, cpu, cuda, cuda:N or mps (default: auto, the best)")
        parser.add_argument("--amp", choices=AMP_NAMES, default="auto",
                            help="number format of products (default: auto, the faster here)")
    parser.add_argument("--seed", type=seed_number, default=seed,
                        help=f"random seed (default: {seed})")
    parser.add_argument("--out", default=None,
                        help="folder for all that is written (default: out/ beside the script)")
    return parser


# ---------------------------------------------------------------- running a script

def in_words(error: Exception) -> str:
    """The message of a user's mistake."""
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        byte = ord(error.object[error.start]) & 0xFF
        text = error.object.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return (f"a text that was given is not UTF-8: the byte 0x{byte:02x} in {text[:60]!r}; "
                "give it in UTF-8")
    if isinstance(error, RuntimeError) or not str(error):
        return ("the memory does not suffice: close other programs, or choose a smaller model, "
                "context or batch")
    if isinstance(error, OSError) and error.strerror:  # not "[Errno 2] … '.a.pt.4711.tmp'"
        path = re.sub(r"(^|/)\.([^/]+)\.\d+\.tmp$", r"\1\2",
                      str(error.filename2 or error.filename or "the output"))
        return f"{path}: {error.strerror}"
    return str(error)


def is_mistake(error: Exception) -> bool:
    """True for what a user can mend; a bug of ours keeps its traceback."""
    if isinstance(error, RuntimeError):  # as torch says that there is no memory
        return "allocate memory" in str(error) or "out of memory" in str(error)
    return isinstance(error, (ValueError, OSError, FloatingPointError, MemoryError))


def refuse_processes(environment=os.environ) -> None:
    """Under torchrun a script that knows one process only would do its work several times."""
    if (world := environment.get("WORLD_SIZE", "1")).strip() not in ("", "1"):
        raise ValueError(f"WORLD_SIZE={world}: this script is one process; start it with python, "
                         "not with torchrun, or unset WORLD_SIZE")


def run_main(main, *, trains: bool = False, processes: bool = False) -> None:
    """Run a script's `main`. A user's mistake ends in one clear line and status 2, no traceback.

    `trains`: where the reader of the output leaves, as `head` does, the work goes on.
    `processes`: the script knows that torchrun starts it several times.
    The traceback of such an error is shown when the environment variable TRACEBACK is set.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # as leave_quietly_until_main left it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    prepare_output(trains)
    set_aside()
    try:
        if not processes:
            refuse_processes()
        main()
        sys.stdout.flush()  # here, where a reader that has left is no traceback
    except (ValueError, OSError, ArithmeticError, MemoryError, RuntimeError) as error:
        if os.environ.get("TRACEBACK") or not is_mistake(error):
            raise
        if isinstance(error, BrokenPipeError):  # the reader of our output left, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        print(f"error: {in_words(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nstopped by Ctrl-C", file=sys.stderr)
        sys.exit(130)
    finally:
        set_aside()  # the process ends without a last look


leave_quietly_until_main()
collect_later()
waiting = choose_waiting() if is_script_here() else "as asked"
if is_script_here():
    keep_fewer_products()
