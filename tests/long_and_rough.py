"""Long and rough: a run that is killed every minute for an hour, and memory over many steps.

    python tests/long_and_rough.py                       an hour; two processes at a time
    python tests/long_and_rough.py --minutes 6 --every 6     the same sixty kills in six minutes
    python tests/long_and_rough.py --minutes 0           memory alone

Kills   part_4/train.py is started twice with the same settings: once in peace, and once with a SIGKILL
        every so many seconds and --resume after it. At the end weights and log must be the same bytes.
Memory  10,000 steps of a small model, and 100,000 tokens of one stream with a sliding window: the
        most memory of the process after a fifth of the way and at the end. Growth is a leak.
The exit status is 0 when nothing was lost and memory is flat (within --slack MB).
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = ("--n-layer", "2", "--n-head", "2", "--n-kv-head", "1", "--n-embd", "64", "--context", "64",
            "--vocab-size", "320", "--world-megabytes", "0.2", "--rows", "8", "--micro-rows", "4",
            "--eval-every", "200", "--sample-every", "500", "--save-every", "50",
            "--eval-documents", "20", "--amp", "float32", "--device", "cpu", "--no-tensorboard")


def train_command(out: Path, steps: int, *more: str) -> list[str]:
    return [sys.executable, str(ROOT / "part_4" / "train.py"), "--out", str(out), *SETTINGS,
            "--steps", str(steps), *more]


def start(command: list[str]) -> subprocess.Popen:
    """A run whose words go to a file: a pipe that nobody reads would fill, and stop it."""
    words = tempfile.TemporaryFile()  # closed, and so deleted, with the process object
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=words)
    process.words = words
    return process


def end_well(process: subprocess.Popen) -> None:
    """Wait until it has ended. Raises ValueError with its last words where it did not end well."""
    process.wait()
    process.words.seek(0)
    words = process.words.read().decode(errors="replace")
    process.words.close()
    if process.returncode:
        raise ValueError(f"train.py ended with {process.returncode}:\n{words[-1500:]}")


def steps_for(seconds: float, folder: Path) -> int:
    """How many steps last about so long on this machine, two runs at a time."""
    count, pair = 600, [start(train_command(folder / f"speed{i}", 600)) for i in range(2)]
    for process in pair:  # the tokenizer and the data are made here, too
        end_well(process)
    began = time.perf_counter()
    pair = [start(train_command(folder / f"speed{i}", count, "--fresh")) for i in range(2)]
    for process in pair:
        end_well(process)
    return max(count, int(count * seconds / (time.perf_counter() - began)))


def run_with_kills(out: Path, steps: int, every: float) -> int:
    """Train to the end, with a SIGKILL every so many seconds -> the number of kills."""
    kills, rng = 0, random.Random(0)
    while True:
        process = start(train_command(out, steps, *(("--resume",) if kills else ())))
        try:
            process.wait(every * rng.uniform(0.8, 1.2))  # not always at the same place of a step
            end_well(process)
            return kills
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            process.words.close()
            kills += 1
            if kills > 10_000:
                raise ValueError(f"{kills} kills, and no end: {every} s is too short for a step to "
                                 "be saved") from None


def kill_for(minutes: float, every: float, folder: Path) -> dict:
    """-> {"kills", "steps", "seconds", "same"}: does the killed run end with the same bytes?"""
    steps = steps_for(60 * minutes, folder)
    began = time.perf_counter()
    peaceful = start(train_command(folder / "peaceful", steps))
    kills = run_with_kills(folder / "killed", steps, every)
    seconds = time.perf_counter() - began
    end_well(peaceful)
    same = all((folder / "peaceful" / name).read_bytes() == (folder / "killed" / name).read_bytes()
               for name in ("base.pt", "log.jsonl"))
    return {"kills": kills, "steps": steps, "seconds": seconds, "same": same}


# ---------------------------------------------------------------- memory

def growth(work, count: int) -> tuple[float, float]:
    """Do `count` pieces of work -> peak memory in MB after a fifth of them, and at the end."""
    import torch
    from run.runtime import peak_memory_mb
    early = 0.0
    for number in range(1, count + 1):
        next(work)
        if number == max(1, count // 5):
            early = peak_memory_mb(torch.device("cpu"))
    return early, peak_memory_mb(torch.device("cpu"))


def small_model(**more):
    from gpt.model import GPT, GPTConfig
    return GPT(GPTConfig(vocab_size=64, block_size=32, n_layer=1, n_head=2, n_embd=32, **more))


def training():
    """Steps of part 4's loop without end."""
    import torch
    from run.loop import train_step
    from run.optim import make_optimizer
    from run.runtime import choose_runtime
    model, runtime = small_model(), choose_runtime("cpu", "float32", quiet=True)
    optimizer = make_optimizer(model, weight_decay=0.1, betas=(0.9, 0.95))
    scaler = runtime.grad_scaler()
    while True:
        ids = torch.randint(64, (4, 33))
        yield train_step(model, optimizer, ids[:, :-1], ids[:, 1:], runtime=runtime, scaler=scaler,
                         rate=1e-3, micro_rows=2)


def generating(count: int):
    """Tokens of one stream: a window of 16, far beyond block_size."""
    from gpt.generate import stream
    yield from stream(small_model(window=16), [[1, 2, 3]], count, temperature=1.0)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60,
                        help="length of the run that is killed, 0: no kills (default: 60)")
    parser.add_argument("--every", type=float, default=60,
                        help="seconds between two kills, about (default: 60)")
    parser.add_argument("--steps", type=int, default=10_000,
                        help="training steps for memory (default: 10000)")
    parser.add_argument("--tokens", type=int, default=100_000,
                        help="generated tokens for memory (default: 100000)")
    parser.add_argument("--slack", type=float, default=4,
                        help="MB by which memory may grow: the allocator's own (default: 4)")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    if args.minutes < 0 or args.every <= 0 or min(args.steps, args.tokens) < 5:
        print("--minutes must not be below 0, --every must be above it, --steps and --tokens at "
              "least 5", file=sys.stderr)
        return 2
    is_good = True
    sys.path.insert(0, str(ROOT / "part_4"))
    for what, work, count in (("training steps", training(), args.steps),
                              ("tokens", generating(args.tokens), args.tokens)):
        began = time.perf_counter()
        early, late = growth(work, count)
        is_good &= late - early <= args.slack
        print(f"{count:,} {what}: {early:.1f} MB after a fifth, {late:.1f} MB at the end "
              f"({time.perf_counter() - began:.0f} s)", flush=True)
    if args.minutes:
        with tempfile.TemporaryDirectory(prefix="rough_") as folder:
            found = kill_for(args.minutes, args.every, Path(folder))
        is_good &= found["same"]
        print(f"{found['steps']:,} steps with {found['kills']} kills in {found['seconds']:.0f} s: "
              f"{'the same bytes as' if found['same'] else 'NOT the same as'} without one")
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
