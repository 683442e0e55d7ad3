"""Train a language model with experts: checkpoint, results, curves, TensorBoard.

    python part_5/train_moe.py                            minutes on two cores
    python part_5/train_moe.py --balance bias --n-expert 16 --n-active 4
    python part_5/train_moe.py --preset chain             room for conversations: a base for part 6
    python part_5/train_moe.py --resume                   go on after a stop, a crash, a power cut
    torchrun --nproc_per_node=2 part_5/train_moe.py --parallel experts    each process keeps half of them

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
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path

import torch
from base.measure import rows_loss
from moe.checkpoint import save_moe
from moe.expert_parallel import seconds_exchanging, spread_experts
from moe.hybrid import HybridGPT
from moe.learning import Texts, held_out_loads, learn, optimizer_of, read_texts
from moe.resuming import check_same, read_training, restore, save_training
from moe.router import max_load
from moe.settings import PRESETS, Size, add_flags, check_division, chosen_experts, chosen_size
from run import plotting
from run.distributed import (
    Processes,
    others_watched,
    same_format,
    start_processes,
    stop_processes,
    unwrapped,
    whole_model,
    wrap,
)
from run.interrupt import StopOnSignal
from run.lock import only_run_in
from run.logger import Logger
from run.memory import check_memory, least_bytes
from run.schedule import Schedule
from run.thrift import spend_less
from text.data import DataPlan
from text.sources import stamp_of
from tqdm import tqdm


def parse_args(argv=None):
    parser = make_parser(__doc__, presets=tuple(PRESETS), preset="tiny")
    add_flags(parser)
    return parser.parse_args(argv)


@dataclass
class Run:
    """A training: what it works with, and how far it is."""

    learner: torch.nn.Module  # the model, as several processes share it
    texts: Texts
    size: Size
    runtime: Runtime
    processes: Processes
    settings: dict
    path: Path              # where its state is kept while it is not done
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    seconds: float = 0.0
    curve: list = field(default_factory=list)  # of (step, held-out loss)
    logger: Logger | None = None  # of the main process

    @property
    def model(self) -> HybridGPT:
        return unwrapped(self.learner)

    def save(self) -> None:
        save_training(self.path, self.model, self.optimizer, self.scaler, self.processes,
                      step=self.step, seconds=self.seconds, curve=self.curve,
                      settings=self.settings, tokenizer=self.texts.tokenizer.to_dict(),
                      log_bytes=self.logger.bytes_written() if self.logger else 0)

    def log(self, **values) -> None:
        if self.logger:
            self.logger.log(self.step, **values)

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
    processes, device = run.processes, run.runtime.device
    steps = learn(run.learner, run.texts.train, run.runtime, schedule, steps=size.steps,
                  rows_a_step=size.rows, first=run.step, optimizer=run.optimizer, scaler=run.scaler,
                  processes=processes)
    with StopOnSignal() as stop, tqdm(total=size.steps, initial=run.step, unit="step",
                                      mininterval=1, disable=not processes.is_main) as bar:
        while run.step < size.steps:
            start = time.perf_counter()
            try:
                _, report = next(steps)
            except ValueError as error:  # the loss is no number; the steps before it are kept
                run.save()
                raise ValueError(f"{error}. The {run.step} steps before it are in "
                                 f"{run.path}") from None
            took, stopped = processes.share(time.perf_counter() - start, stop.requested, device)
            waited, _ = processes.share(run.model.waited + seconds_exchanging(run.model), False, device)
            run.step, run.seconds, run.model.waited = run.step + 1, run.seconds + took, 0.0
            fullest = run.model.max_load()
            run.log(loss=round(report.loss, 6), max_load=round(fullest, 3),
                    gradient_norm=round(report.gradient_norm, 5))
            if run.logger and processes.world > 1:
                run.logger.log_timing(run.step, seconds=took, waiting=waited)
            bar.update()
            bar.set_postfix(loss=f"{report.loss:.3f}", max_load=f"{fullest:.2f}")
            if run.step % every == 0 or run.step == size.steps:
                loss = rows_loss(run.model, run.texts.held_out, run.runtime, by_document=True)
                run.log(val_loss=round(loss, 6))
                run.curve.append((run.step, loss))
            is_stopped = (stopped or run.step == stop_at) and run.step < size.steps
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


def begin(args, out: Path, processes: Processes) -> Run:
    """Settings -> everything a run needs, as the saved training has it with --resume."""
    size, moe = chosen_size(args), chosen_experts(args)
    check_division(size, args, processes)
    path = out / "moe_training.pt"
    state = read_training(path) if not args.fresh else None
    if state and not args.resume:
        raise ValueError(f"{path} is of a training that was stopped at step {state['step']}; go on "
                         "with --resume, begin again with --fresh, or choose another --out")
    amp = state["settings"]["amp"] if state and args.amp == "auto" else args.amp
    rows = size.rows // processes.world
    runtime = same_format(choose_runtime(args.device, amp, width=size.n_embd,
                                         rows=rows * size.context), processes)
    if processes.world > 1 and args.parallel != "ddp" and runtime.grad_scaler().is_enabled():
        raise ValueError(f"--parallel {args.parallel} with --amp float16: the scaler does not see all "
                         "slices; use --amp bfloat16")
    check_memory(least_bytes(layers=size.n_layer, width=size.n_embd * max(1, moe.n_active), vocab=0,
                             rows=rows, context=size.context, masks=True),
                 runtime.device, "--n-active, or use a smaller --preset")
    plan = DataPlan(args.data, size.vocab_size, size.world_megabytes, seed=args.seed)
    seed_everything(args.seed)
    texts = read_texts(plan, out / "moe_data", size.context, args.seed, processes)
    model = HybridGPT(size.config(texts.tokenizer.vocab_size), moe).to(runtime.device)
    if not model.moes:
        raise ValueError(f"--layers {args.layers}: no layer has experts; that is part_4/train.py")
    print(f"model   {model.count_parameters():,} parameters, {model.count_active():,} of them "
          f"for one token; layers {model.kinds}; {processes.world} process(es)")
    settings = {**asdict(size), **asdict(moe), "data": args.data, "seed": args.seed,
                "amp": runtime.amp_name, "texts": stamp_of(args.data)}
    learner = shared(model, args.parallel, processes, runtime.device)
    spend_less(model, args.recompute, args.compile)
    run = Run(learner, texts, size, runtime, processes, settings, path, optimizer_of(learner),
              runtime.grad_scaler())
    if state:
        run.resume(state)
    elif args.resume:
        print(f"resume  there is no {path}: starts at step 0")
    processes.wait()  # until all have read what is there
    if processes.is_main:
        run.logger = Logger(out_folder(__file__, out / "moe_log"), start_step=run.step,
                            log_bytes=state["log_bytes"] if state else 0)
    return run


def shared(model: HybridGPT, parallel: str, processes: Processes, device) -> torch.nn.Module:
    """The model as the processes share it; unchanged in one."""
    model.processes = processes  # the routers' balance is that of the whole step
    if parallel == "experts" and processes.world > 1:
        return spread_experts(model, processes, device)
    return wrap(model, "fsdp" if parallel == "fsdp" else "ddp", processes, device)


def finish(args, run: Run, model: HybridGPT, out: Path) -> None:
    """Save the model, measure it, save what was measured, and draw."""
    size, moe = run.size, model.moe_config
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


def work(args, out: Path, processes: Processes) -> None:
    run = begin(args, out, processes)
    done = train(run, args.save_every, args.stop_at)
    if run.logger:
        run.logger.close()
    model = whole_model(run.model)  # all processes put it together
    if done and processes.is_main:
        finish(args, run, model, out)
    elif not done:
        print(f"stopped after step {run.step}; saved in {run.path}; go on with --resume")


def main(argv=None):
    args = parse_args(argv)
    chosen_size(args), chosen_experts(args)  # refuse what is wrong before anything is started
    processes, args.device = start_processes(args.device)
    try:
        out = out_folder(__file__, args.out)
        alone = only_run_in(out) if processes.is_main else nullcontext()
        quiet = nullcontext() if processes.is_main else redirect_stdout(StringIO())
        with alone, quiet, others_watched(processes):
            work(args, out, processes)
    finally:
        stop_processes()


if __name__ == "__main__":
    run_main(main, trains=True, processes=True)
