"""Can a small policy learn from nothing but a score? PPO on the task of rl/toy_task.py.

    python part_8/demo_ppo.py
    python part_8/demo_ppo.py --quick       10 steps

See   A tiny GPT that has only seen random digits learns to begin with the asked digit and to name
      each digit once, from one number a reply. Quality goes up, entropy down, the KL stays near its
      target; replies before and after.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from dataclasses import replace

import torch
from rl.ppo_report import draw_grid
from rl.rollout import roll_out
from rl.toy_task import (
    BEGIN,
    DIGITS,
    END,
    MOST,
    PAD,
    SETTINGS,
    make_ppo,
    qualities,
    quality,
    take_steps,
)

SHOWN = ("quality", "kl", "entropy", "length", "clip_fraction", "first_ratio")


def replies_of(model, seed: int) -> list[list[int]]:
    """One reply to each digit."""
    prompts = [[BEGIN, digit] for digit in range(DIGITS)]
    return roll_out(model, prompts, MOST, end=END, pad=PAD,
                    generator=torch.Generator().manual_seed(seed)).replies()


def shown(reply: list[int]) -> str:
    return " ".join(str(token) if token < DIGITS else "." for token in reply)


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--steps", type=int, default=None,
                        help=f"rollouts (default: {SETTINGS.steps}; 10 with --quick)")
    parser.add_argument("--quick", action="store_true", help="10 steps (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    steps = (10 if args.quick else SETTINGS.steps) if args.steps is None else args.steps
    settings = replace(SETTINGS, steps=steps)
    ppo = make_ppo(qualities, settings, args.seed)
    before = replies_of(ppo.reference, args.seed)
    log = take_steps(ppo)
    every = max(1, len(log) // 6)
    print_table(["step", *SHOWN], [[line["step"], *(line[name] for name in SHOWN)]
                                   for line in [*log[:-1:every], log[-1]]],
                f"PPO on digits: {settings.rollout_rows} replies a step")
    after = replies_of(ppo.policy.body, args.seed)
    print_table(["asked", "before", "quality", "after", "quality "],
                [[str(d), shown(one), quality([BEGIN, d], one), shown(two),
                  quality([BEGIN, d], two)] for d, (one, two) in enumerate(zip(before, after))],
                "one reply to each digit")
    draw_grid(log, f"From one number a reply: quality {log[0]['quality']:.2f} to "
              f"{log[-1]['quality']:.2f} (1 is the best), KL {log[-1]['kl']:.1f}",
              f"{ppo.policy.body.count_parameters():,} parameters, {len(log)} steps of "
              f"{settings.rollout_rows} replies, seed {args.seed}",
              out / "demo_ppo.png", settings.target_kl)


if __name__ == "__main__":
    run_main(main)
