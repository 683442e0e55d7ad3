"""Does the order of the examples matter? Four orders of the same examples, at equal steps.

    python part_6/demo_curriculum.py
    python part_6/demo_curriculum.py --seeds 1 --steps 20

See   Exact match on new items for mixed, by_difficulty, by_length and anti (hard ones first), with
      LoRA in mixed order beside them. Each row takes the same steps over the same examples.
"""

from run.runtime import choose_runtime, make_parser, out_folder, print_table, run_main, save_json

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import time
from pathlib import Path

from run import plotting
from run.loop import train_step
from run.optim import make_optimizer
from run.schedule import Schedule
from sft.chat_format import chat_tokenizer, grow_vocabulary
from sft.curriculum import ORDERS, ordered
from sft.data import ExampleRows, world_examples
from sft.evaluation import answer_items, score_items
from sft.lora import add_lora, merge_lora, trained_parameters
from sft.skills import items
from sft.small_base import add_base_flag, base_from

USUAL = {"steps": 60, "examples": 2400, "questions": 200, "seeds": 1}
QUICK = {"steps": 4, "examples": 120, "questions": 20, "seeds": 1}


def tune(base, tokenizer, examples, order, args, runtime, seed, lora=0):
    """A tuned copy of the base model -> (model, trained parameters, seconds)."""
    model = grow_vocabulary(base, tokenizer.vocab_size, seed)
    model = add_lora(model, lora) if lora else model
    trained = trained_parameters(model)
    rows = ExampleRows(ordered(examples, order, seed), base.config.block_size, pad=tokenizer.pad,
                       shuffled=False)
    optimizer = make_optimizer(model, weight_decay=0.0, betas=(0.9, 0.98), muon=0 if lora else 6.0)
    peak = 4e-3 if lora else 1.5e-3  # each at its own best of a short search
    schedule, scaler = Schedule("cosine", peak, 0.05 * peak, 0.1), runtime.grad_scaler()
    model.train()
    start = time.perf_counter()
    per_step = max(1, len(rows.rows) // args.steps)  # the examples once, in `steps` steps
    for step in range(args.steps):
        ids, targets = rows.batch(step, per_step)
        train_step(model, optimizer, ids.to(runtime.device), targets.to(runtime.device),
                   runtime=runtime, scaler=scaler, rate=schedule.rate((step + 1) / args.steps),
                   begin=tokenizer.begin)
    seconds = time.perf_counter() - start
    return (merge_lora(model) if lora else model), trained, seconds


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--steps", type=int, default=None,
                        help="steps of each run (default: 60; 4 with --quick)")
    parser.add_argument("--examples", type=int, default=None,
                        help="conversations, each seen once (default: 2400; 120 with --quick)")
    parser.add_argument("--seeds", type=int, default=None, help="how many seeds (default: 1; the "
                        "lesson's table has 3)")
    parser.add_argument("--questions", type=int, default=None,
                        help="new items asked (default: 200; 20 with --quick)")
    parser.add_argument("--lora", type=int, default=8, help="LoRA's rank, 0: none (default: 8)")
    add_base_flag(parser)
    parser.add_argument("--quick", action="store_true",
                        help="few steps: does the demo run? (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    for name, value in (QUICK if args.quick else USUAL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if min(args.steps, args.examples, args.seeds, args.questions) < 1:
        raise ValueError("--steps, --examples, --seeds and --questions must be at least 1")
    if args.lora < 0:
        raise ValueError(f"--lora {args.lora}: must not be below 0; 0: no LoRA")
    base, base_tokenizer, note = base_from(args)
    tokenizer = chat_tokenizer(base_tokenizer)
    runtime = choose_runtime(args.device, args.amp, width=base.config.n_embd)
    base.to(runtime.device)
    asked = items(args.questions, "new_items", seed=args.seed + 1, left_out=("telling a story",))
    kinds = [(order, order, 0) for order in ORDERS]
    kinds += [(f"LoRA {args.lora}, mixed", "mixed", args.lora)] if args.lora else []
    by_order = {name: [] for name, _, _ in kinds}
    for seed in range(args.seed, args.seed + args.seeds):
        examples, _ = world_examples(args.examples, seed, tokenizer, base.config.block_size,
                                     manners="gold")
        for name, order, lora in kinds:
            model, trained, seconds = tune(base, tokenizer, examples, order, args, runtime, seed,
                                           lora)
            score = score_items(asked, answer_items(model, tokenizer, asked, runtime))
            by_order[name].append((score.exact_match, trained, seconds))
            print(f"seed {seed}, {name}: {score.exact_match:.1%} right ({seconds:.0f} s)", flush=True)
    table = [[name, trained_of(runs), mean(run[0] for run in runs), min(run[0] for run in runs),
              max(run[0] for run in runs), mean(run[2] for run in runs)]
             for name, runs in by_order.items()]
    print_table(["order", "trained", "right", "lowest", "highest", "seconds"], table,
                f"{args.steps} steps, {args.seeds} seed(s), {len(asked)} new items")
    save_json(out / "curriculum.json", {name: runs for name, runs in by_order.items()})
    draw(out, table, by_order, args, base, note)


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def trained_of(runs) -> int:
    return runs[0][1]


def draw(out: Path, table, by_order, args, base, note: str) -> None:
    orders = [row for row in table if row[0] in ORDERS]
    best, worst = max(orders, key=lambda r: r[2]), min(orders, key=lambda r: r[2])
    fig, ax = plotting.figure(
        f"{best[0]} learns most in {args.steps} steps ({best[2]:.1%} right), {worst[0]} "
        f"least ({worst[2]:.1%})",
        f"{base.count_parameters() / 1e6:.1f}M parameters, {args.examples} conversations, each "
        f"seen once, {args.seeds} seed(s) as dots, {args.questions} new items, "
        f"{note}")
    colors = [plotting.GREY, *plotting.CYCLE]
    for place, (row, color) in enumerate(zip(table, colors)):
        ax.bar(place, row[2], color=color, width=0.6)
        ax.scatter([place] * len(by_order[row[0]]), [run[0] for run in by_order[row[0]]],
                   color=plotting.BLACK, s=12, zorder=3)
        ax.text(place + 0.32, row[2], f"{row[2]:.1%}", fontsize=8, va="bottom", ha="right")
    ax.set_xticks(range(len(table)), [row[0] for row in table])
    ax.set(ylabel="share of right answers", ylim=(0, 1))
    plotting.save(fig, out / "curriculum.png")


if __name__ == "__main__":
    run_main(main)
