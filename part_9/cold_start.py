"""A cold start: examples of both ways to answer, at once and step by step; RL finds out which pays.

    python part_9/cold_start.py                      from part_6/out/sft.pt, minutes
    python part_9/cold_start.py --steps 2000         more of it: what is left for RL?
    python part_9/cold_start.py --resume             go on after a stop
    torchrun --nproc_per_node=2 part_9/cold_start.py    in two processes

The tuned model has never seen a sum of three numbers: it is right in 2% of these tasks, and where
nothing is ever right, RL has nothing to strengthen. So it reads examples first, of both ways in which
people answer: 30% with steps, the others at once. It imitates both: greedily, a third to half of its
replies have steps, and five or six of ten are right. That steps pay is left for RL to find out.
Writes out/cold.pt and cold.json.
"""

from run.runtime import (
    choose_runtime,
    here,
    make_parser,
    print_table,
    run_main,
    save_results,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import random
import time
from pathlib import Path

from reasoning.tasks import direct, problems
from run.checkpoint import load_checkpoint, save_checkpoint
from run.distributed import same_format, whole_model, wrap
from run.interrupt import StopOnSignal
from run.loop import train_step
from run.optim import make_optimizer, model_state
from run.progress import Progress, add_progress_flags, sum_of, sum_of_weights, training_in
from run.schedule import Schedule
from sft.chat_format import Message
from sft.data import Example, ExampleRows, encode_example, replay_examples, world_examples
from sft.evaluation import is_chat_model
from text.tokenizer import Tokenizer
from torch import nn
from tqdm import tqdm

SFT = here(__file__).parent / "part_6" / "out" / "sft.pt"
SFT_WITH = "python part_6/train_sft.py (about 4 minutes)"
KEPT = 0.35  # of the examples: part 6's skills, to be kept
AT_ONCE = 0.6  # of the problems: answered at once, though nobody asked for that
ASKED = 0.1  # of the problems: answered at once because the question asks for it


def cold_examples(n: int, seed: int, tokenizer: Tokenizer, context: int) -> list[Example]:
    """n examples in random order: answered at once, worked, and some of part 6's to be kept."""
    rng, examples = random.Random(f"cold {seed}"), []
    kept = int(KEPT * n)
    for problem in problems(n - kept, "train", seed):
        way = rng.random()
        asked = direct(problem, rng) if way < ASKED else problem
        reply = problem.answer if way < ASKED + AT_ONCE else problem.gold
        messages = [*asked.messages, Message("assistant", reply)]
        examples.append(encode_example(messages, tokenizer, context)[0])
    examples += old_examples(kept, seed, tokenizer, context)
    rng.shuffle(examples)
    return [example for example in examples if example is not None]


def old_examples(n: int, seed: int, tokenizer: Tokenizer, context: int) -> list[Example]:
    """n of part 6's kind, answered plainly, a fifth of them plain texts: what is not read again is
    forgotten. The crowd's manners may be: steps are what matters here, and rude words between them
    would be read by the checker as part of the answer."""
    return world_examples(n - n // 5, seed, tokenizer, context, manners="gold")[0] \
        + replay_examples(n // 5, seed, tokenizer, context)


def learn(model: nn.Module, examples: list[Example], steps: int, *, rows: int, peak: float,
          tokenizer: Tokenizer, runtime, seed: int = 0,
          progress: Progress | None = None) -> list[float]:
    """Tune on the examples, pass after pass, each pass in another order -> the losses. A step reads
    `rows` rows as long as the context, each packed with several examples."""
    packed = ExampleRows(examples, model.config.block_size, pad=tokenizer.pad, seed=seed)
    progress = progress or Progress()
    processes = progress.processes
    fast = wrap(model, processes.kind, processes, runtime.device)
    optimizer = make_optimizer(model, weight_decay=0.0, betas=(0.9, 0.98), rate=peak)
    schedule, scaler = Schedule("linear", peak, 0.0, 0.1), runtime.grad_scaler()
    losses = progress.begin(model, optimizer, scaler, steps, model.config).log
    model.train()
    with StopOnSignal() as stop, tqdm(total=steps, initial=progress.step, desc="cold start",
                                      mininterval=1.0, disable=progress.quiet) as bar:
        while progress.step < steps:
            start = time.perf_counter()
            progress.seed_step()
            ids, targets = packed.batch(progress.step, rows, processes.rank, processes.world)
            report = train_step(fast, optimizer, ids.to(runtime.device), targets.to(runtime.device),
                                runtime=runtime, scaler=scaler, begin=tokenizer.begin,
                                processes=processes,
                                rate=schedule.rate((progress.step + 1) / (steps + 1)))  # never 0
            losses.append(report.loss)
            bar.update()
            if progress.step_done(time.perf_counter() - start, stop.requested):
                break
    model.eval()
    return losses


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--sft", type=Path, default=SFT,
                        help="the tuned model (default: part_6/out/sft.pt)")
    parser.add_argument("--examples", type=int, default=20000,
                        help="different examples, a fifth of them worked (default: 20000)")
    parser.add_argument("--steps", type=int, default=1000, help="optimizer steps (default: 1000)")
    parser.add_argument("--rows", type=int, default=8,
                        help="packed rows in a step, some fifty examples (default: 8)")
    parser.add_argument("--peak", type=float, default=2e-3,
                        help="highest learning rate (default: 2e-3)")
    add_progress_flags(parser, save_every=100)
    return parser.parse_args(argv)


def progress_of(folder: Path, args, model: nn.Module, tokenizer: Tokenizer, examples: list, runtime,
                processes) -> Progress:
    """The checkpoints of tuning `model` on `examples`; refuses what was begun with others."""
    settings = {"seed": args.seed, "steps": args.steps, "rows": args.rows, "peak": args.peak,
                "amp": runtime.amp_name, "data": sum_of(examples), "weights": sum_of_weights(model),
                "tokenizer": tokenizer.fingerprint}
    if args.rows % processes.world:
        raise ValueError(f"--rows {args.rows} must be a multiple of the {processes.world} processes")
    return Progress(folder, args, settings=settings, tokenizer=tokenizer, processes=processes)


def main(argv=None):
    args = parse_args(argv)
    for name in ("examples", "steps", "rows"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} {getattr(args, name)}: must be at least 1")
    with training_in(__file__, args) as (out, processes):
        seed_everything(args.seed)
        model, tokenizer, _ = load_checkpoint(args.sft, make_with=SFT_WITH)
        if not is_chat_model(tokenizer):
            raise ValueError(f"{args.sft} knows no roles; make a chat model with: {SFT_WITH}")
        runtime = same_format(choose_runtime(
            args.device, args.amp, width=model.config.n_embd), processes)
        model.to(runtime.device)
        examples = cold_examples(args.examples, args.seed, tokenizer, model.config.block_size)
        progress = progress_of(out / "checkpoints_cold", args, model, tokenizer, examples, runtime,
                               processes)
        losses = learn(model, examples, args.steps, rows=args.rows, peak=args.peak,
                       tokenizer=tokenizer, runtime=runtime, seed=args.seed, progress=progress)
        model = whole_model(model)
        if progress.is_over() and processes.is_main:
            write(out, args, model, tokenizer, runtime, losses, len(examples), progress.seconds)


def write(out: Path, args, model, tokenizer, runtime, losses: list[float], many: int,
          seconds: float) -> None:
    """cold.pt, cold.json and a table."""
    metrics = {"loss": sum(losses[-10:]) / len(losses[-10:]), "examples": many}
    settings = {"seed": args.seed, "examples": args.examples, "steps": args.steps,
                "rows": args.rows, "peak": args.peak}
    save_checkpoint(out / "cold.pt", weights=model_state(model), config=model.config,
                    tokenizer=tokenizer, step=args.steps, settings=settings, metrics=metrics)
    tokens = args.steps * args.rows * model.config.block_size
    save_results(out / "cold.json", name="cold", preset="", seed=args.seed, runtime=runtime,
                 seconds=seconds, tokens=tokens, parameters=model.count_parameters(),
                 metrics=metrics)
    print_table(["examples", "steps", "loss at the end", "seconds"],
                [[many, args.steps, metrics["loss"], seconds]], str(out / "cold.pt"))


if __name__ == "__main__":
    run_main(main, trains=True, processes=True)
