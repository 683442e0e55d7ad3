"""Let the base model write: from nothing, or from the beginning of a text.

    python part_4/sample.py
    python part_4/sample.py --prompt "One morning Mia" --temperature 0.7 --samples 3
    python part_4/sample.py --prompt "Two and two" --prompt "The owl"       one after the other
"""

from run.runtime import choose_runtime, here, make_parser, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from pathlib import Path

import torch
from gpt.generate import generate
from gpt.sampling import check_sampling
from run.checkpoint import load_checkpoint
from run.thrift import rounded_once


# CHANGED in part 4: another checkpoint, several samples
def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, default=here(__file__) / "out" / "base.pt",
                        help="a checkpoint or a released model's folder (default: out/base.pt "
                             "beside the script)")
    parser.add_argument("--prompt", action="append", metavar="TEXT",
                        help="how the text begins; may be given again (default: not at all)")
    parser.add_argument("--samples", type=int, default=3,
                        help="how many texts for each prompt (default: 3)")
    parser.add_argument("--count", type=int, default=200,
                        help="the most new tokens of each (default: 200)")
    parser.add_argument("--temperature", type=float, default=0.8,
                        help="0: always the likeliest token; 1: as learnt (default: 0.8)")
    parser.add_argument("--top-k", type=int, default=None,
                        help="only the k likeliest tokens (default: all)")
    parser.add_argument("--top-p", type=float, default=None,
                        help="only the likeliest tokens up to this sum (default: all)")
    return parser.parse_args(argv)


# CHANGED in part 4: a tokenizer, a cache, texts that end
def main(argv=None):
    args = parse_args(argv)
    if args.samples < 1:
        raise ValueError(f"--samples {args.samples}: must be at least 1")
    if args.count < 1:
        raise ValueError(f"--count {args.count}: must be at least 1")
    check_sampling(args.temperature, args.top_k, args.top_p)
    model, tokenizer, checkpoint = load_checkpoint(args.checkpoint)
    runtime = choose_runtime(args.device, args.amp, width=model.config.n_embd)
    rounded_once(model, runtime)
    print(f"model   {args.checkpoint}, step {checkpoint['step']:,}\n")
    prompts = args.prompt or [""]
    ids = [tokenizer.begun(prompt) for prompt in prompts]
    room = model.config.block_size + 1 - max(map(len, ids))
    if room < 1:
        raise ValueError(f"--prompt has {max(map(len, ids))} tokens, the model's context is "
                         f"{model.config.block_size}; give a shorter one")
    generator = torch.Generator().manual_seed(args.seed)
    for prompt, begun in zip(prompts, ids):
        with runtime.autocast():
            texts = generate(model, [begun] * args.samples, min(args.count, room),
                             temperature=args.temperature, top_k=args.top_k, top_p=args.top_p,
                             stop=(tokenizer.end,), generator=generator)
        for text in texts:
            print(prompt + tokenizer.decode([i for i in text if i != tokenizer.end]) + "\n")


if __name__ == "__main__":
    run_main(main)
