"""How fast is the layer of experts? Against a loop, grouped products, and a dense layer.

    python part_5/benchmark_moe.py            4,096 tokens, width 256, hidden 512, 8 experts, top-2

Forward and backward. All rows take turns in every round, so that a busy machine slows all of them;
read the ratios. "dense" has the same products per token: one SwiGLU of k times the hidden width.
Two common ways to write the loop are here for comparison: masks by one-hot, and an nn.Linear for
each matrix of each expert.
"""

from run.runtime import (
    choose_device,
    formats_to_time,
    keep_memory,
    make_parser,
    out_folder,
    print_table,
    run_main,
    seed_everything,
    synchronize,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import statistics
import time

import torch
import torch.nn.functional as F
from gpt.layers import SwiGLU
from moe.layer import MoE, MoEConfig
from run import plotting
from torch import nn


class OneHotLoop(nn.Module):
    """One mask (E, k, N) for all choices, then a loop over the experts with stacked weights."""

    def __init__(self, n_embd: int, n_hidden: int, n_expert: int, k: int):
        super().__init__()
        self.layer = MoE(n_embd, n_hidden, MoEConfig(n_expert=n_expert, n_active=k))

    def forward(self, x):
        experts = self.layer.experts
        tokens = x.flatten(0, -2)
        routing = self.layer.router(tokens)
        chosen = F.one_hot(routing.experts, experts.down.size(0)).permute(2, 1, 0)  # (E, k, N)
        out = torch.zeros_like(tokens)
        for e in range(experts.down.size(0)):
            choice, token = torch.where(chosen[e])
            gate, up = F.linear(tokens[token], experts.gate_up[e]).chunk(2, dim=-1)
            y = F.linear(F.silu(gate) * up, experts.down[e])
            out.index_add_(0, token, y * routing.weights[token, choice, None].to(y.dtype))
        return out.view(x.shape)


class SeparateLinears(nn.Module):
    """Three nn.Linear for each expert; tokens found with a mask for each expert."""

    def __init__(self, n_embd: int, n_hidden: int, n_expert: int, k: int):
        super().__init__()
        self.k = k
        self.router = nn.Linear(n_embd, n_expert, bias=False)
        shapes = ((n_embd, n_hidden), (n_embd, n_hidden), (n_hidden, n_embd))
        self.gate, self.up, self.down = (
            nn.ModuleList(nn.Linear(*shape, bias=False) for _ in range(n_expert))
            for shape in shapes)

    def forward(self, x):
        tokens = x.flatten(0, -2)
        best, experts = self.router(tokens).topk(self.k, dim=-1)
        weights = best.softmax(-1)
        out = torch.zeros_like(tokens)
        for e in range(len(self.gate)):
            token, choice = torch.where(experts == e)
            if token.numel():
                rows = tokens.index_select(0, token)
                y = self.down[e](F.silu(self.gate[e](rows)) * self.up[e](rows))
                out.index_add_(0, token, y * weights[token, choice, None])
        return out.view(x.shape)


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--tokens", type=int, default=4096, help="tokens (default: 4096)")
    parser.add_argument("--n-embd", type=int, default=256, help="width (default: 256)")
    parser.add_argument("--n-hidden", type=int, default=512,
                        help="hidden width of one expert (default: 512)")
    parser.add_argument("--n-expert", type=int, default=8, help="experts (default: 8)")
    parser.add_argument("--n-active", type=int, default=2, help="experts a token uses (default: 2)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds (default: 15)")
    return parser.parse_args(argv)


def candidates(args) -> dict[str, nn.Module]:
    sizes = (args.n_embd, args.n_hidden, args.n_expert, args.n_active)

    def ours(form: str) -> MoE:
        return MoE(args.n_embd, args.n_hidden,
                   MoEConfig(n_expert=args.n_expert, n_active=args.n_active, form=form))
    return {"dense": SwiGLU(args.n_embd, args.n_active * args.n_hidden),
            "sorted (ours, CPU)": ours("sorted"), "grouped (ours, GPU)": ours("grouped"),
            "loop, as read": ours("loop"), "loop, one-hot masks": OneHotLoop(*sizes),
            "loop, separate linears": SeparateLinears(*sizes)}


def measure(layers: dict[str, nn.Module], args, dtype: torch.dtype, device) -> dict[str, float]:
    """Name -> median seconds of forward and backward."""
    x = torch.randn(args.tokens, args.n_embd, device=device).to(dtype).requires_grad_()
    slope = torch.randn_like(x)
    times = {name: [] for name in layers}
    for number in range(args.rounds + 2):  # two rounds of warm-up
        for name, layer in layers.items():
            layer.zero_grad(set_to_none=True)
            x.grad = None
            synchronize(device)
            start = time.perf_counter()
            layer(x).backward(slope)
            synchronize(device)
            if number >= 2:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main(argv=None):
    args = parse_args(argv)
    if args.rounds < 1 or args.tokens < 1:
        raise ValueError(f"--rounds {args.rounds} --tokens {args.tokens}: at least 1 of each")
    for flag in ("n_embd", "n_hidden", "n_expert", "n_active"):
        if getattr(args, flag) < 1:
            raise ValueError(f"--{flag.replace('_', '-')} {getattr(args, flag)}: must be at least 1")
    out = out_folder(__file__, args.out)
    keep_memory()  # as in training
    seed_everything(args.seed)
    device, _ = choose_device(args.device)
    rows, ratios = [], {}
    for amp_dtype in formats_to_time(device).values():
        dtype = amp_dtype or torch.float32
        layers = {name: layer.to(device, dtype) for name, layer in candidates(args).items()}
        seconds = measure(layers, args, dtype, device)
        kind = str(dtype).removeprefix("torch.")
        ratios[kind] = {name: value / seconds["dense"] for name, value in seconds.items()}
        rows += [[kind, name, value * 1e3, round(args.tokens / value), ratios[kind][name]]
                 for name, value in seconds.items()]
    print_table(["type", "layer", "ms", "tokens/s", "time over dense"], rows,
                f"{args.tokens} tokens, width {args.n_embd}, hidden {args.n_hidden}, "
                f"{args.n_expert} experts, top-{args.n_active}, {device}")
    ours = "grouped (ours, GPU)" if device.type == "cuda" else "sorted (ours, CPU)"
    fig, axes = plotting.figure(
        "The experts take " + ", ".join(
            f"{values[ours]:.2f} times a dense layer's time in {kind}"
            for kind, values in ratios.items()),
        f"forward and backward, {args.tokens} tokens, width {args.n_embd}, hidden {args.n_hidden}, "
        f"{args.n_expert} experts, top-{args.n_active}; dense with equal products a token",
        len(ratios), sharey=True)
    axes = axes if len(ratios) > 1 else [axes]
    for ax, (kind, values) in zip(axes, ratios.items()):
        colours = [plotting.GREY if name == "dense" else plotting.BLUE if name == ours
                   else plotting.SKY for name in values]
        ax.barh(list(values), list(values.values()), color=colours)
        ax.set(xlabel="time over dense", title=kind)
        for place, value in enumerate(values.values()):
            ax.text(value, place, f" {value:.2f}", va="center", fontsize=8)
        ax.grid(False)
        ax.set_xlim(0, 1.15 * max(values.values()))
    axes[0].invert_yaxis()
    plotting.save(fig, out / "benchmark.png")


if __name__ == "__main__":
    run_main(main)
