"""What do 16 bits cost, and what do they give? Small gradients in fp16, and the time of a step.

    python part_4/demo_mixed_precision.py
    python part_4/demo_mixed_precision.py --quick

See    fp16 has no numbers below 2^-24. Gradients on their way back through the layers are often
       smaller: they are lost, unless the loss is multiplied before backward (the scaler) and the
       gradients divided after it. bfloat16 has the
       range of float32 and needs no scaler, but only 8 bits of precision: that is why the weights
       and the optimizer stay in float32.
"""

import time

import plotting
import torch
from loop import train_step
from model import GPT, GPTConfig
from optim import make_optimizer
from runtime import (
    AMP_TYPES,
    Runtime,
    make_parser,
    out_folder,
    print_table,
    run_main,
    seed_everything,
)

SCALE = 2.0**16  # where PyTorch's scaler starts


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--quick", action="store_true",
                        help="a smaller model, fewer steps (default: off)")
    return parser.parse_args(argv)


def batches(seed: int, rows: int, context: int, vocabulary: int):
    """Sequences with a rule: the next token is 5 times this one plus 1, with some noise."""
    random = torch.Generator().manual_seed(seed)
    while True:
        ids = torch.empty(rows, context + 1, dtype=torch.int64)
        ids[:, 0] = torch.randint(vocabulary, (rows,), generator=random)
        for t in range(context):
            ids[:, t + 1] = (5 * ids[:, t] + 1) % vocabulary
        is_noise = torch.rand(ids.shape, generator=random) < 0.1
        ids = torch.where(is_noise, torch.randint(vocabulary, ids.shape, generator=random), ids)
        yield ids[:, :-1], ids[:, 1:]


def gradient_sizes(model, ids, targets) -> torch.Tensor:
    """|g| on the way back, in float32: of the logits and of what each block puts out."""
    outputs = []
    hooks = [block.register_forward_hook(lambda module, given, out: outputs.append(out))
             for block in model.blocks]
    logits, loss = model(ids, targets)
    for hook in hooks:
        hook.remove()
    gradients = torch.autograd.grad(loss, [logits, *outputs])
    sizes = torch.cat([gradient.abs().flatten() for gradient in gradients])
    return sizes[sizes > 0]


def lost(sizes: torch.Tensor, kind: torch.dtype, scale: float = 1.0) -> float:
    """Share of the gradients that are 0 when they are kept as `kind`."""
    return float(((sizes * scale).to(kind) == 0).float().mean())


def train(name: str, config: GPTConfig, steps: int, seed: int):
    """Train in one number format -> (the model, its last loss, median seconds a step)."""
    torch.manual_seed(seed)
    runtime = Runtime(torch.device("cpu"), AMP_TYPES[name], "", "")
    model = GPT(config)
    optimizer = make_optimizer(model, weight_decay=0.0, betas=(0.9, 0.95))
    source, scaler, losses, seconds = batches(seed, 8, config.block_size, config.vocab_size), \
        runtime.grad_scaler(), [], []
    for _ in range(steps):
        ids, targets = next(source)
        start = time.perf_counter()
        report = train_step(model, optimizer, ids, targets, runtime=runtime, scaler=scaler, rate=2e-3)
        seconds.append(time.perf_counter() - start)
        losses.append(report.loss)
    return model, sum(losses[-5:]) / 5, sorted(seconds)[len(seconds) // 2]


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    width, steps = (64, 20) if args.quick else (256, 60)
    config = GPTConfig(vocab_size=512, block_size=64, n_layer=2, n_embd=width)
    results = {name: train(name, config, steps, args.seed) for name in AMP_TYPES}
    sizes = gradient_sizes(results["float32"][0], *next(batches(99, 8, 64, 512)))
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    rows = [[name, loss, 1e3 * seconds, lost(sizes, kinds[name]), lost(sizes, kinds[name], SCALE)]
            for name, (_, loss, seconds) in results.items()]
    print_table(["format", f"loss after {steps}", "ms a step", "gradients lost",
                 "lost with the scaler"], rows, f"{width} wide, 2 layers, seed {args.seed}")
    without, with_scaler = rows[2][3], rows[2][4]
    fig, ax = plotting.figure(
        f"fp16 loses {without:.2%} of the gradients without a scaler, {with_scaler:.2%} with one; "
        f"bfloat16 loses {rows[1][3]:.2%}",
        f"gradients of the logits and of all blocks' outputs, 512 tokens, a model of "
        f"{results['float32'][0].count_parameters():,} parameters after {steps} steps, "
        f"seed {args.seed}")
    for values, name, color, height in ((sizes, "as they are", plotting.GREY, 0.93),
                                        (sizes * SCALE, "times 2^16", plotting.BLUE, 0.93)):
        logs = values.log2()
        ax.hist(logs, bins=80, range=(-44, 12), color=color, alpha=0.75)
        ax.text(float(logs.median()), ax.get_ylim()[1] * 1.02, name, color=color, ha="center",
                fontsize=8.5)
    ax.axvline(-25, color=plotting.RED, lw=1.4)
    ax.text(-25.5, ax.get_ylim()[1] * 0.5, "fp16 rounds to 0 \nleft of this line ",
            color=plotting.RED, ha="right", fontsize=8.5)
    ax.set(xlabel="log2 of the gradient's size", ylabel="values")
    plotting.save(fig, out / "mixed_precision.png")


if __name__ == "__main__":
    run_main(main)
