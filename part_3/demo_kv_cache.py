"""What does a KV cache save, and what does it cost?

    python demo_kv_cache.py            5 seconds
    python demo_kv_cache.py --quick    a few seconds: shorter texts

What to see: without a cache each new token costs more the longer the text is; with one it costs the
same. The cache's memory grows with the length and with the number of key/value heads: four query
heads that share one (grouped-query attention) need a quarter.
"""

from run.runtime import (
    choose_runtime,
    make_parser,
    out_folder,
    print_table,
    run_main,
    seed_everything,
    synchronize,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import statistics
import time

import torch
from run.plotting import BLUE, GREEN, GREY, ORANGE, end_label, figure, save
from run.tiny_training import make_model

HEADS = {8: GREY, 2: ORANGE, 1: GREEN}  # key/value heads -> colour


@torch.inference_mode()
def time_step(model, length: int, cached: bool, runtime, repeats: int = 7) -> float:
    """Milliseconds for one more token after `length` tokens: the median of `repeats`."""
    ids = torch.randint(0, 256, (1, length + repeats + 1), device=runtime.device)
    times = []
    with runtime.autocast():
        cache = model.make_cache(1, ids.size(1)) if cached else None
        if cached:
            model(ids[:, :length], cache=cache, last_only=True)
        for i in range(length, length + repeats + 1):
            synchronize(runtime.device)
            start = time.perf_counter()
            if cached:
                model(ids[:, i:i + 1], cache=cache, last_only=True)
            else:
                model(ids[:, :i + 1], last_only=True)
            synchronize(runtime.device)
            times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[1:])  # the first is warm-up


def draw(path, lengths, cached, uncached, memory, setup: str) -> None:
    fig, (left, right) = figure(
        f"At {lengths[-1]:,} tokens a cached step takes {cached[-1]:.1f} ms instead of "
        f"{uncached[-1]:.0f}; one key/value head for 8 needs {memory[1][-1]:.1f} MB instead of "
        f"{memory[8][-1]:.1f}", setup, panels=2)
    for name, y, color in (("no cache", uncached, GREY), ("cache", cached, BLUE)):
        left.plot(lengths, y, color=color, marker="o", markersize=3)
        end_label(left, lengths, y, name, color)
    left.set(xlabel="tokens so far", ylabel="ms for one more token", yscale="log")
    for heads, y in memory.items():
        right.plot(lengths, y, color=HEADS[heads], marker="o", markersize=3)
        end_label(right, lengths, y, f"{heads} KV head{'s' if heads > 1 else ''}", HEADS[heads])
    right.set(xlabel="tokens so far", ylabel="cache, MB")
    save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter texts (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    amp = "float32" if args.amp == "auto" else args.amp
    runtime = choose_runtime(args.device, amp, width=256)
    lengths = [32, 64, 128, 256] if args.quick else [64, 128, 256, 512, 1024, 2048]
    settings = {"n_layer": 4, "n_head": 8, "n_embd": 256, "block_size": lengths[-1] + 16}
    models = {heads: make_model(args.seed, n_kv_head=heads, **settings).to(runtime.device).eval()
              for heads in HEADS}
    time_step(models[8], lengths[0], True, runtime)  # warm-up: the first steps of all are slow
    cached = [time_step(models[8], n, True, runtime) for n in lengths]
    uncached = [time_step(models[8], n, False, runtime) for n in lengths]
    memory = {heads: [model.make_cache(1, n).bytes / 1e6 for n in lengths]
              for heads, model in models.items()}
    rows = [[n, uncached[i], cached[i], uncached[i] / cached[i], *(memory[h][i] for h in HEADS)]
            for i, n in enumerate(lengths)]
    print_table(["tokens so far", "no cache, ms", "cache, ms", "times faster",
                 *(f"MB, {heads} KV heads" for heads in HEADS)], rows, "one more token")
    draw(out / "kv_cache.png", lengths, cached, uncached, memory,
         f"4 blocks, width 256, 8 query heads, batch 1, {runtime.amp_name}, {runtime.device}, "
         f"seed {args.seed}; untrained weights")


if __name__ == "__main__":
    run_main(main)
