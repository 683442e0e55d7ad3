"""What happens when a learned score is pushed too far? Score and true quality against the KL.

    python part_8/demo_overoptimization.py
    python part_8/demo_overoptimization.py --quick

See   A reward model learnt from replies of the tuned model: it counts digits, which is right where
      replies are short. PPO with a KL penalty improves both the score and the quality. Without it
      the score goes on rising while the quality falls: the gap is what the score does not know.
Source Gao, Schulman, Hilton 2022, "Scaling Laws for Reward Model Overoptimization"
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from dataclasses import replace

import torch
from rl.rollout import Rollout, roll_out
from rl.toy_task import (
    DIGITS,
    END,
    MOST,
    PAD,
    SETTINGS,
    make_ppo,
    prompts,
    qualities,
    take_steps,
    tuned_model,
)
from run import plotting

LABELLED = 512  # replies that the reward model is learnt from


def counts(rollout: Rollout) -> torch.Tensor:
    """(B, 8 + 2): how often each digit was said, whether the first was right, and 1."""
    rows = rollout.token_rows()
    table = torch.zeros(len(rows), DIGITS + 2)
    for row, tokens in zip(table, rows):
        for token in tokens[2:]:
            if token < DIGITS:
                row[token] += 1
        row[DIGITS] = float(tokens[2] == tokens[1])
        row[DIGITS + 1] = 1.0
    return table


def learn_score(model, seed: int):
    """Least squares of the quality on counts, over replies of the tuned model -> score(rollout)."""
    seen = roll_out(model, prompts(LABELLED, seed + 99), MOST, end=END, pad=PAD,
                    generator=torch.Generator().manual_seed(seed))
    weights = fitted(counts(seen), qualities(seen))
    return lambda rollout: (counts(rollout).double() @ weights).float()


def fitted(table: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """(N, F) and (N,) -> (F,) weights of least squares. In float64: float32's solver rounds one way
    or another by where the tensors lie in memory, and thirty steps of PPO make that visible."""
    return torch.linalg.lstsq(table.double(), quality.double()[:, None]).solution.squeeze(1)


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--steps", type=int, default=None,
                        help="rollouts (default: 70; 8 with --quick)")
    parser.add_argument("--quick", action="store_true", help="8 steps (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    steps = (8 if args.quick else 70) if args.steps is None else args.steps
    held = replace(SETTINGS, steps=steps, beta=0.03, adaptive=False, length_control=False)
    kinds = {"with the KL penalty": held, "without it": replace(held, beta=0.0)}
    tuned = tuned_model(args.seed)
    score, logs = learn_score(tuned, args.seed), {}
    for name, settings in kinds.items():
        ppo = make_ppo(score, settings, args.seed, tuned=tuned)
        ppo.settings = replace(settings, target_kl=1e3)  # nothing is held or stopped by the KL
        logs[name] = take_steps(ppo)
    rows = [[name, line["step"], line["kl"], line["score"], line["quality"],
             line["score"] - line["quality"], line["length"]] for name, log in logs.items()
            for line in [*log[:-1:max(1, len(log) // 4)], log[-1]]]
    print_table(["run", "step", "KL", "score", "true quality", "gap", "length"], rows,
                "the learned score and the truth")
    ends = {name: log[-1] for name, log in logs.items()}
    free, kept = ends["without it"], ends["with the KL penalty"]
    fig, axes = plotting.figure(
        f"Without the KL penalty: score {free['score']:.2f}, quality {free['quality']:.2f}. "
        f"With it: {kept['score']:.2f} and {kept['quality']:.2f}",
        f"a score learnt from {LABELLED} replies; {steps} steps of {held.rollout_rows} replies, "
        f"β = {held.beta} or 0, seed {args.seed}", 2, sharey=True)
    for ax, (name, log) in zip(axes, logs.items()):
        kl = [line["kl"] for line in log]
        for key, color, label in (("score", plotting.ORANGE, "learned score"),
                                  ("quality", plotting.BLUE, "true quality")):
            values = [line[key] for line in log]
            ax.plot(kl, values, color=color, marker="o", ms=2.5, lw=1, label=label)
        ax.set(title=name, xlabel="KL to the reference (nats a reply)")
    axes[0].legend()
    axes[0].set_ylabel("mean of a step's replies")
    plotting.save(fig, out / "overoptimization.png")


if __name__ == "__main__":
    run_main(main)
