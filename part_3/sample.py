"""Let a trained model write, one byte after the other, as it is drawn.

    python sample.py                                   five texts, seeds 0 to 4
    python sample.py --prompt "The owl said" --length 500 --temperature 0.7
    python sample.py --copied fables.txt            and how much of it stands in that text

Needs out/gpt.pt (python train_gpt.py). With --out the texts are also written to samples.txt there.
Each byte costs one step of the cache. Lesson 3.4.
"""

from run.runtime import choose_runtime, here, make_parser, out_folder, replacing, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import codecs
from pathlib import Path

import torch
from generate import stream
from run.checkpoint import load_checkpoint
from run.data import encode, read_bytes
from sampling import check_sampling


def longest_copy(written: bytes, source: bytes) -> bytes:
    """The longest run of bytes in `written` that also stands in `source`.

    longest_copy(b"the old cat", b"an old cup") -> b" old c"
    """
    best = b""
    for start in range(len(written)):
        while (end := start + len(best) + 1) <= len(written) and written[start:end] in source:
            best = written[start:end]
    return best


def write_out(tokens, show=print) -> bytes:
    """Show each token as soon as it is there; a letter of several bytes once it is whole."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    written = bytearray()
    for token in tokens:
        written.append(token)
        show(decoder.decode(bytes([token])), end="", flush=True)
    show(decoder.decode(b"", final=True))
    return bytes(written)


def parse_args(argv=None):
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--checkpoint", default=str(here(__file__) / "out" / "gpt.pt"),
        help="the model (default: out/gpt.pt)")
    add("--prompt", default="\n\n", help="what the text starts with (default: an empty line)")
    add("--length", type=int, default=300, help="bytes to write (default: 300)")
    add("--samples", type=int, default=5, help="how many, with seeds counting up (default: 5)")
    add("--temperature", type=float, default=0.8,
        help="above 1 bolder, below 1 safer, 0 always the likeliest (default: 0.8)")
    add("--top-k", type=int, default=None, help="keep only the k likeliest (default: all)")
    add("--top-p", type=float, default=None,
        help="keep the fewest likeliest with this much probability (default: all)")
    add("--copied", default=None, metavar="TEXT",
        help="report the longest run that is copied from this file (default: off)")
    return parser.parse_args(argv)


# CHANGED in part 3: the cache writes; a model without a window starts anew at block_size
def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out) if args.out is not None else None
    check_sampling(args.temperature, args.top_k, args.top_p)
    for flag, value in (("--length", args.length), ("--samples", args.samples)):
        if value < 1:
            raise ValueError(f"{flag} {value}: must be at least 1")
    prompt = encode(args.prompt)
    source = None if args.copied is None else read_bytes(args.copied)
    model, _ = load_checkpoint(Path(args.checkpoint))
    if max(prompt, default=0) >= model.config.vocab_size:
        raise ValueError(f"--prompt: the model knows {model.config.vocab_size} tokens only")
    runtime = choose_runtime(args.device, "float32" if args.amp == "auto" else args.amp,
                             width=model.config.n_embd, quiet=True)
    model.to(runtime.device)
    texts = []
    for seed in range(args.seed, args.seed + args.samples):
        print(f"--- seed {seed} " + "-" * 40)
        print(args.prompt, end="")
        generator = torch.Generator().manual_seed(seed)
        with runtime.autocast():
            steps = stream(model, [prompt], args.length, temperature=args.temperature,
                           top_k=args.top_k, top_p=args.top_p, generator=generator, restart=True)
            written = write_out(token for step in steps for _, token in step)
        texts.append(f"--- seed {seed}\n".encode() + args.prompt.encode() + written + b"\n")
        if source:
            copy = longest_copy(written, source)
            print(f"[the longest run copied from {Path(args.copied).name}: {len(copy)} bytes, "
                  f"{copy.decode('utf-8', errors='replace')!r}]")
    if out is not None:
        path = out / "samples.txt"
        with replacing(path) as temporary:
            temporary.write_bytes(b"\n".join(texts))
        print(f"written {path}")


if __name__ == "__main__":
    run_main(main)
