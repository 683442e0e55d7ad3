"""Can the reward model be trusted? Padding, prompts, bad replies, worse and worse ones, length.

    python part_7/demo_sanity.py
    python part_7/demo_sanity.py --quick

See   Each check of reward/sanity_checks.py with its figure. Left: how often a bad reply scores below the
      right one. Right: the mean score of a good reply that is made worse step by step.
"""

from run.runtime import make_parser, out_folder, print_table, run_main, save_json

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from reward.preferences import asked_items, world_pairs
from reward.sanity_checks import (
    bad_rates,
    length_check,
    other_prompt_rate,
    padding_error,
    step_rates,
)
from reward.untrained import add_checkpoint_flag, scorer_from
from run import plotting

STEPS = ("right", "+1 idle", "+2 idle", "+3 idle", "wrong", "+ rude")


def parse_args(argv=None):
    parser = make_parser(__doc__, seed=3)
    add_checkpoint_flag(parser)
    parser.add_argument("--quick", action="store_true",
                        help="a small model with random weights: does the demo run? "
                             "(default: off)")
    parser.add_argument("--items", type=int, default=None,
                        help="held-out instructions (default: 200; 20 with --quick)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    count = (20 if args.quick else 200) if args.items is None else args.items
    if count < 2:
        raise ValueError(f"--items {count}: must be at least 2")
    scorer, note = scorer_from(args)
    items = asked_items(count, "new_items", args.seed)
    rates = bad_rates(scorer, items, args.seed)
    means, falls = step_rates(scorer, items, args.seed)
    pairs = world_pairs(items, [[] for _ in items], seed=args.seed, flipped=0.0)
    correlation, matched, n = length_check(scorer, pairs)
    checks = {"largest change by padding": padding_error(scorer, items[:16]),
              "own question scores higher": other_prompt_rate(scorer, items),
              **{f"{kind} below right": rate for kind, rate in rates.items()},
              "single steps that fall": falls, "correlation with length": correlation,
              f"accuracy at equal length ({n} pairs)": matched}
    print_table(["check", "value"], [[name, value] for name, value in checks.items()],
                f"{count} held-out instructions, seed {args.seed}")
    save_json(out / "sanity.json", checks)
    worst = min(rates, key=rates.get)
    fig, (left, right) = plotting.figure(
        f"Bad replies score below right ones in {min(rates.values()):.0%} or more (least: {worst})",
        f"{count} held-out instructions; scores in standard deviations of the tuned model's own "
        f"replies; {note}", panels=2)
    bars = left.barh(range(len(rates)), list(rates.values()), color=plotting.BLUE)
    left.bar_label(bars, fmt="%.3f", padding=-32, color="white", fontsize=8)
    left.set_yticks(range(len(rates)), list(rates))
    left.set(xlabel="share below the right reply", xlim=(0, 1))
    right.plot(range(len(means)), means, color=plotting.ORANGE, marker="o", ms=4)
    right.set_xticks(range(len(means)), STEPS, rotation=30, fontsize=8)
    right.set(ylabel="mean score")
    plotting.save(fig, out / "sanity.png")


if __name__ == "__main__":
    run_main(main)
