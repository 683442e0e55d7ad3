"""What did each upgrade buy? Part 2's model against each new piece alone, and all together.

    python benchmark_upgrades.py                     the fables, about four minutes
    python benchmark_upgrades.py --data book.txt     any other text
    python benchmark_upgrades.py --seconds 20 --only "part 2,all together"    equal time
    python benchmark_upgrades.py --quick             a few seconds: too short to learn from

Every model sees the same batches in the same order. "all together" has its MLP widened so that it
has as many parameters as part 2's model. Decoding: one row, 32 bytes of prompt, up to 256 bytes;
part 2's own loop reads all again for every byte, all others use the cache. Writes upgrades.json and
upgrades.png.
"""

from run.runtime import (
    choose_runtime,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from generate import generate
from model import GPT, GPTConfig
from run.data import check_enough
from run.evaluation import evaluate
from run.plotting import BLUE, GREY, ORANGE, figure, save
from run.tiny_training import FABLES, load_text, make_model, train
from sampling import generate as generate_uncached

PART_2 = {"norm": "layer", "positions": "learned", "mlp": "gelu"}
MODERN = {"norm": "rms", "positions": "rope", "mlp": "swiglu", "n_kv_head": 2}
UPGRADES = {  # name -> what differs from part 2's model
    "part 2": {}, "KV cache": {}, "RMSNorm": {"norm": "rms"}, "RoPE": {"positions": "rope"},
    "SwiGLU": {"mlp": "swiglu"}, "grouped queries": {"n_kv_head": 2},
    "window and sinks": {"positions": "rope", "window": 32, "sink": 4},
    "latent attention": {"positions": "rope", "attention": "mla"}, "all together": MODERN}
BATCH, PROMPT, DECODED = 16, 32, 256


def settings_of(name: str, args) -> dict:
    """The settings of the model of a row; for "all together" with part 2's number of parameters."""
    size = {"n_layer": args.layers, "n_head": 4, "n_embd": args.width, "block_size": args.context}
    settings = {**size, **PART_2, **UPGRADES[name]}
    if name == "all together":
        target = GPT(GPTConfig(**size, **PART_2)).count_parameters()
        config = GPTConfig(**settings)
        missing = target - GPT(config).count_parameters()
        step = 3 * args.layers * args.width  # parameters that one more hidden channel costs
        settings["n_hidden"] = replace(config).n_hidden + missing // step
    return settings


def learn(name: str, texts, seed: int, args, runtime) -> tuple[float, float]:
    """Train one model -> its validation loss, and training tokens per second."""
    model = make_model(seed, **settings_of(name, args)).to(runtime.device)
    start = time.perf_counter()
    losses = train(model, texts[0], steps=None if args.seconds else args.steps,
                   seconds=args.seconds, batch_size=BATCH, peak=args.lr, seed=seed,
                   runtime=runtime)
    taken = time.perf_counter() - start
    loss = evaluate(model, texts[1][:args.eval_bytes])
    return loss, len(losses) * BATCH * args.context / taken


def decoding_speed(name: str, args, runtime, repeats: int = 3) -> float:
    """Tokens per second for one row up to DECODED tokens: the fastest of `repeats`."""
    settings = settings_of(name, args) | {"block_size": DECODED}
    model = make_model(0, **settings).to(runtime.device).eval()
    prompt, new, best = list(range(PROMPT)), DECODED - PROMPT, 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        if name == "part 2":
            list(generate_uncached(model, prompt, new, temperature=0.0))
        else:
            generate(model, [prompt], new)
        best = max(best, new / (time.perf_counter() - start))
    return best


def measure(args, runtime) -> dict[str, dict]:
    """Name of a row -> what was measured. Rows take turns, so that all meet the same noise."""
    texts = [part.to(runtime.device) for part in load_text(args.data)]
    check_enough(texts[0], args.context, "training")
    check_enough(texts[1], args.context, "validation")
    trained = [name for name in args.only if name != "KV cache"]  # that one changes no weight
    runs = {name: [] for name in trained}
    for seed in range(args.seed, args.seed + args.seeds):
        for name in trained:
            runs[name].append(learn(name, texts, seed, args, runtime))
            print(f"  seed {seed}  {name:18s} {runs[name][-1][0]:.4f}", flush=True)
    runs["KV cache"] = runs["part 2"]
    measured = {}
    for name in args.only:
        settings = settings_of(name, args)
        cache = GPT(GPTConfig(**settings | {"block_size": DECODED})).make_cache(1)
        losses = [loss for loss, _ in runs[name]]
        measured[name] = {
            "parameters": GPT(GPTConfig(**settings)).count_parameters(), "losses": losses,
            "loss": float(np.mean(losses)),
            "training": statistics.median(speed for _, speed in runs[name]),
            "decoding": decoding_speed(name, args, runtime),
            "cache": None if name == "part 2" else cache.bytes}
    return measured


def draw(path, measured: dict, text: str, setup: str) -> None:
    before, after = measured["part 2"]["loss"], measured["all together"]["loss"]
    fig, (left, right) = figure(
        f"All upgrades together: loss {before:.3f} -> {after:.3f} at equal parameters on {text}, "
        f"decoding {measured['all together']['decoding'] / measured['part 2']['decoding']:.1f} "
        "times as fast", setup, panels=2, widths=[0.6, 0.4])
    names = [name for name in measured if name != "KV cache"]
    for y, name in enumerate(reversed(names)):
        color = {"part 2": GREY, "all together": BLUE}.get(name, ORANGE)
        left.plot(measured[name]["losses"], [y] * len(measured[name]["losses"]), "o", color=color,
                  markersize=4, alpha=0.6)
        left.plot(measured[name]["loss"], y, "|", color=color, markersize=16, markeredgewidth=2)
    left.axvline(before, color=GREY, linewidth=0.8)
    left.set_yticks(range(len(names)), reversed(names))
    left.set(xlabel="validation loss, nats a byte (dots: seeds)")
    names = list(measured)
    right.barh(range(len(names)), [measured[name]["decoding"] for name in reversed(names)],
               color=[{"part 2": GREY, "all together": BLUE}.get(n, ORANGE)
                      for n in reversed(names)])
    right.set_yticks(range(len(names)), reversed(names), fontsize=7)
    right.set(xlabel="decoding, tokens a second")
    right.grid(axis="x")
    save(fig, path)


USUAL = {"steps": 300, "seeds": 3, "layers": 4, "width": 128, "context": 64, "eval_bytes": 100_000}
QUICK = {"steps": 4, "seeds": 1, "layers": 1, "width": 32, "context": 64, "eval_bytes": 1000}


def parse_args(argv=None):
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", default=str(FABLES), help="a text file or folder (default: part 2's fables)")
    add("--only", default=",".join(UPGRADES), metavar="ROWS",
        help='rows of the table, with "part 2" and "all together" among them (default: all)')
    add("--steps", type=int, default=None, help="training steps for each model (default: 300)")
    add("--seconds", type=float, default=None,
        help="train each model for so long instead of --steps (default: off)")
    add("--seeds", type=int, default=None, help="runs of each model (default: 3)")
    add("--lr", type=float, default=2e-3, help="learning rate at the peak (default: 0.002)")
    add("--layers", type=int, default=None, help="blocks (default: 4)")
    add("--width", type=int, default=None, help="width of the residual stream (default: 128)")
    add("--context", type=int, default=None, help="bytes a window (default: 64)")
    add("--eval-bytes", type=int, default=None,
        help="bytes of the validation text that are used (default: 100,000)")
    add("--quick", action="store_true", help="a tiny run that only shows the form (default: off)")
    args = parser.parse_args(argv)
    args.only = [name.strip() for name in args.only.split(",")]
    for name, default in (QUICK if args.quick else USUAL).items():
        if getattr(args, name) is None:
            setattr(args, name, default)
    return args


def main(argv=None):
    args = parse_args(argv)
    for flag in ("steps", "seconds", "seeds", "eval_bytes", "layers", "width", "context", "lr"):
        if getattr(args, flag) is not None and not getattr(args, flag) > 0:
            raise ValueError(f"--{flag.replace('_', '-')} {getattr(args, flag)}: must be above 0")
    odd = [name for name in args.only if name not in UPGRADES]
    if odd or not {"part 2", "all together"} <= set(args.only):
        raise ValueError(f"--only {','.join(args.only)}: must hold part 2 and all together; there "
                         f"are {', '.join(UPGRADES)}")
    if args.context <= PROMPT + 4:
        raise ValueError(f"--context {args.context}: must be above {PROMPT + 4}, the window and "
                         "its sinks")
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    runtime = choose_runtime(args.device, args.amp, width=args.width)
    measured = measure(args, runtime)
    rows = [[name, row["parameters"], row["loss"], max(row["losses"]) - min(row["losses"]),
             row["training"], row["decoding"], row["cache"]] for name, row in measured.items()]
    budget = f"{args.seconds:g} s" if args.seconds else f"{args.steps} steps"
    seeds = "1 seed" if args.seeds == 1 else f"{args.seeds} seeds"
    text = Path(args.data).name
    print_table(["model", "parameters", "validation loss", "spread", "training tok/s",
                 "decoding tok/s", "cache bytes"], rows,
                f"{text}: {budget} of {BATCH} x {args.context} bytes, {seeds}")
    save_json(out / "upgrades.json", {"data": text, "budget": budget, "amp": runtime.amp_name,
                                      "seeds": args.seeds, "rows": measured})
    draw(out / "upgrades.png", measured, text, f"{args.layers} blocks, width {args.width}, context "
         f"{args.context}, batch {BATCH}, {budget} each, {seeds}, {runtime.amp_name}")


if __name__ == "__main__":
    run_main(main)
