"""How fast are rollouts? 64 prompts x 8 replies x 32 tokens, sampled, against slower ways.

    python part_8/benchmark_rollout.py              two sizes, float32 and bfloat16
    python part_8/benchmark_rollout.py --quick      few prompts, one round

Rows take turns in every round, so that a busy machine slows all of them; read the ratios.
    shared prompts    ours: each prompt is read once, then all 512 rows go on together
    prompts repeated  the same, but each of the 512 rows reads its own copy of the prompt
    one at a time     a loop over rows, as many tutorials do; measured on a few, scaled up
    transformers      its batched `generate`, where that package is installed (not needed here)
Also: what do rows cost that have ended? A model that ends by chance, against one that never does.
"""

from run.runtime import (
    Runtime,
    choose_device,
    formats_to_time,
    keep_memory,
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
import statistics
import time

import torch
from gpt.model import GPT, GPTConfig
from rl.rollout import roll_out
from run import plotting

SIZES = {"r1": (2, 128), "r2": (4, 256)}  # layers, width
VOCABULARY, PROMPT, NEW, COPIES = 2048, 16, 32, 8
NEVER = -1  # no token has this number: replies do not end
USUAL = {"prompts": 64, "rounds": 5, "alone": 16}
QUICK = {"prompts": 4, "rounds": 1, "alone": 1}


def make_model(size: str, vocab_size: int = VOCABULARY) -> GPT:
    layers, width = SIZES[size]
    return GPT(GPTConfig(vocab_size=vocab_size, block_size=64, n_layer=layers,
                         n_head=width // 64, n_embd=width)).eval()


def transformers_model(size: str):
    """A model of the same sizes from the transformers package, or None where it is missing."""
    if importlib.util.find_spec("transformers") is None:
        return None
    from transformers import LlamaConfig, LlamaForCausalLM  # optional, hence not at the top
    ours = make_model(size).config
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=ours.n_embd, intermediate_size=ours.n_hidden,
        num_hidden_layers=ours.n_layer, num_attention_heads=ours.n_head,
        max_position_embeddings=64, tie_word_embeddings=True)).eval()


def contenders(size: str, runtime: Runtime, prompts: list, alone: int) -> dict:
    """Name -> (function() that draws, completions it makes)."""
    model = make_model(size).to(runtime.device)
    repeated = [prompt for prompt in prompts for _ in range(COPIES)]

    def ours(rows, copies, max_rows):
        roll_out(model, rows, NEW, end=NEVER, pad=0, copies=copies, size=max_rows,
                 runtime=runtime)

    total = len(repeated)
    ways = {"shared prompts": (lambda: ours(prompts, COPIES, total), total),
            "prompts repeated": (lambda: ours(repeated, 1, total), total),
            "one at a time": (lambda: [ours([p], 1, 1) for p in repeated[:alone]], alone)}
    peer = transformers_model(size)
    if peer is not None:
        peer = peer.to(runtime.device, runtime.amp_dtype or torch.float32)
        ids = torch.tensor(repeated, device=runtime.device)
        ways["transformers"] = (lambda: peer.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, min_new_tokens=NEW,
            do_sample=True, top_k=0, pad_token_id=0), total)
    return ways


def measure(size: str, runtime: Runtime, prompts: list, rounds: int, alone: int) -> dict:
    """Name -> completions per second, the median of the rounds."""
    todo, seconds = contenders(size, runtime, prompts, alone), {}
    for turn in range(rounds + 1):
        for name, (function, _) in todo.items():
            start = time.perf_counter()
            function()
            synchronize(runtime.device)
            if turn:  # the first round is warm-up
                seconds.setdefault(name, []).append(time.perf_counter() - start)
    return {name: todo[name][1] / statistics.median(times) for name, times in seconds.items()}


def cost_of_ended_rows(runtime: Runtime, prompts: list, rounds: int) -> tuple[float, float]:
    """-> (tokens drawn, seconds), each as a share of a rollout in which no row ends."""
    model = make_model("r2", vocab_size=24).to(runtime.device)  # random: END has about 1/24
    prompts = [[token % 24 for token in prompt] for prompt in prompts]
    times, tokens = {0: [], NEVER: []}, {}
    for _ in range(rounds + 1):
        for end in (0, NEVER):
            start = time.perf_counter()
            rollout = roll_out(model, prompts, NEW, end=end, pad=0, copies=COPIES, size=10**6,
                               runtime=runtime, generator=torch.Generator().manual_seed(0))
            times[end].append(time.perf_counter() - start)
            synchronize(runtime.device)
            tokens[end] = int(rollout.rows.is_response.sum())
    return (tokens[0] / tokens[NEVER],
            statistics.median(times[0][1:]) / statistics.median(times[NEVER][1:]))


def said_of(size: str, number: str) -> str:
    layers, width = SIZES[size]
    return f"{layers} layers, width {width}\n{number}"


def draw(results: dict, path) -> None:
    names = list(dict.fromkeys(name for row in results.values() for name in row))
    ratios = [row["shared prompts"] / row["one at a time"] for row in results.values()]
    fig, ax = plotting.figure(
        f"Rollouts: {min(ratios):.0f} to {max(ratios):.0f} times one prompt at a time",
        f"{NEW} tokens each, prompts of {PROMPT}, {COPIES} replies to each; logarithmic")
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        values = [row.get(name, 0) for row in results.values()]
        places = [p + i * width for p in range(len(results))]
        color = plotting.GREY if name == "transformers" else plotting.CYCLE[i]
        ax.bar(places, values, width, color=color, label=name)
        for x, y in zip(places, values):
            ax.text(x, y, f"{y:,.0f}", ha="center", va="bottom", fontsize=7)
    ax.set_yscale("log")
    ax.set_xticks([p + 0.4 - width / 2 for p in range(len(results))],
                  [said_of(*name.split()) for name in results])
    ax.set(ylabel="completions per second")
    ax.legend(ncols=2, fontsize=8)
    plotting.save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    parser.add_argument("--prompts", type=int, default=None,
                        help="prompts (default: 64; 4 with --quick)")
    parser.add_argument("--rounds", type=int, default=None,
                        help="measured rounds (default: 5; 1 with --quick)")
    parser.add_argument("--alone", type=int, default=None,
                        help="rows of the loop over single rows (default: 16; 1 with --quick)")
    parser.add_argument("--quick", action="store_true",
                        help="4 prompts, one round, size r1 (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    for name, value in (QUICK if args.quick else USUAL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if min(args.prompts, args.rounds, args.alone) < 1:
        raise ValueError("--prompts, --rounds and --alone must be at least 1")
    seed_everything(args.seed)
    keep_memory()
    prompts = torch.randint(0, VOCABULARY, (args.prompts, PROMPT)).tolist()
    results, device = {}, choose_device(args.device)[0]
    formats = formats_to_time(device)
    for size in ("r1",) if args.quick else SIZES:
        for name, dtype in formats.items():
            runtime = Runtime(device, dtype, "", "")
            results[f"{size} {name}"] = measure(size, runtime, prompts, args.rounds, args.alone)
    columns = list(dict.fromkeys(name for row in results.values() for name in row))
    print_table(["size", *columns, "against one at a time", "against transformers"],
                [[name, *(row.get(c) for c in columns),
                  row["shared prompts"] / row["one at a time"],
                  row["shared prompts"] / row["transformers"] if "transformers" in row else None]
                 for name, row in results.items()],
                f"Completions per second: {args.prompts} prompts x {COPIES} x {NEW} tokens")
    tokens, seconds = cost_of_ended_rows(Runtime(device, None, "", ""), prompts, args.rounds)
    print(f"\nrows that end: {tokens:.0%} of the tokens are drawn, in {seconds:.0%} of the time")
    save_json(out / "benchmark_rollout.json",
              {"completions_per_second": results, "tokens_when_rows_end": tokens,
               "seconds_when_rows_end": seconds})
    draw(results, out / "benchmark_rollout.png")


if __name__ == "__main__":
    run_main(main)
