"""How fast is a step of GRPO? The update against a plain loop, and where a whole step's time goes.

    python part_9/benchmark_grpo.py              two sizes, float32 and bfloat16
    python part_9/benchmark_grpo.py --quick      few rows, one round

Rows take turns in every round, so that a busy machine slows all of them; read the ratios.
    ours          each prompt read once for its 8 replies, the output layer on reply tokens only,
                  rows of like length together
    plain loop    all logits of all columns, padded to the longest, as tutorials do
    transformers  the same plain loop on its Llama, where that package is installed
An update is: forward, loss, backward, clip, AdamW, in micro-batches of 64 rows. The reference's
log-probabilities are no part of it; the split of a whole step shows them as "measuring".
"""

from run.runtime import (
    AMP_TYPES,
    Runtime,
    formats_to_time,
    keep_memory,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import importlib.util
import statistics
import time
from collections.abc import Callable

import torch
from gpt.model import GPT, GPTConfig
from reasoning.grpo import grpo_loss
from reasoning.grpo_loop import GRPO, Batch
from reasoning.grpo_settings import GRPOSettings
from rl.policy import Rows
from run import plotting

SIZES = {"r1": (2, 128), "r2": (4, 256)}  # layers, width
VOCABULARY, PROMPT, NEW, GROUP, MICRO = 2048, 16, 32, 8, 64


def make_model(size: str) -> GPT:
    layers, width = SIZES[size]
    return GPT(GPTConfig(vocab_size=VOCABULARY, block_size=64, n_layer=layers,
                         n_head=width // 64, n_embd=width)).eval()


def make_grpo(size: str, runtime: Runtime, prompts: int) -> GRPO:
    settings = GRPOSettings(steps=10**6, prompts=prompts, group=GROUP, max_new=NEW,
                            micro_rows=MICRO, peak=1e-5, beta=0.02)
    return GRPO(make_model(size), lambda rollout, _: torch.rand(len(rollout.rows)), settings,
                end=0, pad=0, runtime=runtime)


def random_rows(prompts: int) -> Rows:
    """Prompts of 16 tokens, with 8 replies of 8 to 32 tokens to each."""
    count = prompts * GROUP
    lengths = torch.randint(8, NEW + 1, (count,))
    is_response = torch.arange(NEW) < lengths[:, None]
    asked = torch.randint(1, VOCABULARY, (prompts, PROMPT)).repeat_interleave(GROUP, 0)
    replies = torch.randint(1, VOCABULARY, (count, NEW)).masked_fill(~is_response, 0)
    return Rows(torch.cat([asked, replies], 1), torch.full((count,), PROMPT), is_response,
                torch.arange(count) // GROUP)


def our_update(size: str, runtime: Runtime, rows: Rows) -> Callable[[], None]:
    grpo = make_grpo(size, runtime, len(rows) // GROUP)
    batch = Batch(rows, torch.randn(len(rows)), None, torch.zeros(rows.is_response.shape) - 7.0)
    return lambda: grpo.update(batch, [[torch.arange(len(rows))]])


def plain_update(model, logits_of: Callable, runtime: Runtime, rows: Rows) -> Callable[[], None]:
    """Forward over everything, log-softmax over everything, then pick the replies' tokens."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    advantages = torch.randn(len(rows))

    def update():
        for part in torch.arange(len(rows)).split(MICRO):
            ids = rows.ids[part]
            with runtime.autocast():
                logits = logits_of(ids[:, :-1])
            logp = logits.float().log_softmax(-1).gather(2, ids[:, 1:, None]).squeeze(2)
            logp = logp[:, PROMPT - 1:]
            result = grpo_loss(logp, logp.detach(), torch.zeros_like(logp) - 7.0,
                               advantages[part], rows.is_response[part], beta=0.02,
                               normaliser="token")
            (result.loss * len(part) / len(rows)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return update


def contenders(size: str, runtime: Runtime, rows: Rows) -> dict[str, Callable[[], None]]:
    model = make_model(size)
    updates = {"ours": our_update(size, runtime, rows),
               "plain loop": plain_update(model, lambda ids: model(ids)[0], runtime, rows)}
    if importlib.util.find_spec("transformers") is not None:
        from transformers import LlamaConfig, LlamaForCausalLM  # optional, hence not at the top
        ours = model.config
        peer = LlamaForCausalLM(LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=ours.n_embd, intermediate_size=ours.n_hidden,
            num_hidden_layers=ours.n_layer, num_attention_heads=ours.n_head,
            max_position_embeddings=64, tie_word_embeddings=True))
        updates["transformers"] = plain_update(peer, lambda ids: peer(ids).logits, runtime, rows)
    return updates


def measure(todo: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Name -> seconds, the median of the rounds; in each of them all take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in todo}
    for turn in range(rounds + 1):
        for name, function in todo.items():
            start = time.perf_counter()
            function()
            if turn:  # the first round is warm-up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def step_split(size: str, runtime: Runtime, prompts: int, rounds: int) -> dict[str, float]:
    """Median seconds of each beat of a whole step, random prompts."""
    grpo = make_grpo(size, runtime, prompts)
    laps = []
    for _ in range(rounds + 1):
        asked = torch.randint(1, VOCABULARY, (prompts, PROMPT)).tolist()
        laps.append(grpo.step(asked, asked)["seconds"])
    return {name: statistics.median(lap[name] for lap in laps[1:]) for name in laps[0]}


def said_of(size: str, number: str) -> str:
    layers, width = SIZES[size]
    return f"{layers} layers, width {width}\n{number}"


def draw(updates: dict, path) -> None:
    names = list(dict.fromkeys(name for row in updates.values() for name in row))
    ratios = [row["ours"] / row["plain loop"] for row in updates.values()]
    fig, ax = plotting.figure(
        f"An update: {min(ratios):.2f} to {max(ratios):.2f} times the sequences per second of a "
        "plain loop", f"prompts of {PROMPT}, replies of 8 to {NEW} tokens, micro-batches of "
        f"{MICRO}; medians of rounds in which all took turns")
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        places = [p + i * width for p in range(len(updates))]
        values = [row[name] for row in updates.values()]
        ax.bar(places, values, width, label=name,
               color={"ours": plotting.BLUE, "plain loop": plotting.GREY}.get(name, plotting.SKY))
        for x, y in zip(places, values):
            ax.text(x, y, f"{y:,.0f}", ha="center", va="bottom", fontsize=7)
    ax.set_xticks([p + 0.4 - width / 2 for p in range(len(updates))],
                  [said_of(*name.split()) for name in updates])
    ax.set(ylabel="sequences per second")
    ax.legend(fontsize=8)
    plotting.save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--prompts", type=int, default=None,
                        help="prompts, 8 replies to each (default: 64; 4 with --quick)")
    parser.add_argument("--rounds", type=int, default=None,
                        help="measured rounds (default: 5; 1 with --quick)")
    parser.add_argument("--quick", action="store_true",
                        help="4 prompts, one round, size r1 (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    prompts, rounds = (4, 1) if args.quick else (64, 5)
    args.prompts = prompts if args.prompts is None else args.prompts
    args.rounds = rounds if args.rounds is None else args.rounds
    if min(args.prompts, args.rounds) < 1:
        raise ValueError("--prompts and --rounds must be at least 1")
    if args.device not in ("auto", "cpu"):
        raise ValueError(f"--device {args.device}: this benchmark compares loops on a CPU")
    seed_everything(args.seed)
    keep_memory()
    formats = formats_to_time(torch.device("cpu")) if args.amp == "auto" else {
        args.amp: AMP_TYPES[args.amp]}
    updates, splits = {}, {}
    for size in ("r1",) if args.quick else SIZES:
        rows = random_rows(args.prompts)
        for name, dtype in formats.items():
            runtime = Runtime(torch.device("cpu"), dtype, "", "")
            seconds = measure(contenders(size, runtime, rows), args.rounds)
            updates[f"{size} {name}"] = {who: len(rows) / s for who, s in seconds.items()}
            splits[f"{size} {name}"] = step_split(size, runtime, args.prompts, args.rounds)
    columns = list(dict.fromkeys(name for row in updates.values() for name in row))
    print_table(["size", *columns, "ours / plain loop"],
                [[name, *(row[c] for c in columns), row["ours"] / row["plain loop"]]
                 for name, row in updates.items()],
                f"Update, sequences/s: {args.prompts * GROUP} rows")
    beats = list(next(iter(splits.values())))
    print_table(["size", *beats, "rollout, completions/s"],
                [[name, *(lap[beat] / sum(lap.values()) for beat in beats),
                  args.prompts * GROUP / lap["rollout"]] for name, lap in splits.items()],
                f"A whole step of {args.prompts} prompts x {GROUP} replies x {NEW} tokens: shares "
                "of its time")
    save_json(out / "benchmark_grpo.json",
              {"update": updates, "split": splits,
               "rollout": {k: args.prompts * GROUP / v["rollout"] for k, v in splits.items()}})
    draw(updates, out / "benchmark.png")


if __name__ == "__main__":
    run_main(main)
