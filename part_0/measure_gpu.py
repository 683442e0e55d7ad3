"""How fast is all this on a GPU, and does it compute the same there? One run, one JSON, one picture.

    python part_0/measure_gpu.py                          on a CUDA device, at most 25 minutes
    python part_0/measure_gpu.py --device cpu --quick   the whole path, tiny sizes, in minutes

Runs the benchmark of every part that has one, each in a process of its own with a limit in seconds,
and the tests that need a GPU. A benchmark that fails or takes too long costs its own figures, no
others. Writes gpu.json: for each its status, its seconds and what it measured; and gpu.png: training
with the share of the device's peak (MFU, eq. 4.15), attention, decoding.
"""

from runtime import (
    choose_device,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import json
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import plotting
from machine import describe_machine
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
ALL_SECONDS = 25 * 60
GOAL = 0.45  # of an H100's peak in bfloat16, by the model of 124M parameters
COLORS = {"float32": plotting.GREY, "bfloat16": plotting.BLUE, "float16": plotting.ORANGE}


@dataclass(frozen=True)
class Job:
    """One benchmark: how it is run, how long it may take, and the JSON that it leaves, if any."""

    name: str
    script: str
    flags: str
    quick: str  # its flags with --quick
    seconds: int
    leaves: str | None = None


JOBS = (
    Job("training 124m", "part_4/benchmark_training.py",
        "--shapes 124m --formats bfloat16 --compile --rounds 7",
        "--shapes a --formats float32 --rounds 1 --rows 1", 300, "benchmark_training.json"),
    Job("training formats", "part_4/benchmark_training.py",
        "--shapes b,c --formats float32,bfloat16,float16 --rounds 7",
        "--shapes a --formats float32,bfloat16,float16 --rounds 1 --rows 1", 150,
        "benchmark_training.json"),
    Job("device", "part_4/benchmark_device.py", "", "--quick", 240, "benchmark_device.json"),
    Job("first model", "part_2/benchmark.py", "--seconds 10", "--shapes a --seconds 0.2", 90,
        "benchmark.json"),
    Job("30M model", "part_3/benchmark_speed.py", "", "--quick", 150, "speed.json"),
    Job("upgrades", "part_3/benchmark_upgrades.py", "--seconds 3 --seeds 1", "--quick", 120,
        "upgrades.json"),
    Job("experts", "part_5/benchmark_moe.py", "--tokens 16384 --n-embd 768 --n-hidden 1024",
        "--tokens 16 --n-embd 16 --n-hidden 16 --rounds 1", 120),
    Job("replies in one row", "part_7/benchmark_siblings.py", "", "--quick", 60,
        "benchmark_siblings.json"),
    Job("rollouts", "part_8/benchmark_rollout.py", "--alone 2", "--quick", 90,
        "benchmark_rollout.json"),
    Job("group update", "part_9/benchmark_grpo.py", "", "--quick", 90, "benchmark_grpo.json"),
)
TEST_SECONDS = 90
TESTS = "tests/part_*/test_on_a_gpu.py"  # each of their tests runs on the CPU too


def run(command: list[str], limit: float, end: float = math.inf) -> dict:
    """Run a process for `limit` seconds at most, and until `end` -> {"status", "seconds", "said"};
    what it said last, where it did not go well."""
    start = time.perf_counter()
    limit = min(limit, end - start)
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False,
                              timeout=max(limit, 1.0))
        status = "ok" if done.returncode == 0 else f"failed ({done.returncode})"
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
    except subprocess.TimeoutExpired:
        status, said = f"out of time ({limit:.0f} s)", []
    return {"status": status, "seconds": round(time.perf_counter() - start, 1),
            "said": "" if status == "ok" else "".join(said)[:300]}


def run_job(job: Job, device: str, quick: bool, out: Path, end: float = math.inf) -> dict:
    """The status of a benchmark, and what it measured."""
    if not (ROOT / job.script).is_file():
        return {"status": "not there", "seconds": 0.0, "said": job.script}
    folder = out / "gpu" / job.name.replace(" ", "_")
    for old in folder.glob("*.json"):  # of a run before: it would pass for this one's
        old.unlink()
    result = run([sys.executable, str(ROOT / job.script), "--device", device, "--out", str(folder),
                  *(job.quick if quick else job.flags).split()], job.seconds, end)
    path = folder / (job.leaves or "-")
    if path.is_file():
        result["measured"] = json.loads(path.read_text(encoding="utf-8"))
    return result


def run_tests(end: float = math.inf) -> dict:
    """The tests that compute on the GPU where there is one, and on the CPU else."""
    files = sorted(map(str, ROOT.glob(TESTS)))
    if not files:
        return {"status": "not there", "seconds": 0.0, "said": TESTS}
    return run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--one-process",
                *files], TEST_SECONDS, end)


def measured(results: dict, name: str, *keys: str):
    """results[name]["measured"][key]…, or an empty list where that job gave nothing."""
    found = results.get(name, {}).get("measured", [])
    for key in keys:
        found = found.get(key, []) if isinstance(found, dict) else []
    return found


def summary_of(results: dict) -> dict:
    """The figures that one looks at first; None where they are not there."""
    ours = [row for row in measured(results, "training 124m") if row["variant"] == "ours"]
    formats = measured(results, "device", "formats")
    attention = measured(results, "device", "attention")
    return {"mfu": ours[0]["mfu"] if ours else None,
            "tokens_per_second": ours[0]["tokens_per_second"] if ours else None,
            "formats_agree": all(row["agrees"] for row in formats) if formats else None,
            "attention_tflops": max((row["tflops"] for row in attention), default=None),
            "tests": results.get("tests", {}).get("status")}


def draw(results: dict, summary: dict, setup: str, path: Path) -> None:
    """Training, attention and decoding, by number format."""
    mfu = summary["mfu"]
    title = "No figure of training was measured" if summary["tokens_per_second"] is None else \
        f"Training: {summary['tokens_per_second']:,.0f} tokens/s" + (
            "" if mfu is None else f", {mfu:.0%} of the peak (goal {GOAL:.0%})")
    fig, (left, middle, right) = plotting.figure(title, setup, panels=3, size=(9, 3.8))
    rows = [row for name in ("training 124m", "training formats") for row in measured(results, name)
            if row["variant"] == "ours"]
    left.barh([f"{row['shape']} {row['format']}" for row in rows],
              [row["tokens_per_second"] for row in rows],
              color=[COLORS[row["format"]] for row in rows])
    left.set(xlabel="training, tokens/s")
    for ax, key, x, y in ((middle, "attention", "length", "tflops"),
                          (right, "decoding", "rows", "tokens_per_second")):
        rows = measured(results, "device", key)
        for kind in dict.fromkeys(row["format"] for row in rows):
            line = [(row[x], row[y]) for row in rows if row["format"] == kind]
            ax.plot(*zip(*line), color=COLORS[kind], marker="o", ms=3)
            plotting.end_label(ax, *zip(*line), kind, COLORS[kind])
        ax.margins(x=0.3)
    middle.set(xlabel="length of a row", ylabel="attention, TFLOP/s")
    right.set(xlabel="rows at once", ylabel="decoding, tokens/s")
    plotting.save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, … or cpu (default: cuda)")
    parser.add_argument("--quick", action="store_true",
                        help="tiny sizes that show the path, not the speed (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    try:
        device, _ = choose_device(args.device)
    except ValueError as error:
        raise ValueError(f"nothing was measured: {error}; --device cpu --quick tries the whole "
                         "path without a GPU") from None
    out, start = out_folder(__file__, args.out), time.perf_counter()
    end = start + ALL_SECONDS
    with ThreadPoolExecutor(2 if args.quick else 1) as workers:  # one at a time, where speed counts
        running = {job.name: workers.submit(run_job, job, str(device), args.quick, out, end)
                   for job in JOBS}
        running["tests"] = workers.submit(run_tests, end)
        results = {name: one.result() for name, one in tqdm(running.items(), desc="measure")}
    seconds, summary = time.perf_counter() - start, summary_of(results)
    machine = describe_machine()
    save_json(out / "gpu.json", {"device": str(device), "quick": args.quick, "machine": machine,
                                 "seconds": round(seconds, 1), "summary": summary, "jobs": results})
    name = machine["gpu"] if device.type == "cuda" else machine["processor"]
    draw(results, summary, f"{name}, torch {machine['torch']}, {seconds:.0f} s"
         + (", --quick: the form, not the speed" if args.quick else ""), out / "gpu.png")
    print_table(["benchmark", "status", "seconds"],
                [[name, row["status"], row["seconds"]] for name, row in results.items()],
                f"{out / 'gpu.json'}")
    print_table(["measured", "value"], [list(pair) for pair in summary.items()])
    odd = {name: row for name, row in results.items() if row["status"] != "ok"}
    if odd:
        raise ValueError("; ".join(f"{name}: {row['status']} {row['said']}"
                                   for name, row in odd.items()))


if __name__ == "__main__":
    run_main(main)
