"""What does the loss measure, and how does it push? Cross-entropy by hand, on three bytes.

    python demo_cross_entropy.py          a second

Scores for four tokens at three places; the softmax, the loss of each place and the gradient are
computed in NumPy, and PyTorch agrees with each. Look at the last columns: the gradient of a score
is its probability, minus one where the right token stands. Then two traps: a mean of means, and a
label that is left out (-100). Lesson 2.3.
"""

from runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import numpy as np
import torch
import torch.nn.functional as F
from plotting import BLUE, GREEN, GREY, RED, figure, save

TOKENS = ("a", "b", "c", "d")
SCORES = np.array([[2.0, 1.0, 0.0, -1.0],   # place 0: quite sure of a
                   [0.0, 0.0, 0.0, 0.0],    # place 1: no idea
                   [3.0, 0.0, 0.0, 0.0]])   # place 2: sure of a …
TARGETS = np.array([0, 2, 1])               # … and wrong: b comes


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """(N, V) -> (N, V): z - log sum exp z. Minus the maximum first: exp(1000) is infinite."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(scores: np.ndarray) -> np.ndarray:
    """(N, V) -> (N, V), rows sum to 1."""
    return np.exp(log_softmax(scores))


def cross_entropy(scores: np.ndarray, targets: np.ndarray, ignore: int = -100):
    """(N, V), (N,) -> the loss of each counted place, and their mean (eq. 2.2)."""
    counted = targets != ignore
    losses = -log_softmax(scores)[counted, targets[counted]]  # never log(exp(-1000)) = -inf
    return losses, losses.mean()


def gradient(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(N, V): d mean loss / d scores = (p - [token is the target]) / N (eq. 2.3)."""
    return (softmax(scores) - np.eye(scores.shape[1])[targets]) / len(targets)


def means_of_unequal_batches() -> tuple[float, float]:
    """The mean of two batches' means, and the mean over all labels: one place against two."""
    losses, mean = cross_entropy(SCORES, TARGETS)
    return (losses[:1].mean() + losses[1:].mean()) / 2, mean


def parse_args(argv=None):
    return make_parser(__doc__, runs_model=False).parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    losses, mean = cross_entropy(SCORES, TARGETS)
    p, grad = softmax(SCORES), gradient(SCORES, TARGETS)
    scores = torch.tensor(SCORES, requires_grad=True)
    loss = F.cross_entropy(scores, torch.tensor(TARGETS))
    loss.backward()
    rows = [[f"{i}: {TOKENS[t]}", *(f"{x:.3f}" for x in p[i]), losses[i],
             *(f"{x:+.3f}" for x in len(TARGETS) * grad[i])] for i, t in enumerate(TARGETS)]
    print_table(["place: right", *(f"p({t})" for t in TOKENS), "-log p",
                 *(f"N*grad {t}" for t in TOKENS)], rows)
    far = np.abs(grad - scores.grad.numpy()).max()
    wrong, right = means_of_unequal_batches()
    left_out = cross_entropy(SCORES, np.array([0, 2, -100]))[1]
    print_table(["what", "value"], [
        ["mean loss by hand", mean], ["F.cross_entropy", loss.item()],
        ["largest difference of the gradients", far],
        ["trap: mean of the means of 1 and 2 places", wrong], ["mean over the 3 places", right],
        ["mean with the label of place 2 left out (-100)", left_out]])

    fig, (ax, bars) = figure(f"Sure and wrong costs {losses[2]:.2f} nats, no idea {losses[1]:.2f}, "
                             f"sure and right {losses[0]:.2f}; the push is p minus one for the "
                             "right token", "cross-entropy of three places, four tokens; mean "
                             f"{mean:.3f} nats, as F.cross_entropy has it", panels=2)
    x = np.linspace(0.01, 1, 200)
    ax.plot(x, -np.log(x), color=GREY)
    colors = (GREEN, BLUE, RED)
    for i, name in enumerate(("sure, right", "no idea", "sure, wrong")):
        chance = p[i, TARGETS[i]]
        ax.plot(chance, losses[i], "o", color=colors[i])
        ax.annotate(name, (chance, losses[i]), xytext=(8, 4), textcoords="offset points",
                    fontsize=8.5, color=colors[i])
    ax.set(xlabel="probability of the right token", ylabel="loss -log p, nats", ylim=(0, 5),
           xlim=(0, 1))
    places = np.arange(4)
    for i in range(3):
        bars.bar(places + 0.27 * (i - 1), len(TARGETS) * grad[i], width=0.25, color=colors[i])
    bars.axhline(0, color=GREY, linewidth=0.8)
    bars.set_xticks(places, TOKENS)
    bars.set(xlabel="token", ylabel="gradient of its score, times 3 places", ylim=(-1.1, 1.1))
    save(fig, out / "cross_entropy.png")


if __name__ == "__main__":
    run_main(main)
