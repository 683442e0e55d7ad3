"""What does it take to raise a language model? Runs the whole chain, from an empty folder.

    python part_0/demo_pipeline.py                  everything that is not there yet
    python part_0/demo_pipeline.py --only gpt       one stage
    python part_0/demo_pipeline.py --out /tmp/try   in a folder of its own

Each stage is a process with a progress bar of its own. A stage whose result is there, made with the
same settings, is not run again; Ctrl-C and the same command go on where it stopped.
See: the loss falls from guessing to prose, and the model's own text at the end.
"""

import subprocess
import sys
import textwrap
import time
from pathlib import Path

from pipeline import (
    PRESETS,
    ROOT,
    Stage,
    choose,
    folder_of,
    is_done,
    load_state,
    machine_slowness,
    note_done,
    only_one,
    run_stage,
)
from plotting import BLACK, BLUE, GREY, ORANGE, end_label, figure, save
from runtime import make_parser, out_folder, print_table, run_main

STAGES = [
    Stage(name="gpt", title="pretraining a tiny GPT on 110 KB of fables, byte by byte",
          script="part_2/train_gpt.py", result="gpt.json",
          seconds={"quick": 140, "full": 170, "gpu": 80},
          flags={"quick": ("--preset", "default"), "full": ("--preset", "three_minutes"),
                 "gpu": ("--preset", "gpu")},
          summary="{bits_per_byte:.3f} bits a byte on text it never saw"),
]


def show_plan(stages: list[Stage], done: list[bool], preset: str) -> None:
    """What will run, and about how long it takes here."""
    slower = machine_slowness()
    rows = [[stage.name, stage.title, "done already" if is_there else
             f"{stage.seconds[preset] * slower / 60:.1f} minutes"]
            for stage, is_there in zip(stages, done)]
    print_table(["stage", "what happens", "about"], rows, title="The plan")
    left = sum(stage.seconds[preset] for stage, is_there in zip(stages, done) if not is_there)
    print(f"\nin all about {left * slower / 60:.1f} minutes on this machine\n")


def write_sample(out: Path | None, seed: int) -> str:
    """The model's own text: the first 600 bytes that part 2's sample.py writes."""
    command = [sys.executable, str(ROOT / "part_2" / "sample.py"), "--samples", "1", "--seed",
               str(seed), "--length", "600",
               "--checkpoint", str(folder_of("part_2", out) / "gpt.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"part_2/sample.py failed: {done.stderr.strip()}")
    return done.stdout.split("\n", 1)[1].strip()  # without the line that names the seed


def read_curve(folder: Path, tag: str) -> tuple[list[int], list[float]]:
    """(steps, values) of one curve from the newest TensorBoard log in `folder`."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = sorted(folder.glob("events.*"), key=lambda path: path.stat().st_mtime)
    if not files:
        raise FileNotFoundError(f"{folder} holds no TensorBoard log; run the stage again")
    log = EventAccumulator(str(files[-1]))
    log.Reload()
    events = log.Scalars(tag)
    return [event.step for event in events], [event.value for event in events]


def draw(out: Path | None, sample: str, results: dict, path: Path) -> None:
    """The loss curve, and beside it what the model writes."""
    loss = results["metrics"]["val_loss"]
    fig, (left, right) = figure(
        f"From guessing to prose: from 8 bits a byte to {results['metrics']['bits_per_byte']:.2f} "
        "on text it never saw",
        f"{results['parameters'] / 1e6:.1f}M parameters, {results['tokens'] / 1e6:.1f}M bytes "
        f"read, {results['amp']} on {results['device']}, seed {results['seed']}",
        panels=2, widths=[1.0, 1.15])
    folder = folder_of("part_2", out) / "runs" / "gpt"
    for tag, name, color in (("loss/train", "training", BLUE),
                             ("loss/validation", "validation", ORANGE)):
        steps, values = read_curve(folder, tag)
        left.plot(steps, values, color=color)
        end_label(left, steps, values, name, color, dy=7 if name == "validation" else -7)
    left.axhline(5.545, color=GREY, linewidth=1)
    left.text(0, 5.6, "guessing among 256 bytes", fontsize=7.5, color="#666666")
    left.set(xlabel="step", ylabel="loss, nats a byte", ylim=(0, 6))
    right.axis("off")
    paragraphs = [textwrap.fill(text, 58) for text in sample.split("\n\n")]
    lines = "\n\n".join(paragraphs).splitlines()
    right.text(0.02, 1.0, "what it writes", fontsize=8.5, color="#666666", va="top")
    right.text(0.02, 0.92, "\n".join(lines[:17]), fontsize=7, va="top", family="serif",
               color=BLACK, linespacing=1.4)
    right.text(0.02, 0.0, f"validation loss {loss:.3f}", fontsize=7.5, color="#666666")
    save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__, presets=PRESETS, preset="quick", seed=1, runs_model=False)
    parser.add_argument("--from", dest="first", metavar="STAGE",
                        help="start at this stage (default: the first)")
    parser.add_argument("--only", metavar="STAGE", help="run this stage alone (default: all)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    stages = choose(STAGES, args.first, args.only)
    out = Path(args.out).expanduser().resolve() if args.out else None
    folder = out_folder(__file__, str(out / "part_0") if out else None)
    state_path = folder / "pipeline.json"
    start = time.time()
    with only_one(folder):
        state = load_state(state_path)
        done = [is_done(stage, state, args.preset, args.seed, out) for stage in stages]
        show_plan(stages, done, args.preset)
        for stage, is_there in zip(stages, done):
            if is_there:
                results = state[stage.name]["results"]
            else:
                print(f"== {stage.name}: {stage.title}", flush=True)
                seconds = run_stage(stage, args.preset, args.seed, out)
                results = note_done(stage, state_path, args.preset, args.seed, seconds, out)
            print(f"== {stage.name}: {stage.summary.format(**results['metrics'])}\n", flush=True)
        sample = write_sample(out, args.seed)
        print(f"What the model writes by itself:\n\n{sample}\n")
        draw(out, sample, load_state(state_path)["gpt"]["results"], folder / "pipeline.png")
    print(f"{time.time() - start:.0f} seconds")


if __name__ == "__main__":
    run_main(main)
