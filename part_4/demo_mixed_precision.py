"""What do 16 bits cost, and why does fp16 need a scaler? Gradients of large steps; three runs.

    python part_4/demo_mixed_precision.py
    python part_4/demo_mixed_precision.py --quick

See    The larger the step, the smaller each label's share of the loss (eq. 4.7), and so every
       gradient on its way back. fp16 has no numbers below 2^-24: what is smaller is lost, what is
       a little larger is coarse. Multiplied by the scaler's 2^16 before backward and divided after
       it, the gradient is as good as new. bfloat16 has the range of float32 and needs no scaler,
       but only 8 bits of precision: that is why the weights and the optimizer stay in float32.
"""

from run.runtime import (
    AMP_TYPES,
    Runtime,
    make_parser,
    out_folder,
    print_table,
    run_main,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import time

import torch
from gpt.model import GPT, GPTConfig
from run import plotting
from run.loop import train_step
from run.optim import make_optimizer

ROWS, CONTEXT, VOCABULARY = 8, 64, 512
SCALE = 2.0**16  # where PyTorch's scaler starts
STEP_TOKENS = [512 * 2**k for k in range(0, 11, 2)]  # the last, 524,288, is GPT-2's step
WAYS = {"float16, no scaler": ("float16", 1.0, plotting.RED),
        "float16, scaler": ("float16", SCALE, plotting.BLUE),
        "bfloat16": ("bfloat16", 1.0, plotting.GREEN)}


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--quick", action="store_true", help="fewer steps (default: off)")
    return parser.parse_args(argv)


def batches(seed: int, rows: int = ROWS, context: int = CONTEXT, vocabulary: int = VOCABULARY):
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


def runtime_of(name: str) -> Runtime:
    return Runtime(torch.device("cpu"), AMP_TYPES[name], "", "")


def train(name: str, steps: int, seed: int):
    """Train in one number format -> (the model, its last loss, median seconds a step)."""
    torch.manual_seed(seed)
    runtime = runtime_of(name)
    model = GPT(GPTConfig(vocab_size=VOCABULARY, block_size=CONTEXT, n_layer=4, n_embd=64))
    optimizer = make_optimizer(model, weight_decay=0.0, betas=(0.9, 0.95))
    source, scaler = batches(seed), runtime.grad_scaler()
    losses, seconds = [], []
    for _ in range(steps):
        ids, targets = next(source)
        start = time.perf_counter()
        report = train_step(model, optimizer, ids, targets, runtime=runtime, scaler=scaler,
                            rate=2e-3)
        seconds.append(time.perf_counter() - start)
        losses.append(report.loss)
    return model, sum(losses[-5:]) / 5, sorted(seconds)[len(seconds) // 2]


def gradient(model, ids, targets, name: str, share: float, scale: float) -> torch.Tensor:
    """The gradient of one micro-batch that is `share` of its step, times 1 / share: one vector."""
    model.zero_grad()
    with runtime_of(name).autocast():
        _, loss = model(ids, targets, loss_only=True)
    (loss * share * scale).backward()  # as train_step does
    return torch.cat([p.grad.flatten() for p in model.parameters()]) / (share * scale)


def compare(model, ids, targets) -> dict:
    """Way -> [(share of the weights whose gradient is lost, distance from float32's gradient)]."""
    exact = gradient(model, ids, targets, "float32", 1.0, 1.0)
    damage = {way: [] for way in WAYS}
    for tokens in STEP_TOKENS:
        for way, (name, scale, _) in WAYS.items():
            g = gradient(model, ids, targets, name, ids.numel() / tokens, scale)
            is_lost = (g == 0) & (exact != 0)
            damage[way].append((float(is_lost.float().mean()),
                                float((g - exact).norm() / exact.norm())))
    return damage


def draw(out, damage: dict, parameters: int, steps: int, seed: int) -> None:
    lost, off = damage["float16, no scaler"][-1]
    fig, (left, right) = plotting.figure(
        f"A step of {STEP_TOKENS[-1]:,} tokens: fp16's gradient is {off:.0%} off without a scaler, "
        f"{damage['float16, scaler'][-1][1]:.1%} with one; "
        f"bfloat16's {damage['bfloat16'][-1][1]:.1%}",
        f"micro-batches of {ROWS * CONTEXT} tokens, {parameters:,} parameters after {steps} steps "
        f"in float32, measured on a CPU, seed {seed}", panels=2)
    for way, (_, _, color) in WAYS.items():
        shares, errors = zip(*damage[way])
        left.plot(STEP_TOKENS, [100 * share for share in shares], "o-", color=color)
        right.plot(STEP_TOKENS, [100 * error for error in errors], "o-", color=color)
        plotting.end_label(right, STEP_TOKENS, [100 * error for error in errors], way, color)
    left.annotate(f"{lost:.1%}", (STEP_TOKENS[-1], 100 * lost), xytext=(-6, -3), ha="right",
                  textcoords="offset points", color=plotting.RED, fontsize=8.5)
    left.set(xscale="log", xlabel="tokens in a step", ylabel="% of weights with gradient 0")
    right.set(xscale="log", yscale="log", xlabel="tokens in a step",
              ylabel="distance from float32, %")
    right.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    for ax in (left, right):
        ax.set_xticks(STEP_TOKENS[::2] + STEP_TOKENS[-1:],
                      [f"{n // 1024}k" if n >= 1024 else str(n)
                       for n in STEP_TOKENS[::2] + STEP_TOKENS[-1:]])
        ax.minorticks_off()
    plotting.save(fig, out / "mixed_precision.png")


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    steps = 6 if args.quick else 80
    results = {name: train(name, steps, args.seed) for name in AMP_TYPES}
    print_table(["format", f"loss after {steps}", "ms a step"],
                [[name, loss, 1e3 * seconds] for name, (_, loss, seconds) in results.items()],
                f"Trained on {ROWS * CONTEXT} tokens a step, float16 with the scaler, "
                f"seed {args.seed}")
    model = results["float32"][0]
    damage = compare(model, *next(batches(args.seed + 99)))
    columns = [f"{way}: {what}" for way in WAYS for what in ("lost", "off")]
    print_table(["tokens in a step", *columns],
                [[tokens, *(value for way in WAYS for value in damage[way][number])]
                 for number, tokens in enumerate(STEP_TOKENS)],
                "Weights whose gradient became 0; distance from float32's gradient / its length")
    draw(out, damage, model.count_parameters(), steps, args.seed)


if __name__ == "__main__":
    run_main(main)
