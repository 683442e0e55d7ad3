"""Train the base model: texts -> tokenizer -> shards -> steps -> checkpoint, picture, results.

    python part_4/train.py                         the base model, minutes on two cores
    python part_4/train.py --preset 30m --data stdlib+world --minutes 20
    python part_4/train.py --data my_texts/ --minutes 30
    torchrun --nproc_per_node=2 part_4/train.py --parallel fsdp
    python part_4/train.py --resume                go on after a stop, a crash, a power cut

Stop it with Ctrl-C: it saves, and --resume goes on with the same bytes as if it had never stopped.
Look at a run:  tensorboard --logdir part_4/out
"""

from run.runtime import make_parser, out_folder, peak_memory_mb, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import time
from contextlib import nullcontext

import torch
from base.measure import sample_text
from base.report import finish
from base.run import Run
from base.settings import PRESETS, add_flags
from run.distributed import others_watched, start_processes, stop_processes, unwrapped
from run.interrupt import StopOnSignal
from run.lock import only_run_in
from run.loop import train_step
from run.thrift import add_thrift_flags
from tqdm import tqdm


def parse_args(argv=None):
    parser = make_parser(__doc__, presets=tuple(PRESETS), preset="tiny")
    add_flags(parser)
    parser.add_argument("--resume", action="store_true",
                        help="go on from the newest checkpoint in --out (default: off)")
    parser.add_argument("--fresh", action="store_true",
                        help="start again although --out holds an unfinished run (default: off)")
    parser.add_argument("--force", action="store_true",
                        help="resume although settings differ (default: off)")
    parser.add_argument("--stop-at", type=int, default=None,
                        help="stop and save after this step, as Ctrl-C would (default: never)")
    parser.add_argument("--parallel", choices=("ddp", "fsdp"), default="ddp",
                        help="how several processes share the model (default: ddp)")
    add_thrift_flags(parser)
    parser.add_argument("--no-tensorboard", action="store_true",
                        help="write log.jsonl only (default: off)")
    parser.add_argument("--wandb", default="", metavar="PROJECT",
                        help="log to this project of Weights & Biases too (default: off)")
    return parser.parse_args(argv)


def train(run: Run) -> bool:
    """Take steps until the run is done -> True, or until someone stops it -> False."""
    s, processes, device = run.settings, run.processes, run.runtime.device
    schedule, took = s.learning_rate(), 1.0
    with StopOnSignal() as stop, progress_bar(run) as bar:
        while run.done() < 1:
            start = time.perf_counter()
            # 1. the rate, 2. the rows of this step: both functions of the step alone
            rate = schedule.rate(run.done(ahead=took))
            ids, targets = run.rows.batch(run.step, s.rows, processes.rank, processes.world)
            waited = time.perf_counter() - start
            # 3. dropout is a function of the step too, so there is no random state to restore
            torch.manual_seed(run.args.seed * 1_000_003 + run.step * processes.world + processes.rank)
            # 4. forward, backward, clip, update
            try:
                report = train_step(
                    run.model, run.optimizer, ids.to(device), targets.to(device),
                    runtime=run.runtime, scaler=run.scaler, rate=rate, clip=s.clip,
                    micro_rows=s.micro_rows, processes=processes,
                    begin=run.tokenizer.begin if s.segments else None)
            except FloatingPointError as error:
                raise ValueError(broken(run, ids, str(error))) from None
            # 5. write down
            took, stopped = processes.share(time.perf_counter() - start, stop.requested, device)
            run.step, run.seconds = run.step + 1, run.seconds + took
            if run.logger:
                run.logger.log(run.step, loss=report.loss, gradient_norm=report.gradient_norm,
                               rate=rate, labels=report.labels)
                run.logger.log_timing(run.step, seconds=took, data_seconds=waited,
                                      tokens_per_second=s.rows * s.context / took,
                                      memory_mb=peak_memory_mb(device))
            bar.update(min(took if s.minutes else 1, bar.total - bar.n))
            bar.set_postfix_str(f"loss {report.loss:.3f}, {s.rows * s.context / took:,.0f} tokens/s")
            # 6. evaluate, sample, save
            look_and_save(run)
            if stopped or run.step == run.args.stop_at:
                run.save(is_due=False)
                return False
    return True


def look_and_save(run: Run) -> None:
    """What is due at this step. At the end of the run everything is."""
    s, is_over = run.settings, run.done() >= 1
    saves = run.step % s.save_every == 0 or is_over
    if saves or run.step % s.eval_every == 0:
        run.evaluate()
    if run.step % s.sample_every == 0 or is_over:
        text = sample_text(unwrapped(run.model), run.tokenizer, run.runtime, seed=run.step)
        if run.logger:
            run.logger.log(run.step, sample=text)
    if saves:
        run.save(is_due=True)


def broken(run: Run, ids: torch.Tensor, what: str) -> str:
    """The message for a loss that is not a number: where, on what, and the way back."""
    s = run.settings
    first = run.step * s.rows
    return (f"step {run.step + 1}: {what}, in rows {first:,} to {first + s.rows - 1:,} of the data, "
            f"the first of which reads {run.tokenizer.decode(ids[0][:24].tolist())!r}. "
            f"Nothing was updated; {run.last_good()}. Lower --peak (now {s.peak}) or --clip "
            f"(now {s.clip}), or use --amp float32, then --resume --force")


def progress_bar(run: Run) -> tqdm:
    minutes = run.settings.minutes
    total, initial = (60 * minutes, run.seconds) if minutes else (run.settings.steps, run.step)
    return tqdm(total=total, initial=initial, desc="train", disable=not run.processes.is_main,
                unit="s" if minutes else "step", mininterval=1.0,
                bar_format="{desc} {percentage:3.0f}%|{bar:20}| {n:.0f}/{total:.0f} "
                           "[{elapsed}<{remaining}, {postfix}]")


def train_and_finish(run: Run) -> None:
    if run.logger:
        print(f"model   {run.parameters:,} parameters; {run.processes.world} process(es)")
    done = train(run)
    if done:
        finish(run)
    elif run.processes.is_main:
        print(f"stopped after step {run.step}; {run.last_good()}; go on with --resume")
    if run.logger:
        run.logger.close()


def main(argv=None):
    args = parse_args(argv)
    if args.stop_at is not None and args.stop_at < 1:
        raise ValueError(f"--stop-at {args.stop_at}: must be at least 1")
    processes, device = start_processes(args.device)
    try:
        out = out_folder(__file__, args.out)
        with only_run_in(out) if processes.is_main else nullcontext():
            with others_watched(processes):
                train_and_finish(Run(args, out, processes, device))
    finally:
        stop_processes()


if __name__ == "__main__":
    run_main(main, trains=True, processes=True)
