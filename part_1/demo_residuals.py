"""Why residuals, and why LayerNorm? The same stack of blocks, wired in five ways.

    python part_1/demo_residuals.py
    python part_1/demo_residuals.py --depth 48

See: how large the gradient is that reaches each block, from the last to the first. Without
residuals and norms it dies on the way. The right panel trains a stack in each wiring on the same
letters, at a brisk rate: without residuals nothing is learned, without norms the loss may end in
nan, and of the two places for the norm, pre-norm learns faster.
"""

from runtime import choose_device, make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import math

import plotting
import torch
import torch.nn.functional as F
from attention import MultiHeadAttention
from mlp import MLP
from norm import LayerNorm
from positions import LearnedPositions
from torch import nn
from toy_text import TOY_TEXT, Vocabulary
from tqdm import trange

WIRINGS = {  # name -> (what a branch does to x, colour)
    "plain": (lambda x, norm, f: f(x), plotting.GREY),
    "norm, no residual": (lambda x, norm, f: f(norm(x)), plotting.PURPLE),
    "residual, no norm": (lambda x, norm, f: x + f(x), plotting.ORANGE),
    "post-norm": (lambda x, norm, f: norm(x + f(x)), plotting.GREEN),  # the Transformer of 2017
    "pre-norm": (lambda x, norm, f: x + f(norm(x)), plotting.BLUE),    # GPT-2 and after
}
WIDTH, HEADS, LENGTH, ROWS = 48, 4, 32, 8


class Stack(nn.Module):
    """Letters -> logits through `depth` blocks in one wiring; PyTorch's usual start of Linear."""

    def __init__(self, wiring: str, depth: int, vocab_size: int):
        super().__init__()
        self.join = WIRINGS[wiring][0]
        self.embedding = nn.Embedding(vocab_size, WIDTH)
        self.positions = LearnedPositions(LENGTH, WIDTH)
        branches = [make() for _ in range(depth)
                    for make in (lambda: MultiHeadAttention(WIDTH, HEADS, causal=True),
                                 lambda: MLP(WIDTH))]
        self.branches = nn.ModuleList(branches)
        self.norms = nn.ModuleList(LayerNorm(WIDTH) for _ in branches)
        self.norm = LayerNorm(WIDTH)  # before the head, in every wiring alike
        self.head = nn.Linear(WIDTH, vocab_size)

    def forward(self, ids: torch.Tensor, targets: torch.Tensor):
        """-> the loss, and the input of every block (B, T, C), for their gradients."""
        x, inputs = self.embedding(ids) + self.positions(ids.size(1)), []
        for i, (norm, branch) in enumerate(zip(self.norms, self.branches)):
            if i % 2 == 0:  # two branches are a block
                inputs.append(x)
            x = self.join(x, norm, branch)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten()), inputs


def window_batch(ids: torch.Tensor, generator: torch.Generator, device):
    starts = torch.randint(len(ids) - LENGTH, (ROWS, 1), generator=generator)
    windows = ids[starts + torch.arange(LENGTH + 1)].to(device)
    return windows[:, :-1], windows[:, 1:]


def gradient_norms(wiring: str, depth: int, ids, vocab_size: int, seed: int, device) -> list[float]:
    """|d loss / d input of block l| for l = 1 … depth, at the start of training."""
    seed_everything(seed)
    stack = Stack(wiring, depth, vocab_size).to(device)
    loss, inputs = stack(*window_batch(ids, torch.Generator().manual_seed(seed), device))
    return [g.double().norm().item() for g in torch.autograd.grad(loss, inputs)]


def train(wiring: str, depth: int, steps: int, ids, vocab_size: int, seed: int,
          rate: float, device) -> list[float]:
    """Losses of a stack trained on the toy text; the same rate and warmup for all wirings."""
    seed_everything(seed)
    generator = torch.Generator().manual_seed(seed)
    stack = Stack(wiring, depth, vocab_size).to(device)
    optimizer = torch.optim.AdamW(stack.parameters(), lr=rate, fused=True)
    losses = []
    for step in trange(steps, desc=wiring, mininterval=1):
        optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / 10)
        loss, _ = stack(*window_batch(ids, generator, device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(stack.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def smooth(values: list[float], window: int = 10) -> list[float]:
    """Mean of the last `window` values at every step."""
    return [sum(values[max(0, i - window + 1):i + 1]) / min(i + 1, window)
            for i in range(len(values))]


def draw(norms: dict, losses: dict, depth: int, trained: int, setup: str, folder) -> None:
    lost = math.log10(norms["plain"][-1] / norms["plain"][0])
    ratio = norms["pre-norm"][0] / norms["pre-norm"][-1]
    fig, axes = plotting.figure(
        f"Through {depth} plain blocks the gradient shrinks by 10^{lost:.0f}; in pre-norm block 1 "
        f"gets {ratio:.1f} times what block {depth} gets", setup, 2, size=(8.6, 4.2))
    for name, (_, color) in WIRINGS.items():
        axes[0].plot(range(1, depth + 1), norms[name], color=color, label=name)
        line = smooth(losses[name])
        axes[1].plot(range(1, len(line) + 1), line, color=color, label=name)
        broken = next((i for i, loss in enumerate(losses[name]) if math.isnan(loss)), None)
        if broken:  # the curve ends where the loss became nan
            axes[1].plot(broken, line[broken - 1], "x", color=color, markersize=9, mew=2.5)
            axes[1].annotate("nan", (broken, line[broken - 1]), xytext=(6, 6), color=color,
                             textcoords="offset points")
    axes[0].set(yscale="log", xlabel="block, 1 is the first", xlim=(1, depth),
                ylabel="gradient at the block's input (norm)")
    axes[0].set_title("at the start of training", loc="left")
    axes[0].legend(loc="center right", fontsize=8)
    axes[1].set(xlabel="step", ylabel="loss, nats per letter (mean of 10 steps)", ylim=(0, 4))
    axes[1].set_title(f"training {trained} blocks", loc="left")
    axes[1].legend(loc="lower left", fontsize=8)
    plotting.save(fig, folder / "residuals.png")


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--device", default="auto",
                        help="auto, cpu, cuda, cuda:N or mps (default: auto, the best)")
    parser.add_argument("--depth", type=int, default=None,
                        help="blocks where gradients are measured (default: 24; quick: 8)")
    parser.add_argument("--train-depth", type=int, default=12,
                        help="blocks of the stacks that are trained (default: 12)")
    parser.add_argument("--steps", type=int, default=None,
                        help="training steps of each wiring (default: 100; quick: 3)")
    parser.add_argument("--lr", type=float, default=5e-3,
                        help="learning rate of the stacks that are trained (default: 0.005)")
    parser.add_argument("--quick", action="store_true",
                        help="8 blocks, 3 training steps (default: off)")
    return parser.parse_args(argv)


def main(argv=None) -> dict:
    args = parse_args(argv)
    depth, steps, seeds = (8, 3, 1) if args.quick else (24, 100, 3)
    depth = depth if args.depth is None else args.depth
    steps = steps if args.steps is None else args.steps
    if min(depth, steps, args.train_depth) < 1 or args.lr <= 0:
        raise ValueError(f"--depth {depth}, --train-depth {args.train_depth} and --steps {steps} "
                         f"must be at least 1, --lr {args.lr} above 0")
    folder = out_folder(__file__, args.out)
    device, _ = choose_device(args.device)
    vocabulary = Vocabulary(TOY_TEXT)
    ids = vocabulary.encode(TOY_TEXT)
    norms, losses, rows = {}, {}, []
    for name in WIRINGS:
        runs = [gradient_norms(name, depth, ids, len(vocabulary), args.seed + s, device)
                for s in range(seeds)]
        norms[name] = [math.exp(sum(math.log(max(v, 1e-300)) for v in column) / seeds)
                       for column in zip(*runs)]  # geometric means
        losses[name] = train(name, args.train_depth, steps, ids, len(vocabulary), args.seed,
                             args.lr, device)
        first, last = norms[name][0], norms[name][-1]
        rows.append([name, f"{first:.1e}", f"{last:.1e}", f"{first / last:.1e}",
                     losses[name][0], smooth(losses[name])[-1]])
    print_table(["wiring", "gradient, block 1", f"block {depth}", "ratio", "loss at step 1",
                 f"at step {steps}"], rows, f"{depth} blocks for gradients, "
                f"{args.train_depth} for training")
    setup = (f"width {WIDTH}, {HEADS} heads, PyTorch's default start, geometric mean of {seeds} "
             f"seeds; training: {steps} steps of {ROWS} x {LENGTH} letters, "
             f"rate {args.lr}, seed {args.seed}")
    draw(norms, losses, depth, args.train_depth, setup, folder)
    return {"norms": norms, "losses": losses}


if __name__ == "__main__":
    run_main(main)
