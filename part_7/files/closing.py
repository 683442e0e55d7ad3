"""What was trained is on disk before it is measured: then the end of a run can go wrong at no cost.

Idea   Measuring takes minutes, and reads files, draws pictures, asks the model: any of it may fail, or
       take too long for somebody with a finger on Ctrl-C. So the model is written first, and again
       with its figures when they are there. And measuring needs memory of other sizes than training:
       what that has freed goes back to the system before.
Used   train_sft.py, and every training script of the parts after this one
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def give_memory_back() -> None:
    """Freed memory, which `keep_memory` keeps for the next step, goes back; where glibc is not, nothing
    happens."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        pass


@contextmanager
def measuring(written: Path, measure_with: str = "") -> Iterator[None]:
    """In here a trained model, which is in the file `written`, is measured. Whatever goes wrong ends
    in one sentence and exit status 1; the traceback is shown where TRACEBACK is set."""
    give_memory_back()
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of our output left: run_main knows what to do
    except (Exception, KeyboardInterrupt) as error:  # whatever it is, the training is done
        if os.environ.get("TRACEBACK"):
            raise
        reason = "Ctrl-C" if isinstance(error, KeyboardInterrupt) else \
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        after = f"; measure it with: {measure_with}" if measure_with else ""
        print(f"\n{written} is written; measuring it was stopped by {reason}{after}",
              file=sys.stderr)
        sys.exit(1)
