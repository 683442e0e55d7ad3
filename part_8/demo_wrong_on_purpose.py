"""What do common bugs look like from outside? Three of them, planted in PPO, beside a right run.

    python part_8/demo_wrong_on_purpose.py
    python part_8/demo_wrong_on_purpose.py --quick

    end untrained   the mask leaves out the end token: when to stop is never learnt
    KL turned round the penalty has the wrong sign: leaving the reference is rewarded
    min for max     the policy loss takes the smaller of the two: what went too far is pushed on

See   None of them crashes, and the scores of two of them rise at first. The KL, the length and the
      share of clipped tokens give them away.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from dataclasses import replace

import torch
from rl.policy import Rows
from rl.ppo import PolicyLoss, masked_mean
from rl.ppo_loop import PPO
from rl.rollout import Rollout
from rl.toy_task import SETTINGS, make_ppo, qualities, take_steps, tuned_model
from run import plotting


class EndUntrained(PPO):
    """The last token of a reply that ended is taken for padding."""

    def sample(self, prompts, generator) -> Rollout:
        rollout = super().sample(prompts, generator)
        rows, mask = rollout.rows, rollout.rows.is_response.clone()
        last = (mask.sum(1) - 1).clamp(min=1)  # a reply keeps one token
        mask &= torch.arange(mask.size(1)) < torch.where(rollout.ended, last, last + 1)[:, None]
        return Rollout(Rows(rows.ids, rows.first, mask), rollout.logp * mask, rollout.ended)


class TurnedRound(PPO):
    """+beta times the KL in the reward."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.kl.beta = -self.kl.beta


def optimist(logp, old_logp, advantages, is_response, *, clip: float = 0.2) -> PolicyLoss:
    """The minimum where eq. 8.9 has the maximum."""
    log_ratio = torch.where(is_response, logp - old_logp, 0.0)
    ratio = log_ratio.exp()
    plain, clipped = -advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip)
    loss = masked_mean(torch.minimum(plain, clipped), is_response)
    outside = ((ratio - 1).abs() > clip).float()
    return PolicyLoss(loss, masked_mean(outside, is_response).item(),
                      masked_mean(ratio - 1 - log_ratio, is_response).item(),
                      masked_mean(ratio, is_response).item())


class MinForMax(PPO):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.policy_loss = optimist


KINDS = {"right": PPO, "end untrained": EndUntrained, "KL turned round": TurnedRound,
         "min for max": MinForMax}
COLORS = (plotting.BLUE, plotting.ORANGE, plotting.RED, plotting.GREEN)


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--steps", type=int, default=None,
                        help="rollouts (default: 40; 6 with --quick)")
    parser.add_argument("--quick", action="store_true", help="6 steps (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    steps = (6 if args.quick else 40) if args.steps is None else args.steps
    # no early stop and no controls: they would hide some of what goes wrong
    settings = replace(SETTINGS, steps=steps, adaptive=False, beta=0.05, stop_kl=0.0,
                       length_control=False)
    tuned = tuned_model(args.seed)
    logs = {name: take_steps(make_ppo(qualities, settings, args.seed, tuned=tuned, kind=kind))
            for name, kind in KINDS.items()}
    shown = ("quality", "kl", "length", "entropy", "clip_fraction")
    print_table(["run", "steps", *shown, "stopped because"],
                [[name, len(log), *(log[-1][key] for key in shown),
                  log[-1].get("collapsed", "")[:60]] for name, log in logs.items()],
                "the last step of each run")
    best = logs["right"][-1]["quality"]
    worst = min(log[-1]["quality"] for log in logs.values())
    fig, axes = plotting.figure(
        f"Three bugs that do not crash: at the end the quality is {worst:.2f} at worst, "
        f"{best:.2f} without them",
        f"{steps} steps of {settings.rollout_rows} replies on the task of rl/toy_task.py, "
        f"seed {args.seed}", 3, size=(8, 4))
    for ax, (key, label) in zip(axes, (("quality", "true quality"), ("kl", "KL (nats a reply)"),
                                       ("length", "tokens in a reply"))):
        for (name, log), color in zip(logs.items(), COLORS):
            ax.plot([line["step"] for line in log], [line[key] for line in log], color=color,
                    lw=1.4, label=name)
        ax.set(title=label, xlabel="step")
    axes[1].set_yscale("symlog", linthresh=1)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4,
               fontsize=8)
    plotting.save(fig, out / "wrong_on_purpose.png")


if __name__ == "__main__":
    run_main(main)
