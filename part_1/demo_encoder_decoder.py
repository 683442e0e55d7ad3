"""Does cross-attention find the right letter? A Transformer learns to write words backwards.

    python part_1/demo_encoder_decoder.py
    python part_1/demo_encoder_decoder.py --seed 1 --post-norm

See: the share of held-out words that come out entirely right, length by length, and lengths
never trained on. The picture is the cross-attention: to write the word backwards, step t of the
decoder looks at place (length - 1 - t) of the source, so the bright cells are the anti-diagonal.
"""

from runtime import (
    choose_device,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import math
import time

import plotting
import torch
from encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from reversing import PAD, VOCAB_SIZE, make_sources, make_targets, to_text
from tqdm import trange

SHORTEST, LONGEST = 4, 12  # lengths in training
TOO_LONG = (13, 14, 16)    # lengths that training never shows


def train(model: EncoderDecoder, steps: int, batch: int, peak: float,
          generator: torch.Generator, device) -> list[float]:
    """Train on fresh words at each step -> the losses."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.01, fused=True)
    losses = []
    for step in (bar := trange(steps, desc="reversing", mininterval=1)):
        rate = peak * min(1, (step + 1) / 100, 2 * (steps - step) / steps)  # up, flat, down to 0
        for group in optimizer.param_groups:
            group["lr"] = rate
        source = make_sources(batch, SHORTEST, LONGEST, generator, held_out=False)
        source = source.to(device)
        _, loss = model(source, *make_targets(source))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise ValueError(f"the loss became {losses[-1]}; try a lower --lr (it is {peak:g})")
        bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    return losses


@torch.no_grad()
def share_right(model: EncoderDecoder, source: torch.Tensor) -> float:
    """The share of rows of `source` whose output, end token included, is entirely right."""
    _, wanted = make_targets(source)
    written = model.generate(source, max_new=wanted.size(1))
    written = torch.nn.functional.pad(written, (0, wanted.size(1) - written.size(1)), value=PAD)
    return (written == wanted).all(dim=1).float().mean().item()


def evaluate(model: EncoderDecoder, count: int, device) -> list[list]:
    """[length, words, share entirely right, was the length in training] on held-out words."""
    generator = torch.Generator().manual_seed(12345)  # the same words whatever the seed
    rows = []
    for length in (*range(SHORTEST, LONGEST + 1), *TOO_LONG):
        source = make_sources(count, length, length, generator, held_out=True).to(device)
        rows.append([length, count, share_right(model, source), length <= LONGEST])
    return rows


def anti_diagonal_share(model: EncoderDecoder, count: int, device) -> torch.Tensor:
    """(L, H): the mean weight that falls on the letter to be written, over held-out words."""
    generator = torch.Generator().manual_seed(54321)
    source = make_sources(count, LONGEST, LONGEST, generator, held_out=True).to(device)
    maps = model.cross_attention_maps(source, make_targets(source)[0])  # (B, L, H, T, S)
    step = torch.arange(LONGEST)
    return maps[:, :, :, step, LONGEST - 1 - step].mean(dim=(0, 3)).cpu()


def draw(model, shares, accuracy, setup, folder, device) -> None:
    """The cross-attention of the sharpest head on one word, and of the mean of its layer."""
    layer, head = divmod(int(shares.argmax()), shares.size(1))
    generator = torch.Generator().manual_seed(777)
    source = make_sources(1, 9, 9, generator, held_out=True).to(device)
    target_in, target_out = make_targets(source)
    maps = model.cross_attention_maps(source, target_in)[0, layer].cpu()  # (H, T, S)
    fig, axes = plotting.figure(
        f"Reversed: {accuracy:.1%} of held-out words entirely right. {shares[layer].mean():.0%} of "
        f"layer {layer + 1}'s cross-attention lies on the anti-diagonal", setup, 2, size=(8, 4.6))
    panels = [(maps[head], f"layer {layer + 1}, its sharpest head ({head + 1})"),
              (maps.mean(0), f"layer {layer + 1}, mean of its {shares.size(1)} heads")]
    for ax, (weights, name) in zip(axes, panels):
        plotting.heat_map(ax, weights, columns=list(to_text(source[0])),
                          rows=[*to_text(target_out[0]), "end"], colorbar=ax is axes[-1])
        ax.set_title(name, loc="left")
        ax.set_xlabel("source letter that is looked at")
    axes[0].set_ylabel("letter being written")
    plotting.save(fig, folder / "encoder_decoder.png")


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--device", default="auto",
                        help="auto, cpu, cuda, cuda:N or mps (default: auto, the best)")
    parser.add_argument("--steps", type=int, default=None,
                        help="training steps (default: 700; quick: 30)")
    parser.add_argument("--batch", type=int, default=64, help="words in a step (default: 64)")
    parser.add_argument("--lr", type=float, default=3e-3, help="peak rate (default: 0.003)")
    parser.add_argument("--post-norm", action="store_true",
                        help="LayerNorm after each sum, as in 2017 (default: before each branch)")
    parser.add_argument("--quick", action="store_true",
                        help="30 steps, to see that it runs; learns little (default: off)")
    return parser.parse_args(argv)


def main(argv=None) -> dict:
    args = parse_args(argv)
    steps = (30 if args.quick else 700) if args.steps is None else args.steps
    if steps < 1 or args.batch < 1 or args.lr <= 0:
        raise ValueError(f"--steps {steps}, --batch {args.batch} and --lr {args.lr} must be "
                         "positive")
    folder = out_folder(__file__, args.out)
    seed_everything(args.seed)
    config = EncoderDecoderConfig(vocab_size=VOCAB_SIZE, norm_first=not args.post_norm)
    device, _ = choose_device(args.device)
    model = EncoderDecoder(config).to(device)
    start = time.perf_counter()
    losses = train(model, steps, args.batch, args.lr, torch.Generator().manual_seed(args.seed),
                   device)
    seconds = time.perf_counter() - start
    rows = evaluate(model, 50 if args.quick else 200, device)
    seen = [row[2] for row in rows if row[3]]
    accuracy = sum(seen) / len(seen)
    print_table(["length", "held-out words", "entirely right", "length was trained"], rows,
                "Held-out words, written backwards step by step")
    shares = anti_diagonal_share(model, 100, device)
    print_table(["layer", *(f"head {h + 1}" for h in range(config.n_head))],
                [[f"{layer + 1}", *row.tolist()] for layer, row in enumerate(shares)],
                "Weight of the cross-attention on the letter to be written")
    parameters = sum(p.numel() for p in model.parameters())
    setup = (f"{config.n_layer}+{config.n_layer} layers, width {config.n_embd}, "
             f"{'pre' if config.norm_first else 'post'}-norm, {parameters:,} parameters, "
             f"{steps} steps of {args.batch} words of {SHORTEST}-{LONGEST} letters, "
             f"seed {args.seed}")
    print(f"\nheld-out words of trained lengths entirely right: {accuracy:.2%}   "
          f"last loss {losses[-1]:.4f}   training took {seconds:.0f} s")
    draw(model, shares, accuracy, setup, folder, device)
    results = {"accuracy": accuracy, "by_length": {str(r[0]): r[2] for r in rows},
               "anti_diagonal": shares.tolist(), "seconds": round(seconds, 1)}
    save_json(folder / "encoder_decoder.json", results)
    return results


if __name__ == "__main__":
    run_main(main)
