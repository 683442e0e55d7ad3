"""Can strengths be found from comparisons alone? Eight known players, more and more games.

    python part_7/demo_bradley_terry.py

See   The strengths found from who won (eq. 7.7, maximised by Hunter's iteration, and by gradient
      descent on the loss) against the true ones; their error falls with the square root of the
      number of games.
"""

from run.runtime import make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import torch
from reward.losses import bradley_terry, fit_strengths
from run import plotting

PLAYERS = 8
GAMES = (10, 30, 100, 300, 1000, 3000)  # for each pair of players


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--quick", action="store_true", help="fewer rounds (default: off)")
    return parser.parse_args(argv)


def play(strength: torch.Tensor, games: int, generator: torch.Generator) -> torch.Tensor:
    """Every pair plays `games` times -> wins (N, N): how often i beat j."""
    wins = torch.zeros(len(strength), len(strength), dtype=torch.float64)
    for i in range(len(strength)):
        for j in range(i):
            p = torch.sigmoid(strength[i] - strength[j])  # eq. 7.6
            won = float((torch.rand(games, generator=generator) < p).sum())
            wins[i, j], wins[j, i] = won, games - won
    return wins


def by_gradient(wins: torch.Tensor, steps: int) -> torch.Tensor:
    """The same strengths by gradient descent on eq. 7.7, a pair a game."""
    strength = torch.zeros(len(wins), dtype=torch.float64, requires_grad=True)
    winner, loser = (index.repeat_interleave(wins[wins > 0].long())
                     for index in (wins > 0).nonzero(as_tuple=True))
    optimizer = torch.optim.LBFGS([strength], max_iter=steps, tolerance_grad=1e-10)

    def closure():
        optimizer.zero_grad()
        loss = bradley_terry(strength[winner], strength[loser])
        loss.backward()
        return loss

    optimizer.step(closure)
    return strength.detach() - strength.detach().mean()


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    true = torch.linspace(-1.2, 1.2, PLAYERS, dtype=torch.float64)
    rounds = 3 if args.quick else 20
    rows, last = [], None
    for games in GAMES:
        errors = []
        for _ in range(rounds):
            wins = play(true, games, generator) + 0.5 * (1 - torch.eye(PLAYERS))  # nobody at 0
            last = fit_strengths(wins)
            errors.append(float((last - true).square().mean().sqrt()))
        error = sum(errors) / rounds
        rows.append([games, error, error * games**0.5])
    wins = play(true, 100, generator)
    apart = float((by_gradient(wins, 100) - fit_strengths(wins)).abs().max())
    print_table(["games a pair", "error", "error x root(games)"], rows,
                f"{PLAYERS} players, {rounds} rounds: root mean square error of the strengths")
    print(f"Hunter's iteration and gradient descent on eq. 7.7 differ by {apart:.1e} at most")
    fig, (left, right) = plotting.figure(
        f"From comparisons alone: strengths to within {rows[-1][1]:.3f} after {GAMES[-1]:,} games a "
        "pair", f"{PLAYERS} players, true strengths -1.2 to 1.2, {rounds} rounds, seed {args.seed}",
        panels=2)
    left.plot([-1.4, 1.4], [-1.4, 1.4], color="#BBBBBB", lw=0.8)
    left.scatter(true.tolist(), last.tolist(), color=plotting.BLUE, s=18)
    left.set(xlabel="true strength", ylabel="found")
    right.loglog(GAMES, [row[1] for row in rows], color=plotting.BLUE, marker="o", ms=4)
    right.loglog(GAMES, [rows[0][1] * (GAMES[0] / n)**0.5 for n in GAMES], color="#BBBBBB", ls="--")
    right.set(xlabel="games a pair (dashed: 1/root)", ylabel="error")
    plotting.save(fig, out / "bradley_terry.png")


if __name__ == "__main__":
    run_main(main)
