"""A few problems of each family, with their steps; or a file of them.

    python part_9/show_problems.py
    python part_9/show_problems.py --split longer --show 2
    python part_9/show_problems.py --write problems.jsonl     as GSM8K keeps them: question, answer, ####

See    reasoning/tasks.py, lesson 9
"""

from run.runtime import make_parser, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from pathlib import Path

from reasoning.task_families import FAMILIES
from reasoning.tasks import SPLITS, problems, write_gsm8k


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--split", choices=SPLITS, default="train",
                        help="which problems (default: train)")
    parser.add_argument("--show", type=int, default=2, help="of each family (default: 2)")
    parser.add_argument("--write", type=Path, default=None,
                        help="write 1,000 of them to this .jsonl file (default: no)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if args.show < 1:
        raise ValueError(f"--show {args.show}: must be at least 1")
    listed = problems(args.show * len(FAMILIES), args.split, args.seed)
    print_table(["family", "question", "worked answer"],
                [[p.family, p.question, p.gold] for p in sorted(listed, key=lambda p: p.family)])
    if args.write:
        write_gsm8k(args.write, problems(1000, args.split, args.seed))
        print(f"wrote {args.write}")


if __name__ == "__main__":
    run_main(main)
