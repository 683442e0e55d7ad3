"""Can a model read on for ever with a cache of constant size?

    python demo_streaming.py            35 seconds
    python demo_streaming.py --quick    a few seconds: little training, a shorter stream

A model is trained on windows of 64 bytes, each with the same begin token in front, as released
models are. Then it reads a stream of more than 20 windows in three ways: with a full cache; with a
rolling cache of the last 64; with a rolling cache of the first 4 and the last 60.

What to see: the perplexity along the stream, and what each cache holds in the end. A full cache
leaves the trained distances behind, and grows. The rolling caches stay, in memory and in loss.
In large models heads rest on the first tokens, and a window without sinks fails; whether a model
as small as this one has learnt to lean on them is what the last two rows tell.
"""

from run.runtime import make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from model import GPT
from run.plotting import BLACK, BLUE, GREY, ORANGE, end_label, figure, save
from run.tiny_training import load_text, make_model, train

BEGIN, TRAINED, SINK, CHUNK = 0, 64, 4, 8
COLORS = {"full cache": GREY, "window": ORANGE, "window + sinks": BLUE}


def process_memory_mb() -> float:
    """What this process holds now (Linux; elsewhere 0)."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * 4096 / 1e6 if path.exists() else 0.0


def streaming_model(model: GPT, name: str, length: int) -> GPT:
    """The same weights, reading with another cache."""
    settings = {"full cache": {"block_size": length},
                "window": {"window": TRAINED},
                "window + sinks": {"window": TRAINED - SINK, "sink": SINK}}[name]
    reader = GPT(replace(model.config, **settings))
    reader.load_state_dict(model.state_dict())
    return reader.eval()


@torch.inference_mode()
def read_stream(model: GPT, ids: torch.Tensor) -> tuple[np.ndarray, dict]:
    """ids (B, T + 1) -> the loss of each of T positions, mean of rows; what the cache held."""
    length = ids.size(1) - 1
    cache = model.make_cache(len(ids), length)
    losses, before, most = [], process_memory_mb(), 0
    for start in range(0, length, CHUNK):
        logits, _ = model(ids[:, start:start + CHUNK], cache=cache)
        targets = ids[:, start + 1:start + 1 + CHUNK]
        losses.append(F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(0))
        most = max(most, cache.entries)
    held = {"entries": most, "bytes": cache.bytes // len(ids),
            "grown": process_memory_mb() - before}
    return torch.cat(losses).numpy(), held


def make_streams(data: torch.Tensor, rows: int, length: int) -> torch.Tensor:
    """(rows, length + 1): stretches of the text from evenly spread places, a begin token each."""
    starts = torch.linspace(0, len(data) - length - 1, rows).long()[:, None]
    ids = data[starts + torch.arange(length + 1)].long()
    ids[:, 0] = BEGIN
    return ids


def draw(path, results: dict, setup: str, length: int) -> None:
    late = {name: np.exp(losses[length // 2:].mean()) for name, (losses, _) in results.items()}
    fig, ax = figure(
        f"Perplexity late in the stream: {late['window + sinks']:.2f} with window and sinks, "
        f"{late['window']:.2f} with a window alone, {late['full cache']:.2f} with a full cache",
        setup)
    x = np.arange(16, length, 32)
    for name, (losses, _) in results.items():
        y = np.exp(losses[:len(x) * 32].reshape(-1, 32).mean(1))
        ax.plot(x[:len(y)], y, color=COLORS[name], linewidth=1.4)
        end_label(ax, x[:len(y)], [late[name]], name, COLORS[name],
                  dy={"window": 7, "window + sinks": -7}.get(name, 0))
    ax.axvline(TRAINED, color=BLACK, linewidth=0.8)
    ax.text(TRAINED, ax.get_ylim()[1], " trained length", fontsize=8, va="top")
    ax.set(xlabel="position in the stream", ylabel="perplexity per byte (log)", yscale="log",
           yticks=(5, 10, 20, 40), yticklabels=("5", "10", "20", "40"))
    ax.minorticks_off()
    save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--quick", action="store_true", help="less training (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    steps, length, rows = (16, 20 * TRAINED, 2) if args.quick else (500, 32 * TRAINED, 6)
    train_data, val_data = load_text()
    model = make_model(args.seed, n_layer=4, n_head=4, n_embd=96, block_size=TRAINED)
    train(model, train_data, steps=steps, batch_size=24, peak=4e-3, seed=args.seed,
          first_token=BEGIN)
    ids = make_streams(val_data, rows, length)
    results = {name: read_stream(streaming_model(model, name, length), ids) for name in COLORS}
    table = []
    for name, (losses, held) in results.items():
        parts = [losses[:TRAINED], losses[TRAINED:4 * TRAINED], losses[length // 2:]]
        table.append([name, *(float(np.exp(part.mean())) for part in parts), held["entries"],
                      held["bytes"], held["grown"]])
    print_table(["cache", f"first {TRAINED}", f"to {4 * TRAINED}", "last half", "most entries",
                 "bytes a row", "process grew, MB"], table,
                f"perplexity per byte, {length:,} bytes of stream ({length // TRAINED} windows)")
    draw(out / "streaming.png", results, f"4 blocks, width 96, trained {steps} steps on windows of "
         f"{TRAINED} bytes; {rows} streams of {length:,} unseen bytes; seed {args.seed}", length)


if __name__ == "__main__":
    run_main(main)
