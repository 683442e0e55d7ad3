"""What does this machine have, how fast is it, and what follows from that?

    python part_0/demo_environment.py

Prints what is here, the measured speed of matrix products (float32 and bfloat16) and of memory, the
settings that the scripts will choose by themselves, and about how long each part takes here.
See: bfloat16 pays where the products get wider; the picture shows from which width on.
"""

from runtime import (
    choose_runtime,
    here,
    make_parser,
    out_folder,
    print_table,
    run_main,
    seed_everything,
    synchronize,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import os
import platform
import time

import matplotlib
import numpy as np
import torch
from machine import machine_slowness, processor_name, total_memory_gb
from plotting import BLUE, ORANGE, end_label, figure, save

WIDTHS = (64, 128, 256, 512, 1024)

# The work's name, and seconds on the machine that the lessons name (machine.py). The time on another
# machine is this, times how much slower that machine's layers run.
REFERENCE_SECONDS = {
    "part_1": ("all demos", 120),
    "part_2": ("train_gpt.py", 120),
    "part_3": ("all demos", 240),
    "part_4": ("train.py", 240),
    "part_5": ("train_moe.py", 240),
    "part_6": ("train_sft.py", 180),
    "part_7": ("train_reward.py", 120),
    "part_8": ("train_ppo.py", 180),
    "part_9": ("train_grpo.py", 240),
}


def product_speed(width: int, dtype: torch.dtype, device: torch.device) -> float:
    """GFLOP/s of a (1024, width) @ (width, width) product: the median of five times as many as fit
    into 20 ms, at most 50; of one where a single product takes 0.2 s."""
    left = torch.randn(1024, width, device=device).to(dtype)
    right = torch.randn(width, width, device=device).to(dtype)

    def seconds(repeats: int) -> float:
        synchronize(device)
        start = time.perf_counter()
        for _ in range(repeats):
            left @ right
        synchronize(device)
        return (time.perf_counter() - start) / repeats

    seconds(1)  # warm-up
    once = seconds(1)
    repeats = max(1, min(50, int(0.02 / once)))
    took = once if once > 0.2 else float(np.median([seconds(repeats) for _ in range(5)]))
    return 2 * 1024 * width * width / took / 1e9


def memory_speed(device: torch.device, megabytes: int = 256) -> float:
    """GB/s of a copy, bytes read and bytes written both counted."""
    source = torch.ones(megabytes * 250_000, device=device)
    target = torch.empty_like(source)
    times = []
    for _ in range(5):
        synchronize(device)
        start = time.perf_counter()
        target.copy_(source)
        synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * source.nbytes / float(np.median(times)) / 1e9


def parts_here(root) -> list[str]:
    """The parts that are in this repository, apart from part 0."""
    return [path.name for path in sorted(root.glob("part_[1-9]"))]


def draw(speeds: dict, setup: str, path) -> None:
    """GFLOP/s against width, one line for each number format."""
    ratio = {w: speeds["bfloat16"][w] / speeds["float32"][w] for w in WIDTHS}
    best = max(ratio, key=ratio.get)
    faster = [w for w in WIDTHS if ratio[w] > 1.25]
    title = (f"bfloat16 products run {ratio[best]:.1f} times as fast as float32 at width {best}"
             if faster else "bfloat16 gains nothing on this machine: float32 it is")
    fig, ax = figure(title, setup)
    for name, color in (("float32", BLUE), ("bfloat16", ORANGE)):
        values = [speeds[name][w] for w in WIDTHS]
        ax.plot(WIDTHS, values, marker="o", color=color)
        end_label(ax, WIDTHS, values, name, color)
    ax.set_xscale("log", base=2)
    ax.set_xticks(WIDTHS, [str(w) for w in WIDTHS])
    ax.set_ylim(bottom=0)
    ax.set_xlabel("width of the product, 1,024 rows")
    ax.set_ylabel("GFLOP/s")
    save(fig, path)


def parse_args(argv=None):
    return make_parser(__doc__).parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    seed_everything(args.seed)
    out = out_folder(__file__, args.out)
    runtime = choose_runtime(args.device, args.amp)
    device = runtime.device

    memory = total_memory_gb()
    print_table(["what", "here"], [
        ["system", f"{platform.system()} {platform.release()}"],
        ["processor", f"{processor_name()}, {os.cpu_count()} cores seen"],
        ["threads torch uses", str(torch.get_num_threads())],
        ["memory", f"{memory:.0f} GB" if memory else "unknown"],
        ["device", str(device) + ("" if device.type == "cpu" else f": {runtime.device_reason}")],
        ["python", platform.python_version()],
        ["torch", torch.__version__],
        ["numpy, matplotlib", f"{np.__version__}, {matplotlib.__version__}"],
    ], title="What this machine has")

    types = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    speeds = {name: {w: product_speed(w, dtype, device) for w in WIDTHS}
              for name, dtype in types.items()}
    print_table(["width", "float32 GFLOP/s", "bfloat16 GFLOP/s", "ratio"],
                [[w, round(speeds["float32"][w]), round(speeds["bfloat16"][w]),
                  speeds["bfloat16"][w] / speeds["float32"][w]] for w in WIDTHS],
                title="How fast a matrix product is, 1,024 rows")
    print(f"\nmemory copies {memory_speed(device):.1f} GB/s (read and written)")

    slower = machine_slowness()
    known = [part for part in parts_here(here(__file__).parent) if part in REFERENCE_SECONDS]
    print_table(["part", "what", "about"],
                [[part, REFERENCE_SECONDS[part][0],
                  f"{REFERENCE_SECONDS[part][1] * slower / 60:.1f} minutes"] for part in known],
                title="How long the parts take here, from the speed of one layer (width 256)")
    draw(speeds, f"{processor_name()}, {torch.get_num_threads()} threads, "
                 f"torch {torch.__version__}, {device}", out / "environment.png")


if __name__ == "__main__":
    run_main(main)
