"""What does PPO's clipping do? Loss and gradient of one token, as its ratio moves.

    python part_8/demo_clipping.py

See   Where the gradient is zero: a good token that is likelier than before by more than the limit,
      a bad one that is rarer. Going back is never clipped: the flat part is on one side only.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import torch
from rl.ppo import policy_loss
from run import plotting

SHOWN = (0.5, 0.8, 0.95, 1.0, 1.05, 1.2, 1.5)


def loss_and_slope(ratio: float, advantage: float, clip: float) -> tuple[float, float]:
    """(loss, its slope with respect to the ratio) of a single token."""
    logp = torch.tensor([[ratio]]).log().requires_grad_()
    result = policy_loss(logp, torch.zeros(1, 1), torch.tensor([[advantage]]),
                         torch.tensor([[True]]), clip=clip)
    result.loss.backward()
    return result.loss.item(), logp.grad.item() / ratio


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--clip", type=float, default=0.2, help="the limit (default: 0.2)")
    parser.add_argument("--quick", action="store_true",
                        help="the same: nothing is trained here (default: off)")
    args = parser.parse_args(argv)
    if not 0 < args.clip < 1:
        raise ValueError(f"--clip {args.clip}: must be above 0 and below 1")
    return args


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    print_table(["ratio", "loss, A = 1", "slope, A = 1", "loss, A = -1", "slope, A = -1"],
                [[r, *loss_and_slope(r, 1.0, args.clip), *loss_and_slope(r, -1.0, args.clip)]
                 for r in SHOWN], f"one token, clip {args.clip}")
    ratios = [0.4 + 0.01 * i for i in range(121)]
    curves = {a: [loss_and_slope(r, a, args.clip) for r in ratios] for a in (1.0, -1.0)}
    fig, axes = plotting.figure(
        f"No gradient above a ratio of {1 + args.clip:.1f} for a good token, below "
        f"{1 - args.clip:.1f} for a bad one",
        f"loss of eq. 8.9 for one token; grey: without clipping; clip {args.clip}", 2)
    for ax, advantage, name in zip(axes, (1.0, -1.0), ("good token, A = 1", "bad token, A = −1")):
        ax.plot(ratios, [-advantage * r for r in ratios], color=plotting.GREY, lw=1, ls="--")
        ax.plot(ratios, [loss for loss, _ in curves[advantage]], color=plotting.BLUE)
        ax.axvline(1, color="#BBBBBB", lw=0.8)
        ax.set(title=name, xlabel="ratio π / π_old", ylabel="loss")
    plotting.save(fig, out / "clipping.png")


if __name__ == "__main__":
    run_main(main)
