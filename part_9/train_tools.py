"""The model learns to call its tools, from worked examples of calls.

    python part_9/train_tools.py                     from out/grpo.pt, a minute or two
    python part_9/train_tools.py --resume            go on after a stop; torchrun works too

Half of the examples are calls: sums of up to 7 numbers for the calculator, and names to look up. The
others are the problems and skills it can do already, so that it calls only when asked. Sums are
thought through with 3 to 5 numbers only, here and before. Writes out/tools.pt and tools.json.
"""

from run.runtime import (
    choose_runtime,
    here,
    make_parser,
    print_table,
    run_main,
    save_results,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import random
from pathlib import Path

from cold_start import learn, old_examples, progress_of
from files.closing import measuring
from reasoning.answers import is_same
from reasoning.tasks import problems
from reasoning.tool_use import (
    Call,
    draw_look,
    draw_sum,
    encode_call,
    reply_with_tools,
    tool_tokenizer,
)
from run.checkpoint import load_checkpoint, save_checkpoint
from run.distributed import same_format, whole_model
from run.optim import model_state
from run.progress import add_progress_flags, training_in
from sft.chat_format import Message, encode_prompt, grow_vocabulary
from sft.data import Example, encode_example
from sft.evaluation import is_chat_model
from text.tokenizer import Tokenizer

GRPO_PT = here(__file__) / "out" / "grpo.pt"
GRPO_WITH = "python part_9/train_grpo.py (about 2 minutes)"
MOST_STEPS = 6  # a trained call has up to this many signs: 7 numbers
LOOKED_UP = 0.4  # of the calls


def tool_examples(n: int, seed: int, tokenizer: Tokenizer, context: int) -> list[Example]:
    """n examples in random order: half of them calls, the others what the model can do already."""
    rng = random.Random(f"tools {seed}")
    calls = [draw_look(rng) if rng.random() < LOOKED_UP else
             draw_sum(rng, max(rng.randint(1, MOST_STEPS) for _ in range(2)))  # long ones more often
             for _ in range(n // 2)]
    examples = [encode_call(call, tokenizer) for call in calls]
    worked = problems(n // 4, "train", seed + 50)
    examples += [encode_example([*p.messages, Message("assistant", p.gold)], tokenizer, context)[0]
                 for p in worked]
    examples += old_examples(n - len(examples), seed + 50, tokenizer, context)
    rng.shuffle(examples)
    return [example for example in examples if example is not None]


def share_right(model, tokenizer, calls: list[Call], runtime) -> tuple[float, float]:
    """-> (share of right answers, share that made the very call of the example), greedy."""
    replies = reply_with_tools(model, tokenizer,
                               [encode_prompt(call.messages, tokenizer) for call in calls], runtime)
    right = sum(r.ended and is_same(c.result, r.text) for r, c in zip(replies, calls))
    same = sum([(mark, text) for mark, text, _ in r.calls] == [(c.mark, c.text)]
               for r, c in zip(replies, calls))
    return right / len(calls), same / len(calls)


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, default=GRPO_PT,
                        help="where to begin (default: out/grpo.pt)")
    parser.add_argument("--examples", type=int, default=6000,
                        help="different examples, half of them calls (default: 6000)")
    parser.add_argument("--steps", type=int, default=240, help="optimizer steps (default: 240)")
    parser.add_argument("--rows", type=int, default=8,
                        help="packed rows in a step, some fifty examples (default: 8)")
    parser.add_argument("--peak", type=float, default=1e-3,
                        help="highest learning rate (default: 1e-3)")
    add_progress_flags(parser, save_every=100)
    return parser.parse_args(argv)


def finish(out: Path, args, model, tokenizer, runtime, losses: list[float], many: int,
           seconds: float) -> None:
    """Write what was learnt, measure it, and write that too."""
    def save(metrics: dict) -> None:
        save_checkpoint(out / "tools.pt", weights=model_state(model), config=model.config,
                        tokenizer=tokenizer, step=args.steps, metrics=metrics,
                        settings={"seed": args.seed, "steps": args.steps, "peak": args.peak})
        save_results(out / "tools.json", name="tools", preset="", seed=args.seed, runtime=runtime,
                     seconds=seconds, tokens=args.steps * args.rows * model.config.block_size,
                     parameters=model.count_parameters(), metrics=metrics)

    metrics = {"loss": sum(losses[-10:]) / len(losses[-10:]), "examples": many}
    save(metrics)
    with measuring(out / "tools.pt", "python part_9/demo_tool_use.py"):
        rng = random.Random(f"held-out calls {args.seed}")
        sums = [draw_sum(rng, rng.randint(1, MOST_STEPS), held_out=True) for _ in range(60)]
        names = [draw_look(rng, held_out=True) for _ in range(40)]
        metrics |= {"sums_right": share_right(model, tokenizer, sums, runtime)[0],
                    "names_right": share_right(model, tokenizer, names, runtime)[0]}
        save(metrics)
        print_table(["measured", "value"], list(map(list, metrics.items())),
                    f"{out / 'tools.pt'}: {args.steps} steps in {seconds:.0f} s")


def main(argv=None):
    args = parse_args(argv)
    for name in ("examples", "steps", "rows"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} {getattr(args, name)}: must be at least 1")
    with training_in(__file__, args) as (out, processes):
        seed_everything(args.seed)
        model, tokenizer, _ = load_checkpoint(args.model, make_with=GRPO_WITH)
        if not is_chat_model(tokenizer):
            raise ValueError(f"{args.model} knows no roles; make it with: {GRPO_WITH}")
        runtime = same_format(choose_runtime(
            args.device, args.amp, width=model.config.n_embd), processes)
        tokenizer = tool_tokenizer(tokenizer)
        model = grow_vocabulary(model, tokenizer.vocab_size, args.seed).to(runtime.device)
        examples = tool_examples(args.examples, args.seed, tokenizer, model.config.block_size)
        progress = progress_of(out / "checkpoints_tools", args, model, tokenizer, examples, runtime,
                               processes)
        losses = learn(model, examples, args.steps, rows=args.rows, peak=args.peak,
                       tokenizer=tokenizer, runtime=runtime, seed=args.seed, progress=progress)
        model = whole_model(model)
        if progress.is_over() and processes.is_main:
            finish(out, args, model, tokenizer, runtime, losses, len(examples), progress.seconds)


if __name__ == "__main__":
    run_main(main, trains=True, processes=True)
