"""Train a language model with experts: checkpoint, results, curves, TensorBoard.

    python part_5/train_moe.py                            minutes on two cores
    python part_5/train_moe.py --balance bias --n-expert 16 --n-active 4
    python part_5/train_moe.py --layers after_1 --n-shared 1 --data stdlib
    python part_5/train_moe.py --preset gpu               a size for a GPU

Ends with out/moe.pt and out/moe.json: val_loss, bits_per_byte, max_load.
"""

from run.runtime import (
    Runtime,
    choose_runtime,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_results,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import time
from dataclasses import asdict, dataclass, replace

import torch
from gpt.model import GPTConfig
from moe.checkpoint import save_moe
from moe.hybrid import HybridGPT
from moe.layer import MoEConfig
from moe.learning import (
    BALANCE_WEIGHT,
    EMBEDDING_STD,
    Texts,
    held_out_loads,
    learn,
    read_texts,
)
from moe.router import max_load
from run import plotting
from run.logger import Logger
from run.measure import rows_loss
from run.schedule import Schedule
from text.data import DataPlan
from tqdm import tqdm


@dataclass(frozen=True)
class Size:
    """How large the model and the run are."""

    n_layer: int = 4
    n_head: int = 4
    n_kv_head: int = 2
    n_embd: int = 128
    context: int = 128
    vocab_size: int = 1024
    world_megabytes: float = 4.0
    rows: int = 16          # rows of a step
    steps: int = 800
    peak: float = 4e-3      # highest learning rate

    def config(self, vocab_size: int) -> GPTConfig:
        return GPTConfig(vocab_size=vocab_size, block_size=self.context, n_layer=self.n_layer,
                         n_head=self.n_head, n_kv_head=self.n_kv_head, n_embd=self.n_embd,
                         qk_norm=True, embedding_std=EMBEDDING_STD)


PRESETS = {"tiny": Size(),
           "gpu": Size(n_layer=12, n_head=12, n_kv_head=4, n_embd=768, context=1024,
                       vocab_size=8192, world_megabytes=64, rows=64, steps=10_000, peak=1e-3)}


def parse_args(argv=None):
    parser = make_parser(__doc__, presets=tuple(PRESETS), preset="tiny")
    experts = MoEConfig()
    parser.add_argument("--data", default="world",
                        help="world, stdlib, a file or folder, or several with + (default: world)")
    parser.add_argument("--steps", type=int, default=None, help="steps (default: the preset's)")
    parser.add_argument("--n-expert", type=int, default=experts.n_expert,
                        help=f"routed experts of a layer (default: {experts.n_expert})")
    parser.add_argument("--n-active", type=int, default=experts.n_active,
                        help=f"experts a token uses (default: {experts.n_active})")
    parser.add_argument("--n-shared", type=int, default=experts.n_shared,
                        help=f"experts that all tokens use (default: {experts.n_shared})")
    parser.add_argument("--scale", type=float, default=None,
                        help="sum of the weights of the chosen (default: --n-active, which makes "
                             "them as loud as the dense MLP that they are cut from)")
    parser.add_argument("--gate", default=experts.gate,
                        help=f"softmax or sigmoid (default: {experts.gate})")
    parser.add_argument("--balance", default=experts.balance,
                        help=f"loss, bias or none (default: {experts.balance})")
    parser.add_argument("--balance-weight", type=float, default=BALANCE_WEIGHT,
                        help=f"weight of the balance loss (default: {BALANCE_WEIGHT})")
    parser.add_argument("--capacity", type=float, default=None,
                        help="room of an expert in even shares (default: none, nothing dropped)")
    parser.add_argument("--layers", default=experts.layers,
                        help="every, alternate, after_1, blend or letters d, m, b "
                             f"(default: {experts.layers})")
    parser.add_argument("--world-megabytes", type=float, default=None,
                        help="text of the world to make (default: the preset's)")
    return parser.parse_args(argv)


def train(model: HybridGPT, texts: Texts, size: Size, runtime: Runtime, logger: Logger):
    """-> (curve of (step, held-out loss), seconds of training)"""
    schedule = Schedule("cosine", size.peak, size.peak / 10, 0.05)
    curve, spent, every = [], 0.0, max(1, size.steps // 16)
    start = time.perf_counter()
    with tqdm(total=size.steps, unit="step", mininterval=1) as bar:
        for step, report in learn(model, texts.train, runtime, schedule, steps=size.steps,
                                  rows_a_step=size.rows):
            fullest = model.max_load()
            logger.log(step + 1, loss=round(report.loss, 6), max_load=round(fullest, 3),
                       gradient_norm=round(report.gradient_norm, 5))
            bar.update()
            bar.set_postfix(loss=f"{report.loss:.3f}", max_load=f"{fullest:.2f}")
            if (step + 1) % every == 0 or step + 1 == size.steps:
                spent += time.perf_counter() - start
                loss = rows_loss(model, texts.held_out, runtime, by_document=True)
                logger.log(step + 1, val_loss=round(loss, 6))
                curve.append((step + 1, loss))
                start = time.perf_counter()
    return curve, spent


def draw(curve, loads: torch.Tensor, results: dict, setup: str, path) -> None:
    """The curve, and the load of every expert at the end."""
    metrics = results["metrics"]
    fig, (left, right) = plotting.figure(
        f"{metrics['val_loss']:.3f} nats per token held out after {results['seconds']:.0f} s; "
        f"the fullest expert has {metrics['max_load']:.2f} times the mean", setup, 2,
        widths=[1.2, 1])
    left.plot(*zip(*curve), color=plotting.BLUE)
    left.set(xlabel="step", ylabel="held-out loss, nats per token")
    shares = loads / loads.sum(-1, keepdim=True) * loads.size(-1)
    plotting.heat_map(right, shares, vmin=0, vmax=2, numbers=loads.size(-1) <= 8)
    right.set(xlabel="expert", ylabel="layer", title="load over the mean, held-out text")
    plotting.save(fig, path)


def main(argv=None):
    args = parse_args(argv)
    size = PRESETS[args.preset]
    given = {"steps": args.steps, "world_megabytes": args.world_megabytes}
    size = replace(size, **{name: value for name, value in given.items() if value is not None})
    if size.steps < 1:
        raise ValueError(f"--steps {size.steps}: must be at least 1")
    moe = MoEConfig(n_expert=args.n_expert, n_active=args.n_active, n_shared=args.n_shared,
                    scale=args.n_active if args.scale is None else args.scale, gate=args.gate,
                    balance=args.balance, balance_weight=args.balance_weight,
                    capacity=args.capacity, layers=args.layers)
    out = out_folder(__file__, args.out)
    runtime = choose_runtime(args.device, args.amp, width=size.n_embd)
    seed_everything(args.seed)
    plan = DataPlan(args.data, size.vocab_size, size.world_megabytes, seed=args.seed)
    texts = read_texts(plan, out / "moe_data", size.context, args.seed)
    config = size.config(texts.tokenizer.vocab_size)
    model = HybridGPT(config, moe).to(runtime.device)
    if not model.moes:
        raise ValueError(f"--layers {args.layers}: no layer has experts; that is part_4/train.py")
    print(f"model   {model.count_parameters():,} parameters, {model.count_active():,} of them "
          f"for one token; layers {model.kinds}")
    logger = Logger(out_folder(__file__, out / "moe_log"))
    curve, seconds = train(model, texts, size, runtime, logger)
    logger.close()
    loss = rows_loss(model, texts.held_out, runtime, batches=32, by_document=True)
    loads = held_out_loads(model, texts.held_out, runtime, batches=32)
    metrics = {"val_loss": loss, "bits_per_byte": texts.bits_per_byte(loss),
               "max_load": max(max_load(load) for load in loads)}
    settings = {**asdict(size), "data": args.data, "seed": args.seed, "amp": runtime.amp_name}
    save_moe(out / "moe.pt", model, texts.tokenizer, step=size.steps, settings=settings,
             metrics=metrics)
    results = save_results(out / "moe.json", name="moe", preset=args.preset, seed=args.seed,
                           runtime=runtime, seconds=seconds,
                           tokens=size.steps * size.rows * size.context,
                           parameters=model.count_parameters(), metrics=metrics)
    draw(curve, loads, results,
         f"{model.count_parameters() / 1e6:.1f}M parameters, {model.count_active() / 1e6:.1f}M "
         f"active, {moe.n_expert} experts, top-{moe.n_active}, {size.steps} steps, "
         f"{args.data}, seed {args.seed}", out / "train_moe.png")
    print_table(["measured", "value"], [[name, value] for name, value in metrics.items()],
                f"{out / 'moe.pt'}: {size.steps:,} steps in {seconds:.0f} s, "
                f"{results['tokens_per_second']:,.0f} tokens/s")


if __name__ == "__main__":
    run_main(main)
