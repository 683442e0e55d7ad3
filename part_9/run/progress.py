"""How far a training is: alone in its folder, kept in checkpoints, and gone on with after a stop.

Idea   What moves between two steps is kept: weights, the optimizer, the scaler, the log, and what a
       trainer adds (`more`). All else (rows, rates, random numbers) is a function of settings, seed
       and step. So a run that was stopped or killed ends with the same bytes as one that was not.
Rule   A run goes on only with what it began with: settings, sums of the data and weights it reads.
Used   the training scripts from part 7 on; train_sft.py takes the folder from here
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from run.checkpoint import Checkpoints
from run.distributed import Processes, others_watched, start_processes, stop_processes, whole
from run.lock import only_run_in
from run.optim import load_model_state, load_optimizer_state, model_state, optimizer_state
from run.runtime import cores, out_folder
from run.thrift import add_thrift_flags, spend_less

ALONE = Processes()  # one process


def add_progress_flags(parser, save_every: int) -> None:
    """The flags of a training that can stop and go on, and spend less."""
    parser.add_argument("--resume", action="store_true",
                        help="go on from the newest checkpoint in --out (default: off)")
    parser.add_argument("--stop-at", type=int, default=None,
                        help="stop and save after this step, as Ctrl-C would (default: never)")
    parser.add_argument("--save-every", type=int, default=save_every,
                        help=f"steps between checkpoints (default: {save_every})")
    add_thrift_flags(parser)
    add_shard_flag(parser)


def add_shard_flag(parser) -> None:
    parser.add_argument("--shard", action="store_true",
                        help="each of several processes keeps a slice of every model and of the "
                             "optimizer, as FSDP does (default: off)")


@contextmanager
def training_in(script: str, args) -> Iterator[tuple[Path, Processes]]:
    """-> (the folder to write in, this process among those of torchrun). Nobody else trains in that
    folder meanwhile; of several processes the main one alone speaks. Sets args.device."""
    for name in ("stop_at", "save_every"):
        value = getattr(args, name, None)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} {value}: must be at least 1")
    processes, args.device = start_processes(args.device)
    processes = replace(processes, shards=processes.world > 1 and getattr(args, "shard", False))
    try:
        out = out_folder(script, args.out)
        if processes.is_main:
            with only_run_in(out), others_watched(processes):
                yield out, processes
        else:
            with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), \
                    others_watched(processes):
                yield out, processes
    finally:
        stop_processes()


def sum_of(things) -> str:
    """A short sum of what something reads like, for data: equal things have equal sums."""
    return hashlib.sha256(repr(things).encode()).hexdigest()[:16]


def sum_of_weights(model: nn.Module) -> str:
    """A short sum of a model's weights, whatever its file is called. All processes must ask."""
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(whole(value).detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()[:16]


def same_settings(saved: dict, now: dict, free: tuple[str, ...] = ()) -> None:
    """Raise ValueError where settings changed, but for those that only change the rounding."""
    changed = [f"{name}: was {saved.get(name)}, now {now.get(name)}" for name in sorted(saved | now)
               if name not in free and saved.get(name) != now.get(name)]
    if changed:
        raise ValueError("these settings differ from the checkpoint's; give the old ones (data: "
                         "the same records), or start again without --resume:\n  "
                         + "\n  ".join(changed))


def same_threads(training: dict) -> None:
    """As many threads as the run began with, unless asked for: sums round the same way."""
    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(min(training["threads"], cores()))


class Progress:
    """The steps of a training that are made, and its checkpoints. Without a folder none is kept.

    `settings`: what must be the same for a resume to be the same run. `log` is kept in the
    checkpoint; a trainer that writes its log as it goes gives `log_bytes`.
    """

    def __init__(self, folder: Path | None = None, args=None, *, settings: dict | None = None,
                 tokenizer=None, processes: Processes = ALONE):
        self.folder, self.settings, self.tokenizer = folder, settings or {}, tokenizer
        self.processes, self.stop_at = processes, getattr(args, "stop_at", None)
        self.every, self.seed = getattr(args, "save_every", None), getattr(args, "seed", 0)
        self.thrift = [getattr(args, name, False) for name in ("recompute", "compile")]
        self.log_bytes: Callable[[], int] = lambda: 0
        self.step, self.steps, self.seconds, self.log, self.more = 0, 0, 0.0, [], {}
        self.saved = None if folder is None else self.find(args.resume)

    @property
    def quiet(self) -> bool:
        """True where another process shows the bar."""
        return not self.processes.is_main

    def find(self, resume: bool) -> dict | None:
        """The newest checkpoint, its settings compared; None for a fresh start."""
        self.checkpoints = Checkpoints(self.folder, 2)
        newest = self.checkpoints.newest() if resume else None
        self.processes.wait()  # until all have read what is there
        if newest is None:
            if resume:
                print(f"resume  {self.folder} holds no checkpoint: starts at step 0")
            if self.processes.is_main:
                self.checkpoints.clear()
            return None
        path, saved = newest
        same_settings(saved["settings"], self.settings)
        print(f"resume  {path}")
        return saved

    def begin(self, model: nn.Module, optimizer, scaler, steps: int, config=None) -> "Progress":
        """What the training moves, put back to where the checkpoint left it, if there is one. The
        model then spends what the flags say."""
        if self.processes.shards and scaler.is_enabled():
            raise ValueError("--shard with --amp float16: the scaler does not see all slices; use "
                             "--amp bfloat16")
        spend_less(model, *self.thrift)
        self.model, self.optimizer, self.scaler, self.steps = model, optimizer, scaler, steps
        self.config = config
        if self.saved:
            training = self.saved["training"]
            load_model_state(model, self.saved["weights"])
            load_optimizer_state(model, optimizer, training["optimizer"])
            scaler.load_state_dict(training["scaler"])
            self.step, self.seconds = self.saved["step"], training["seconds"]
            self.log, self.more = training["log"], training["more"]
            same_threads(training)
        return self

    def moved(self) -> tuple[int, int]:
        """-> (steps made, bytes of the log that belong to them)."""
        return self.step, self.saved["training"]["log_bytes"] if self.saved else 0

    def seed_step(self) -> None:
        """Dropout is a function of the step too, so there is no random state to keep."""
        torch.manual_seed(self.seed * 1_000_003 + self.step * self.processes.world
                          + self.processes.rank)

    def step_done(self, seconds: float, stop: bool) -> bool:
        """Count a step, save where that is due -> True where the training stops before its end."""
        took, stop = self.processes.share(seconds, stop, next(self.model.parameters()).device)
        self.step, self.seconds = self.step + 1, self.seconds + took
        is_stopped = (stop or self.step == self.stop_at) and self.step < self.steps
        if self.folder and (is_stopped or self.step % self.every == 0 or self.step == self.steps):
            self.save()  # at the end too: measuring comes after it
        return is_stopped

    def save(self) -> None:
        """A checkpoint of this very step. All processes gather; the main one writes."""
        weights, moments = model_state(self.model), optimizer_state(self.model, self.optimizer)
        if self.processes.is_main:
            training = {"optimizer": moments, "scaler": self.scaler.state_dict(),
                        "seconds": self.seconds, "log": self.log, "more": self.more,
                        "log_bytes": self.log_bytes(), "threads": torch.get_num_threads()}
            self.checkpoints.save(self.step, None, weights=weights, config=self.config,
                                  tokenizer=self.tokenizer, settings=self.settings, metrics={},
                                  training=training)
        self.processes.wait()

    def is_over(self) -> bool:
        """True: all steps are made. False: it was stopped, which is said here."""
        if self.step < self.steps:
            print(f"stopped after step {self.step}; go on with --resume")
        return self.step >= self.steps
