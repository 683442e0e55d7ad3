"""A few preference pairs, with the judge's verdict; or a file of them.

    python part_7/show_pairs.py --show 6
    python part_7/show_pairs.py --write pairs.jsonl    for other programs: chosen, rejected

See    reward/preferences.py, lesson 7.1
"""

from run.runtime import make_parser, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from pathlib import Path

from reward.faults import HELD_OUT, WORKED
from reward.preferences import asked_items, world_pairs, write_pairs


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--show", type=int, default=6, help="how many pairs (default: 6)")
    parser.add_argument("--split", default="new_items",
                        help="split of the skills to ask from (default: new_items)")
    parser.add_argument("--write", type=Path, default=None,
                        help="write the pairs to this .jsonl or .jsonl.gz file (default: no)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if args.show < 1:
        raise ValueError(f"--show {args.show}: must be at least 1")
    asked = asked_items(args.show, args.split, args.seed)
    pairs = world_pairs(asked, [[] for _ in asked], seed=args.seed, faults=WORKED + HELD_OUT)
    pairs = pairs[:args.show]
    print_table(["asked", "preferred", "other", "kind", "gap"],
                [[pair.prompt[-1].content[-40:].replace("\n", " "), pair.chosen.text[:40],
                  pair.rejected.text[:40], pair.kind, pair.gap] for pair in pairs],
                "Pairs without the model's own replies; a gap below 0 is a flipped label")
    if args.write:
        write_pairs(args.write, pairs)
        print(f"wrote {args.write}")


if __name__ == "__main__":
    run_main(main)
