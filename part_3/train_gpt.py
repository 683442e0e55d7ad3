"""Train the modern GPT on any text, byte by byte.

    python train_gpt.py                                      the fables, about two minutes
    python train_gpt.py --data book.txt --preset three_minutes
    python train_gpt.py --data book.txt --minutes 10 --width 256 --heads 8
    python train_gpt.py --preset streaming                   with a window and attention sinks

The first 90% of the text are for training, the last 10% for validation. Writes to out/: gpt.pt (the
weights of the lowest validation loss), gpt.json, training_curves.png, runs/ for TensorBoard.
Ctrl-C finishes the step, saves all of that, and stops. Lesson 3.4.
"""

from run.runtime import (
    choose_runtime,
    here,
    make_parser,
    out_folder,
    run_main,
    save_results,
    seed_everything,
    synchronize,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import copy
import math
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from generate import generate
from model import GPT, GPTConfig
from run.checkpoint import save_checkpoint
from run.data import check_enough, decode, encode, get_batch, read_bytes, split_bytes
from run.evaluation import bits_per_byte, evaluate
from run.interrupt import StopOnSignal
from run.lock import only_run_in
from run.memory import check_memory, least_bytes
from run.plotting import BLUE, ORANGE, end_label, figure, save
from run.presets import PRESETS, Settings, choose_settings
from run.schedule import learning_rate
from tqdm import tqdm

REPORT_EVERY = 10  # steps


@dataclass
class History:
    """What the loop saw: for the picture, the JSON and the weights that are kept."""

    steps: int = 0
    seconds: float = 0.0
    stopped: bool = False  # by Ctrl-C
    train: list[tuple[int, float]] = field(default_factory=list)  # (step, loss)
    val: list[tuple[int, float]] = field(default_factory=list)
    best: dict | None = None  # the weights at the lowest of `val`


def make_optimizer(model: GPT, settings: Settings) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameter_groups(settings.weight_decay), lr=settings.lr,
                             betas=(0.9, settings.beta2), fused=True)


def update(model: GPT, optimizer, scaler, clip: float) -> torch.Tensor:
    """Clip the gradients, take one step, drop the gradients. Returns their norm before the clip."""
    scaler.unscale_(optimizer)  # first: the norm of scaled gradients would be thousands too large
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return norm


def progress_of(step: int, seconds: float, settings: Settings) -> float:
    """The share of the run that is over after `step` steps and `seconds`: 1 or more is the end."""
    by_steps = step / settings.steps if settings.steps else 0.0
    by_time = seconds / (60 * settings.minutes) if settings.minutes else 0.0
    return max(by_steps, by_time)


def check_progress(model: GPT, val_data: torch.Tensor, settings: Settings, history: History,
                   log) -> float:
    """Evaluate on a part of the validation text; keep the weights if they are the best yet."""
    loss = evaluate(model, val_data, every=max(1, round(len(val_data) / settings.eval_bytes)))
    if loss < min((earlier for _, earlier in history.val), default=math.inf):
        history.best = copy.deepcopy(model.state_dict())
    history.val.append((history.steps, loss))
    log.add_scalar("loss/validation", loss, history.steps)
    return loss


def train(model: GPT, train_data: torch.Tensor, val_data: torch.Tensor, settings: Settings,
          runtime, generator: torch.Generator, log, *, compiled: bool = False) -> History:
    """The loop. Returns what it saw; the model is left as it was at the last step."""
    optimizer, scaler = make_optimizer(model, settings), runtime.grad_scaler()
    forward = torch.compile(model) if compiled else model
    history, losses, val_loss, progress = History(), [], math.nan, 0.0
    bar = tqdm(total=settings.steps or round(60 * settings.minutes),
               unit="step" if settings.steps else "s", dynamic_ncols=True)
    start = time.perf_counter()
    model.train()
    with StopOnSignal() as stop, bar:
        while progress < 1 and not stop.requested:
            step = history.steps
            # 1. schedule: where in the run is this step?
            ahead = progress_of(step + 1, time.perf_counter() - start, settings)
            rate = learning_rate(ahead, peak=settings.lr, final=settings.final_lr * settings.lr,
                                 warmup=settings.warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate
            # 2. batch: random windows, and the same windows one byte on
            ids, targets = get_batch(train_data, settings.batch_size, model.config.block_size,
                                     generator)
            # 3. forward
            with runtime.autocast():
                _, loss = forward(ids, targets)
            # 4. backward
            scaler.scale(loss).backward()
            # 5. clip, and 6. step
            norm = update(model, optimizer, scaler, settings.clip)
            # 7. report
            losses.append(loss.detach())
            history.steps += 1
            history.seconds = time.perf_counter() - start
            before, progress = progress, progress_of(history.steps, history.seconds, settings)
            if history.steps % REPORT_EVERY == 0 or progress >= 1:
                report(history, losses, rate, norm, val_loss, bar, settings, log)
            parts = settings.evaluations
            if int(progress * parts) > int(before * parts):  # the last step is one of them
                val_loss = check_progress(model, val_data, settings, history, log)
    synchronize(runtime.device)
    history.seconds, history.stopped = time.perf_counter() - start, stop.requested
    return history


def report(history: History, losses: list, rate: float, norm, val_loss: float, bar,
           settings: Settings, log) -> None:
    """Note the mean loss of the last steps, and show it. The only place that reads the device."""
    loss = torch.stack(losses).mean().item()
    losses.clear()
    if not math.isfinite(loss):
        raise ValueError(f"the loss became {loss} at step {history.steps}; try a lower --lr "
                         f"(it is {settings.lr:g} at the peak) or --amp float32")
    tokens = history.steps * settings.batch_size * settings.block_size
    speed = tokens / max(history.seconds, 1e-9)
    history.train.append((history.steps, loss))
    for name, value in (("loss/train", loss), ("rate", rate), ("gradient_norm", norm.item()),
                        ("tokens_per_second", speed)):
        log.add_scalar(name, value, history.steps)
    bar.n = min(bar.total, history.steps if settings.steps else round(history.seconds))
    shown = "-" if math.isnan(val_loss) else f"{val_loss:.3f}"
    bar.set_postfix_str(f"loss {loss:.3f}, val {shown}, rate {rate:.1e}, {speed:,.0f} tok/s")


def save_or_rescue(path: Path, model: GPT, **fields) -> None:
    """Save; if that fails, save to the system's temporary folder and say so."""
    try:
        save_checkpoint(path, model, **fields)
    except OSError as error:
        rescue = Path(tempfile.gettempdir()) / f"rescued_{path.name}"
        save_checkpoint(rescue, model, **fields)
        raise OSError(f"{error}\nthe trained model is safe in {rescue}") from None


def finish(model: GPT, val_data: torch.Tensor, settings: Settings, history: History,
           log) -> float:
    """Go back to the weights of the lowest validation loss -> their loss on the whole of it."""
    if not history.val or history.val[-1][0] != history.steps:  # stopped by Ctrl-C
        check_progress(model, val_data, settings, history, log)
    if history.best is not None:
        model.load_state_dict(history.best)
    return evaluate(model, val_data)


def draw_curves(history: History, val_loss: float, setup: str, path: Path) -> None:
    """Training and validation loss over the steps."""
    fig, ax = figure(f"{history.steps:,} steps bring the validation loss to {val_loss:.2f} nats a "
                     f"byte ({bits_per_byte(val_loss):.2f} bits)", setup)
    names = (("training", history.train, BLUE), ("validation", history.val, ORANGE))
    ends = [points[-1][1] for _, points, _ in names if points]
    apart = 6 if len(ends) == 2 and abs(ends[0] - ends[1]) < 0.3 else 0
    for (name, points, color), dy in zip(names, (-apart, apart)):
        if points:
            x, y = zip(*points)
            ax.plot(x, y, color=color, marker="o" if name == "validation" else None, markersize=3)
            end_label(ax, x, y, name, color, dy=dy)
    late = [loss for _, points, _ in names for step, loss in points if step >= 0.1 * history.steps]
    if late:  # close enough to see where the two part; the start, near ln 256 = 5.55, is cut off
        ax.set_ylim(min(late) - 0.1, max(late) + 0.3)
    ax.set(xlabel="step", ylabel="loss, nats a byte (not from 0)")
    save(fig, path)


# CHANGED in part 3: heads, window and sink; the fables of part 2
def parse_args(argv=None):
    parser = make_parser(__doc__, presets=tuple(PRESETS), preset="default", seed=1)
    add = parser.add_argument
    add("--data", default=str(here(__file__) / "fables.txt"),
        help="any file, or a folder: its text files in sorted order (default: the fables)")
    for flag, kind, name, text in (
            ("--steps", int, "steps", "how many steps"),
            ("--minutes", float, "minutes", "stop after so many minutes; alone, instead of steps"),
            ("--batch-size", int, "batch_size", "windows a step"),
            ("--block-size", int, "block_size", "bytes a window: the context"),
            ("--layers", int, "n_layer", "blocks"), ("--heads", int, "n_head", "heads a block"),
            ("--kv-heads", int, "n_kv_head", "key/value heads they share"),
            ("--window", int, "window", "bytes that a byte sees, itself included"),
            ("--sink", int, "sink", "first bytes that stay visible beyond the window"),
            ("--width", int, "n_embd", "width of the residual stream"),
            ("--dropout", float, "dropout", "share of activations dropped"),
            ("--lr", float, "lr", "learning rate at the peak"),
            ("--weight-decay", float, "weight_decay", "pull of matrices towards zero"),
            ("--evaluations", int, "evaluations", "how often the validation loss is looked at")):
        add(flag, type=kind, dest=name, help=f"{text} (default: the preset's)")
    add("--compile", action="store_true", help="use torch.compile (default: off)")
    return parser.parse_args(argv)


# CHANGED in part 3: a text written with its cache
def train_and_save(args, settings: Settings, config: GPTConfig, train_data, val_data,
                   out: Path) -> None:
    """Train, save, measure, save what was measured, draw, and write a little."""
    runtime = choose_runtime(args.device, args.amp, width=config.n_embd,
                             rows=settings.batch_size * settings.block_size)
    check_memory(least_bytes(layers=config.n_layer, width=config.n_embd, vocab=config.vocab_size,
                             rows=settings.batch_size, context=settings.block_size),
                 runtime.device, "--block-size, --batch-size, --width or --layers")
    model = GPT(config).to(runtime.device)
    print(f"data    {args.data}: {len(train_data):,} bytes to train, "
          f"{len(val_data):,} to validate\n"
          f"model   {model.count_parameters():,} parameters: {config}")
    from torch.utils.tensorboard import SummaryWriter  # takes a second: not for --help
    log = SummaryWriter(str(out / "runs" / "gpt"))
    generator = torch.Generator().manual_seed(args.seed)
    history = train(model, train_data.to(runtime.device), val_data, settings, runtime, generator,
                    log, compiled=args.compile)
    saved = {"step": history.steps, "settings": {**asdict(settings), "preset": args.preset,
             "seed": args.seed, "amp": runtime.amp_name, "data": str(Path(args.data).resolve())}}
    save_or_rescue(out / "gpt.pt", model, metrics={}, **saved)  # a Ctrl-C may be on its way
    val_loss = finish(model, val_data, settings, history, log)
    metrics = {"val_loss": val_loss, "bits_per_byte": bits_per_byte(val_loss)}
    save_or_rescue(out / "gpt.pt", model, metrics=metrics, **saved)
    tokens = history.steps * settings.batch_size * settings.block_size
    save_results(out / "gpt.json", name="gpt", preset=args.preset, seed=args.seed, runtime=runtime,
                 seconds=history.seconds, tokens=tokens, parameters=model.count_parameters(),
                 metrics=metrics)
    draw_curves(history, val_loss, f"{config.n_layer} layers, width {config.n_embd}, context "
                f"{config.block_size}, batch {settings.batch_size}, {history.seconds:.0f} s, seed "
                f"{args.seed}", out / "training_curves.png")
    log.close()
    print(f"result  {history.steps} steps, {history.seconds:.1f} s, validation loss {val_loss:.4f} "
          f"nats a byte, {metrics['bits_per_byte']:.4f} bits\nmodel   {out / 'gpt.pt'}")
    if history.stopped:
        print(f"stopped by Ctrl-C after step {history.steps}; the model is saved, and can be used")
        return
    written = generate(model, [encode("\n")], 300, temperature=0.8, restart=True,
                       generator=torch.Generator().manual_seed(args.seed))[0]
    print(f"\n{decode(written)}\n\nmore: python part_3/sample.py")


# CHANGED in part 3: the modern model
def main(argv=None):
    args = parse_args(argv)
    settings = choose_settings(args)
    config = GPTConfig(block_size=settings.block_size, n_layer=settings.n_layer,
                       n_head=settings.n_head, n_embd=settings.n_embd, dropout=settings.dropout,
                       embedding_std=settings.embedding_std,
                       n_kv_head=settings.n_kv_head, window=settings.window, sink=settings.sink)
    seed_everything(args.seed)
    train_data, val_data = split_bytes(read_bytes(args.data))
    check_enough(train_data, config.block_size, "training")
    check_enough(val_data, config.block_size, "validation")
    out = out_folder(__file__, args.out)
    with only_run_in(out):
        train_and_save(args, settings, config, train_data, val_data, out)


if __name__ == "__main__":
    run_main(main, trains=True)
