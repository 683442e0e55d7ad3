"""What does a power cut cost? A run is killed in the middle, twice, and goes on.

    python part_4/demo_resume.py
    python part_4/demo_resume.py --quick

See    One run without a stop, and one that gets SIGKILL (no warning, no goodbye) and is started
       again with --resume. The steps since the last checkpoint are lost and made once more; then the
       curves, the log and every byte of the weights are those of the run that was never killed.
"""

from run.runtime import here, make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

from run import plotting
from run.checkpoint import Checkpoints
from run.logger import read_log

SETTINGS = [
    "--n-layer", "2", "--n-head", "2", "--n-kv-head", "1", "--n-embd", "48", "--context", "64",
    "--vocab-size", "400", "--world-megabytes", "0.3", "--rows", "8", "--micro-rows", "4",
    "--eval-every", "1000000", "--sample-every", "1000000", "--eval-documents", "10",
    "--amp", "float32", "--device", "cpu", "--no-tensorboard"]


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--quick", action="store_true",
                        help="fewer steps, one kill (default: off)")
    return parser.parse_args(argv)


def start(folder: Path, steps: int, seed: int, *more: str) -> subprocess.Popen:
    command = [sys.executable, str(here(__file__) / "train.py"), "--out", str(folder), *SETTINGS,
               "--steps", str(steps), "--save-every", str(steps // 12), "--seed", str(seed), *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate()
    if process.returncode:
        raise ValueError(f"train.py ended with status {process.returncode}: {errors[-300:]}")


def kill_after(process: subprocess.Popen, folder: Path, step: int) -> tuple[int, float]:
    """Kill a run a moment after its first checkpoint from `step` on -> (the step of its newest
    checkpoint, the seconds since that was written: they are lost)."""
    saved = Checkpoints(folder / "checkpoints")
    while process.poll() is None:
        if saved.paths() and int(saved.paths()[-1].stem[5:]) >= step:
            break
        time.sleep(0.005)
    time.sleep(0.15)
    if process.poll() is not None:
        raise ValueError(f"train.py ended before it could be killed: {process.stderr.read()[-300:]}")
    process.kill()
    now = time.time()
    process.communicate()
    path, checkpoint = saved.newest()
    return checkpoint["step"], now - path.stat().st_mtime


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    steps, kills = (120, [40]) if args.quick else (360, [90, 240])
    work = out / "resume_runs"
    shutil.rmtree(work, ignore_errors=True)
    whole, killed = work / "whole", work / "killed"
    finish(start(whole, steps, args.seed))
    shutil.copytree(whole / "data", killed / "data")
    rows, curves = [], []
    for step in kills:
        reached, lost = kill_after(start(killed, steps, args.seed, "--resume"), killed, step)
        curves.append([(line["step"], line["loss"]) for line in read_log(killed / "log.jsonl")
                       if "loss" in line and line["step"] <= reached])
        rows.append(["killed", reached, f"{lost:.2f}", f"{curves[-1][-1][1]:.6f}", "-"])
    finish(start(killed, steps, args.seed, "--resume"))
    for name, folder in (("never killed", whole), ("killed and resumed", killed)):
        logged = read_log(folder / "log.jsonl")
        loss = [line["loss"] for line in logged if "loss" in line][-1]
        digest = hashlib.sha256((folder / "base.pt").read_bytes()).hexdigest()[:12]
        rows.append([name, steps, "-", f"{loss:.6f}", digest])
    print_table(["run", "saved at step", "seconds lost", "last loss", "sha256 of base.pt"], rows)
    same = all((whole / name).read_bytes() == (killed / name).read_bytes()
               for name in ("base.pt", "log.jsonl"))
    draw(out, whole, killed, curves, same,
         sum(float(row[2]) for row in rows[:len(kills)]), args.seed)


def draw(out: Path, whole: Path, killed: Path, curves: list, same: bool, lost: float,
         seed: int):
    """The curve of the whole run, the killed one on top, and where it was killed."""
    verdict = "every byte of weights and log is the same" if same else "THE RESULTS DIFFER"
    fig, ax = plotting.figure(
        f"Killed {len(curves)} time{'s' if len(curves) > 1 else ''}, {lost:.1f} s of work lost: "
        f"{verdict}", f"2 layers of width 48, the little world, float32, seed {seed}")
    for folder, color, width in ((whole, plotting.GREY, 4.0), (killed, plotting.BLUE, 1.0)):
        points = [(line["step"], line["loss"]) for line in read_log(folder / "log.jsonl")
                  if "loss" in line]
        ax.plot(*zip(*points), color=color, lw=width)
        plotting.end_label(ax, *zip(*points),
                           "never killed" if folder == whole else "killed, resumed", color,
                           dy=7 if folder == whole else -7)
    for curve in curves:
        ax.plot(*curve[-1], "x", color=plotting.RED, ms=9, mew=2)
        ax.annotate("SIGKILL", curve[-1], xytext=(6, 12), textcoords="offset points",
                    color=plotting.RED, fontsize=8.5)
    ax.set(xlabel="step", ylabel="loss, nats per token")
    plotting.save(fig, out / "resume.png")


if __name__ == "__main__":
    run_main(main)
