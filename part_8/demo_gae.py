"""Which token of a reply was worth what? GAE by hand, on five tokens.

    python part_8/demo_gae.py

See   A reply of five tokens, a KL penalty on each, the score at its end. The table works eq. 8.7
      out from the last token to the first; the picture shows what lambda does: 0 trusts the values
      and looks one token ahead, 1 trusts the rewards and spreads the score over the whole reply.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import torch
from rl.ppo import gae, token_rewards
from run import plotting

TOKENS = ("The", "answer", "is", "7", "<end>")
LOGP = (-0.2, -0.1, -0.1, -1.2, -0.05)
REF_LOGP = (-0.2, -0.2, -0.1, -2.2, -0.05)
VALUES = (0.3, 0.3, 0.35, 0.4, 0.8)
SCORE, BETA, GAMMA = 1.0, 0.1, 1.0
LAMBDAS = (0.0, 0.5, 0.95, 1.0)


def by_hand(rewards: list[float], values: list[float], lam: float) -> list[tuple[float, float]]:
    """[(delta, advantage)] for each token, as eq. 8.7 says, in plain Python."""
    pairs, advantage = [], 0.0
    for t in reversed(range(len(rewards))):
        following = values[t + 1] if t + 1 < len(values) else 0.0  # the reply is over: worth 0
        delta = rewards[t] + GAMMA * following - values[t]
        advantage = delta + GAMMA * lam * advantage
        pairs.append((delta, advantage))
    return pairs[::-1]


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--lam", type=float, default=0.95, help="lambda (default: 0.95)")
    parser.add_argument("--quick", action="store_true",
                        help="the same: nothing is trained here (default: off)")
    args = parser.parse_args(argv)
    if not 0 <= args.lam <= 1:
        raise ValueError(f"--lam {args.lam}: must be from 0 to 1")
    return args


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    is_response = torch.ones(1, len(TOKENS), dtype=torch.bool)
    logp, ref_logp, values = (torch.tensor([x]) for x in (LOGP, REF_LOGP, VALUES))
    rewards = token_rewards(torch.tensor([SCORE]), logp, ref_logp, is_response, BETA)
    advantages, returns = gae(rewards, values, is_response, gamma=GAMMA, lam=args.lam)
    hand = by_hand(rewards[0].tolist(), list(VALUES), args.lam)
    print_table(["token", "KL", "reward", "value", "delta", "advantage", "by hand", "return"],
                [[token, LOGP[t] - REF_LOGP[t], rewards[0, t].item() or 0.0, VALUES[t], hand[t][0],
                  advantages[0, t].item(), hand[t][1], returns[0, t].item()]
                 for t, token in enumerate(TOKENS)],
                f"score {SCORE}, beta {BETA}, gamma {GAMMA}, lambda {args.lam}")
    worst = max(abs(a - h) for a, (_, h) in zip(advantages[0].tolist(), hand))
    print(f"largest difference between gae() and the hand: {worst:.1e}")
    first = {lam: gae(rewards, values, is_response, gamma=GAMMA, lam=lam)[0][0] for lam in LAMBDAS}
    fig, ax = plotting.figure(
        f"The first token's share of the score: {first[0.0][0]:.2f} with λ = 0, "
        f"{first[1.0][0]:.2f} with λ = 1",
        f"five tokens, score {SCORE} at the end, β = {BETA}; values {', '.join(map(str, VALUES))}")
    for lam, color in zip(LAMBDAS, plotting.CYCLE):
        line = first[lam].tolist()
        ax.plot(range(len(TOKENS)), line, color=color, marker="o", ms=4, label=f"λ = {lam}")
    ax.legend()
    ax.axhline(0, color="#BBBBBB", lw=0.8)
    ax.set_xticks(range(len(TOKENS)), TOKENS)
    ax.set(ylabel="advantage")
    plotting.save(fig, out / "gae.png")


if __name__ == "__main__":
    run_main(main)
