"""Thinking or calling? The same sums, longer and longer, to one model.

    python part_9/demo_tool_use.py            out/tools.pt, which python part_9/train_tools.py makes

See   Thought through step by step, sums hold up to the length that was trained and fall behind it.
      Handed to the calculator they hold: what has to be learnt is to copy the question into a call.
      Names that no call was trained on are looked up, too. What would do harm is refused.
"""

from run.runtime import (
    choose_runtime,
    here,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import random
from pathlib import Path

from cold_start import learn
from gpt.model import GPT, GPTConfig
from reasoning.answers import is_same
from reasoning.evaluation import answer_problems
from reasoning.tasks import Problem
from reasoning.tiny_chat import tiny_tokenizer
from reasoning.tool_use import SUM_WORDINGS, draw_look, draw_sum, reply_with_tools, tool_tokenizer
from reasoning.tools import CALC, Refused, calculate, run_tool, written
from run import plotting
from run.checkpoint import load_checkpoint
from sft.chat_format import encode_prompt
from train_tools import tool_examples

TOOLS = here(__file__) / "out" / "tools.pt"
MAKE_WITH = "python part_9/train_tools.py (about a minute)"
HARMFUL = ("__import__('os').remove('x')", "9^9^9^9", "(" * 60 + "1" + ")" * 60, "x.y", "1/0",
           "2^64 * 2^64 * 2^64 * 2^64 * 2^64")
NUMBERS = (3, 4, 5, 6, 7, 8)  # of a sum; thinking was trained on 3 to 5, calls on up to 7


def parse_args(argv=None):
    parser = make_parser(__doc__, seed=4)
    parser.add_argument("--checkpoint", type=Path, default=None,
                        help="the model (default: out/tools.pt beside the script)")
    parser.add_argument("--sums", type=int, default=None,
                        help="sums of each length (default: 100; 4 with --quick)")
    parser.add_argument("--quick", action="store_true",
                        help="a tiny model that has learnt for seconds, 4 sums (default: off)")
    return parser.parse_args(argv)


def model_of(args):
    """-> (model, tokenizer, runtime)."""
    if args.checkpoint or not args.quick:
        model, tokenizer, _ = load_checkpoint(args.checkpoint or TOOLS, make_with=MAKE_WITH)
        runtime = choose_runtime(args.device, args.amp, width=model.config.n_embd)
        return model.to(runtime.device), tokenizer, runtime
    tokenizer = tool_tokenizer(tiny_tokenizer())
    runtime = choose_runtime(args.device, "float32", width=32)
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, block_size=448, n_layer=1, n_head=2,
                          n_embd=32)).to(runtime.device)
    examples = tool_examples(40, args.seed, tokenizer, 448)
    learn(model, examples, 5, rows=2, peak=3e-3, tokenizer=tokenizer, runtime=runtime)
    return model, tokenizer, runtime


def both_ways(model, tokenizer, runtime, numbers: int, n: int, seed: int) -> tuple[float, float]:
    """-> (share right by thinking, share right by calling) on the same sums."""
    rng = random.Random(f"tools {numbers} {seed}")
    calls = [draw_sum(rng, numbers - 1, held_out=True) for _ in range(n)]
    plain = [Problem("chain", SUM_WORDINGS[i % len(SUM_WORDINGS)].format(sum=call.text),
                     call.result, (), ()) for i, call in enumerate(calls)]
    thought = answer_problems(model, tokenizer, plain, runtime, longest=112)
    called = reply_with_tools(model, tokenizer,
                              [encode_prompt(call.messages, tokenizer) for call in calls], runtime)
    return (sum(r.ended and is_same(c.result, r.text) for r, c in zip(thought, calls)) / n,
            sum(r.ended and is_same(c.result, r.text) and bool(r.calls)
                for r, c in zip(called, calls)) / n)


def names_right(model, tokenizer, runtime, n: int, seed: int) -> float:
    """Share of looked-up names that no training saw."""
    rng = random.Random(f"names {seed}")
    calls = [draw_look(rng, held_out=True) for _ in range(n)]
    replies = reply_with_tools(model, tokenizer,
                               [encode_prompt(call.messages, tokenizer) for call in calls], runtime)
    return sum(r.ended and is_same(c.result, r.text) for r, c in zip(replies, calls)) / n


def refusals() -> list[list[str]]:
    """What the calculator says of expressions that are meant to harm."""
    rows = []
    for text in HARMFUL:
        try:
            said = written(calculate(text))
        except Refused as error:
            said = str(error)
        shown = text if len(text) < 34 else text[:33] + "…"
        rows.append([shown, run_tool(CALC, text), said[:70]])
    return rows


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    n = (4 if args.quick else 100) if args.sums is None else args.sums
    if n < 1:
        raise ValueError(f"--sums {n}: must be at least 1")
    seed_everything(args.seed)
    model, tokenizer, runtime = model_of(args)
    by_length = {k: both_ways(model, tokenizer, runtime, k, n, args.seed) for k in NUMBERS}
    looked = names_right(model, tokenizer, runtime, n, args.seed)
    print_table(["numbers in the sum", "by thinking", "by calling"],
                [[k, *shares] for k, shares in by_length.items()],
                f"{n} sums of each length, new operands; thinking was trained on 3 to 5 numbers")
    print_table(["harmful call", "the model reads", "why"], refusals())
    print(f"\nnames that no call was trained on: {looked:.0%} of {n} looked up rightly")
    example = draw_sum(random.Random(args.seed), 4, held_out=True)
    [reply] = reply_with_tools(model, tokenizer, [encode_prompt(example.messages, tokenizer)],
                               runtime)
    print(f"\nasked {example.question}\nsaid  {tokenizer.decode(list(reply.ids))}")
    save_json(out / "tool_use.json", {"thinking": {k: v[0] for k, v in by_length.items()},
                                      "calling": {k: v[1] for k, v in by_length.items()},
                                      "names": looked, "n": n})
    fig, ax = plotting.figure(
        f"Sums of 7 numbers: {by_length[7][1]:.0%} right with the calculator, "
        f"{by_length[7][0]:.0%} by thinking, which was trained on 3 to 5",
        f"{n} held-out sums of each length, greedy, one model, seed {args.seed}")
    for place, (name, color) in enumerate((("thinking", plotting.ORANGE),
                                           ("calling", plotting.BLUE))):
        y = [by_length[k][place] for k in NUMBERS]
        ax.plot(NUMBERS, y, color=color, marker="o", ms=4)
        plotting.end_label(ax, NUMBERS, y, name, color)
    ax.axvspan(2.8, 5.2, color="#EEEEEE", zorder=0)
    ax.set_xticks(NUMBERS, NUMBERS)
    ax.set(xlabel="numbers in the sum (grey: trained by thinking)", ylabel="right answers",
           ylim=(0, 1.05))
    plotting.save(fig, out / "tool_use.png")


if __name__ == "__main__":
    run_main(main)
