"""Every flag of every script with odd values: an answer, or one clear line; never a traceback.

    python tests/odd_flags.py part_4/train.py --flag=--context       all cases of one flag
    python tests/odd_flags.py part_4                                  of a part
    python tests/odd_flags.py --sample 1                              one case of every script

A case runs in a child of a process that has loaded the packages (as tests/zygote.py does), with a
limit of seconds and of memory. In parts 0 to 5 it ends when the script's work begins: at the first
call of a model. From part 6 on it has tiny models and goes to the end, report and all
(odd_flags_models.py). Used by tests/test_odd_flags.py
"""

import argparse
import atexit
import contextlib
import importlib
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from odd_flags_models import WHOLE, beside, make_models

ROOT = Path(__file__).resolve().parent.parent
MAIN = 'if __name__ == "__main__":'
ODD = ("0", "1", "-1", "nan", "inf", "", "1" + "0" * 30, "word", "-0.5", "1e30")
SECONDS, MEMORY = 8, 6 * 2**30
MODELS: list[Path] = []  # the folder of the tiny ones
NOT_SCRIPTS = {"part_0/demo_pipeline.py", "part_0/whats_new.py"}  # start others; read sources
MAY_BE_NEGATIVE = {("part_5/demo_collapse.py", "--lean")}


class Reached(Exception):
    """The script's work has begun."""


class Parser(Exception):
    """The script's parser, on its way out of parse_args."""


@dataclass(frozen=True)
class Case:
    script: str          # "part_4/train.py"
    flag: str            # "--context", or the name of a positional argument
    value: str
    kind: str = "text"   # int, float or text

    @property
    def is_whole(self) -> bool:
        """Does the run go to its end?"""
        return self.script.startswith(WHOLE)


@dataclass(frozen=True)
class Outcome:
    how: str    # "works", "answers", "refuses", "slow", "traceback", "silent", "status N"
    words: str  # what it said on stderr

    @property
    def is_good(self) -> bool:
        return self.how in ("works", "answers", "refuses", "slow")


def scripts(part: str = "part_") -> list[str]:
    return [name for path in sorted(ROOT.glob("part_[0-9]/*.py"))
            if MAIN in path.read_text(encoding="utf-8")
            and (name := str(path.relative_to(ROOT))).startswith(part) and name not in NOT_SCRIPTS]


def import_script(script: str):
    """The script as a module, with its own folder first on the path."""
    sys.path.insert(0, str((ROOT / script).parent))
    return importlib.import_module(Path(script).stem)


def flags_of(script: str) -> list[tuple[str, str]]:
    """(flag, kind) of all flags that the script's parser knows and that take a value."""
    def give(parser, *rest):
        raise Parser(parser)
    real, argparse.ArgumentParser.parse_args = argparse.ArgumentParser.parse_args, give
    try:
        import_script(script).main([])
    except Parser as found:
        parser = found.args[0]
    finally:
        argparse.ArgumentParser.parse_args = real
    return [((action.option_strings or [action.dest])[-1],
             action.type.__name__ if action.type in (int, float) else
             {"seed_number": "int"}.get(getattr(action.type, "__name__", ""), "text"))
            for action in parser._actions
            if action.nargs != 0 and not isinstance(action, argparse._HelpAction)]


def stop_at_work(case: Case) -> None:
    """From here on a network that is asked, a server that waits, a browser that is started and,
    where the run does not go to its end, the first call of a model raise Reached."""
    import socket
    import socketserver
    import subprocess

    import torch

    def reached(*args, **settings):
        raise Reached
    socket.socket.connect = socketserver.BaseServer.serve_forever = reached
    if case.script == "part_9/picture_page.py":
        subprocess.Popen = reached
    if not case.is_whole:
        torch.nn.Module.__call__ = reached
        torch.nn.functional.scaled_dot_product_attention = reached


def run_here(case: Case, models: Path) -> tuple[str, str]:
    """In the child: run the case -> (how it ended, what it said on stderr)."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    module = import_script(case.script)
    run_main = sys.modules[module.run_main.__module__].run_main
    stop_at_work(case)
    said = io.StringIO()
    how = "answers"
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(said), \
            open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        os.chdir(folder)
        sys.stdin = io.StringIO("")
        text = Path(module.__file__).read_text("utf-8")
        common = [["--out", folder]] if case.flag != "--out" and takes_out(module, text) else []
        if case.is_whole and "make_parser(" in text and case.flag != "--amp":
            common.append(["--amp", "float32"])  # no time is measured
        sys.argv = [str(ROOT / case.script), *sum(common, []),
                    *beside(case.script, case.flag, case.value, models)]
        try:
            run_main(module.main)
        except Reached:
            how = "works"
        except SystemExit as leaving:
            how = {0: "answers", None: "answers", 1: "refuses", 2: "refuses"}.get(
                leaving.code, f"status {leaving.code}")
        except BaseException:  # noqa: BLE001
            how = "works" if "Reached" in traceback.format_exc() else "traceback"
            said.write(traceback.format_exc())
        finally:
            os.chdir("/")
    words = said.getvalue()
    if how == "refuses" and not words.strip():
        how = "silent"
    return how, words


def takes_out(module, text: str) -> bool:
    return "make_parser" in vars(module) or '"--out"' in text


def tiny_models() -> Path:
    """The folder of the tiny models, made once, in a child; removed when this process ends."""
    if not MODELS:
        folder = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, folder, True)
        ask_in_child(make_models, folder)
        MODELS.append(folder)
    return MODELS[0]


def run(case: Case, seconds: float = SECONDS) -> Outcome:
    """The case in a child of this process."""
    models = tiny_models() if case.is_whole else Path()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            how, words = run_here(case, models)
        except BaseException:  # noqa: BLE001
            how, words = "traceback", traceback.format_exc()
        with os.fdopen(writer, "w", encoding="utf-8", errors="replace") as file:
            file.write(how + "\n" + words[-3000:])
        os._exit(0)
    os.close(writer)
    until = time.monotonic() + seconds
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > until:  # it works at something: the value was taken
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reader)
            return Outcome("slow", "")
        time.sleep(0.01)
    with os.fdopen(reader, encoding="utf-8") as file:
        how, _, words = file.read().partition("\n")
    return Outcome(how or "traceback", words or "the process died")


def ask_in_child(function, *arguments):
    """function(*arguments) in a child of its own -> what it gave, as Python text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        try:
            text = repr(function(*arguments))
        except BaseException:  # noqa: BLE001
            text = ""
        with os.fdopen(writer, "w") as file:
            file.write(text)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    os.waitpid(child, 0)
    import ast
    return ast.literal_eval(text) if text else None


def cases(script: str) -> list[Case]:
    """Every flag of a script with every odd value."""
    found = ask_in_child(flags_of, script)
    if found is None:
        raise ValueError(f"{script}: its parser could not be had")
    return [Case(script, flag, value, kind) for flag, kind in found for value in ODD]


def judged(case: Case, outcome: Outcome) -> str:
    """What is wrong with the outcome of a case, or ""."""
    if not outcome.is_good:
        return f"{outcome.how}: {outcome.words.strip().splitlines()[-1:]}"
    taken = outcome.how in ("works", "answers")  # "slow" may not have come to its flags yet
    if case.kind in ("int", "float") and taken and case.value in ("nan", "inf", "", "word"):
        return f"{case.value!r} was taken for a number"
    if case.kind in ("int", "float") and taken and case.value == "-1" and \
            (case.script, case.flag) not in MAY_BE_NEGATIVE:
        return "-1 was taken without a word"
    lines = [line for line in outcome.words.strip().splitlines() if "error:" in line]
    if outcome.how == "refuses" and not lines:
        return f"no line says what is wrong: {outcome.words[-200:]!r}"
    if any(word in outcome.words for word in ("Errno", "codec can't", "object has no attribute")):
        return f"a message from inside: {lines[-1]}"
    return ""


def sample_of(script: str, count: int) -> list[Case]:
    """Some cases of a script, always the same, of as many flags as can be."""
    found = cases(script)
    rng = random.Random(script)
    by_flag = [rng.choice([case for case in found if case.flag == flag])
               for flag in dict.fromkeys(case.flag for case in found)]
    return rng.sample(by_flag, min(count, len(by_flag)))


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", default=["part_"],
                        help="scripts whose path begins so (default: all)")
    parser.add_argument("--flag", default="", help="this flag alone (default: all)")
    parser.add_argument("--value", default=None, help="this value alone (default: all)")
    parser.add_argument("--sample", type=int, default=0,
                        help="so many flags of each script, each with one value (default: all)")
    parser.add_argument("--seconds", type=float, default=SECONDS,
                        help=f"after which a case counts as working (default: {SECONDS})")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    sys.path.insert(0, str(ROOT / "tests"))
    import zygote
    for name in zygote.PRELOADED:
        __import__(name)
    count = bad = 0
    for script in (name for part in args.part for name in scripts(part)):
        for case in sample_of(script, args.sample) if args.sample else cases(script):
            if args.flag not in ("", case.flag) or args.value not in (None, case.value):
                continue
            outcome = run(case, args.seconds)
            wrong = judged(case, outcome)
            count, bad = count + 1, bad + bool(wrong)
            if wrong or args.flag:
                print(f"{script} {case.flag}={case.value!r}: {wrong or outcome.how}", flush=True)
    print(f"{count} cases, {bad} of them wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
