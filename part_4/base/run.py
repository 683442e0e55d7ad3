"""Everything one run needs, put together once, so that train.py only has to take steps.

Used   train.py.   Settings -> device, data, model, optimizer, checkpoints, logger.
"""

import os
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from gpt.model import GPT
from run.checkpoint import Checkpoints
from run.distributed import Processes, same_format, unwrapped, wrap
from run.logger import Logger
from run.memory import check_memory, least_bytes
from run.optim import (
    load_model_state,
    load_optimizer_state,
    make_optimizer,
    model_state,
    optimizer_state,
)
from run.runtime import AMP_TYPES, Runtime, choose_runtime, cores, seed_everything
from run.thrift import spend_less
from text.data import TokenRows, open_shards, prepare
from text.sources import left_out, names_of, stamp_of

from base.measure import documents_loss, rows_loss, world_documents
from base.settings import chosen, differences


class Run:
    """Everything a run needs, put together once; the loop below only takes steps."""

    def __init__(self, args, out: Path, processes: Processes, device: str):
        self.args, self.processes = args, processes
        self.settings = chosen(args.preset, args)
        if self.settings.rows % self.processes.world:
            raise ValueError(f"--rows {self.settings.rows} must be a multiple of the "
                             f"{self.processes.world} processes")
        self.out = out
        self.checkpoints = Checkpoints(self.out / "checkpoints", self.settings.keep)
        self.newest = self.checkpoints.newest()
        self.runtime = self.choose_runtime(device)
        self.check_memory()
        self.step, self.seconds, self.best = 0, 0.0, (float("inf"), 0)
        self.metrics: dict = {}
        self.texts = stamp_of(self.settings.data)  # once: what changes later is not read
        saved = self.find_checkpoint()
        self.prepare_data()
        self.make_model(saved)
        self.logger = self.open_logger(saved) if processes.is_main else None

    def choose_runtime(self, device: str) -> Runtime:
        """With --amp auto a resumed run goes on in the format that it began in: what is faster is
        measured, and changes with the machine's other work."""
        s, args, amp = self.settings, self.args, self.args.amp
        begun = self.newest[1]["settings"].get("amp") if self.newest and args.resume else None
        if args.amp == "auto" and begun in AMP_TYPES:
            amp = begun
        runtime = choose_runtime(device, amp, width=s.n_embd, quiet=True,
                                 rows=min(s.rows, s.micro_rows) * s.context)
        runtime = same_format(runtime, self.processes)
        if amp != args.amp:
            runtime = replace(runtime, amp_reason="as the checkpoint's run began")
        if self.processes.is_main:
            print(runtime.describe())
        return runtime

    def check_memory(self) -> None:
        """Refuse what cannot fit before anything is made."""
        s = self.settings
        needs = least_bytes(layers=s.n_layer, width=s.n_embd, vocab=0, context=s.context,
                            rows=min(s.rows, s.micro_rows), masks=s.segments)
        needs["rows"] = 16 * s.rows * s.context
        check_memory(needs, self.runtime.device, "--context, --rows, --micro-rows, --n-embd or "
                     "--n-layer")

    def find_checkpoint(self) -> dict | None:
        """What to resume from, after comparing settings; None for a fresh start."""
        args, newest = self.args, self.newest
        if newest is None:
            if args.resume and self.processes.is_main:
                print(f"resume  {self.checkpoints.folder} holds no checkpoint: starts at step 0")
            return None
        path, saved = newest
        finished = (self.out / "base.json").exists() and saved["training"]["finished"]
        if not args.resume:
            if not (args.fresh or finished):
                raise ValueError(f"{path} is of a run that has not finished; go on with --resume, "
                                 "begin again with --fresh, or choose another --out")
            self.processes.wait()
            if self.processes.is_main:
                self.checkpoints.clear()
            return None
        changed = differences(saved["settings"], self.described())
        if changed and not args.force:
            raise ValueError("these settings differ from the checkpoint's; give the old ones, or "
                             "--force to go on with the new:\n  " + "\n  ".join(changed))
        if self.processes.is_main:
            print("\n".join([f"resume  {path}", *(f"forced  {line}" for line in changed)]))
        return saved

    def prepare_data(self) -> None:
        """The main process makes the shards, the others wait; then each opens them."""
        plan, folder = self.settings.data_plan(self.args.seed), self.out / "data"
        if self.processes.is_main:
            start = time.perf_counter()
            _, made = prepare(plan, folder, self.out / "cache")
            train, odd = made["train"], left_out(self.settings.data)
            if odd:
                print(f"data    left out, no text: {odd[0]}" + (
                    f" and {len(odd) - 1} more files" if odd[1:] else ""))
            print(f"data    {train['documents']:,} documents, {train['tokens']:,} tokens, "
                  f"{train['text_bytes'] / max(train['tokens'], 1):.2f} bytes a token "
                  f"({time.perf_counter() - start:.0f} s)")
        self.processes.wait()
        self.tokenizer, _ = prepare(plan, folder, self.out / "cache")
        self.rows, self.held_out = (
            TokenRows(open_shards(folder, split, self.tokenizer), self.settings.context,
                      begin=self.tokenizer.begin, seed=self.args.seed, name=f"{split} text")
            for split in ("train", "validation"))
        self.probe = []  # documents of the world, to follow the loss against its floor
        if "world" in names_of(self.settings.data):
            self.probe = world_documents(self.settings.eval_documents // 3 + 1, self.args.seed)

    def make_model(self, saved: dict | None) -> None:
        """Model, optimizer, scaler; from the checkpoint's state if there is one."""
        s = self.settings
        seed_everything(self.args.seed)
        self.config = s.model_config(self.tokenizer.vocab_size)
        model = GPT(self.config).to(self.runtime.device)
        self.parameters = model.count_parameters()
        if saved and saved["tokenizer"] != self.tokenizer.to_dict():
            raise ValueError("the checkpoint's model was trained with another tokenizer: the texts "
                             "have changed; start again with --fresh")
        if saved and saved["config"] != asdict(self.config):
            raise ValueError("the checkpoint's model has other sizes; start again with --fresh")
        self.model = wrap(model, self.args.parallel, self.processes, self.runtime.device)
        self.optimizer = make_optimizer(self.model, weight_decay=s.weight_decay,
                                        betas=(s.beta_1, s.beta_2), muon=s.muon / s.peak,
                                        dtype=self.runtime.amp_dtype or torch.float32)
        self.scaler = self.runtime.grad_scaler()
        if saved:
            training = saved["training"]
            load_model_state(self.model, saved["weights"])
            load_optimizer_state(self.model, self.optimizer, training["optimizer"])
            self.scaler.load_state_dict(training["scaler"])
            self.step, self.seconds = saved["step"], training["seconds"]
            self.best, self.metrics = tuple(training["best"]), saved["metrics"]
            if training.get("threads") and not os.environ.get("OMP_NUM_THREADS"):
                torch.set_num_threads(min(training["threads"], cores()))  # sums round the same way
        spend_less(model, self.args.recompute, self.args.compile)

    def open_logger(self, saved: dict | None) -> Logger:
        return Logger(self.out, start_step=self.step,
                      log_bytes=saved["training"]["log_bytes"] if saved else 0,
                      tensorboard=not self.args.no_tensorboard, wandb_project=self.args.wandb,
                      settings=asdict(self.settings))

    def done(self, ahead: float = 0.0) -> float:
        """Share of the run that is done, `ahead` (seconds) or one step further on."""
        if self.settings.minutes:
            return (self.seconds + ahead) / (60 * self.settings.minutes)
        return (self.step + (ahead > 0)) / self.settings.steps

    def evaluate(self) -> None:
        """Loss on held-out text, logged. Of the world whole documents, else rows of the shards."""
        model = unwrapped(self.model)  # no gradients, so nothing for DDP to exchange
        if self.settings.data == "world":
            texts = [text.text for text in self.probe]
            loss = documents_loss(model, texts, self.tokenizer, self.runtime).loss
        else:
            loss = rows_loss(model, self.held_out, self.runtime,
                             by_document=self.settings.segments)
        self.metrics = {"val_loss": loss}
        if self.logger:
            self.logger.log(self.step, val_loss=loss)

    def save(self, *, is_due: bool, finished: bool = False) -> None:
        """A checkpoint of this very step. All processes gather; the main one writes.

        `is_due`: it has just been evaluated, so it may be the best. A stop in between is not.
        """
        if is_due and self.metrics["val_loss"] <= self.best[0]:
            self.best = (self.metrics["val_loss"], self.step)
        weights, moments = model_state(self.model), optimizer_state(self.model, self.optimizer)
        if self.processes.is_main:
            training = {"optimizer": moments, "scaler": self.scaler.state_dict(),
                        "seconds": self.seconds, "best": list(self.best), "finished": finished,
                        "log_bytes": self.logger.bytes_written(),
                        "next_row": self.step * self.settings.rows,
                        "threads": torch.get_num_threads()}
            self.checkpoints.save(self.step, self.best[1], weights=weights, config=self.config,
                                  tokenizer=self.tokenizer, settings=self.described(),
                                  metrics=self.metrics, training=training)
        self.processes.wait()

    def described(self) -> dict:
        """The settings that a resume must share, and the state of the texts."""
        return {**asdict(self.settings), "seed": self.args.seed, "amp": self.runtime.amp_name,
                "texts": self.texts}

    def last_good(self) -> str:
        """The newest checkpoint on disk, in words."""
        paths = self.checkpoints.paths()
        return f"the last good checkpoint is {paths[-1]}" if paths else "no checkpoint was saved yet"
