"""Is a vote of sixteen better than one careful answer? Steps, votes and pass@k, and what they cost.

    python part_9/demo_self_consistency.py                     out/cold.pt: before RL
    python part_9/demo_self_consistency.py --checkpoint part_9/out/grpo.pt       after it

See   Told to answer at once, the model misses most of these problems; answering as it likes, with
      steps where it chooses to, it misses fewer. Votes of k samples pass the greedy answer; pass@k
      says what would be possible if somebody knew which sample is right: that is what RL can learn
      from. Each doubling of k doubles the tokens.
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

from cold_start import cold_examples, learn
from gpt.model import GPT, GPTConfig
from reasoning.evaluation import answer_problems
from reasoning.rewards import is_right
from reasoning.sampling import draw_samples, pass_rate, voted_right
from reasoning.tasks import direct, problems
from reasoning.tiny_chat import tiny_tokenizer
from run import plotting
from run.checkpoint import load_checkpoint

COLD = here(__file__) / "out" / "cold.pt"
MAKE_WITH = "python part_9/cold_start.py (some minutes)"
MOST = 16  # samples of each problem


def parse_args(argv=None):
    parser = make_parser(__doc__, seed=3)
    parser.add_argument("--checkpoint", type=Path, default=None,
                        help="the model (default: out/cold.pt beside the script)")
    parser.add_argument("--problems", type=int, default=None,
                        help="held-out problems (default: 120; 6 with --quick)")
    parser.add_argument("--quick", action="store_true",
                        help="a tiny model that has learnt for seconds, 6 problems (default: off)")
    return parser.parse_args(argv)


def model_of(args):
    """-> (model, tokenizer, runtime)."""
    if args.checkpoint or not args.quick:
        model, tokenizer, _ = load_checkpoint(args.checkpoint or COLD, make_with=MAKE_WITH)
        runtime = choose_runtime(args.device, args.amp, width=model.config.n_embd)
        return model.to(runtime.device), tokenizer, runtime
    tokenizer = tiny_tokenizer()
    runtime = choose_runtime(args.device, "float32", width=32)
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, block_size=448, n_layer=1, n_head=2,
                          n_embd=32)).to(runtime.device)
    examples = cold_examples(40, args.seed, tokenizer, 448)
    learn(model, examples, 5, rows=2, peak=3e-3, tokenizer=tokenizer, runtime=runtime)
    return model, tokenizer, runtime


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    count = (6 if args.quick else 120) if args.problems is None else args.problems
    if count < 1:
        raise ValueError(f"--problems {count}: must be at least 1")
    seed_everything(args.seed)
    model, tokenizer, runtime = model_of(args)
    asked = problems(count, "new_operands", args.seed)
    rng = random.Random(args.seed)
    at_once = [direct(problem, rng) for problem in asked]
    greedy = {name: answer_problems(model, tokenizer, which, runtime)
              for name, which in (("at once", at_once), ("as it likes", asked))}
    shares = {name: sum(is_right(p, r.text, r.ended) for p, r in zip(asked, replies)) / len(asked)
              for name, replies in greedy.items()}
    cost = {name: sum(len(r.ids) for r in replies) / len(asked) for name, replies in greedy.items()}
    samples = draw_samples(model, tokenizer, asked, runtime, k=MOST, seed=args.seed)
    ks = [1, 2, 4, 8, 16]
    votes = [voted_right(k, asked, samples) for k in ks]
    passes = [pass_rate(k, asked, samples) for k in ks]
    rows = [["told to answer at once, greedy", shares["at once"], cost["at once"]],
            ["as it likes, greedy", shares["as it likes"], cost["as it likes"]]]
    rows += [[f"majority of {k}", vote, samples.tokens * k / MOST] for k, vote in zip(ks, votes)]
    rows += [[f"pass@{k}", share, samples.tokens * k / MOST] for k, share in zip(ks, passes)]
    print_table(["way", "right", "tokens a problem"], rows,
                f"{len(asked)} problems with new operands")
    save_json(out / "self_consistency.json", {"greedy": shares, "majority": votes,
                                              "pass_at": passes, "k": ks, "n": len(asked)})
    fig, ax = plotting.figure(
        f"At once {shares['at once']:.0%}, as it likes {shares['as it likes']:.0%}, a vote of "
        f"{MOST} {votes[-1]:.0%} right; one of {MOST} is right for {passes[-1]:.0%}",
        f"{len(asked)} held-out problems, samples at temperature 1, seed {args.seed}")
    for y, name, color in ((passes, "pass@k", plotting.GREEN), (votes, "majority", plotting.BLUE)):
        ax.plot(ks, y, color=color, marker="o", ms=3)
        plotting.end_label(ax, ks, y, name, color)
    for name, color in (("as it likes", plotting.ORANGE), ("at once", plotting.GREY)):
        ax.axhline(shares[name], color=color, lw=1, ls="--")
        ax.annotate(f"{name}, greedy", (MOST, shares[name]), xytext=(0, 3), fontsize=8, color=color,
                    textcoords="offset points", ha="right")
    ax.set_xscale("log", base=2)
    ax.set_xticks(ks, ks)
    ax.set(xlabel="samples k: tokens grow with it", ylabel="problems right", ylim=(0, 1.02))
    plotting.save(fig, out / "self_consistency.png")


if __name__ == "__main__":
    run_main(main)
