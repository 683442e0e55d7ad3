"""Is a batch in k pieces the same as the whole batch? Only if every label weighs the same.

    python part_4/demo_accumulation.py

See    The gradient of a batch whose rows have 1 to 64 labels, in k micro-batches. Weighted by
       labels (eq. 4.7) it is the whole batch's gradient, up to rounding. The mean of the micro-
       batches' means, which most loops take, is another gradient: it points elsewhere.
"""

from run.runtime import make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import torch
from gpt.model import GPT, GPTConfig
from run import plotting
from text.rows import IGNORED

ROWS, CONTEXT, VOCABULARY = 32, 64, 256
PIECES = (1, 2, 4, 8, 16, 32)


def parse_args(argv=None):
    return make_parser(__doc__, runs_model=False).parse_args(argv)


def make_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as answers of very different length: few rows have most of the labels."""
    ids = torch.randint(VOCABULARY, (ROWS, CONTEXT))
    targets = ids.roll(-1, 1) // 2  # something to learn
    lengths = (CONTEXT * torch.rand(ROWS) ** 3).long() + 1
    return ids, targets.masked_fill(torch.arange(CONTEXT) >= lengths[:, None], IGNORED)


def gradient(model, ids, targets, pieces: int, *, by_labels: bool) -> torch.Tensor:
    """The gradient of the step, as one long vector."""
    model.zero_grad()
    labels = (targets != IGNORED).sum()
    for x, y in zip(ids.chunk(pieces), targets.chunk(pieces)):
        _, loss = model(x, y, loss_only=True)
        share = (y != IGNORED).sum() / labels if by_labels else 1 / pieces  # eq. 4.7, or not
        (loss * share).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    model = GPT(GPTConfig(vocab_size=VOCABULARY, block_size=CONTEXT, n_layer=2, n_embd=64))
    ids, targets = make_batch()
    whole = gradient(model, ids, targets, 1, by_labels=True)
    rows = []
    for k in PIECES:
        errors, angles = [], []
        for by_labels in (True, False):
            g = gradient(model, ids, targets, k, by_labels=by_labels)
            errors.append(float((g - whole).norm() / whole.norm()))
            cosine = torch.nn.functional.cosine_similarity(g.double(), whole.double(), dim=0)
            angles.append(float(torch.rad2deg(cosine.clamp(-1, 1).arccos())))
        rows.append([k, errors[0], errors[1], angles[1]])
    print_table(["pieces", "weighted by labels", "mean of means", "turned by, degrees"], rows,
                "Distance from the whole batch's gradient, relative to its length")
    fig, ax = plotting.figure(
        f"{PIECES[-1]} means averaged: {rows[-1][2]:.0%} off the gradient; weighted by labels: "
        f"{max(row[1] for row in rows):.0e} of its length",
        f"one batch of {ROWS} rows with 1 to {CONTEXT} labels, {model.count_parameters():,} "
        f"parameters, float32, seed {args.seed}")
    floor = 1e-8  # the whole batch itself is exactly 0 off; a logarithm needs something
    for column, name, color in ((1, "weighted by labels", plotting.BLUE),
                                (2, "mean of means", plotting.RED)):
        values = [max(row[column], floor) for row in rows[1:]]
        ax.plot(PIECES[1:], values, "o-", color=color)
        plotting.end_label(ax, PIECES[1:], values, name, color)
    ax.set(xscale="log", yscale="log", xlabel="micro-batches in a step",
           ylabel="relative distance from the whole", ylim=(floor, 10))
    ax.set_xticks(PIECES[1:], [str(k) for k in PIECES[1:]])
    ax.minorticks_off()
    plotting.save(fig, out / "accumulation.png")


if __name__ == "__main__":
    run_main(main)
