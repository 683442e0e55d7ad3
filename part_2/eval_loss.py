"""How well does a trained model predict a text that it has not seen?

    python eval_loss.py                                the last 10% of its own training file
    python eval_loss.py --data other.txt --split all   another text, all of it
    python eval_loss.py --stride 16                    more bytes to go by, for each byte

Prints nats and bits per byte beside what simple methods reach. Needs out/gpt.pt (train_gpt.py).
Writes eval_loss.json. Lesson 2.6.
"""

from runtime import (
    choose_runtime,
    here,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import lzma
import math
import time
from pathlib import Path

import torch
from checkpoint import load_checkpoint
from data import read_bytes, split_bytes
from evaluation import bits_per_byte, evaluate


def frequency_loss(train: torch.Tensor, val: torch.Tensor) -> float:
    """Nats a byte when each byte is guessed by how often it occurs in `train` alone.

    Every byte counts once more than it occurs: one that never occurred must not cost infinity.
    """
    counts = torch.bincount(train.long(), minlength=256).double() + 1
    return -(counts / counts.sum()).log()[val.long()].mean().item()


def packer_loss(train: torch.Tensor, val: torch.Tensor) -> float:
    """Nats a byte for which a packing program (LZMA) stores `val` when it has seen `train`."""
    before = len(lzma.compress(train.numpy().tobytes(), preset=9))
    after = len(lzma.compress(torch.cat([train, val]).numpy().tobytes(), preset=9))
    return 8 * (after - before) / len(val) * math.log(2)


def parse_args(argv=None):
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--checkpoint", default=str(here(__file__) / "out" / "gpt.pt"),
        help="the model (default: out/gpt.pt)")
    add("--data", default=None, help="file or folder (default: what the model was trained on)")
    add("--split", choices=("validation", "training", "all"), default="validation",
        help="the last 10%%, the first 90%%, or all of it (default: validation)")
    add("--stride", type=int, default=None,
        help="how far each window lies behind the last (default: the block size, no overlap)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    model, checkpoint = load_checkpoint(Path(args.checkpoint))
    path = checkpoint["settings"].get("data") if args.data is None else args.data
    if path is None:
        raise ValueError(f"{args.checkpoint} does not say what it was trained on; give --data")
    data = read_bytes(path)
    train, val = split_bytes(data)
    text = {"validation": val, "training": train, "all": torch.cat([train, val])}[args.split]
    stride = model.config.block_size if args.stride is None else args.stride
    runtime = choose_runtime(args.device, "float32", quiet=True)  # losses are always in float32
    start = time.perf_counter()
    loss = evaluate(model.to(runtime.device), text, stride=stride)
    seconds = time.perf_counter() - start
    rows = [["guessing evenly", math.log(256), 8.0]]
    if args.split == "validation" and len(train) and len(val):
        for name, method in (("byte frequencies", frequency_loss), ("LZMA", packer_loss)):
            nats = method(train, val)
            rows.append([name, nats, bits_per_byte(nats)])
    rows.append(["this model", loss, bits_per_byte(loss)])
    print_table(["method", "nats a byte", "bits a byte"], rows,
                f"{path}: {args.split}, {len(text):,} bytes, stride {stride}, {seconds:.1f} s")
    save_json(out / "eval_loss.json",
              {"checkpoint": str(args.checkpoint), "data": str(path), "split": args.split,
               "bytes": len(text), "stride": stride, "val_loss": loss,
               "bits_per_byte": bits_per_byte(loss)})


if __name__ == "__main__":
    run_main(main)
