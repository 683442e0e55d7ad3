"""The scripts of one part, one after another in one process: torch is loaded once for all of them.

Used    asking.py, which asks every stage's model by the same two scripts
"""

import io
import json
import os
import runpy
import subprocess
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)


class PartProcess:
    """A process that runs the scripts of the folder `part`, in this folder. It has `threads` threads,
    unless the environment says how many, and ends with `close`."""

    def __init__(self, part: Path, threads: int):
        modules = os.pathsep.join(filter(None, (HERE, os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import one_process; one_process.serve()"], cwd=part, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={"OMP_NUM_THREADS": str(threads), **os.environ, "PYTHONPATH": modules})

    def run(self, script: str, *flags: str, text: str = "") -> str:
        """Run a script, which may read `text` -> what it printed. Raises ValueError with the last
        line of its complaint when it fails, KeyboardInterrupt when it was stopped."""
        line = ""
        with suppress(BrokenPipeError):  # the process has died: there is no answer either
            self.process.stdin.write(json.dumps([script, flags, text]) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        status, output, error = json.loads(line) if line else (self.process.wait(), "", "")
        if status in (130, -2):
            raise KeyboardInterrupt
        if status:
            raise ValueError((error.strip().splitlines() or [f"it ended with status {status}"])[-1])
        return output

    def close(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with suppress(BrokenPipeError):
            self.process.stdin.close()


# ---------------------------------------------------------------- in that process

def run_here(script: str, flags: list[str], text: str) -> tuple[int, str, str]:
    """Run a script as `python script` does -> (status, what it printed, what it complained of).
    Modules that it imports stay loaded for the next one."""
    output, error, status = io.StringIO(), io.StringIO(), 0
    sys.argv, sys.stdin = [script, *flags], io.StringIO(text)
    with redirect_stdout(output), redirect_stderr(error):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as leaving:  # as the interpreter understands it: nothing, a number, words
            status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
            if isinstance(leaving.code, str):
                print(leaving.code, file=sys.stderr)
        except Exception:  # the interpreter would show it and leave with 1
            traceback.print_exc()
            status = 1
    return status, output.getvalue(), error.getvalue()


def serve() -> None:
    """Answer requests, a line of JSON each, until there are no more. The scripts and their modules
    are looked for in the working folder."""
    requests, answers = sys.stdin, os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is no answer
    for line in requests:
        script, flags, text = json.loads(line)
        print(json.dumps(run_here(script, flags, text)), file=answers, flush=True)
