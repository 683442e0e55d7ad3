"""What does a training need of the memory? By size, stage and number format, computed.

    python part_4/show_memory.py                             124M parameters, all stages, bfloat16
    python part_4/show_memory.py --size 30m --amp float32 --rows 8
    python part_4/show_memory.py --recompute --processes 4   in slices, as FSDP keeps them

Weights, their gradients and AdamW's two moments are float32, whatever the format of the products is.
What is kept for the way back grows with the rows of one forward pass, and is less with --recompute: a
block's input alone, and all of one block at a time. Replies are written with a cache. Not counted are
what kernels need for themselves, what lies idle between tensors, and PyTorch.
"""

from run.runtime import make_parser, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from dataclasses import dataclass

import torch
from base.settings import PRESETS
from gpt.model import GPT, GPTConfig
from pretrained.weight_places import SkipInit

FORMATS = {"float32": 4, "bfloat16": 2, "float16": 2}  # bytes of a value in products


@dataclass(frozen=True)
class Stage:
    """What a training holds beside the model that it trains."""

    frozen: int = 0       # models of that size that are only read: reference, reward model, witness
    writes: bool = False  # draws replies, with a cache


STAGES = {"pretraining": Stage(), "tuning (SFT)": Stage(1), "reward model": Stage(1),
          "DPO": Stage(1), "PPO": Stage(3, True), "GRPO": Stage(1, True)}


def parameters_of(config: GPTConfig) -> tuple[int, int]:
    """-> (all, those of matrices inside the blocks), without making any of them."""
    with torch.device("meta"), SkipInit():
        model = GPT(config)
    return (model.count_parameters(),
            sum(p.numel() for p in model.blocks.parameters() if p.dim() == 2))


def norm_bytes(vectors: int, width: int) -> int:
    """A norm keeps what it reads, that divided by its length, and the length: float32, always."""
    return 4 * vectors * (2 * width + 1)


def block_bytes(config: GPTConfig, size: int) -> int:
    """What a block keeps for each token until the way back; `size`: bytes of a value in products."""
    C, F, D = config.n_embd, config.n_hidden, config.head_dim
    H, K = config.n_head, config.n_kv_head
    norms = 2 * (norm_bytes(1, C) + size * C)  # and what they give to the products
    attention = size * ((H + 2 * K) * D + (H + K) * D + H * D) + 4 * H  # qkv, turned, read; softmax
    if config.qk_norm:
        attention += norm_bytes(H + K, D)
        if size == 4:  # what these norms read is counted already
            attention -= 4 * (H + K) * D
    return norms + attention + size * 4 * F  # gate and up, silu(gate), their product


def kept_bytes(config: GPTConfig, rows: int, length: int, amp: str = "float32", *,
               recompute: bool = False, masks: bool = False) -> int:
    """What is kept of a forward pass until the way back; with `recompute`, at its largest: when the
    blocks' inputs lie there and one block is computed again. `masks`: attention inside documents."""
    size, tokens, layers = FORMATS[amp], rows * length, config.n_layer
    matrices = parameters_of(config)[1] if size == 2 else 0  # of each a rounded copy
    block = tokens * (block_bytes(config, size) + size * length * masks) + size * matrices // layers
    inputs = tokens * size * config.n_embd
    blocks = layers * inputs + block if recompute else layers * block
    ends = tokens * (norm_bytes(1, config.n_embd) + size * config.n_embd + 8)  # and the ids
    return blocks + ends + 4 * config.vocab_size * config.n_embd  # the output layer's gradient


def cache_bytes(config: GPTConfig, rows: int, length: int, amp: str = "float32") -> int:
    """Keys and values of `rows` replies with their prompts."""
    return 2 * rows * length * config.n_layer * config.n_kv_head * config.head_dim * FORMATS[amp]


def needs(config: GPTConfig, stage: str, *, rows: int, length: int, amp: str = "float32",
          recompute: bool = False, processes: int = 1, replies: int = 256) -> dict[str, int]:
    """Bytes that one of `processes` holds, by what they are for. `rows`: of one forward pass in one
    process. With several processes weights lie in slices; while one writes replies, it holds all."""
    P, one = 4 * parameters_of(config)[0], STAGES[stage]
    share = {"weights": P, "gradients": P, "optimizer": 2 * P, "frozen": one.frozen * P}
    found = {name: size // processes for name, size in share.items()}
    found["kept"] = kept_bytes(config, rows, length, amp, recompute=recompute, masks=True)
    found["cache"] = 0
    if one.writes:
        whole = P if processes > 1 else 0
        found["cache"] = cache_bytes(config, -(-replies // processes), length, amp) + whole
    return found


def most(found: dict[str, int]) -> int:
    """The bytes at the worst moment: a cache is gone before anything is kept for the way back."""
    always = sum(found[name] for name in ("weights", "optimizer", "frozen"))
    return always + max(found["gradients"] + found["kept"], found["cache"])


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--size", choices=tuple(PRESETS), default="124m",
                        help="a preset of train.py (default: 124m)")
    parser.add_argument("--amp", choices=tuple(FORMATS), default="bfloat16",
                        help="number format of products (default: bfloat16)")
    parser.add_argument("--rows", type=int, default=None,
                        help="rows of one forward pass (default: the preset's)")
    parser.add_argument("--replies", type=int, default=256,
                        help="replies that are written at once (default: 256)")
    parser.add_argument("--processes", type=int, default=1,
                        help="that share weights and optimizer, as FSDP does (default: 1)")
    parser.add_argument("--recompute", action="store_true",
                        help="as --recompute of the trainings (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    settings = PRESETS[args.size]
    rows = settings.micro_rows if args.rows is None else args.rows
    for name, value in (("rows", rows), ("replies", args.replies), ("processes", args.processes)):
        if value < 1:
            raise ValueError(f"--{name} {value}: must be at least 1")
    config, table = settings.model_config(settings.vocab_size), []
    for stage in STAGES:
        found = needs(config, stage, rows=rows, length=settings.context, amp=args.amp,
                      recompute=args.recompute, processes=args.processes, replies=args.replies)
        table.append([stage, *(f"{size / 1e9:.2f}" for size in found.values()),
                      f"{most(found) / 1e9:.2f}"])
    print_table(["GB", "weights", "gradients", "optimizer", "frozen", "for the way back", "cache",
                 "at most"], table,
                f"{args.size}: {parameters_of(config)[0]:,} parameters, {rows} rows of "
                f"{settings.context} tokens, {args.replies} replies, {args.amp}, {args.processes} "
                f"process(es){', recomputed' if args.recompute else ''}")


if __name__ == "__main__":
    run_main(main)
