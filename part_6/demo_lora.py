"""What does LoRA put beside a frozen matrix, and what is left of it afterwards?

    python part_6/demo_lora.py

See   The detour of eq. 6.3 with the shapes of its tensors, read off a model on its way; that it adds
      nothing at the start, something after one step, and that folding it into the matrix changes
      no answer.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import torch
from gpt.model import GPT, GPTConfig
from run import plotting
from run.diagram import arrow, box, finish
from sft.lora import LoRALinear, add_lora, merge_lora, trained_parameters

B, T, RANK = 4, 16, 8
CONFIG = GPTConfig(vocab_size=64, block_size=T, n_layer=2, n_head=4, n_embd=192)


def parse_args(argv=None):
    return make_parser(__doc__, runs_model=False).parse_args(argv)


@torch.no_grad()
def shapes_of(layer: LoRALinear, x: torch.Tensor) -> dict[str, str]:
    """Every tensor on the way through one layer with a detour, by name."""
    low = x @ layer.a.T
    tensors = {"x": x, "W": layer.base.weight, "A": layer.a, "B": layer.b, "A x": low,
               "B A x": low @ layer.b.T, "y": layer(x)}
    return {name: str(tuple(tensor.shape)) for name, tensor in tensors.items()}


def draw(path, shapes: dict, frozen: int, trained: int, gap: float) -> None:
    fig, ax = plotting.figure(
        f"LoRA trains {trained:,} numbers beside a frozen matrix of {frozen:,}, and folds into it: "
        f"answers differ by {gap:.0e}",
        f"y = W x + (α/r) B A x, rank r = {RANK}; B = {B} rows, T = {T} tokens; shapes as they were "
        "read off the layer", size=(7, 3.6))
    box(ax, 0, 1.5, f"x\n{shapes['x']}", plotting.SKY)
    box(ax, 4.6, 2.6, f"W, frozen\n{shapes['W']}", plotting.GREY, 2.6)
    box(ax, 3.4, 0.4, f"A\n{shapes['A']}", plotting.ORANGE, 1.7)
    box(ax, 6.6, 0.4, f"B, zero at first\n{shapes['B']}", plotting.ORANGE, 2.2)
    ax.text(8.75, 1.5, "+", ha="center", va="center", fontsize=14, fontweight="bold",
            bbox={"boxstyle": "circle,pad=0.12", "facecolor": "white", "edgecolor": plotting.BLUE})
    box(ax, 10.9, 1.5, f"y\n{shapes['y']}", plotting.GREEN)
    arrow(ax, (1.25, 1.7), (3.25, 2.6))
    arrow(ax, (1.25, 1.3), (2.5, 0.45))
    arrow(ax, (4.3, 0.4), (5.45, 0.4), shapes["A x"], shift=(0, -0.62))
    arrow(ax, (5.95, 2.6), (8.5, 1.7), "W x", shift=(0.2, 0.22))
    arrow(ax, (7.75, 0.45), (8.55, 1.25), "· α/r", shift=(0.55, -0.12))
    arrow(ax, (9.05, 1.5), (9.65, 1.5))
    finish(ax, (-1.4, 12.3), (-0.5, 3.2))
    plotting.save(fig, path)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    torch.manual_seed(args.seed)
    model = GPT(CONFIG).eval()
    ids = torch.randint(CONFIG.vocab_size, (B, T))
    with torch.no_grad():
        base = model(ids)[0]
    before = sum(p.numel() for p in model.parameters())
    add_lora(model, RANK, train_embedding=False)
    layer = model.blocks[0].mlp.gate_up
    shapes = shapes_of(layer, torch.randn(B, T, CONFIG.n_embd))
    with torch.no_grad():
        started = model(ids)[0]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model(ids, ids.roll(-1, 1))[1].backward()
    optimizer.step()
    trained = trained_parameters(model)
    with torch.no_grad():
        moved = model(ids)[0]
        merged = merge_lora(model)(ids)[0]
    change, gap = (moved - base).abs().max().item(), (merged - moved).abs().max().item()
    print_table(["tensor", "shape"], [[name, shape] for name, shape in shapes.items()],
                "one layer with a detour")
    print(f"\nof {before:,} parameters {trained:,} are trained (the embedding left as it is)"
          f"\nlargest difference to the base model's scores: {(started - base).abs().max():.0e} at "
          f"the start, {change:.2f} after one step"
          f"\nafter the detours were folded in: {gap:.0e} beside the model with detours")
    draw(out / "diagram_lora.png", shapes, layer.base.weight.numel(),
         layer.a.numel() + layer.b.numel(), gap)


if __name__ == "__main__":
    run_main(main)
