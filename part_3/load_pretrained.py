"""Goes on with a prompt by real weights: the folder of a Llama, Mistral, Qwen2, Qwen3 or GPT-2.

    python part_3/load_pretrained.py FOLDER --prompt "Once upon a time"
    python part_3/load_pretrained.py FOLDER --export DIR        the same model, written again

FOLDER holds config.json, the weights (model.safetensors, shards of it, or pytorch_model.bin) and,
for the prompt, tokenizer.json. How its names become this part's: pretrained/loading.py.
"""

from run.runtime import choose_device, plain_parser, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import torch
from model import GPT
from pretrained.config import read_hf_config
from pretrained.loading import DTYPES, export_pretrained, load_pretrained
from pretrained.tokenizer import load_hf_tokenizer


# NEW in part 3
def end_tokens(config: dict) -> set[int]:
    """The ids that end a text, as config.json names them: one, several or none."""
    ids = config.get("eos_token_id")
    return set() if ids is None else set(ids) if isinstance(ids, list) else {ids}


# CHANGED in part 3: with a cache, and it ends where the text does
@torch.no_grad()
def continue_greedily(model: GPT, ids: list[int], n_new: int, ends: set[int]) -> list[int]:
    """At most `n_new` tokens after `ids`, each the likeliest, up to a token of `ends`."""
    device, new = next(model.parameters()).device, []
    cache, chunk = model.make_cache(1, len(ids) + n_new), list(ids)
    while len(new) < n_new and not ends & set(new[-1:]):
        logits, _ = model(torch.tensor([chunk], device=device), cache=cache, last_only=True)
        chunk = [int(logits[0, -1].argmax())]
        new += chunk
    return new


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


# CHANGED in part 3: stops at the end token
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
        ends = end_tokens(read_hf_config(args.folder))
        room = args.tokens if model.config.endless else model.config.block_size + 1 - len(ids)
        if room < 1:
            raise ValueError(f"--prompt has {len(ids)} tokens, the model's context is "
                             f"{model.config.block_size}; give a shorter one")
        n_new = min(args.tokens, room)
        print(args.prompt + tokenizer.decode(continue_greedily(model, ids, n_new, ends)))
        if n_new < args.tokens:
            print(f"[ends after at most {n_new} tokens, not {args.tokens}: the context of "
                  f"{model.config.block_size} is full]")


if __name__ == "__main__":
    run_main(main)
