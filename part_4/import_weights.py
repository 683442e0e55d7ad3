"""A released model's folder becomes a checkpoint of this repository.

    python part_4/import_weights.py FOLDER --out base.pt
    python part_4/import_weights.py FOLDER --out base.pt --chat chatml

Every script that takes a checkpoint takes such a folder as well; a checkpoint is one file, holds the
form of conversations that you chose, and may be moved alone. The folder is only read.
"""

from run.runtime import run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import argparse
from dataclasses import replace
from pathlib import Path

from gpt.model import GPTConfig
from pretrained.chat_forms import CHOICES
from run.checkpoint import load_checkpoint, save_checkpoint


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a released model's folder")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    parser.add_argument("--chat", choices=CHOICES, default="auto",
                        help="the form of conversations (default: auto, the folder's template)")
    parser.add_argument("--context", type=int, default=None,
                        help="the most tokens at a time from now on, fewer than the model can read: "
                             "rows of training are as long (default: the model's own)")
    return parser.parse_args(argv)


def shortened(config: GPTConfig, context: int | None) -> GPTConfig:
    """The settings with a smaller block_size. ValueError where it would have to be larger."""
    if context is None:
        return config
    if not 1 < context <= config.block_size:
        raise ValueError(f"--context {context}: must be from 2 to {config.block_size}, which is "
                         "what the model can read")
    window = config.window if config.window and config.window < context else None
    return replace(config, block_size=context, window=window)


def main(argv=None):
    args = parse_args(argv)
    if not args.folder.expanduser().is_dir():
        raise FileNotFoundError(f"{args.folder}: there is no such folder; give the one that holds "
                                "the model's config.json")
    model, tokenizer, read = load_checkpoint(args.folder, chat=args.chat)
    if tokenizer.problem:
        raise ValueError(tokenizer.problem)
    config = shortened(model.config, args.context)
    out = args.out.expanduser()
    out.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(out, weights=model.state_dict(), config=config, tokenizer=tokenizer,
                    step=0, settings=read["settings"], metrics={})
    form = tokenizer.chat.name if tokenizer.chat else "none, or roles of part 6"
    print(f"{config}\n{model.count_parameters():,} parameters; conversations: {form}\n"
          f"wrote   {out}")


if __name__ == "__main__":
    run_main(main)
