"""Train a language model with experts: checkpoint, results, curves, TensorBoard.

    python part_5/train_moe.py                            minutes on two cores
    python part_5/train_moe.py --balance bias --n-expert 16 --n-active 4
    python part_5/train_moe.py --preset chain             room for conversations: a base for part 6
    python part_5/train_moe.py --resume                   go on after a stop, a crash, a power cut

Ends with out/moe.pt and out/moe.json: val_loss, bits_per_byte, max_load. Ctrl-C saves, and --resume
goes on with the same bytes as if it had never stopped.
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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from base.measure import rows_loss
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
    optimizer_of,
    read_texts,
)
from moe.resuming import check_same, read_training, restore, save_training
from moe.router import max_load
from run import plotting
from run.interrupt import StopOnSignal
from run.lock import only_run_in
from run.logger import Logger
from run.memory import check_memory, least_bytes
from run.schedule import Schedule
from run.thrift import add_thrift_flags, spend_less
from text.data import DataPlan
from text.sources import stamp_of
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
           "chain": Size(context=288, vocab_size=2560, world_megabytes=12.0, rows=8, steps=1250),
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
                        help="sum of the weights of the chosen (default: --n-active, as loud as "
                             "the dense MLP)")
    parser.add_argument("--gate", default=experts.gate,
                        help=f"softmax or sigmoid (default: {experts.gate})")
    parser.add_argument("--balance", default=experts.balance,
                        help=f"loss, bias or none (default: {experts.balance})")
    parser.add_argument("--balance-weight", type=float, default=BALANCE_WEIGHT,
                        help=f"weight of the balance loss (default: {BALANCE_WEIGHT})")
    parser.add_argument("--capacity", type=float, default=None,
                        help="room of an expert in even shares (default: none, nothing dropped)")
    parser.add_argument("--layers", default=experts.layers,
                        help=f"every, alternate, after_1, blend or d, m, b (default: {experts.layers})")
    parser.add_argument("--world-megabytes", type=float, default=None,
                        help="text of the world to make (default: the preset's)")
    parser.add_argument("--resume", action="store_true",
                        help="go on with the training that was stopped in --out (default: off)")
    parser.add_argument("--fresh", action="store_true",
                        help="begin again although one was stopped there (default: off)")
    parser.add_argument("--save-every", type=int, default=200,
                        help="steps after which the training is saved (default: 200)")
    parser.add_argument("--stop-at", type=int, default=None,
                        help="stop and save after this step, as Ctrl-C would (default: never)")
    add_thrift_flags(parser)
    return parser.parse_args(argv)


@dataclass
class Run:
    """A training: what it works with, and how far it is."""

    model: HybridGPT
    texts: Texts
    size: Size
    runtime: Runtime
    settings: dict
    path: Path              # where its state is kept while it is not done
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    seconds: float = 0.0
    curve: list = field(default_factory=list)  # of (step, held-out loss)
    logger: Logger | None = None

    def save(self) -> None:
        save_training(self.path, self.model, self.optimizer, self.scaler, step=self.step,
                      seconds=self.seconds, curve=self.curve, settings=self.settings,
                      tokenizer=self.texts.tokenizer.to_dict(),
                      log_bytes=self.logger.bytes_written())

    def resume(self, state: dict) -> None:
        """Go on from a saved state. Raises ValueError where it is of other settings or texts."""
        check_same(state["settings"], self.settings)
        if state["tokenizer"] != self.texts.tokenizer.to_dict():
            raise ValueError(f"{self.path}: the texts have changed; begin again with --fresh")
        restore(state, self.model, self.optimizer, self.scaler)
        self.step, self.seconds = state["step"], state["seconds"]
        self.curve = [tuple(point) for point in state["curve"]]
        print(f"resume  {self.path}, step {self.step}")


def train(run: Run, save_every: int, stop_at: int | None) -> bool:
    """Take steps until the run is done -> True, or until someone stops it -> False; both saved."""
    size, every = run.size, max(1, run.size.steps // 16)
    schedule = Schedule("cosine", size.peak, size.peak / 10, 0.05)
    steps = learn(run.model, run.texts.train, run.runtime, schedule, steps=size.steps,
                  rows_a_step=size.rows, first=run.step, optimizer=run.optimizer, scaler=run.scaler)
    with StopOnSignal() as stop, tqdm(total=size.steps, initial=run.step, unit="step",
                                      mininterval=1) as bar:
        while run.step < size.steps:
            start = time.perf_counter()
            try:
                _, report = next(steps)
            except ValueError as error:  # the loss is no number; the steps before it are kept
                run.save()
                raise ValueError(f"{error}. The {run.step} steps before it are in "
                                 f"{run.path}") from None
            run.step, run.seconds = run.step + 1, run.seconds + time.perf_counter() - start
            fullest = run.model.max_load()
            run.logger.log(run.step, loss=round(report.loss, 6), max_load=round(fullest, 3),
                           gradient_norm=round(report.gradient_norm, 5))
            bar.update()
            bar.set_postfix(loss=f"{report.loss:.3f}", max_load=f"{fullest:.2f}")
            if run.step % every == 0 or run.step == size.steps:
                loss = rows_loss(run.model, run.texts.held_out, run.runtime, by_document=True)
                run.logger.log(run.step, val_loss=round(loss, 6))
                run.curve.append((run.step, loss))
            is_stopped = (stop.requested or run.step == stop_at) and run.step < size.steps
            if is_stopped or run.step % save_every == 0 or run.step == size.steps:
                run.save()  # at the end too: measuring comes after it
            if is_stopped:
                return False
    return True


def draw(curve, loads: torch.Tensor, results: dict, setup: str, path) -> None:
    """The curve, and the load of every expert at the end."""
    metrics = results["metrics"]
    fig, (left, right) = plotting.figure(
        f"{metrics['val_loss']:.3f} nats per token held out after {results['seconds']:.0f} s; "
        f"the fullest expert has {metrics['max_load']:.2f} times the mean", setup, 2,
        widths=[1.2, 1])
    left.plot(*zip(*curve), color=plotting.BLUE)
    left.set(xlabel="step", ylabel="loss of 128 held-out rows, nats per token")
    shares = loads / loads.sum(-1, keepdim=True) * loads.size(-1)
    plotting.heat_map(right, shares, vmin=0, vmax=2, numbers=loads.size(-1) <= 8)
    right.set(xlabel="expert", ylabel="layer", title="load over the mean, held-out text")
    plotting.save(fig, path)


def chosen_size(args) -> Size:
    """The preset, with what was given in its place; ValueError for what makes no sense."""
    given = {"steps": args.steps, "world_megabytes": args.world_megabytes}
    size = replace(PRESETS[args.preset],
                   **{name: value for name, value in given.items() if value is not None})
    for flag, value in (("--steps", size.steps), ("--save-every", args.save_every),
                        ("--stop-at", args.stop_at)):
        if value is not None and value < 1:
            raise ValueError(f"{flag} {value}: must be at least 1")
    return size


def begin(args, out: Path) -> Run:
    """Settings -> everything a run needs, as the saved training has it with --resume."""
    size = chosen_size(args)
    moe = MoEConfig(n_expert=args.n_expert, n_active=args.n_active, n_shared=args.n_shared,
                    scale=args.n_active if args.scale is None else args.scale, gate=args.gate,
                    balance=args.balance, balance_weight=args.balance_weight,
                    capacity=args.capacity, layers=args.layers)
    path = out / "moe_training.pt"
    state = read_training(path) if not args.fresh else None
    if state and not args.resume:
        raise ValueError(f"{path} is of a training that was stopped at step {state['step']}; go on "
                         "with --resume, begin again with --fresh, or choose another --out")
    amp = state["settings"]["amp"] if state and args.amp == "auto" else args.amp
    runtime = choose_runtime(args.device, amp, width=size.n_embd, rows=size.rows * size.context)
    check_memory(least_bytes(layers=size.n_layer, width=size.n_embd * max(1, moe.n_active), vocab=0,
                             rows=size.rows, context=size.context, masks=True),
                 runtime.device, "--n-active, or use a smaller --preset")
    seed_everything(args.seed)
    plan = DataPlan(args.data, size.vocab_size, size.world_megabytes, seed=args.seed)
    texts = read_texts(plan, out / "moe_data", size.context, args.seed)
    model = HybridGPT(size.config(texts.tokenizer.vocab_size), moe).to(runtime.device)
    if not model.moes:
        raise ValueError(f"--layers {args.layers}: no layer has experts; that is part_4/train.py")
    print(f"model   {model.count_parameters():,} parameters, {model.count_active():,} of them "
          f"for one token; layers {model.kinds}")
    settings = {**asdict(size), **asdict(moe), "data": args.data, "seed": args.seed,
                "amp": runtime.amp_name, "texts": stamp_of(args.data)}
    run = Run(spend_less(model, args.recompute, args.compile), texts, size, runtime, settings, path,
              optimizer_of(model), runtime.grad_scaler())
    if state:
        run.resume(state)
    elif args.resume:
        print(f"resume  there is no {path}: starts at step 0")
    run.logger = Logger(out_folder(__file__, out / "moe_log"), start_step=run.step,
                        log_bytes=state["log_bytes"] if state else 0)
    return run


def finish(args, run: Run, out: Path) -> None:
    """Save the model, measure it, save what was measured, and draw."""
    model, size, moe = run.model, run.size, run.model.moe_config
    settings = {**asdict(size), "data": args.data, "seed": args.seed, "amp": run.runtime.amp_name}
    def save(metrics):
        save_moe(out / "moe.pt", model, run.texts.tokenizer, step=size.steps, settings=settings,
                 metrics=metrics)

    save({})  # measuring takes a while, and may be stopped
    loss = rows_loss(model, run.texts.held_out, run.runtime, batches=32, by_document=True)
    loads = held_out_loads(model, run.texts.held_out, run.runtime, batches=32)
    metrics = {"val_loss": loss, "bits_per_byte": run.texts.bits_per_byte(loss),
               "max_load": max(max_load(load) for load in loads)}
    save(metrics)
    results = save_results(out / "moe.json", name="moe", preset=args.preset, seed=args.seed,
                           runtime=run.runtime, seconds=run.seconds,
                           tokens=size.steps * size.rows * size.context,
                           parameters=model.count_parameters(), metrics=metrics)
    run.path.unlink(missing_ok=True)
    draw(run.curve, loads, results,
         f"{model.count_parameters() / 1e6:.1f}M parameters, {model.count_active() / 1e6:.1f}M "
         f"active, {moe.n_expert} experts, top-{moe.n_active}, {size.steps} steps, "
         f"{args.data}, seed {args.seed}", out / "train_moe.png")
    print_table(["measured", "value"], list(map(list, metrics.items())),
                f"{out / 'moe.pt'}: {size.steps:,} steps in {run.seconds:.0f} s, "
                f"{results['tokens_per_second']:,.0f} tokens/s")


def main(argv=None):
    args = parse_args(argv)
    chosen_size(args)
    out = out_folder(__file__, args.out)
    with only_run_in(out):
        run = begin(args, out)
        done = train(run, args.save_every, args.stop_at)
        run.logger.close()
        if done:
            finish(args, run, out)
        else:
            print(f"stopped after step {run.step}; saved in {run.path}; go on with --resume")


if __name__ == "__main__":
    run_main(main, trains=True)
