"""Can the minimal GPT learn anything at all? It memorises a toy text and recites it.

    python part_1/demo_overfit.py
    python part_1/demo_overfit.py --positions none      what is lost without positions

See: the loss falls below 0.05, near the least that is possible, and the model, given the first
eight letters, recites the whole text. A model that cannot memorise has a bug: this is the first
test of any new model. It shows nothing about texts that the model has not seen.
"""

from runtime import choose_device, make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import math
import time
from collections import Counter, defaultdict

import plotting
import torch
from model import GPT, GPTConfig
from toy_text import TOY_TEXT, Vocabulary
from tqdm import trange

PROMPT_LETTERS = 8


def least_loss(text: str, block_size: int) -> float:
    """The loss that no model can beat, in nats per letter, over all windows of the text.

    The first letter of a window does not say where in the text the window lies, so the next one
    cannot be known. For each beginning of a window the best guess is how often each letter follows.
    """
    total, count = 0.0, 0
    starts = range(len(text) - block_size)
    for length in range(1, block_size + 1):
        following = defaultdict(Counter)
        for start in starts:
            following[text[start:start + length]][text[start + length]] += 1
        for letters in following.values():
            n = sum(letters.values())
            total -= sum(k * math.log(k / n) for k in letters.values())
            count += n
    return total / count


def window_batch(ids: torch.Tensor, batch: int, block_size: int):
    """Random windows (batch, block_size) and the same shifted by one letter."""
    starts = torch.randint(len(ids) - block_size, (batch, 1))
    windows = ids[starts + torch.arange(block_size + 1)]
    return windows[:, :-1], windows[:, 1:]


def train(model: GPT, ids: torch.Tensor, steps: int, batch: int, peak: float,
          device) -> list[float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.0, fused=True)
    losses = []
    for step in (bar := trange(steps, desc="memorising", mininterval=1)):
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1, (step + 1) / 20, 2 * (steps - step) / steps)
        inputs, targets = window_batch(ids, batch, model.config.block_size)
        _, loss = model(inputs.to(device), targets.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    return losses


@torch.no_grad()
def loss_over_all_windows(model: GPT, ids: torch.Tensor) -> float:
    """The mean loss over every window of the text, in float32."""
    block_size = model.config.block_size
    windows = ids.unfold(0, block_size + 1, 1)
    parts = [model(w[:, :-1], w[:, 1:])[1].item() * len(w) for w in windows.split(64)]
    return sum(parts) / len(windows)


def draw(losses, least, final, right, setup, folder) -> None:
    fig, ax = plotting.figure(
        f"The minimal GPT memorises {len(TOY_TEXT)} letters: loss {final:.3f}, least possible "
        f"{least:.3f}; it recites {right:.0%} of them", setup)
    steps = range(1, len(losses) + 1)
    ax.plot(steps, losses, color=plotting.BLUE)
    ax.axhline(least, color=plotting.GREY, linestyle="--", linewidth=1.2)
    ax.axhline(0.05, color=plotting.RED, linestyle=":", linewidth=1.2)
    ax.text(1, 0.052, "the milestone: 0.05", color=plotting.RED, va="bottom", fontsize=8)
    ax.text(1, least * 0.96, "the least possible", color="#666666", va="top", fontsize=8)
    ax.set(yscale="log", xlabel="step", ylabel="loss, nats per letter", xlim=(0, len(losses)),
           ylim=(least * 0.7, 5))
    plotting.save(fig, folder / "overfit.png")


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--device", default="auto",
                        help="auto, cpu, cuda, cuda:N or mps (default: auto, the best)")
    parser.add_argument("--steps", type=int, default=None,
                        help="training steps (default: 800; quick: 20)")
    parser.add_argument("--batch", type=int, default=8, help="windows in a step (default: 8)")
    parser.add_argument("--positions", default="learned",
                        help="learned, sinusoidal or none (default: learned)")
    parser.add_argument("--quick", action="store_true",
                        help="20 steps, to see that it runs; memorises little (default: off)")
    return parser.parse_args(argv)


def main(argv=None) -> dict:
    args = parse_args(argv)
    steps = (20 if args.quick else 800) if args.steps is None else args.steps
    if steps < 1 or args.batch < 1:
        raise ValueError(f"--steps {steps} and --batch {args.batch} must be at least 1")
    folder = out_folder(__file__, args.out)
    seed_everything(args.seed)
    vocabulary = Vocabulary(TOY_TEXT)
    ids = vocabulary.encode(TOY_TEXT)
    config = GPTConfig(vocab_size=len(vocabulary), block_size=128, n_layer=2, n_head=4, n_embd=64,
                       positions=args.positions)
    device, _ = choose_device(args.device)
    model = GPT(config).to(device)
    start = time.perf_counter()
    losses = train(model, ids, steps, args.batch, 5e-3, device)
    seconds = time.perf_counter() - start
    ids = ids.to(device)
    final, least = loss_over_all_windows(model, ids), least_loss(TOY_TEXT, config.block_size)
    recited = model.generate(ids[None, :PROMPT_LETTERS], len(ids) - PROMPT_LETTERS)[0]
    right = (recited == ids)[PROMPT_LETTERS:].float().mean().item()
    text = "".join(vocabulary.decode(recited))
    print(f"\ngiven: {text[:PROMPT_LETTERS]!r}; recited:\n\n{text}")
    parameters = sum(p.numel() for p in model.parameters())
    print_table(["what", "value"], [
        ["letters in the text", f"{len(TOY_TEXT):,}"], ["parameters", f"{parameters:,}"],
        ["loss at the start", f"{losses[0]:.3f}"],
        ["ln of the vocabulary's size", f"{math.log(len(vocabulary)):.3f}"],
        ["loss over all windows", f"{final:.4f}"], ["least possible", f"{least:.4f}"],
        ["letters recited right", f"{right:.1%}"], ["seconds of training", f"{seconds:.0f}"]])
    setup = (f"{config.n_layer} layers, width {config.n_embd}, {config.positions} positions, "
             f"{parameters:,} parameters, {steps} steps of {args.batch} windows of "
             f"{config.block_size} letters, seed {args.seed}")
    draw(losses, least, final, right, setup, folder)
    return {"loss": final, "least": least, "right": right}


if __name__ == "__main__":
    run_main(main)
