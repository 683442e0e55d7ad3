"""The base model that a demo tunes: the trained one, or, with --quick, a small one that knows nothing.

With --quick a demo only shows that it runs; its picture says so. A missing checkpoint is an error.
Used   demo_label_mask.py, demo_curriculum.py, demo_before_after.py
"""

from pathlib import Path

import torch
from gpt.model import GPT, GPTConfig
from run.checkpoint import load_checkpoint
from run.runtime import here
from text.tokenizer import Tokenizer
from world.world import World

BASE = here(__file__).parent.parent / "part_4" / "out" / "base.pt"
BASE_WITH = "python part_4/train.py (about 5 minutes)"
RANDOM_WEIGHTS = "RANDOM WEIGHTS (--quick)"


def add_base_flag(parser) -> None:
    """--base, as the demos have it."""
    parser.add_argument("--base", type=Path, default=None,
                        help="the base model (default: part_4/out/base.pt, and with --quick a "
                             "small one with random weights)")


def small_base(seed: int = 0) -> tuple[GPT, Tokenizer]:
    """A small model that has learnt nothing, with a tokenizer of the world's letters and words."""
    tokenizer = Tokenizer.train([text.text for text in World().texts(60)], 400)
    torch.manual_seed(seed)
    return GPT(GPTConfig(vocab_size=tokenizer.vocab_size, block_size=288, n_layer=2, n_head=2,
                         n_embd=32)), tokenizer


def base_from(args) -> tuple[GPT, Tokenizer, str]:
    """-> (the model, its tokenizer, what the picture should say of it)."""
    if args.quick and args.base is None:
        return *small_base(args.seed), RANDOM_WEIGHTS
    model, tokenizer, _ = load_checkpoint(args.base or BASE, make_with=BASE_WITH)
    return model, tokenizer, f"seed {args.seed}"
