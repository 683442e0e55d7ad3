"""Which shapes does multi-head attention go through? And is the fused kernel the same?

    python part_1/demo_mha_shapes.py
    python part_1/demo_mha_shapes.py --heads 2 --width 64

See: the shape after every step, the parameters of each matrix, and the largest difference between
attention written out and F.scaled_dot_product_attention, in the outputs and in every gradient:
about 1e-6, which is rounding. The picture draws the way of the shapes.
"""

from runtime import choose_device, make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import plotting
import torch
from attention import Head, MultiHeadAttention, attention, causal_visibility


def trace_shapes(layer: MultiHeadAttention, x: torch.Tensor) -> tuple[list[list], torch.Tensor]:
    """Walk through the layer -> ([step, meaning of the axes, shape], the output)."""
    steps = [["x", "(B, T, C)", x]]
    q, k, v = layer.query(x), layer.key(x), layer.value(x)
    steps.append(["query(x), key(x), value(x)", "(B, T, C) each", q])
    B, T, _ = q.shape
    steps.append(["view: cut C into heads", "(B, T, H, D)", q.view(B, T, layer.n_head, -1)])
    q, k, v = layer.split(q), layer.split(k), layer.split(v)
    steps.append(["transpose: heads beside the batch", "(B, H, T, D)", q])
    steps.append(["scores q k^T / sqrt(D)", "(B, H, T, T)", q @ k.transpose(-2, -1)])
    out, weights = attention(q, k, v, causal_visibility(T, x.device))
    steps.append(["weights: mask, softmax", "(B, H, T, T)", weights])
    steps.append(["weights v", "(B, H, T, D)", out])
    joined = layer.concatenate(out)
    steps.append(["transpose and join the heads", "(B, T, C)", joined])
    y = layer.project(joined)
    steps.append(["project", "(B, T, C)", y])
    return [[name, axes, str(tuple(tensor.shape))] for name, axes, tensor in steps], y


def compare_with_fused(layer: MultiHeadAttention, x: torch.Tensor) -> list[list]:
    """[what, largest value, largest difference] of explicit and fused attention."""
    results = []
    for explicit in (True, False):
        x = x.detach().requires_grad_()
        layer.zero_grad()
        y = layer(x, explicit=explicit)
        y.square().mean().backward()
        gradients = {f"gradient of {name}": p.grad.clone() for name, p in layer.named_parameters()}
        results.append({"output": y.detach(), "gradient of x": x.grad, **gradients})
    ours, fused = results
    return [[name, ours[name].abs().max().item(), (ours[name] - fused[name]).abs().max().item()]
            for name in ours]


def heads_one_by_one(layer: MultiHeadAttention, x: torch.Tensor) -> torch.Tensor:
    """The same layer from H separate `Head`s, each given its rows of the matrices (lesson 1.3)."""
    C, D = x.size(-1), x.size(-1) // layer.n_head
    outputs = []
    for h in range(layer.n_head):
        head = Head(C, D, causal=layer.causal).to(x.device)
        for name in ("query", "key", "value"):
            whole, part = getattr(layer, name), getattr(head, name)
            part.weight.data = whole.weight.data[h * D:(h + 1) * D]
            part.bias.data = whole.bias.data[h * D:(h + 1) * D]
        outputs.append(head(x))
    return layer.project(torch.cat(outputs, dim=-1))  # eq. 1.11


def draw(steps: list[list], worst: float, setup: str, folder) -> None:
    """The steps from top to bottom, one box each."""
    fig, ax = plotting.figure(
        f"Multi-head attention, shape by shape; written out and fused agree to {worst:.0e}",
        setup, size=(7, 5.4))
    ax.axis("off")
    ax.set(xlim=(0, 1), ylim=(len(steps) - 0.5, -0.5))
    for i, (name, axes, shape) in enumerate(steps):
        color = plotting.ORANGE if "T, T" in axes else (
            plotting.GREEN if "H" in axes else plotting.BLUE)
        ax.text(0.36, i, name, ha="right", va="center", fontsize=9)
        ax.text(0.56, i, shape, ha="center", va="center", fontsize=10,
                color=plotting.BLACK if color == plotting.ORANGE else "white",
                bbox={"boxstyle": "round,pad=0.45", "facecolor": color, "edgecolor": "none"})
        ax.text(0.76, i, axes, ha="left", va="center", fontsize=9, color=color)
        if i:
            ax.annotate("", (0.56, i - 0.3), (0.56, i - 0.7),
                        arrowprops={"arrowstyle": "->", "color": plotting.GREY})
    plotting.save(fig, folder / "mha_shapes.png")


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--device", default="cpu",
                        help="auto, cpu, cuda, cuda:N or mps (default: cpu)")
    parser.add_argument("--heads", type=int, default=4, help="heads (default: 4)")
    parser.add_argument("--width", type=int, default=32, help="n_embd (default: 32)")
    parser.add_argument("--length", type=int, default=10, help="tokens (default: 10)")
    return parser.parse_args(argv)


def main(argv=None) -> None:
    args = parse_args(argv)
    if args.length < 1 or args.width < 1:
        raise ValueError(f"--length {args.length} and --width {args.width} must be at least 1")
    folder = out_folder(__file__, args.out)
    device, _ = choose_device(args.device)
    seed_everything(args.seed)
    layer = MultiHeadAttention(args.width, args.heads, causal=True).to(device)
    x = torch.randn(2, args.length, args.width, device=device)
    steps, y = trace_shapes(layer, x)
    print_table(["step", "axes", "shape"], steps, "B batch, T time, H heads, D head width, C = H D")
    differences = compare_with_fused(layer, x)
    with torch.no_grad():
        one_by_one = (heads_one_by_one(layer, x) - layer(x)).abs().max().item()
    differences.append(["output, heads one by one", y.abs().max().item(), one_by_one])
    print_table(["compared with the fused kernel", "largest value", "largest difference"],
                differences, "Written out = F.scaled_dot_product_attention")
    worst = max(row[2] for row in differences)
    setup = (f"batch 2, {args.length} tokens, {args.heads} heads, width {args.width}, causal, "
             f"float32, seed {args.seed}; the difference is over outputs and all gradients")
    draw(steps, worst, setup, folder)


if __name__ == "__main__":
    run_main(main)
