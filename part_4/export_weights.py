"""A checkpoint leaves: a folder that `transformers`, llama.cpp and others read.

    python part_4/export_weights.py part_4/out/base.pt FOLDER
    python part_6/export_weights.py part_6/out/sft.pt FOLDER --dtype bfloat16
    python part_6/export_weights.py part_6/out/sft.pt FOLDER --adapter    LoRA's matrices alone

Writes config.json, model.safetensors, tokenizer.json, tokenizer_config.json, chat_template.jinja,
special_tokens_map.json and generation_config.json; with --adapter what the package `peft` reads.
"""

from run.runtime import run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import argparse
from pathlib import Path

import torch
from pretrained.export import export_adapter, export_model
from run.checkpoint import load_checkpoint

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a checkpoint of parts 4, 5, 6, 8 or 9")
    parser.add_argument("folder", type=Path, help="a new folder to write")
    parser.add_argument("--dtype", choices=DTYPES, default="float32",
                        help="number format of the weights in the file (default: float32)")
    parser.add_argument("--adapter", action="store_true",
                        help="LoRA's matrices alone, in peft's layout (default: merged weights)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    model, tokenizer, checkpoint = load_checkpoint(args.checkpoint)
    if args.adapter:
        export_adapter(model.config, checkpoint["training"], args.folder)
    else:
        export_model(model, tokenizer, args.folder, DTYPES[args.dtype])
    print("\n".join(f"wrote   {path}" for path in sorted(args.folder.expanduser().iterdir())))


if __name__ == "__main__":
    run_main(main)
