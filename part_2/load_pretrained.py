"""Goes on with a prompt by real weights: a folder of GPT-2's, as it is released.

    python part_2/load_pretrained.py FOLDER --prompt "Once upon a time"
    python part_2/load_pretrained.py FOLDER --export DIR        the same model, written again

FOLDER holds config.json, the weights (model.safetensors, shards of it, or pytorch_model.bin) and,
for the prompt, tokenizer.json. How its names become this part's: pretrained/loading.py.
"""

from runtime import choose_device, plain_parser, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import torch
from model import GPT
from pretrained.loading import DTYPES, export_pretrained, load_pretrained
from pretrained.tokenizer import load_hf_tokenizer


@torch.no_grad()
def continue_greedily(model: GPT, ids: list[int], n_new: int) -> list[int]:
    """`n_new` tokens after `ids`, each the likeliest; the model sees the last block_size."""
    device, row = next(model.parameters()).device, list(ids)
    for _ in range(n_new):
        window = torch.tensor([row[-model.config.block_size:]], device=device)
        row.append(int(model(window)[0][0, -1].argmax()))
    return row[len(ids):]


def parse_args(argv=None):
    parser = plain_parser(__doc__)
    parser.add_argument("folder", help="a released model's folder")
    parser.add_argument("--prompt", default=None,
                        help="text to continue; needs tokenizer.json (default: nothing)")
    parser.add_argument("--tokens", type=int, default=40, help="how many to add (default: 40)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32",
                        help="number format of the weights in memory (default: float32)")
    parser.add_argument("--device", default="auto",
                        help="auto, cpu, cuda, cuda:N or mps (default: auto, the best)")
    parser.add_argument("--export", default=None, metavar="DIR",
                        help="write the model to this new folder again (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if args.tokens < 1:
        raise ValueError(f"--tokens {args.tokens}: must be at least 1")
    if args.export is not None and not args.export.strip():
        raise ValueError("--export is empty; name a new folder")
    device, reason = choose_device(args.device)
    tokenizer = None if args.prompt is None else load_hf_tokenizer(args.folder)
    print(f"device  {device!s:9s} {reason}")
    model = load_pretrained(args.folder, DTYPES[args.dtype], device)
    print(model.config)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {args.dtype}")
    if args.export:
        export_pretrained(model, args.export)
        print(f"written to {args.export}")
    if tokenizer:
        ids = [*tokenizer.prefix, *tokenizer.encode(args.prompt)]
        if not ids:
            raise ValueError("--prompt is empty; give the model at least one character")
        print(args.prompt + tokenizer.decode(continue_greedily(model, ids, args.tokens)))


if __name__ == "__main__":
    run_main(main)
