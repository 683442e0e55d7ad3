"""The reward model that a demo looks at: the trained one, or, with --quick, one with random weights.

With --quick a demo only shows that it runs; its picture says so. A checkpoint that is given
counts with --quick too; one that is missing is an error.
Used   demo_ranking.py, demo_sanity.py, demo_score_by_token.py
"""

from pathlib import Path

import torch
from gpt.model import GPT, GPTConfig
from run.runtime import choose_runtime, here
from sft.chat_format import ROLE_TOKENS, chat_tokenizer
from text.tokenizer import Tokenizer
from world.world import World

from reward.checkpoint import load_reward
from reward.model import RewardModel
from reward.sanity_checks import Scorer

REWARD = here(__file__).parent / "out" / "reward.pt"
MAKE_WITH = "python part_7/train_reward.py (about 3 minutes)"


def add_checkpoint_flag(parser) -> None:
    """--checkpoint, as the demos have it."""
    parser.add_argument("--checkpoint", type=Path, default=None,
                        help="the reward model (default: out/reward.pt beside the script; random "
                             "weights with --quick)")


def untrained_reward(seed: int = 0) -> tuple[RewardModel, Tokenizer]:
    """A small reward model that has learnt nothing."""
    tokenizer = chat_tokenizer(Tokenizer.train([text.text for text in World().texts(60)], 400))
    torch.manual_seed(seed)
    body = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, block_size=512, n_layer=2, n_head=2,
                         n_embd=32))
    return RewardModel(body, reply_token=tokenizer.id_of(ROLE_TOKENS["assistant"])), tokenizer


def scorer_from(args) -> tuple[Scorer, str]:
    """-> (a Scorer, in standard deviations of the tuned model's replies; a note for the picture)."""
    if args.quick and args.checkpoint is None:
        model, tokenizer = untrained_reward(args.seed)
        content, note = {"mean": 0.0, "std": 1.0}, "RANDOM WEIGHTS (--quick)"
    else:
        model, tokenizer, content = load_reward(args.checkpoint or REWARD, MAKE_WITH)
        note = f"seed {args.seed}"
    runtime = choose_runtime(args.device, args.amp, width=model.config.n_embd)
    return Scorer(model.to(runtime.device).eval(), tokenizer, runtime, content["mean"],
                  content["std"]), note
