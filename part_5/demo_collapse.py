"""What happens to the experts without balancing? And does the router learn when k is 1?

    python part_5/demo_collapse.py            under a minute
    python part_5/demo_collapse.py --quick    a few seconds

Four routers in the same small model, on the same rows, top-1, from the same start, in which the
router leans to one expert, as a few unlucky batches make it. To see: without balancing one expert
takes most tokens and the others starve, because they are not trained, and so never become better.
The balance loss and the biases each mend it. The last row divides the one weight by itself: the
router gets no gradient from the text, and its loss is the worst of the balanced ones. Look at the
losses too: in so short a run the collapsed model's is the lowest, because one expert that sees all
tokens learns faster than eight that see an eighth each.
"""

from run.runtime import (
    Runtime,
    choose_device,
    make_parser,
    out_folder,
    print_table,
    run_main,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import torch
from base.measure import rows_loss
from gpt.model import GPTConfig
from moe.hybrid import HybridGPT
from moe.layer import MoEConfig
from moe.learning import EMBEDDING_STD, Texts, held_out_loads, learn, read_texts
from moe.router import max_load
from run import plotting
from run.schedule import Schedule
from text.data import DataPlan

CASES = {"no balancing": {"balance": "none", "z_weight": 0.0},
         "balance loss": {"balance": "loss"},
         "biases": {"balance": "bias"},
         "weight p/p = 1": {"balance": "loss", "renormalize": True}}
COLOURS = dict(zip(CASES, (plotting.RED, plotting.BLUE, plotting.GREEN, plotting.GREY)))
CONTEXT, ROWS = 64, 16


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--steps", type=int, default=None,
                        help="optimizer steps (default: 150; quick: 12)")
    parser.add_argument("--lean", type=float, default=0.5,
                        help="how much the routers prefer expert 0 at the start (default: 0.5)")
    parser.add_argument("--quick", action="store_true", help="12 steps (default: off)")
    return parser.parse_args(argv)


def lean(model: HybridGPT, much: float) -> None:
    """Make every router prefer expert 0, by what all tokens have in common."""
    common = torch.randn(model.config.n_embd)
    with torch.no_grad():
        model.token_embedding.weight += EMBEDDING_STD * common
        for moe in model.moes:
            moe.router.weight[0] += much * common / common.norm()


def run(settings: dict, texts: Texts, runtime: Runtime, args, steps: int) -> dict:
    """Train -> max_load in each step, final loss, share of experts that starve, router gradient."""
    seed_everything(args.seed)
    config = GPTConfig(vocab_size=texts.tokenizer.vocab_size, block_size=CONTEXT, n_layer=2,
                       n_head=2, n_kv_head=1, n_embd=64, embedding_std=EMBEDDING_STD)
    moe = MoEConfig(n_expert=8, n_active=1, **settings)
    model = HybridGPT(config, moe).to(runtime.device)
    lean(model, args.lean)
    gradient = text_gradient(model, texts, runtime)
    fullest, start = [model.max_load()], None
    for _ in learn(model, texts.train, runtime, Schedule(peak=3e-3, low=3e-4), steps=steps,
                   rows_a_step=ROWS):
        fullest.append(model.max_load())
        start = start or fullest[-1]
    loads = held_out_loads(model, texts.held_out, runtime, batches=4).double()
    share = loads / loads.mean(1, keepdim=True)
    return {"fullest": fullest, "start": start, "end": max(max_load(load) for load in loads),
            "starved": float((share < 0.1).double().mean()), "gradient": gradient,
            "loss": rows_loss(model, texts.held_out, runtime, batches=4, by_document=True)}


def text_gradient(model: HybridGPT, texts: Texts, runtime: Runtime) -> float:
    """Norm of the gradient that reaches the routers through the text, without balance losses."""
    ids, targets = texts.train.batch(0, ROWS)
    model.eval()
    _, loss = model(ids.to(runtime.device), targets.to(runtime.device))
    gradients = torch.autograd.grad(loss, [moe.router.weight for moe in model.moes])
    return float(torch.stack([gradient.norm() for gradient in gradients]).norm())


def main(argv=None):
    args = parse_args(argv)
    steps = (12 if args.quick else 150) if args.steps is None else args.steps
    if steps < 1:
        raise ValueError(f"--steps {steps}: must be at least 1")
    out = out_folder(__file__, args.out)
    device, reason = choose_device(args.device)
    runtime = Runtime(device, None, reason, "a narrow model: float32")
    megabytes = 0.3 if args.quick else 1.0
    texts = read_texts(DataPlan("world", 400, megabytes, 0.3, seed=0),
                       out / ("demo_data_quick" if args.quick else "demo_data"), CONTEXT, args.seed)
    cases = {name: run(settings, texts, runtime, args, steps)
             for name, settings in CASES.items()}
    print_table(["router", "max load, first step", "max load, end", "starved experts",
                 "router gradient from text", "held-out loss"],
                [[name, f["start"], f["end"], f"{f['starved']:.0%}", f["gradient"], f["loss"]]
                 for name, f in cases.items()],
                f"{steps} steps, 8 experts, top-1; max load: fullest expert over the mean")
    bad, good = cases["no balancing"], cases["balance loss"]
    fig, ax = plotting.figure(
        f"Without balancing the fullest of 8 experts ends with {bad['end']:.1f} times the mean, "
        f"{bad['starved']:.0%} starve; with the balance loss {good['end']:.1f} times",
        f"2 layers, width 64, top-1, {steps} steps of {ROWS * CONTEXT} tokens, seed {args.seed}; "
        f"held-out loss {bad['loss']:.3f} without, {good['loss']:.3f} with the loss, "
        f"{cases['biases']['loss']:.3f} with biases")
    shown = sorted(("balance loss", "biases", "no balancing"),
                   key=lambda n: cases[n]["fullest"][-1])
    for name, dy in zip(shown, (-6, 6, 6)):  # the lowest name a little lower
        values = cases[name]["fullest"]
        ax.plot(range(len(values)), values, color=COLOURS[name])
        plotting.end_label(ax, range(len(values)), values, name, COLOURS[name], dy=dy)
    ax.axhline(1, color=plotting.GREY, lw=1, ls="--")
    ax.set(xlabel="step", ylabel="fullest expert over the mean", ylim=(0, 8.2))
    plotting.save(fig, out / "collapse.png")


if __name__ == "__main__":
    run_main(main)
