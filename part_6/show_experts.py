"""Who works? How full each expert is on held-out conversations, checkpoint by checkpoint.

    python part_6/show_experts.py part_5/out/moe.pt part_6/out/sft.pt part_8/out/dpo.pt

What to see: the fullest expert of a layer stays near the mean after tuning: its balance was kept.

See    moe/router.py (lesson 5.1), train_sft.py --base part_5/out/moe.pt
"""

from run.runtime import choose_runtime, make_parser, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from pathlib import Path

import torch
from moe.hybrid import HybridGPT
from moe.router import max_load
from run.checkpoint import load_checkpoint
from sft.chat_format import chat_tokenizer, conversation_token, grow_vocabulary
from sft.data import ExampleRows, world_examples
from text.rows import segments

ROWS = 8  # in one pass


@torch.no_grad()
def loads_on_chats(model: HybridGPT, tokenizer, runtime, items: int, seed: int) -> torch.Tensor:
    """(L, E): how often each expert is chosen while `items` held-out conversations are read."""
    examples, _ = world_examples(items, seed, tokenizer, model.config.block_size, "validation")
    begin = conversation_token(tokenizer)
    packed = ExampleRows(examples, model.config.block_size, pad=tokenizer.pad, shuffled=False)
    total = 0
    for step in range(max(1, len(packed.rows) // ROWS)):
        ids = packed.batch(step, ROWS)[0].to(runtime.device)
        with runtime.autocast():
            model(ids, segments=segments(ids, begin), last_only=True)
        total = total + model.loads().cpu()
    return total


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+", help="checkpoints with experts")
    parser.add_argument("--items", type=int, default=400,
                        help="held-out conversations to read (default: 400)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if args.items < 1:
        raise ValueError(f"--items {args.items}: must be at least 1")
    rows = []
    for path in args.checkpoints:
        model, tokenizer, _ = load_checkpoint(path)
        if not isinstance(model, HybridGPT):
            raise ValueError(f"{path}: a model without experts; make one with: "
                             "python part_5/train_moe.py --preset chain")
        tokenizer = chat_tokenizer(tokenizer)  # a base model's new tokens say nothing yet
        runtime = choose_runtime(args.device, args.amp, width=model.config.n_embd, quiet=True)
        model = grow_vocabulary(model, tokenizer.vocab_size, args.seed).to(runtime.device)
        loads = loads_on_chats(model, tokenizer, runtime, args.items, args.seed)
        rows += [[str(path), number, max_load(load), float(load.min() / load.double().mean())]
                 for number, load in enumerate(loads, 1)]
    print_table(["checkpoint", "layer", "fullest / mean", "emptiest / mean"], rows,
                f"Load of the experts on {args.items} held-out conversations")


if __name__ == "__main__":
    run_main(main)
