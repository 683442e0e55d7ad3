"""Three estimates of the KL from samples: which are good numbers, and which are good losses?

    python part_9/demo_kl_estimators.py

See   As numbers, k1, k2 and k3 all tell the KL (k2 a little off, k1 with by far the most noise). As
      losses they are not alike: k1's gradient has the mean 0 whatever the reference is, so it pulls
      nowhere; k2's mean is the gradient of KL(pi||ref); k3's is that of KL(ref||pi), which pulls
      back as well.
"""

from run.runtime import make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import torch
from reasoning.grpo import KL_ESTIMATORS, kl_estimate
from run import plotting

V = 12  # tokens of the little vocabulary
NAMES = {"k1": plotting.RED, "k2": plotting.GREEN, "k3": plotting.BLUE}


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--samples", type=int, default=None,
                        help="tokens drawn for each number (default: 20000; 2000 with --quick)")
    parser.add_argument("--quick", action="store_true",
                        help="a tenth of the samples and steps (default: off)")
    return parser.parse_args(argv)


def draw(logits: torch.Tensor, n: int) -> torch.Tensor:
    return torch.multinomial(logits.detach().softmax(-1), n, replacement=True)


def true_kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """KL(p||q) of two distributions given by logits, exactly."""
    logp, logq = p.log_softmax(-1), q.log_softmax(-1)
    return (logp.exp() * (logp - logq)).sum()


def as_number(logits, ref, kind: str, n: int) -> tuple[float, float]:
    """-> (mean, standard deviation) of the estimate over n tokens."""
    tokens = draw(logits, n)
    values = kl_estimate(logits.log_softmax(-1)[tokens], ref.log_softmax(-1)[tokens], kind)
    return float(values.mean()), float(values.std())


def loss_gradient(logits, ref, kind: str, n: int) -> torch.Tensor:
    """The gradient that a training loop gets when the estimate's mean is its loss."""
    logits = logits.clone().requires_grad_()
    tokens = draw(logits, n)
    kl_estimate(logits.log_softmax(-1)[tokens], ref.log_softmax(-1)[tokens], kind).mean().backward()
    return logits.grad


def exact_gradient(logits, ref) -> torch.Tensor:
    logits = logits.clone().requires_grad_()
    true_kl(logits, ref).backward()
    return logits.grad


def descend(start, ref, kind: str, steps: int, rate: float = 0.5, n: int = 64) -> list[float]:
    """The true KL over the steps of plain gradient descent on the estimate."""
    logits, kls = start.clone(), []
    for _ in range(steps):
        kls.append(float(true_kl(logits, ref)))
        logits = logits - rate * loss_gradient(logits, ref, kind, n)
    return kls


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    n = (2000 if args.quick else 20000) if args.samples is None else args.samples
    if n < 100:
        raise ValueError(f"--samples {n}: must be at least 100")
    seed_everything(args.seed)
    steps = 60 if args.quick else 600
    ref = torch.randn(V)
    rows, curves = [], {}
    for distance in (0.1, 0.5, 1.0):
        policy = ref + distance * torch.randn(V)
        exact = exact_gradient(policy, ref)
        for kind in KL_ESTIMATORS:
            mean, std = as_number(policy, ref, kind, n)
            gradient = torch.stack([loss_gradient(policy, ref, kind, n) for _ in range(8)]).mean(0)
            rows.append([f"{distance}", kind, float(true_kl(policy, ref)), mean, std,
                         float(gradient.norm() / exact.norm()),
                         float(torch.cosine_similarity(gradient, exact, dim=0))])
    print_table(["distance", "estimate", "true KL", "mean", "std of one", "gradient's size",
                 "its cosine"], rows, "The gradient beside that of the true KL: size 1, cosine 1")
    for kind in KL_ESTIMATORS:
        curves[kind] = descend(policy, ref, kind, steps)
    ends = {kind: sum(curve[-10:]) / 10 for kind, curve in curves.items()}
    fig, axes = plotting.figure(
        f"Used as a loss, k1 leaves the KL at {ends['k1']:.2f} of {curves['k1'][0]:.2f} nats; k2 "
        f"brings it to {ends['k2']:.1e}, k3 to {ends['k3']:.1e}",
        f"{V} tokens, {n:,} samples a number; descent: {steps} steps of 64 samples, rate 0.5, seed "
        f"{args.seed}", panels=2, size=(7, 3.8))
    for kind, color in NAMES.items():
        mine = [row for row in rows if row[1] == kind]
        axes[0].plot([row[2] for row in mine], [row[4] for row in mine], color=color, marker="o",
                     ms=3)
        plotting.end_label(axes[0], [row[2] for row in mine], [row[4] for row in mine], kind, color)
        axes[1].plot(curves[kind], color=color)
        plotting.end_label(axes[1], range(steps), curves[kind], kind, color,
                           dy={"k1": 0, "k2": 6, "k3": -4}[kind])
    axes[0].set(xlabel="true KL, nats", ylabel="standard deviation of one estimate")
    axes[1].set(xlabel="step of descent on the estimate", ylabel="true KL to the reference, nats",
                ylim=(0, None))
    plotting.save(fig, out / "kl_estimators.png")


if __name__ == "__main__":
    run_main(main)
