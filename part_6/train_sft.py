"""Instruction tuning: the base model learns to answer, and to stop.

    python part_6/train_sft.py                       from part_4/out/base.pt, minutes on two cores
    python part_6/train_sft.py --manners gold        plain answers only, as no crowd of people writes
    python part_6/train_sft.py --lora 8              thin matrices beside frozen ones
    python part_6/train_sft.py --data my_chats.jsonl   Alpaca, ShareGPT, messages, prompt/completion
    python part_6/train_sft.py --base FOLDER --data my_chats.jsonl    a released model, by LoRA
    python part_6/train_sft.py --base part_5/out/moe.pt    a model with experts
    python part_6/train_sft.py --from-scratch --steps 700   what did pretraining give?
    python part_6/train_sft.py --resume              go on after a stop
    torchrun --nproc_per_node=2 part_6/train_sft.py    in two processes

Loss only on the assistant's tokens and its end token (eq. 6.2), conversations packed into rows
without attention between them. Writes out/sft.pt, sft.json, sft.png, log.jsonl, tensorboard/.
"""

from run.runtime import choose_runtime, here, make_parser, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import time
from dataclasses import asdict
from pathlib import Path

import torch
from files.own_files import file_chats
from files.records import fingerprint
from pretrained.chat_forms import CHOICES
from run.checkpoint import Checkpoints, load_checkpoint
from run.distributed import Processes, same_format, unwrapped, whole_model, wrap
from run.interrupt import StopOnSignal
from run.logger import Logger
from run.loop import train_step
from run.optim import (
    load_model_state,
    load_optimizer_state,
    make_optimizer,
    model_state,
    optimizer_state,
)
from run.progress import add_shard_flag, same_settings, same_threads, training_in
from run.thrift import add_thrift_flags, spend_less
from sft.chat_format import chat_tokenizer, conversation_token, grow_vocabulary
from sft.curriculum import ordered
from sft.data import ExampleRows, replay_examples, world_examples
from sft.evaluation import labels_loss
from sft.lora import add_lora, trained_parameters
from sft.report import finish_tuning
from sft.settings import PRESETS, add_flags, chosen, context_of, preset_for
from tqdm import tqdm

BASE = here(__file__).parent / "part_4" / "out" / "base.pt"
BASE_WITH = "python part_4/train.py (about 5 minutes)"


class Tuning:
    """Everything a run needs, put together once; `train` below only takes steps."""

    def __init__(self, args, out: Path, processes: Processes):
        self.args, self.out, self.processes = args, out, processes
        chosen(args.preset, args)  # refuses what is wrong before a large model is read
        self.base, base_tokenizer = self.read_base()
        self.settings = chosen(preset_for(args.preset, base_tokenizer), args)
        self.context = context_of(self.settings.context, self.base.config.block_size)
        if (rows := self.settings.rows) % processes.world:
            raise ValueError(f"--rows {rows} must be a multiple of the {processes.world} processes")
        if self.base.config.vocab_size != base_tokenizer.vocab_size:
            raise ValueError(f"{args.base}: the model has {self.base.config.vocab_size} tokens, "
                             f"its tokenizer {base_tokenizer.vocab_size}; make it again with: "
                             f"{BASE_WITH}")
        self.base_tokenizer, self.tokenizer = base_tokenizer, chat_tokenizer(base_tokenizer)
        self.begin = conversation_token(self.tokenizer) if self.settings.packed else None
        self.runtime = same_format(choose_runtime(
            args.device, args.amp, width=self.base.config.n_embd, weights=self.settings.weights),
            processes)
        self.base.to(self.runtime.device)
        self.checkpoints = Checkpoints(self.out / "checkpoints", 2)
        self.step, self.seconds, self.tokens = 0, 0.0, 0
        self.best, self.metrics, self.loss_before = (float("inf"), 0), {}, None
        saved = self.find_checkpoint()
        self.make_data()
        self.make_model(saved)
        self.logger = Logger(self.out, start_step=self.step,
                             log_bytes=saved["training"]["log_bytes"] if saved else 0,
                             tensorboard=not args.no_tensorboard, settings=self.described()
                             ) if processes.is_main else None

    def read_base(self) -> tuple:
        return load_checkpoint(self.args.base, chat=self.args.chat, make_with=BASE_WITH)[:2]

    def described(self) -> dict:
        """What must be the same for a resume to be the same run."""
        return {**asdict(self.settings), "seed": self.args.seed, "data": fingerprint(self.args.data),
                "from_scratch": self.args.from_scratch, "amp": self.runtime.amp_name,
                "tokenizer": self.tokenizer.fingerprint}

    def find_checkpoint(self) -> dict | None:
        newest = self.checkpoints.newest() if self.args.resume else None
        self.processes.wait()  # until all have read what is there
        if newest is None:
            if self.args.resume:
                print(f"resume  {self.checkpoints.folder} holds no checkpoint: starts at step 0")
            if self.processes.is_main:
                self.checkpoints.clear()
            return None
        path, saved = newest
        same_settings(saved["settings"], self.described(), free=("micro_rows", "recompute"))
        print(f"resume  {path}")
        return saved

    def make_data(self) -> None:
        """Conversations -> examples, in their order -> rows. What is left out is counted."""
        s, context, seed = self.settings, self.context, self.args.seed
        start = time.perf_counter()
        if self.args.data is None:
            examples, counts = world_examples(s.examples, seed, self.tokenizer, context,
                                              manners=s.manners)
            examples += replay_examples(int(s.replay * s.examples), seed, self.tokenizer, context)
            held_out, _ = world_examples(200, seed, self.tokenizer, context, "validation",
                                         manners=s.manners)
        else:
            file = file_chats(self.args.data, self.tokenizer, context)
            examples, held_out, counts = file.learnt, file.held_out, file.counts
            self.held_out_chats, self.division = file.held_out_chats, file.division
        pad, packed = self.tokenizer.pad, self.begin is not None
        if s.packed and not packed:
            print("rows    one conversation a row: no token of this model marks where one begins")
        self.rows = ExampleRows(ordered(examples, s.order, seed), context, pad=pad,
                                packed=packed, shuffled=s.order == "mixed", seed=seed)
        self.held_out = ExampleRows(held_out, context, pad=pad, shuffled=False,
                                    packed=packed or not s.packed) if held_out else None
        read, labels = sum(e.read for e in examples), sum(sum(e.is_label) for e in examples)
        print(f"data    {len(examples):,} conversations ({counts['shortened']} shortened, "
              f"{counts['skipped']} skipped), {read:,} tokens, {labels / read:.0%} of them labels; "
              f"{len(self.rows.rows):,} rows, "
              f"{read / (len(self.rows.rows) * context):.0%} full "
              f"({time.perf_counter() - start:.0f} s)")

    def make_model(self, saved: dict | None) -> None:
        s = self.settings
        seed_everything(self.args.seed)
        self.grown = self.tokenizer.vocab_size > self.base.config.vocab_size
        if self.grown or self.args.data is None:  # the base is asked at the end, too
            model = grow_vocabulary(self.base, self.tokenizer.vocab_size, self.args.seed)
        else:
            model, self.base = self.base, None
        if self.processes.shards:  # it is read again when it is asked
            self.base = None
        self.config = model.config
        if self.args.from_scratch:
            model = type(model)(self.config)
        if s.lora:
            model = add_lora(model.to(getattr(torch, s.weights)), s.lora,
                             train_embedding=self.grown or self.args.data is None)
        spend_less(model.to(self.runtime.device), s.recompute, self.args.compile)
        self.parameters, self.trained = model.count_parameters(), trained_parameters(model)
        self.model = wrap(model, self.processes.kind, self.processes, self.runtime.device)
        muon = 0.0 if s.lora else s.muon / s.peak
        self.optimizer = make_optimizer(self.model, weight_decay=s.weight_decay, betas=(0.9, 0.98),
                                        muon=muon,
                                        dtype=self.runtime.amp_dtype or torch.float32)
        self.scaler = self.runtime.grad_scaler()
        if saved:
            training = saved["training"]
            load_model_state(self.model, saved["weights"])
            load_optimizer_state(self.model, self.optimizer, training["optimizer"])
            self.scaler.load_state_dict(training["scaler"])
            self.step, self.seconds = saved["step"], training["seconds"]
            self.tokens, self.best = training["tokens"], tuple(training["best"])
            self.metrics, self.loss_before = saved["metrics"], training["loss_before"]
            same_threads(training)

    def validation_loss(self) -> float:
        """Mean over the labels of all held-out conversations."""
        model = unwrapped(self.model)  # no gradients, so nothing to exchange
        return labels_loss(model, self.held_out, self.begin, self.runtime)

    def log(self, **values) -> None:
        """One process writes."""
        if self.logger:
            self.logger.log(self.step, **values)

    def save(self) -> None:
        """A checkpoint of this very step. All processes gather; the main one writes."""
        weights, moments = model_state(self.model), optimizer_state(self.model, self.optimizer)
        if self.processes.is_main:
            training = {"optimizer": moments, "scaler": self.scaler.state_dict(),
                        "seconds": self.seconds, "tokens": self.tokens, "best": list(self.best),
                        "loss_before": self.loss_before, "threads": torch.get_num_threads(),
                        "log_bytes": self.logger.bytes_written()}
            self.checkpoints.save(self.step, self.best[1], weights=weights, config=self.config,
                                  tokenizer=self.tokenizer, settings=self.described(),
                                  metrics=self.metrics, training=training)
        self.processes.wait()


def train(run: Tuning) -> bool:
    """Take steps until the run is done -> True, or until someone stops it -> False."""
    s, device, processes = run.settings, run.runtime.device, run.processes
    schedule = s.learning_rate()
    if run.held_out is not None and run.args.data is not None and run.step == 0:
        run.loss_before = run.validation_loss()
        print(f"before  {run.loss_before:.4f} nats per label of the held-out conversations")
    run.model.train()
    with StopOnSignal() as stop, tqdm(total=s.steps, initial=run.step, desc="tune",
                                      mininterval=1.0, disable=not processes.is_main) as bar:
        while run.step < s.steps:
            start = time.perf_counter()
            # 1. the rate and 2. the rows: both functions of the step alone
            rate = schedule.rate((run.step + 1) / s.steps)
            ids, targets = run.rows.batch(run.step, s.rows, processes.rank, processes.world)
            torch.manual_seed(run.args.seed * 1_000_003 + run.step * processes.world + processes.rank)
            # 3. forward, backward, clip, update: the mean over all labels of the step
            try:
                report = train_step(run.model, run.optimizer, ids.to(device), targets.to(device),
                                    runtime=run.runtime, scaler=run.scaler, rate=rate, clip=s.clip,
                                    micro_rows=s.micro_rows, processes=processes, begin=run.begin)
            except FloatingPointError as error:
                raise ValueError(f"step {run.step + 1}: {error}; lower --peak (now {s.peak}) or "
                                 f"--clip (now {s.clip}), or use --amp float32") from None
            # 4. write down
            took, stopped = processes.share(time.perf_counter() - start, stop.requested, device)
            run.step, run.seconds = run.step + 1, run.seconds + took
            run.tokens += ids.numel() * processes.world
            run.log(loss=report.loss, gradient_norm=report.gradient_norm, rate=rate,
                    labels=report.labels)
            bar.update()
            bar.set_postfix_str(f"loss {report.loss:.3f}, {run.tokens / run.seconds:,.0f} tokens/s")
            # 5. look, save
            if run.step % s.eval_every == 0 or run.step == s.steps:
                if run.held_out is not None:
                    loss = run.validation_loss()
                    run.metrics = {"val_loss": loss}
                    run.log(val_loss=loss)
                    run.best = min(run.best, (loss, run.step))
                run.save()
            if (stopped or run.step == run.args.stop_at) and run.step < s.steps:
                run.save()
                return False
    return True


def parse_args(argv=None):
    parser = make_parser(__doc__, presets=tuple(PRESETS), preset="tiny")
    add_flags(parser)
    parser.add_argument("--base", type=Path, default=BASE,
                        help="a checkpoint or a released model's folder to begin with (default: "
                             "part_4/out/base.pt)")
    parser.add_argument("--chat", choices=CHOICES, default="auto",
                        help="a released model's form of conversations (default: auto, as its folder "
                             "says)")
    parser.add_argument("--data", type=Path, default=None,
                        help="Alpaca, ShareGPT, messages or prompt/completion records, .json or "
                             ".jsonl (default: the world)")
    parser.add_argument("--longest", type=int, default=None,
                        help="most tokens of a reply to what is held out of --data (default: half "
                             "as many again as its longest answer has)")
    parser.add_argument("--from-scratch", action="store_true",
                        help="random weights of the base model's sizes (default: off)")
    parser.add_argument("--eval-items", type=int, default=420,
                        help="questions of each split at the end, 0 for none (default: 420)")
    parser.add_argument("--resume", action="store_true",
                        help="go on from the newest checkpoint in --out (default: off)")
    parser.add_argument("--stop-at", type=int, default=None,
                        help="stop and save after this step, as Ctrl-C would (default: never)")
    add_thrift_flags(parser, recompute=False)
    add_shard_flag(parser)
    parser.add_argument("--no-tensorboard", action="store_true",
                        help="write log.jsonl only (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if args.eval_items < 0 or (args.longest is not None and args.longest < 1):
        raise ValueError(f"--eval-items {args.eval_items} must be at least 0, --longest "
                         f"{args.longest} at least 1")
    with training_in(__file__, args) as (out, processes):
        run = Tuning(args, out, processes)
        print(f"model   {run.parameters:,} parameters, {run.trained:,} of them trained")
        try:
            done = train(run)
            run.model = whole_model(run.model)
            if not done:
                print(f"stopped after step {run.step}; go on with --resume")
            elif processes.is_main:
                run.base = run.read_base()[0] if run.base is None else run.base
                finish_tuning(run)
        finally:
            if run.logger:
                run.logger.close()


if __name__ == "__main__":
    run_main(main, trains=True, processes=True)
