"""The runtime: device, number format, seed, output folder; and how results are told.

Used    every script of every part; each part holds a copy of this file (lesson 0.2)
See it  python part_0/demo_environment.py

Every decision comes back with its reason, and is printed once:

    device  cpu       no CUDA or MPS device is there
    amp     bfloat16  a layer of width 512 took 31.0 ms in float32, 11.2 ms in bfloat16
    threads 2         a layer of width 512 took 60.1 ms with 1, 31.0 ms with 2; waiting awake: …
"""

import ctypes
import json
import os
import random
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from run.before_torch import NONE_FREE, cores, forget_waiting, waiting
from run.before_torch import make_parser as make_parser  # scripts import all from here
from run.before_torch import plain_parser as plain_parser
from run.before_torch import run_main as run_main

# before_torch comes before torch: it says how torch's threads wait for each other
# isort: split
import numpy as np
import torch

from run.tables import format_number as format_number
from run.tables import print_table as print_table

forget_waiting()

DEVICES = ("auto", "cpu", "cuda", "mps")
SMALL_WORK = 2**15  # rows times width: below it one thread is faster, whatever the machine does
SMALL_LAYER = {"width": 256, "rows": 64}  # shows whether a format is many times slower
AMP_TYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


# ---------------------------------------------------------------- device and mixed precision

@dataclass(frozen=True)
class Runtime:
    """What a script runs on, with the reasons. Made by `choose_runtime`."""

    device: torch.device
    amp_dtype: torch.dtype | None  # None: plain float32, no autocast
    device_reason: str
    amp_reason: str
    threads_reason: str = ""       # "" on a GPU

    @property
    def amp_name(self) -> str:
        return "float32" if self.amp_dtype is None else str(self.amp_dtype).removeprefix("torch.")

    def autocast(self):
        """The context for a forward pass: mixed precision where it was chosen, else nothing."""
        if self.amp_dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.amp_dtype)

    def grad_scaler(self) -> torch.amp.GradScaler:
        """fp16 gradients underflow without a scaler; for other types this one does nothing."""
        return torch.amp.GradScaler(self.device.type, enabled=self.amp_dtype is torch.float16)

    def describe(self) -> str:
        lines = [f"device  {self.device!s:9s} {self.device_reason}",
                 f"amp     {self.amp_name:9s} {self.amp_reason}"]
        if self.threads_reason:
            lines.append(f"threads {torch.get_num_threads():<9d} {self.threads_reason}; {waiting}")
        return "\n".join(lines)


def choose_device(name: str = "auto") -> tuple[torch.device, str]:
    """Name -> (device, reason). Raises ValueError when the named device is not there."""
    kind = name.split(":")[0]
    if kind not in DEVICES:
        raise ValueError(f"--device {name}: unknown; choose one of {', '.join(DEVICES)}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: torch {torch.__version__} sees no CUDA device; "
                         "use --device cpu or install a CUDA build of torch")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ValueError("--device mps: no Apple GPU is there; use --device cpu")
    if kind != "auto":
        try:
            torch.empty(0, device=name)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"--device {name}: {str(error).splitlines()[0]}") from None
        return torch.device(name), "as asked"
    if torch.cuda.is_available():
        return torch.device("cuda"), torch.cuda.get_device_name()
    if torch.backends.mps.is_available():
        return torch.device("mps"), "an Apple GPU is there, and no CUDA device"
    return torch.device("cpu"), "no CUDA or MPS device is there"


def time_layer(width: int, amp_dtype: torch.dtype | None, device: torch.device,
               rows: int = 1024, repeats: int = 5) -> float:
    """Seconds for one MLP of this width, forward and backward: the fastest of `repeats`, or of as
    many as fit into a second."""
    runtime = Runtime(device, amp_dtype, "", "")
    width = min(width, 2048)  # wider ones say the same, and take long
    layer = torch.nn.Sequential(torch.nn.Linear(width, 4 * width), torch.nn.GELU(),
                                torch.nn.Linear(4 * width, width)).to(device)
    x = torch.randn(rows, width, device=device)
    best, begin = float("inf"), time.perf_counter()
    for number in range(repeats + 1):  # the first is warm-up, and never the fastest
        if number > 1 and time.perf_counter() - begin > 1:
            break
        synchronize(device)
        start = time.perf_counter()
        with runtime.autocast():
            loss = layer(x).square().mean()
        loss.backward()
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best


def choose_amp(name: str, device: torch.device, width: int) -> tuple[torch.dtype | None, str]:
    """Name ("auto", "float32", "bfloat16", "float16") -> (autocast type or None, reason).

    On a CPU "auto" tries a layer as wide as the model: casting costs more than it saves where the
    layers are narrow. Where a small layer is many times slower in bfloat16, no other is timed.
    """
    if name != "auto":
        if name not in AMP_TYPES:
            raise ValueError(f"--amp {name}: unknown; choose auto, {', '.join(AMP_TYPES)}")
        slow = slow_in_bfloat16(device) if name == "bfloat16" else ""
        return AMP_TYPES[name], f"as asked, though {slow}" if slow else "as asked"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return torch.bfloat16, "the GPU has bfloat16"
        return torch.float16, "the GPU has no bfloat16; a gradient scaler is used"
    if device.type == "mps":
        return None, "float32 is the safe choice on MPS"
    if slow := slow_in_bfloat16(device):
        return None, slow
    generator_state = torch.get_rng_state()  # the probe must not move anybody's random numbers
    wide, narrow = (time_layer(width, dtype, device) for dtype in (None, torch.bfloat16))
    torch.set_rng_state(generator_state)
    reason = (f"a layer of width {width} took {wide * 1e3:.1f} ms in float32, "
              f"{narrow * 1e3:.1f} ms in bfloat16")
    return (torch.bfloat16 if narrow < 0.8 * wide else None), reason


def slow_in_bfloat16(device: torch.device) -> str:
    """What was measured where a CPU is many times slower in bfloat16 than in float32; "" elsewhere.

    Processors without instructions for bfloat16 are ten to a hundred times slower in it.
    """
    if device.type != "cpu":
        return ""
    generator_state = torch.get_rng_state()
    wide, narrow = (time_layer(amp_dtype=dtype, device=device, repeats=3, **SMALL_LAYER)
                    for dtype in (None, torch.bfloat16))
    torch.set_rng_state(generator_state)
    return (f"{SMALL_LAYER['rows']} rows of a layer of width {SMALL_LAYER['width']} took "
            f"{wide * 1e3:.1f} ms in float32, {narrow * 1e3:.1f} ms in bfloat16"
            ) if narrow > 4 * wide else ""


def formats_to_time(device: torch.device) -> dict[str, torch.dtype | None]:
    """Name -> autocast type of the formats that a benchmark times. Without bfloat16 where it is many
    times slower, and with a line that says so: its numbers would take hours."""
    slow = slow_in_bfloat16(device)
    if slow:
        print(f"bfloat16 is left out: {slow}")
    return {name: AMP_TYPES[name] for name in ("float32", "bfloat16")[:1 if slow else 2]}


def choose_threads(width: int, rows: int = 1024) -> str:
    """Set how many threads share a layer of this width -> the reason. As asked, where it was asked.

    Two threads wait for each other at every layer. That pays where layers are large and cores
    free; a narrow layer is done before the second thread has begun, and where a core is taken the
    one that sits there holds up the other. There a layer that both do equally fast goes to one
    thread: a training has hundreds of layers at which two would wait (1.3 times as long a step).
    Where no core is free, two get twice the share of one: they are kept (2.3 times as fast).
    """
    n = torch.get_num_threads()
    if os.environ.get("OMP_NUM_THREADS"):
        return f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']} as asked"
    if n == 1:
        return "there is one core" if cores() == 1 else "as they were"
    if rows * width < SMALL_WORK:
        torch.set_num_threads(1)
        return f"{rows:,} rows of width {width} are too little to share"
    generator_state = torch.get_rng_state()
    took = {}
    for count in (n, 1):
        torch.set_num_threads(count)
        took[count] = time_layer(width, None, torch.device("cpu"), rows=rows, repeats=3)
    torch.set_rng_state(generator_state)
    some_are_free = waiting.startswith("waiting asleep") and not waiting.endswith(NONE_FREE)
    draw = 1.2 if some_are_free else 0.8  # else n are kept
    best = 1 if took[1] < draw * took[n] else n
    torch.set_num_threads(best)
    return (f"a layer of width {width} took {took[1] * 1e3:.1f} ms with 1, "
            f"{took[n] * 1e3:.1f} ms with {n}")


def keep_memory() -> None:
    """Freed memory stays with this process: steps on a CPU are up to a fifth faster.

    Else glibc hands every large tensor back to the system when it is freed, and the next one of
    the same size costs a page fault for every 4 kB of it. On other systems nothing is changed.
    """
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # as in glibc's malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 2**26)
    mallopt(mmap_threshold, 2**30)


def choose_runtime(device: str = "auto", amp: str = "auto", *, width: int = 512,
                   rows: int = 1024, weights: str = "float32", quiet: bool = False) -> Runtime:
    """Pick device, threads and number format, print them with the reason, and return them.

    `width` is the model's n_embd, `rows` the tokens of one forward pass: on a CPU the number of
    threads and the number format depend on them. `weights`: the format of frozen weights, if any;
    where products in it are slow, that is said.
    """
    chosen, device_reason = choose_device(device)
    threads_reason = ""
    if chosen.type == "cpu":
        keep_memory()
        threads_reason = choose_threads(width, rows)
    amp_dtype, amp_reason = choose_amp(amp, chosen, width)
    runtime = Runtime(chosen, amp_dtype, device_reason, amp_reason, threads_reason)
    if not quiet:
        print(runtime.describe())
        if weights == "bfloat16" and (slow := slow_in_bfloat16(chosen)):
            print(f"weights bfloat16  as asked, and products with them are in it, though {slow}")
    return runtime


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished: needed before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_memory_mb(device: torch.device) -> float:
    """The most memory used so far, in MB: of the GPU, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    import resource  # not on Windows, hence not at the top
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3  # bytes there, kB on Linux


def seed_everything(seed: int) -> None:
    """One seed for Python, NumPy and PyTorch (all devices)."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"--seed {seed}: must be from 0 to 2**32 - 1")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


# ---------------------------------------------------------------- files

def here(script: str) -> Path:
    """The folder of a script, given its `__file__`: the part's own folder."""
    return Path(script).resolve().parent


def out_folder(script: str, out: str | None = None) -> Path:
    """Where a script writes: `--out` if given, else `out/` beside the script. Made, and tried."""
    if out is not None and not str(out).strip():
        raise ValueError("--out is empty; name a folder, or leave the flag out")
    folder = Path(out).expanduser() if out is not None else here(script) / "out"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"--out {str(folder)[:200]}: cannot write there "
                      f"({error.strerror or error}); name a folder of yours") from None
    return folder


@contextmanager
def replacing(path: Path):
    """Yield a temporary path beside `path`; move it into place only if the block succeeds.

    Whatever stood at `path` stays whole until the new file is complete.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_json(path: Path, data) -> None:
    """Write `data` as JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def save_results(path: Path, *, name: str, preset: str, seed: int, runtime: Runtime,
                 seconds: float, tokens: int, parameters: int, metrics: dict) -> dict:
    """Write the JSON that lies beside every checkpoint: the same keys in every part."""
    results = {
        "name": name, "preset": preset, "seed": seed,
        "device": str(runtime.device), "amp": runtime.amp_name, "torch": torch.__version__,
        "seconds": round(seconds, 2), "tokens": tokens,
        "tokens_per_second": round(tokens / max(seconds, 1e-9), 1), "parameters": parameters,
        "peak_memory_mb": round(peak_memory_mb(runtime.device), 1), "metrics": metrics,
    }
    save_json(path, results)
    return results
