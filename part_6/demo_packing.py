"""What does packing save, and what if attention crosses from one conversation to the next?

    python part_6/demo_packing.py

See   The share of useful tokens and the speed, padded and packed; the same loss to the last digits
      where attention stays inside a conversation; and how far the loss moves where it does not.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import time

import torch
from gpt.model import GPT, GPTConfig
from run import plotting
from sft.chat_format import chat_tokenizer
from sft.data import pack, pad_batch, to_tensors, world_examples
from text.rows import IGNORED, segments
from text.tokenizer import Tokenizer
from world.world import World


def sum_of_losses(model, ids, targets, parts=None) -> float:
    """Nats over all labels of the rows."""
    with torch.no_grad():
        _, loss = model(ids, targets, segments=parts, loss_only=True)
    return float(loss.double()) * int((targets != IGNORED).sum())


def measure(model, batches, begin, apart: bool):
    """-> (nats over all labels, labels, tokens that were computed, seconds)."""
    nats = labels = tokens = 0
    start = time.perf_counter()
    for ids, targets in batches:
        nats += sum_of_losses(model, ids, targets, segments(ids, begin) if apart else None)
        labels += int((targets != IGNORED).sum())
        tokens += ids.numel()
    return nats, labels, tokens, time.perf_counter() - start


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--examples", type=int, default=None,
                        help="conversations (default: 600; 60 with --quick)")
    parser.add_argument("--quick", action="store_true", help="60 conversations (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    n = (60 if args.quick else 600) if args.examples is None else args.examples
    if n < 1:
        raise ValueError(f"--examples {n}: must be at least 1")
    context = 256
    texts = [text.text for text in World().texts(200, seed=args.seed)]
    tokenizer = chat_tokenizer(Tokenizer.train(texts, 600))
    torch.manual_seed(args.seed)
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, block_size=context, n_layer=2, n_head=2,
                          n_embd=64)).eval()
    with torch.no_grad():  # weights as large as a trained model's, so that attention looks around
        for parameter in model.parameters():
            parameter.mul_(3 if parameter.dim() == 2 else 1)
    examples, counts = world_examples(n, args.seed, tokenizer, context)
    n = len(examples)  # a story of more tokens than the context is left out
    if not n:
        raise ValueError(f"--examples {counts['skipped']}: none of them fits in {context} tokens; "
                         "ask for more")
    useful = sum(example.read for example in examples)
    padded = [pad_batch(examples[i:i + 16], tokenizer.pad) for i in range(0, n, 16)]
    rows = pack(examples, context)
    packed = [to_tensors(rows[i:i + 16], tokenizer.pad, context) for i in range(0, len(rows), 16)]
    measured = {"padded": measure(model, padded, tokenizer.begin, False),
                "packed": measure(model, packed, tokenizer.begin, True),
                "packed, attention not kept apart": measure(model, packed, tokenizer.begin, False)}
    table = [[name, tokens, useful / tokens, useful / seconds, nats / labels]
             for name, (nats, labels, tokens, seconds) in measured.items()]
    print_table(["rows", "tokens computed", "useful", "useful tokens/s", "loss"], table,
                f"{n} conversations, {useful:,} tokens to read")
    gap = abs(table[0][4] - table[1][4])
    leak = abs(table[0][4] - table[2][4])
    print(f"\npacked - padded: {gap:.1e};  with leaking attention: {leak:.1e}")
    fig, ax = plotting.figure(
        f"Packed, {table[1][2]:.0%} of the computed tokens are useful, padded {table[0][2]:.0%}; "
        f"same loss to {gap:.0e}",
        f"{n} conversations in rows of {context} tokens, random weights, seed {args.seed}; "
        f"without keeping attention apart the loss moves by {leak:.1e}")
    bars = ax.bar(["padded", "packed"], [table[0][2], table[1][2]],
                  color=(plotting.GREY, plotting.BLUE))
    ax.bar_label(bars, fmt="%.2f")
    ax.set(ylabel="share of computed tokens that are useful", ylim=(0, 1.08))
    plotting.save(fig, out / "packing.png")


if __name__ == "__main__":
    run_main(main)
