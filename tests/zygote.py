"""Starts scripts quickly: a process that has imported torch already forks one child per script.

    python tests/zygote.py        reads one JSON request a line, answers one JSON line each

A script run this way sees what `python script.py` shows it: its own folder first on sys.path, its
arguments, its working folder, `__name__ == "__main__"`; only the seconds that importing packages
takes are saved. The parent itself never computes, so that forking is safe.
"""

import atexit
import gc
import json
import os
import runpy
import shutil
import signal
import sys
import tempfile
import time
import traceback

PRELOADED = ("numpy", "numpy.random", "numpy.fft", "torch", "torch.utils.tensorboard",
             "torch.profiler", "torch.distributed.fsdp", "torch.distributed.tensor",
             "torch._dynamo",  # what an optimizer imports at its first step: a second or more
             "matplotlib.pyplot", "matplotlib.backends.backend_agg", "tiktoken", "regex", "tqdm",
             "statistics")


def run_here(request: dict) -> int:
    """In the child: become the script -> its exit status."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        descriptor = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
    os.dup2(os.open(request["stdin"] or os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    script = request["script"]
    sys.argv = [script, *request["args"]]
    sys.path[0] = os.path.dirname(script)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
            return 1
        return int(leaving.code or 0)
    except BaseException:  # as the interpreter itself does  # noqa: BLE001
        traceback.print_exc()
        return 1
    return 0


def finish(status: int) -> None:
    """In the child: leave as the interpreter leaves, but never return to the parent's loop."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def wait(child: int, seconds: float) -> int | None:
    """Wait for the child -> its status, or None when it had to be ended."""
    until = time.time() + seconds
    pause = 0.002
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.time() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(pause)
        pause = min(0.05, pause * 1.5)


def serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            finish(run_here(request))
        print(json.dumps({"status": wait(child, request["timeout"])}), flush=True)


def main() -> None:
    for name in PRELOADED:
        __import__(name)
    gc.collect()
    gc.freeze()  # what is here now stays: no child's collector walks through it and copies its pages
    sys.dont_write_bytecode = False
    sys.pycache_prefix = tempfile.mkdtemp()  # modules are compiled once, and not beside their source
    print(json.dumps({"ready": True}), flush=True)
    try:
        serve()
    finally:  # of the parent alone: a child never comes back
        shutil.rmtree(sys.pycache_prefix, ignore_errors=True)


if __name__ == "__main__":
    main()
