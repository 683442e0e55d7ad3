"""How fast is a training step? Ours against a plain loop, and against Hugging Face's Llama.

    python part_4/benchmark_training.py                    shapes a, b, c on this machine
    python part_4/benchmark_training.py --shapes c --peer  with transformers, if it is installed
    python part_4/benchmark_training.py --shapes 124m --compile      on a GPU: MFU

See    Tokens per second in float32 and bfloat16, and the share of a step that waits for data. The
       variants take turns, in an order drawn anew each round; the median counts: machines are
       noisy.
Math   MFU = tokens/s * (6 P + 12 L C T) / (peak FLOP/s of the device)              (eq. 4.15)
       P parameters of the products, L layers, C width, T context
"""

from run.runtime import (
    AMP_TYPES,
    Runtime,
    choose_runtime,
    formats_to_time,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
    seed_everything,
    synchronize,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import importlib.util
import random
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from gpt.model import GPT, GPTConfig
from run import plotting
from run.loop import train_step
from run.optim import make_optimizer
from text.data import TokenRows
from text.shards import open_shard, write_shard

# layers, heads, width, context, vocabulary, rows
SHAPES = {"a": (4, 4, 128, 64, 256, 12), "b": (6, 6, 384, 256, 256, 16),
          "c": (8, 8, 512, 512, 8192, 4), "124m": (12, 12, 768, 1024, 32768, 32)}
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "4090": 165e12}  # bf16


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--shapes", default="a,b,c",
                        help=f"of {', '.join(SHAPES)}; joined by commas (default: a,b,c)")
    parser.add_argument("--formats", default=None,
                        help="number formats, joined by commas (default: float32,bfloat16; the "
                        "second only where it is not many times slower)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (default: 7)")
    parser.add_argument("--rows", type=int, default=None,
                        help="rows in a step (default: as the shape has it)")
    parser.add_argument("--peer", action="store_true",
                        help="Hugging Face's Llama too (default: off; needs transformers)")
    parser.add_argument("--compile", action="store_true", help="torch.compile (default: off)")
    return parser.parse_args(argv)


def flops_per_token(model: GPT) -> float:
    """Of forward and backward: 6 a weight of a product, and attention's two products."""
    c = model.config
    head = c.vocab_size * c.n_embd
    weights = sum(p.numel() for p in model.blocks.parameters() if p.dim() == 2) + head
    return 6 * weights + 12 * c.n_layer * c.n_embd * c.block_size


def make_rows(folder: Path, context: int, vocabulary: int, rows: int) -> TokenRows:
    """Random tokens in a real shard, so that loading is part of what is measured."""
    path = folder / f"{context}_{vocabulary}.bin"
    tokens = np.random.default_rng(0).integers(1, vocabulary, context * rows * 64)
    write_shard(path, tokens, documents=1, text_bytes=1, vocab_size=vocabulary, fingerprint="-")
    return TokenRows([open_shard(path, "-")], context, begin=0)


def plain_step(model, optimizer, ids, targets, runtime: Runtime) -> None:
    """The loop as part 3 has it: all logits, PyTorch's cross-entropy, clip, step."""
    with runtime.autocast():
        _, loss = model(ids, targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def llama(shape) -> torch.nn.Module:
    """Hugging Face's model of the same sizes. Raises ValueError where it is not installed."""
    if importlib.util.find_spec("transformers") is None:
        raise ValueError("--peer: transformers is not installed; pip install transformers")
    from transformers import LlamaConfig, LlamaForCausalLM  # optional, hence not at the top
    layers, heads, width, context, vocabulary, _ = shape
    hidden = GPTConfig(n_embd=width, n_head=heads).n_hidden
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=hidden,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads,
        max_position_embeddings=context, tie_word_embeddings=True))


def llama_step(model, optimizer, ids, targets, runtime: Runtime) -> None:
    with runtime.autocast():
        logits = model(ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def contenders(shape, runtime: Runtime, args) -> dict:
    """Name -> a function of (ids, targets) that makes one step."""
    layers, heads, width, context, vocabulary, _ = shape
    config = GPTConfig(vocab_size=vocabulary, block_size=context, n_layer=layers, n_head=heads,
                       n_embd=width)
    steps = {}
    for name in ("ours", "plain loop"):
        model = GPT(config).to(runtime.device)
        optimizer = make_optimizer(model, weight_decay=0.1, betas=(0.9, 0.95))
        fast, scaler = torch.compile(model) if args.compile else model, runtime.grad_scaler()
        if name == "ours":
            def step(x, y, fast=fast, optimizer=optimizer, scaler=scaler):
                train_step(fast, optimizer, x, y, runtime=runtime, scaler=scaler, rate=1e-4)
        else:
            def step(x, y, fast=fast, optimizer=optimizer):
                plain_step(fast, optimizer, x, y, runtime)
        steps[name] = step
    if args.peer:
        model = llama(shape).to(runtime.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        steps["HF Llama"] = lambda x, y: llama_step(model, optimizer, x, y, runtime)
    return steps


def measure(name: str, runtime: Runtime, args, folder: Path) -> list[dict]:
    """All contenders on one shape, in turns."""
    shape = list(SHAPES[name])
    shape[5] = args.rows or shape[5]
    layers, heads, width, context, vocabulary, rows = shape
    data = make_rows(folder, context, vocabulary, rows)
    steps = contenders(shape, runtime, args)
    taken: dict = {key: [] for key in steps}
    waited = []
    for turn in range(args.rounds + 1):
        for key, step in random.sample(list(steps.items()), len(steps)):
            start = time.perf_counter()
            ids, targets = data.batch(turn, rows)
            waited.append(time.perf_counter() - start)
            ids, targets = ids.to(runtime.device), targets.to(runtime.device)
            synchronize(runtime.device)
            start = time.perf_counter()
            step(ids, targets)
            synchronize(runtime.device)
            if turn:  # the first is warm-up
                taken[key].append(time.perf_counter() - start)
    model = GPT(GPTConfig(vocab_size=vocabulary, block_size=context, n_layer=layers, n_head=heads,
                          n_embd=width))
    return [{"shape": name, "format": runtime.amp_name, "variant": key,
             "tokens_per_second": rows * context / statistics.median(seconds),
             "loading_share": statistics.median(waited) / statistics.median(seconds),
             "flops_per_token": flops_per_token(model)} for key, seconds in taken.items()]


def peak_flops(device: torch.device) -> float | None:
    """What the maker promises for bfloat16, where this table knows the GPU."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for key, peak in PEAKS.items() if key in name), None)


def main(argv=None):
    args = parse_args(argv)
    for shape in args.shapes.split(","):
        if shape not in SHAPES:
            raise ValueError(f"--shapes {shape}: unknown; choose of {', '.join(SHAPES)}")
    asked = args.formats.split(",") if args.formats is not None else None
    for kind in asked or ():
        if kind not in AMP_TYPES:
            raise ValueError(f"--formats {kind}: unknown; choose of {', '.join(AMP_TYPES)}")
    if args.rounds < 1 or args.rows is not None and args.rows < 1:
        raise ValueError(f"--rounds {args.rounds} and --rows {args.rows}: must be at least 1")
    out, results = out_folder(__file__, args.out), []
    seed_everything(args.seed)
    device = choose_runtime(args.device, "float32").device
    peak, formats = peak_flops(device), asked or list(formats_to_time(device))
    with tempfile.TemporaryDirectory() as folder:
        for shape in args.shapes.split(","):
            for kind in formats:
                runtime = Runtime(device, AMP_TYPES[kind], "", "as asked")
                results += measure(shape, runtime, args, Path(folder))
    for row in results:
        row["mfu"] = row["tokens_per_second"] * row["flops_per_token"] / peak if peak else None
    print_table(["shape", "format", "variant", "tokens/s", "GFLOP/s", "waits for data", "MFU"],
                [[r["shape"], r["format"], r["variant"], r["tokens_per_second"],
                  r["tokens_per_second"] * r["flops_per_token"] / 1e9,
                  f"{r['loading_share']:.2%}", r["mfu"]] for r in results])
    save_json(out / "benchmark_training.json", results)
    draw(results, out, args)


def draw(results: list[dict], out: Path, args) -> None:
    """Tokens per second, relative to the plain loop in float32."""
    base = {r["shape"]: r["tokens_per_second"] for r in reversed(results)
            if r["variant"] == "plain loop"}
    base |= {r["shape"]: r["tokens_per_second"] for r in results
             if r["variant"] == "plain loop" and r["format"] == "float32"}
    ratios = [r["tokens_per_second"] / base[r["shape"]] for r in results]
    best = max(range(len(results)), key=lambda i: ratios[i] * (results[i]["variant"] == "ours"))
    fig, ax = plotting.figure(
        f"Shape {results[best]['shape']} in {results[best]['format']}: {ratios[best]:.1f} times "
        f"the plain loop in float32",
        f"median of {args.rounds} rounds in turns, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, seed {args.seed}")
    colors = {"ours": plotting.BLUE, "plain loop": plotting.GREY, "HF Llama": plotting.ORANGE}
    labels = [f"{r['shape']} {r['format']}, {r['variant']}" for r in results]
    places = range(len(results), 0, -1)
    ax.barh(list(places), ratios, color=[colors[r["variant"]] for r in results])
    for place, ratio, r in zip(places, ratios, results):
        ax.text(ratio, place, f" {r['tokens_per_second']:,.0f}/s", va="center", fontsize=7.5)
    ax.set_yticks(list(places), labels, fontsize=7.5)
    ax.set(xlabel="speed, relative to the plain loop in float32")
    ax.grid(axis="x")
    plotting.save(fig, out / "benchmark_training.png")


if __name__ == "__main__":
    run_main(main)
