"""What is lost without positions? Three models that differ in nothing else try to count back.

    python part_1/demo_positions.py

See: a task where the answer is the letter three places back. Without positions a block sees a
set of letters and guesses; with learned or sinusoidal positions it gets nearly all right. Shuffled
input comes out shuffled in the same way, to the last digit, without positions. The picture shows
the sinusoidal table, and how alike two places are, in the fixed and in the trained table.
"""

from runtime import choose_device, make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import plotting
import torch
import torch.nn.functional as F
from block import Block
from model import GPT, GPTConfig
from positions import sinusoidal_table
from tqdm import trange

LETTERS, LENGTH, BACK = 12, 24, 3  # letters of the alphabet, of a row; how far back the answer is
KINDS = ("none", "sinusoidal", "learned")


def batch_of_rows(count: int, generator: torch.Generator):
    """Random rows (count, LENGTH); the target at t is the letter at t - BACK, -100 before that."""
    ids = torch.randint(LETTERS, (count, LENGTH), generator=generator)
    targets = ids.roll(BACK, dims=1)
    targets[:, :BACK] = -100
    return ids, targets


def train(kind: str, steps: int, seed: int, device) -> tuple[GPT, float]:
    """One block of width 48 -> (the model, its share of right answers on new rows)."""
    seed_everything(seed)
    generator = torch.Generator().manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=LETTERS, block_size=LENGTH, n_layer=1, n_head=2, n_embd=48,
                          positions=kind)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0, fused=True)
    for _ in trange(steps, desc=f"positions: {kind}", mininterval=1):
        ids, targets = batch_of_rows(32, generator)
        _, loss = model(ids.to(device), targets.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ids, targets = batch_of_rows(500, torch.Generator().manual_seed(2**31 + seed))
    with torch.no_grad():
        right = model(ids.to(device))[0].argmax(-1).cpu() == targets
    return model, right[:, BACK:].float().mean().item()


@torch.no_grad()
def change_by_shuffling(kind: str, seed: int) -> float:
    """Largest |f(shuffled x) - shuffled f(x)| of a block that sees all tokens. 0: order is lost."""
    seed_everything(seed)
    model = GPT(GPTConfig(vocab_size=LETTERS, block_size=LENGTH, n_layer=1, n_head=2, n_embd=48,
                          positions=kind))
    block = Block(48, 2, causal=False)
    ids, shuffle = torch.randint(LETTERS, (1, LENGTH)), torch.randperm(LENGTH)
    straight, shuffled = block(model.embed(ids)), block(model.embed(ids[:, shuffle]))
    return (shuffled - straight[:, shuffle]).abs().max().item()


def likeness(table: torch.Tensor) -> torch.Tensor:
    """(T, C) -> (T, T): the cosine of every two rows, from -1 to 1."""
    rows = F.normalize(table, dim=-1)
    return rows @ rows.T


def draw(learned: GPT, accuracy: dict[str, float], setup: str, folder) -> None:
    fig, axes = plotting.figure(
        f"The letter {BACK} places back: {accuracy['none']:.0%} right without positions, "
        f"{accuracy['sinusoidal']:.0%} with sinusoidal, {accuracy['learned']:.0%} with learned",
        setup, 3, size=(9, 4), widths=[1, 1.08, 1.08])
    table = sinusoidal_table(64, 48)
    axes[0].imshow(table.numpy(), cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    axes[0].set(xlabel="channel", ylabel="position")
    axes[0].set_title("sinusoidal table: red -1, blue +1", loc="left")
    axes[0].grid(False)
    trained = learned.positions.table.detach().cpu()
    panels = [(sinusoidal_table(LENGTH, 48), "likeness (cosine), sinusoidal"),
              (trained, "likeness, learned (after training)")]
    for ax, (rows, name) in zip(axes[1:], panels):
        plotting.heat_map(ax, likeness(rows), vmin=-1, vmax=1, numbers=False,
                          colorbar=ax is axes[2])
        ax.set(xlabel="position", ylabel="position")
        ax.set_title(name, loc="left")
    plotting.save(fig, folder / "positions.png")


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--device", default="auto",
                        help="auto, cpu, cuda, cuda:N or mps (default: auto, the best)")
    parser.add_argument("--steps", type=int, default=None,
                        help="training steps of each model (default: 400; quick: 40)")
    parser.add_argument("--quick", action="store_true",
                        help="40 steps, to see that it runs (default: off)")
    return parser.parse_args(argv)


def main(argv=None) -> dict[str, float]:
    args = parse_args(argv)
    steps = (40 if args.quick else 400) if args.steps is None else args.steps
    if steps < 1:
        raise ValueError(f"--steps {steps} must be at least 1")
    folder = out_folder(__file__, args.out)
    device, _ = choose_device(args.device)
    models, accuracy, rows = {}, {}, []
    for kind in KINDS:
        models[kind], accuracy[kind] = train(kind, steps, args.seed, device)
        rows.append([kind, accuracy[kind], change_by_shuffling(kind, args.seed)])
    print_table(["positions", "right on new rows", "change by shuffling"], rows,
                f"The letter {BACK} places back; guessing gives {1 / LETTERS:.3f}")
    p = sinusoidal_table(64, 48)
    print_table(["s", "p_s . p_(s+1)", "p_s . p_(s+5)", "p_s . p_(s+20)"],
                [[s, *((p[s] @ p[s + d]).item() for d in (1, 5, 20))] for s in (0, 10, 40)],
                "Sinusoidal: products depend on the distance alone")
    setup = (f"one block, width 48, 2 heads, rows of {LENGTH} letters out of {LETTERS}, "
             f"{steps} steps of 32 rows, seed {args.seed}")
    draw(models["learned"], accuracy, setup, folder)
    return accuracy


if __name__ == "__main__":
    run_main(main)
