"""PPO on one page, at work: an untrained model learns to count on from a digit, from scores alone.

    python part_8/train_ppo_plain.py
    python part_8/train_ppo_plain.py --steps 20 --seed 1

See   The score rises from chance (0.08) to nearly 1, while the KL to the untrained reference grows.
      The algorithm is rl/ppo_plain.py, to be read from top to bottom. No file is written.
"""

from run.runtime import make_parser, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from rl.ppo_plain import PlainSettings, train


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
                f"PPO, plain: {PlainSettings.rows} replies a step, seed {args.seed}")


if __name__ == "__main__":
    run_main(main)
