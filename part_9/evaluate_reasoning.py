"""Does the model reason? Right answers, the asked form, true steps, and answers that follow them.

    python part_9/evaluate_reasoning.py                                   out/grpo.pt
    python part_9/evaluate_reasoning.py --checkpoint part_9/out/cold.pt   before RL
    python part_9/evaluate_reasoning.py --data problems.jsonl             a file of GSM8K's form

What each column means stands in reasoning/evaluation.py and in lesson 9.8.
"""

from run.runtime import (
    choose_runtime,
    here,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from pathlib import Path

from reasoning.evaluation import COLUMNS, MAKE_WITH, answer_problems, evaluate
from reasoning.rewards import is_right
from reasoning.sampling import LONGEST
from reasoning.tasks import TEST_SPLITS, problems, read_gsm8k
from run.checkpoint import load_checkpoint
from run.thrift import rounded_once


def parse_args(argv=None):
    parser = make_parser(__doc__, seed=1)
    parser.add_argument("--checkpoint", type=Path, default=here(__file__) / "out" / "grpo.pt",
                        help="the model (default: out/grpo.pt beside the script)")
    parser.add_argument("--problems", type=int, default=300,
                        help="of each split (default: 300)")
    parser.add_argument("--data", type=Path, default=None,
                        help="problems in GSM8K's format instead (default: the world's)")
    parser.add_argument("--longest", type=int, default=LONGEST,
                        help=f"most tokens of a reply (default: {LONGEST})")
    parser.add_argument("--show", type=int, default=3, help="wrong replies to show (default: 3)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if args.problems < 1:
        raise ValueError(f"--problems {args.problems}: must be at least 1")
    if args.longest < 1:
        raise ValueError(f"--longest {args.longest}: must be at least 1")
    if args.show < 0:
        raise ValueError(f"--show {args.show}: must not be below 0")
    out = out_folder(__file__, args.out)
    sets = {"file": read_gsm8k(args.data)} if args.data else \
        {split: problems(args.problems, split, args.seed) for split in TEST_SPLITS}
    model, tokenizer, _ = load_checkpoint(args.checkpoint, make_with=MAKE_WITH)
    runtime = choose_runtime(args.device, args.amp, width=model.config.n_embd)
    rounded_once(model, runtime)
    results = {name: evaluate(model, tokenizer, asked, runtime, args.seed, args.longest)
               for name, asked in sets.items()}
    print_table(["split", *(name.replace("_", " ") for name in COLUMNS)],
                [[name, *(metrics[key] for key in COLUMNS)] for name, metrics in results.items()],
                f"{args.checkpoint}, greedy")
    families = sorted({name for metrics in results.values() for name in metrics["by_family"]})
    print_table(["split", *families], [[name, *(metrics["by_family"].get(f) for f in families)]
                                       for name, metrics in results.items()], "Accuracy by family")
    first = next(iter(sets.values()))[:100]
    replies = answer_problems(model, tokenizer, first, runtime, longest=args.longest)
    wrong = [(p, r) for p, r in zip(first, replies) if not is_right(p, r.text, r.ended)]
    for problem, reply in wrong[:args.show]:
        print(f"\nasked {problem.question}\nsaid  {reply.text}{'' if reply.ended else ' (cut off)'}"
              f"\ngold  {problem.gold}")
    save_json(out / "evaluate_reasoning.json", results)


if __name__ == "__main__":
    run_main(main)
