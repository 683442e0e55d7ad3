"""Where does the time of one training step go?

    python part_0/demo_profiling.py

Runs torch.profiler on training steps of a small Transformer made of PyTorch's own layers (ours are
built from part 1 on), groups the time by kind of operation, prints a table, draws a picture and
leaves a trace that chrome://tracing or ui.perfetto.dev shows: out/profile_trace.json
See: matrix products and attention (which is made of them) take most of a step. That is why the
number format of the products decides how fast a model trains.
"""

from runtime import (
    choose_runtime,
    make_parser,
    out_folder,
    print_table,
    replacing,
    run_main,
    seed_everything,
    synchronize,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import os

import torch
import torch.nn.functional as F
from plotting import BLUE, GREY, figure, save
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

# A kind of work, and the words in the names of operations that belong to it. First match wins.
KINDS = {
    "attention": ("attention", "flash"),
    "matrix products": ("mm", "matmul", "linear", "gemm", "bmm"),
    "optimizer": ("adam", "foreach"),
    "normalisation, softmax, activation": ("norm", "softmax", "gelu", "relu"),
    "loss": ("nll", "cross_entropy"),
    "embedding": ("embedding", "index"),
    "copies and number formats": ("copy", "to", "clone", "cat", "contiguous", "transpose"),
}


class SmallTransformer(nn.Module):
    """Embedding, PyTorch's own Transformer layers with a causal mask, and an output layer."""

    def __init__(self, vocab_size: int = 256, width: int = 256, layers: int = 4, length: int = 128):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, width)
        layer = nn.TransformerEncoderLayer(width, nhead=4, dim_feedforward=4 * width, dropout=0.0,
                                           activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, vocab_size)
        is_hidden = nn.Transformer.generate_square_subsequent_mask(length)
        self.register_buffer("is_hidden", is_hidden)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """ids (B, T) -> logits (B, T, V)."""
        return self.head(self.layers(self.embed(ids), mask=self.is_hidden, is_causal=True))


def train_step(model, optimizer, ids, runtime) -> float:
    """One step, with the names that the trace shows."""
    with record_function("1 forward"), runtime.autocast():
        logits = model(ids[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
    with record_function("2 backward"):
        loss.backward()
    with record_function("3 optimizer"):
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return loss.item()


def kind_of(operation: str) -> str:
    """The kind of work that an operation belongs to, by its name."""
    name = operation.lower()
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)),
                "everything else")


def time_by_kind(events, device: torch.device) -> dict[str, float]:
    """Milliseconds by kind of work. Self time only, so that nothing is counted twice."""
    totals: dict[str, float] = {}
    for event in events:
        if event.key[:1].isdigit() or event.key.startswith("ProfilerStep"):
            continue  # our own named regions hold the operations; they are not work themselves
        on_gpu = device.type == "cuda"
        micro = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        kind = kind_of(event.key)
        totals[kind] = totals.get(kind, 0.0) + micro / 1000
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def draw(shares: dict[str, float], setup: str, path) -> None:
    """One bar for each kind of work, the largest on top."""
    names = list(shares)[::-1]
    first, second = list(shares)[:2]
    fig, ax = figure(f"{shares[first] + shares[second]:.0%} of a training step goes into {first} "
                     f"and {second}", setup)
    colors = [BLUE if name in (first, second) else GREY for name in names]
    ax.barh(names, [shares[name] for name in names], color=colors)
    for row, name in enumerate(names):
        ax.text(shares[name] + 0.005, row, f"{shares[name]:.1%}", va="center", fontsize=8)
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", visible=True)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set_xlabel("share of the step's time")
    save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--steps", type=int, default=5, help="steps to profile (default: 5)")
    parser.add_argument("--batch", type=int, default=16, help="sequences in a batch (default: 16)")
    args = parser.parse_args(argv)
    for flag in ("steps", "batch"):
        if getattr(args, flag) < 1:
            raise ValueError(f"--{flag} {getattr(args, flag)}: must be at least 1")
    return args


def main(argv=None):
    args = parse_args(argv)
    seed_everything(args.seed)
    out = out_folder(__file__, args.out)
    runtime = choose_runtime(args.device, args.amp, width=256)
    length = 128
    model = SmallTransformer(length=length).to(runtime.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
    ids = torch.randint(256, (args.batch, length + 1), device=runtime.device)
    for _ in range(2):  # warm-up: the first steps allocate
        train_step(model, optimizer, ids, runtime)
    synchronize(runtime.device)

    activities = [ProfilerActivity.CPU]
    if runtime.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        for _ in range(args.steps):
            train_step(model, optimizer, ids, runtime)
        synchronize(runtime.device)

    with replacing(out / "profile_trace.json") as temporary:
        profiler.export_chrome_trace(str(temporary))
    times = time_by_kind(profiler.key_averages(), runtime.device)
    total = sum(times.values())
    print_table(["kind of work", "ms a step", "share"],
                [[kind, ms / args.steps, f"{ms / total:.1%}"] for kind, ms in times.items()],
                title=f"Where the time of a step goes ({args.steps} steps)")
    size = os.path.getsize(out / "profile_trace.json") / 1e6
    print(f"\ntrace   {out / 'profile_trace.json'} ({size:.1f} MB; open it in ui.perfetto.dev)")
    setup = (f"4 layers, width 256, {args.batch} sequences of {length}, {runtime.amp_name} on "
             f"{runtime.device}, {torch.get_num_threads()} threads, {args.steps} steps")
    draw({kind: ms / total for kind, ms in times.items()}, setup, out / "profiling.png")


if __name__ == "__main__":
    run_main(main)
