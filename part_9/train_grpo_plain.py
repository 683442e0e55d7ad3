"""GRPO on one page, at work: an untrained model learns which of two digits is larger, from rewards.

    python part_9/train_grpo_plain.py
    python part_9/train_grpo_plain.py --steps 20 --seed 1

See   The reward rises from chance (0.1) to nearly 1.2, the most there is; then hardly any group has
      replies that differ, and nothing is left to learn from. The algorithm is reasoning/grpo_plain.py, to be
      read from top to bottom. No file is written.
"""

from run.runtime import make_parser, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from reasoning.grpo_plain import PlainSettings, train


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--steps", type=int, default=PlainSettings.steps,
                        help=f"rollouts (default: {PlainSettings.steps})")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    log = train(PlainSettings(steps=args.steps), args.seed)
    every = max(1, len(log) // 8)
    rows = [[step + 1, *line.values()] for step, line in enumerate(log)]
    print_table(["step", *log[0]], [*rows[:-1:every], rows[-1]],
                f"GRPO, plain: {PlainSettings.prompts} prompts x {PlainSettings.group} replies a "
                f"step, seed {args.seed}")


if __name__ == "__main__":
    run_main(main)
