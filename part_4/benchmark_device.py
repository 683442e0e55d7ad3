"""What does this device do, and do its number formats agree? Attention, decoding, one gradient.

    python part_4/benchmark_device.py --device cuda    a model of 124M parameters
    python part_4/benchmark_device.py --quick          seconds: a tiny model, only the form

Attention: PyTorch's fused one, causal, forward and backward; 3.5 times the products of forward alone.
Decoding: greedy with a cache, for one row and for many together. Formats: one batch through one model;
the loss, and the cosine between its gradient and that of float32 on the CPU. Writes
benchmark_device.json, and ends with an error where a format is further away than it may be.
"""

from run.runtime import (
    AMP_TYPES,
    Runtime,
    choose_device,
    keep_memory,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
    seed_everything,
    synchronize,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import copy
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from gpt.generate import generate
from gpt.model import GPT, GPTConfig

USUAL = {"lengths": (512, 2048, 8192), "tokens": 16384, "heads": 12, "rows": (1, 32), "new": 128,
         "prompt": 512, "rounds": 5,
         "model": GPTConfig(vocab_size=32768, block_size=1024, n_layer=12, n_head=12, n_embd=768)}
QUICK = {"lengths": (32,), "tokens": 64, "heads": 2, "rows": (1, 2), "new": 4, "prompt": 8,
         "rounds": 1, "model": GPTConfig(vocab_size=128, block_size=32, n_layer=2, n_head=2, n_embd=32)}
# How far a format may be from float32 on the CPU: the loss, in nats; the gradient, 1 - cosine.
BOUNDS = {"float32": (1e-3, 1e-4), "bfloat16": (5e-2, 2e-2), "float16": (1e-2, 2e-3)}
SCALE = 2.0**10  # of the loss in float16, where small gradients would be 0


def seconds_of(function: Callable[[], object], rounds: int, device: torch.device) -> float:
    """The median; the first two rounds are warm-up."""
    taken = []
    for _ in range(rounds + 2):
        synchronize(device)
        start = time.perf_counter()
        function()
        synchronize(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[2:])


def attention_rate(length: int, dtype: torch.dtype, sizes: dict, device: torch.device) -> float:
    """FLOP/s of forward and backward, counting the products below the diagonal only."""
    rows, heads, width = max(1, sizes["tokens"] // length), sizes["heads"], 64
    q, k, v = (torch.randn(rows, heads, length, width, device=device, dtype=dtype).requires_grad_()
               for _ in range(3))
    slope = torch.randn_like(q)

    def step():
        q.grad = k.grad = v.grad = None
        F.scaled_dot_product_attention(q, k, v, is_causal=True).backward(slope)

    products = 3.5 * 2 * rows * heads * length**2 * width  # two products of 2 FLOP, half of each
    return products / seconds_of(step, sizes["rounds"], device)


def decoding_rate(model: GPT, rows: int, sizes: dict, runtime: Runtime) -> float:
    """Tokens per second, of all rows together; reading the prompts is part of it."""
    prompts = torch.randint(0, model.config.vocab_size, (rows, sizes["prompt"])).tolist()

    def write():
        with runtime.autocast():
            generate(model, prompts, sizes["new"], temperature=0.0)

    return rows * sizes["new"] / seconds_of(write, max(1, sizes["rounds"] // 2), runtime.device)


def gradient(model: GPT, ids: torch.Tensor, runtime: Runtime) -> tuple[float, torch.Tensor]:
    """-> (the loss, its gradient by all weights in one row, on the CPU)."""
    scale = SCALE if runtime.amp_dtype is torch.float16 else 1.0
    model.zero_grad(set_to_none=True)
    with runtime.autocast():
        _, loss = model(ids[:, :-1], ids[:, 1:].contiguous(), loss_only=True)
    (loss * scale).backward()
    grads = torch.cat([p.grad.flatten().float().cpu() for p in model.parameters()])
    return float(loss.detach()), grads / scale


def compare_formats(sizes: dict, device: torch.device, kinds: list[str]) -> list[dict]:
    """Each format on the device beside float32 on the CPU."""
    model = GPT(sizes["model"])
    ids = torch.randint(0, model.config.vocab_size, (2, min(257, model.config.block_size)))
    loss, wanted = gradient(model, ids, Runtime(torch.device("cpu"), None, "", ""))
    there, rows = copy.deepcopy(model).to(device), []
    for kind in kinds:
        found, grads = gradient(there, ids.to(device), Runtime(device, AMP_TYPES[kind], "", ""))
        apart = 1 - float(F.cosine_similarity(grads.double(), wanted.double(), dim=0))
        rows.append({"format": kind, "loss": found, "loss_apart": abs(found - loss),
                     "gradient_apart": apart, "agrees": abs(found - loss) <= BOUNDS[kind][0]
                     and apart <= BOUNDS[kind][1]})
    return rows


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--formats", default="float32,bfloat16,float16",
                        help="number formats, joined by commas (default: float32,bfloat16,float16)")
    parser.add_argument("--quick", action="store_true", help="a tiny model (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    kinds = args.formats.split(",")
    for kind in kinds:
        if kind not in AMP_TYPES:
            raise ValueError(f"--formats {kind}: unknown; choose of {', '.join(AMP_TYPES)}")
    out, sizes = out_folder(__file__, args.out), QUICK if args.quick else USUAL
    device, reason = choose_device(args.device)
    print(f"device  {device}  {reason}")
    keep_memory()
    seed_everything(args.seed)
    formats = compare_formats(sizes, device, kinds)
    print_table(["format", "loss", "apart from float32", "gradient: 1 - cosine", "agrees"],
                [list(row.values()) for row in formats])
    attention, decoding = [], []
    model = GPT(sizes["model"]).to(device).eval()
    for kind in kinds:
        dtype = AMP_TYPES[kind] or torch.float32
        attention += [{"format": kind, "length": n, "tflops": attention_rate(
            n, dtype, sizes, device) / 1e12} for n in sizes["lengths"]]
        decoding += [{"format": kind, "rows": n, "tokens_per_second": decoding_rate(
            model, n, sizes, Runtime(device, AMP_TYPES[kind], "", ""))} for n in sizes["rows"]]
    print_table(["format", "length", "attention, TFLOP/s"], [list(r.values()) for r in attention])
    print_table(["format", "rows", "decoding, tokens/s"], [list(r.values()) for r in decoding])
    save_json(out / "benchmark_device.json",
              {"formats": formats, "attention": attention, "decoding": decoding})
    odd = [f"{row['format']} (loss {row['loss_apart']:.1e}, gradient {row['gradient_apart']:.1e})"
           for row in formats if not row["agrees"]]
    if odd:
        raise ValueError(f"further from float32 on the CPU than a format may be: {', '.join(odd)}")


if __name__ == "__main__":
    run_main(main)
