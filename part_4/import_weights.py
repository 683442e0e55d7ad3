"""A released model's folder becomes a checkpoint of this repository.

    python part_4/import_weights.py FOLDER --out base.pt
    python part_4/import_weights.py FOLDER --out base.pt --chat chatml

Every script that takes a checkpoint takes such a folder as well; a checkpoint is one file, holds the
form of conversations that you chose, and may be moved alone. The folder is only read.
"""

import argparse
from pathlib import Path

from pretrained.chat_forms import CHOICES
from run.checkpoint import load_checkpoint, save_checkpoint
from run.runtime import run_main


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a released model's folder")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    parser.add_argument("--chat", choices=CHOICES, default="auto",
                        help="the form of conversations (default: auto, the folder's template)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if not args.folder.expanduser().is_dir():
        raise FileNotFoundError(f"{args.folder}: there is no such folder; give the one that holds "
                                "the model's config.json")
    model, tokenizer, read = load_checkpoint(args.folder, chat=args.chat)
    if tokenizer.problem:
        raise ValueError(tokenizer.problem)
    out = args.out.expanduser()
    out.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(out, weights=model.state_dict(), config=model.config, tokenizer=tokenizer,
                    step=0, settings=read["settings"], metrics={})
    form = tokenizer.chat.name if tokenizer.chat else "none, or roles of part 6"
    print(f"{model.config}\n{model.count_parameters():,} parameters; conversations: {form}\n"
          f"wrote   {out}")


if __name__ == "__main__":
    run_main(main)
