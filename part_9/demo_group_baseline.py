"""What should a reward be compared with? Nothing, the batch, or its siblings: the gradient's noise.

    python part_9/demo_group_baseline.py

See   All gradients have the same mean: a baseline that a reply has no part in changes nothing on
      average. Their noise differs. Without one, a point more for every reply is nothing but noise;
      the batch's mean takes it away, but forgets that prompts are not equally hard; the group's mean
      knows both. (The group's mean contains the reply itself, which makes the gradient
      (K-1)/K as long: the table undoes that.)
"""

from run.runtime import Runtime, make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import random

import torch
from reasoning.grpo import group_advantages
from reasoning.toy_largest import END, MOST, PAD, SETTINGS, all_prompts, rewards, tuned_model
from rl.policy import response_logp
from rl.rollout import roll_out
from run import plotting

GROUP = SETTINGS.group
BASELINES = {"none": plotting.GREY, "none, +1 for all": plotting.RED,
             "batch mean": plotting.ORANGE, "group mean": plotting.BLUE}
PLAIN = Runtime(torch.device("cpu"), None, "", "")


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--rollouts", type=int, default=None,
                        help="gradients to measure, of 256 replies each (default: 80; 12 with "
                             "--quick)")
    parser.add_argument("--quick", action="store_true", help="12 rollouts (default: off)")
    return parser.parse_args(argv)


def advantages_of(name: str, values: torch.Tensor) -> torch.Tensor:
    """Rewards (N,) -> what each reply's log-probability is weighted with."""
    if name.startswith("none"):
        return values + 1 if "+1" in name else values
    if name == "batch mean":
        return (values - values.mean()) * len(values) / (len(values) - 1)
    return group_advantages(values, GROUP, scale=False) * GROUP / (GROUP - 1)


def gradients(model, prompts, seed: int) -> dict[str, torch.Tensor]:
    """The policy gradient of one rollout with each baseline: same replies, same rewards."""
    rollout = roll_out(model, prompts, MOST, end=END, pad=PAD, copies=GROUP,
                       generator=torch.Generator().manual_seed(seed))
    values = rewards(rollout, prompts)
    logp = response_logp(model, rollout.rows).sum(1)  # of each whole reply
    by_baseline = {}
    for name in BASELINES:
        loss = -(advantages_of(name, values) * logp).mean()
        parts = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
        by_baseline[name] = torch.cat([part.flatten() for part in parts])
    return by_baseline


def unequal(model, trained: list, count: int, seed: int) -> tuple[list, list[float]]:
    """Of 200 prompts the `count` easiest and the `count` hardest -> (they, their shares right)."""
    pool = random.Random(seed).sample(trained, 200)
    rollout = roll_out(model, pool, MOST, end=END, pad=PAD, copies=16,
                       generator=torch.Generator().manual_seed(seed))
    shares = rewards(rollout, pool).view(len(pool), 16).mean(1)
    order = shares.argsort(stable=True).tolist()
    kept = order[:count] + order[-count:]
    return [pool[i] for i in kept], [float(shares[i]) for i in kept]


def noise(rows: torch.Tensor) -> tuple[float, float]:
    """(R, P) gradients -> (length of their mean, without the noise in it; noise of one)."""
    count, mean = len(rows), rows.mean(0)
    variance = float((rows - mean).square().sum() / (count - 1))
    return max(float(mean.square().sum()) - variance / count, 0.0) ** 0.5, variance ** 0.5


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    count = (12 if args.quick else 80) if args.rollouts is None else args.rollouts
    if count < 2:
        raise ValueError(f"--rollouts {count}: must be at least 2")
    seed_everything(args.seed)
    model, (trained, _) = tuned_model(args.seed), all_prompts()
    half = SETTINGS.prompts // 2
    prompts, shares = unequal(model, trained, half, args.seed)
    hard, easy = sum(shares[:half]) / half, sum(shares[half:]) / half
    kept = {name: [] for name in BASELINES}
    for number in range(count):
        by_baseline = gradients(model, prompts, args.seed + number)
        for name, gradient in by_baseline.items():
            kept[name].append(gradient)
    results = {name: noise(torch.stack(rows)) for name, rows in kept.items()}
    plain = results["none"][1]
    print_table(["baseline", "length of the mean", "noise of one", "noise / no baseline's",
                 "replies for the same noise"],
                [[name, length, spread, spread / plain, (spread / plain) ** 2]
                 for name, (length, spread) in results.items()],
                f"{count} gradients of {half} hard prompts ({hard:.0%} right) and {half} easy ones "
                f"({easy:.0%}), {GROUP} replies each")
    plus, batch, group = (results[name][1] / plain for name in list(BASELINES)[1:])
    fig, ax = plotting.figure(
        f"The gradient's variance: {group ** 2:.2f} with siblings as the baseline, "
        f"{batch ** 2:.2f} with the batch, 1 with none, {plus ** 2:.1f} if all get a point more",
        f"largest of four digits, {count} gradients of {half} hard prompts ({hard:.0%} right) and "
        f"{half} easy ones ({easy:.0%}), {GROUP} replies each, seed {args.seed}")
    for place, (name, color) in enumerate(BASELINES.items()):
        share = (results[name][1] / plain) ** 2
        ax.bar(place, share, color=color, width=0.6)
        ax.annotate(f"{share:.2f}", (place, share), ha="center", xytext=(0, 3),
                    textcoords="offset points", fontsize=9)
    ax.set_xticks(range(len(BASELINES)), list(BASELINES))
    ax.set(ylabel="variance of the gradient, none = 1", ylim=(0, None))
    plotting.save(fig, out / "group_baseline.png")


if __name__ == "__main__":
    run_main(main)
