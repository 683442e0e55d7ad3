"""GRPO: the model solves problems, a program says which are right, and those get likelier.

    python part_9/train_grpo.py                    from out/cold.pt, verifiable rewards
    python part_9/train_grpo.py --reward model     part 6's skills, part 7's model as the reward
    python part_9/train_grpo.py --normaliser sequence --no-scale --beta 0     other forms of the loss
    python part_9/train_grpo.py --data problems.jsonl      problems of your own, in GSM8K's format
    python part_9/train_grpo.py --model FOLDER --lora 16 --keep-rows 0    a released model, by LoRA

Each step: K replies to each prompt, a reward for each, advantages within the group, one update
(reasoning/grpo_loop.py). No value head. A few of part 6's examples are read beside it (--keep-rows),
so that its skills are kept. Held-out problems are only looked at. With --data a tenth of the file's
questions is held out, all reports are about those, and nothing else is read unless --keep-rows asks
for it.
Ctrl-C saves, --resume goes on with the same bytes as if it had never stopped, and
torchrun --nproc_per_node=2 part_9/train_grpo.py works in two processes.
Writes out/grpo.pt, grpo.json, grpo.png, log.jsonl; with --reward model the names begin grpo_model.
"""

from run.runtime import choose_runtime, here, make_parser, out_folder, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import random
import time
from dataclasses import asdict, replace
from pathlib import Path

from cold_start import old_examples
from reasoning.evaluation import evaluate
from reasoning.grpo_loop import GRPO
from reasoning.grpo_report import finish_checker, finish_model
from reasoning.grpo_settings import PRESETS, GRPOSettings
from reasoning.rewards import Checker
from reasoning.sampling import LONGEST
from reasoning.task_families import FAMILIES
from reasoning.tasks import problems, read_gsm8k, split_by_question
from reward.preferences import asked_items
from rl.ppo_settings import add_flags, chosen
from rl.scoring import load_source
from run.checkpoint import load_checkpoint
from run.distributed import Processes, as_whole, same_format
from run.interrupt import StopOnSignal
from run.logger import Logger
from run.progress import (
    ALONE,
    Progress,
    add_progress_flags,
    sum_of,
    sum_of_weights,
    training_in,
)
from sft.chat_format import encode_prompt, messages_of
from sft.data import ExampleRows
from sft.evaluation import is_chat_model
from text.rows import segments
from tqdm import tqdm

COLD = here(__file__) / "out" / "cold.pt"
COLD_WITH = "python part_9/cold_start.py (some minutes)"
SFT = here(__file__).parent / "part_6" / "out" / "sft.pt"
SFT_WITH = "python part_6/train_sft.py (about 4 minutes)"
REWARD = here(__file__).parent / "part_7" / "out" / "reward.pt"
REWARD_WITH = "python part_7/train_reward.py (about 3 minutes)"
WITHOUT = ("story questions",)  # as in part 8: long, and answered already
EXAMPLES_A_ROW = 6  # of part 6's kind, about
UNSEEN = 0.8  # as in part 8: the share of content that tuning kept aside
MODEL_SETTINGS = {"prompts": 32, "group": 8, "max_new": 72, "beta": 0.05, "peak": 3e-4,
                  "steps": 24, "keep_rows": 0}  # for --reward model; flags win


class Run:
    """Everything a run needs, put together once; `train` below only takes steps."""

    def __init__(self, args, processes: Processes = ALONE):
        self.args, self.by_model, self.processes = args, args.reward == "model", processes
        preset = PRESETS[args.preset]
        if self.by_model and args.preset == "tiny":
            preset = replace(preset, **MODEL_SETTINGS)
        if args.data is not None:
            preset = replace(preset, keep_rows=0)  # none of the world's examples, unless asked for
        self.settings = chosen(preset, args)
        self.name = "grpo_model" if self.by_model else "grpo"
        self.out = out_folder(__file__, args.out)
        self.begun_from = path = args.model or (SFT if self.by_model else COLD)
        model, self.tokenizer, _ = load_checkpoint(
            path, make_with=SFT_WITH if self.by_model else COLD_WITH)
        if not is_chat_model(self.tokenizer):
            raise ValueError(f"{path}: knows no roles; make a chat model with: {SFT_WITH}")
        self.context = model.config.block_size
        if self.settings.max_new >= self.context:
            raise ValueError(f"--max-new {self.settings.max_new}: the context has {self.context} "
                             "tokens, the prompt's included")
        self.runtime = same_format(choose_runtime(
            args.device, args.amp, width=model.config.n_embd, weights=self.settings.weights),
            processes)
        seed_everything(args.seed)
        self.held_out = None  # of a file; the world's are drawn where they are asked
        self.families = tuple(args.families) if args.families else None
        self.tasks = self.make_tasks() if args.data is None else self.read_tasks()
        self.grpo = GRPO(model, self.make_score(), self.settings, end=self.tokenizer.end,
                         pad=self.tokenizer.pad, runtime=self.runtime, seed=args.seed,
                         keep=self.make_keep(), processes=processes)
        self.progress = Progress(self.out / f"checkpoints_{self.name}", args,
                                 settings=self.described(), tokenizer=self.tokenizer,
                                 processes=processes)
        self.grpo.steps_done, log_bytes = self.progress.begin(
            model, self.grpo.optimizer, self.grpo.scaler, self.settings.steps, model.config).moved()
        self.tokens, self.laps = (self.progress.more.get(name, nothing)
                                  for name, nothing in (("tokens", 0), ("laps", {})))
        self.logger = None
        if processes.is_main:
            self.logger = Logger(self.out, start_step=self.grpo.steps_done, log_bytes=log_bytes,
                                 tensorboard=not args.no_tensorboard,
                                 settings=self.progress.settings)
            self.progress.log_bytes = self.logger.bytes_written

    @property
    def seconds(self) -> float:
        return self.progress.seconds

    def become_whole(self) -> None:
        """Every model with all its weights, for the report that one process makes."""
        self.grpo.become_whole()
        if self.by_model:
            self.source = self.source.whole()

    def described(self) -> dict:
        """What must be the same for a resume to be the same run."""
        return {**asdict(self.settings), "seed": self.args.seed, "reward": self.args.reward,
                "form_weight": self.args.form_weight, "look_every": self.args.look_every,
                "amp": self.runtime.amp_name, "data": sum_of(self.tasks),
                "weights": sum_of_weights(self.grpo.reference),
                "judge": sum_of_weights(self.source.model) if self.by_model else "checker",
                "tokenizer": self.tokenizer.fingerprint}

    def make_tasks(self) -> list:
        """What is asked: each once, then again in another order."""
        s, args = self.settings, self.args
        if self.by_model:
            total = s.steps * s.prompts
            unseen = round(UNSEEN * total)
            return [item for split, many in (("train", total - unseen), ("validation", unseen))
                    for item in asked_items(many, split, args.seed, WITHOUT)]
        return problems(s.steps * s.prompts, "train", args.seed + 1000, self.families)

    def read_tasks(self) -> list:
        """The problems of a file. What is held out, and what is left out and why, is said."""
        args, s = self.args, self.settings
        for flag, given in (("--reward model", self.by_model), ("--families", args.families)):
            if given:
                raise ValueError(f"--data holds problems of its own, with answers for the checker; "
                                 f"leave out {flag}")
        read = read_gsm8k(args.data)
        try:
            split = split_by_question(read, lambda p: len(
                encode_prompt(p.messages, self.tokenizer)) + s.max_new <= self.context + 1)
        except ValueError as error:
            raise ValueError(f"{args.data}: {error}") from None
        self.held_out = split.held_out
        print(f"data    {args.data}: {len(read):,} problems, {len(split.learnt):,} to learn from, "
              f"{len(split.held_out):,} held out by question; left out: {split.repeated:,} asked "
              f"before, {split.too_long:,} that with --max-new {s.max_new} do not fit into the "
              f"context of {self.context}")
        return split.learnt

    def make_score(self):
        """function(rollout, tasks) -> rewards (N,)."""
        if not self.by_model:
            return Checker(self.tokenizer, self.args.form_weight)
        self.source = load_source(REWARD if self.args.reward_model is None else
                                  self.args.reward_model, self.tokenizer, self.runtime,
                                  REWARD_WITH, processes=self.processes)
        return lambda rollout, tasks: self.source(rollout)

    def make_keep(self):
        """function(step, rows) -> ids, targets, segments of examples of part 6; None: none are read."""
        s = self.settings
        if not s.keep_rows:
            return None
        examples = old_examples(EXAMPLES_A_ROW * s.keep_rows * s.steps, self.args.seed + 2000,
                                self.tokenizer, self.context)
        packed = ExampleRows([example for example in examples if example is not None], self.context,
                             pad=self.tokenizer.pad, seed=self.args.seed)

        def keep(step: int, rows: int):
            ids, targets = (x.to(self.runtime.device) for x in packed.batch(step, rows))
            return ids, targets, segments(ids, self.tokenizer.begin)
        return keep

    def tasks_of_step(self, step: int) -> list:
        """A function of the step alone: pass by pass, each pass in an order of its own."""
        count, picked, orders = self.settings.prompts, [], {}
        for place in range(step * count, (step + 1) * count):
            turn, index = divmod(place, len(self.tasks))
            if turn not in orders:
                orders[turn] = random.Random(f"tasks {self.args.seed} {turn}").sample(
                    range(len(self.tasks)), len(self.tasks))
            picked.append(self.tasks[orders[turn][index]])
        return picked


def train(run: Run) -> None:
    """Take steps until the run is done, or someone stops it: what was learnt by then is saved."""
    s, grpo, progress = run.settings, run.grpo, run.progress
    look = [] if run.by_model or not run.args.look_every else (
        run.held_out[:96] if run.held_out else
        problems(96, "new_operands", run.args.seed + 7, run.families))
    with StopOnSignal() as stop, tqdm(total=s.steps, initial=grpo.steps_done, desc="grpo",
                                      mininterval=1.0, disable=progress.quiet) as bar:
        while grpo.steps_done < s.steps:
            start = time.perf_counter()
            tasks = run.tasks_of_step(grpo.steps_done)
            prompts = [encode_prompt(messages_of(t) if run.by_model else t.messages, run.tokenizer)
                       for t in tasks]
            try:
                metrics = grpo.step(prompts, tasks)
            except FloatingPointError as error:
                raise ValueError(str(error)) from None
            laps = metrics.pop("seconds")
            seconds = time.perf_counter() - start
            run.tokens += round(metrics["length"] * s.prompts * s.group)
            run.laps = {name: run.laps.get(name, 0.0) + x for name, x in laps.items()}
            if run.logger:
                run.logger.log(grpo.steps_done, **metrics)
                run.logger.log_timing(grpo.steps_done, **laps)
            bar.update()
            bar.set_postfix_str(f"reward {metrics['reward']:.2f}, KL {metrics['kl']:.3f}")
            if look and grpo.steps_done % run.args.look_every == 0:
                with as_whole(grpo.model) as model:
                    shown = evaluate(model, run.tokenizer, look, run.runtime,
                                     longest=run.args.longest)
                if run.logger:
                    run.logger.log(grpo.steps_done, held_out=shown["accuracy"])
            progress.more = {"tokens": run.tokens, "laps": run.laps}
            if progress.step_done(seconds, stop.requested):
                break


def parse_args(argv=None):
    parser = make_parser(__doc__, presets=tuple(PRESETS), preset="tiny")
    add_flags(parser, GRPOSettings)
    parser.add_argument("--reward", choices=("checker", "model"), default="checker",
                        help="who judges: the checker, or part 7's model (default: checker)")
    parser.add_argument("--model", type=Path, default=None,
                        help="where to begin (default: out/cold.pt; part_6/out/sft.pt with "
                             "--reward model)")
    parser.add_argument("--reward-model", type=Path, default=None,
                        help="for --reward model (default: part_7/out/reward.pt)")
    parser.add_argument("--data", type=Path, default=None,
                        help="problems in GSM8K's format (default: the world's)")
    parser.add_argument("--families", nargs="+", choices=tuple(FAMILIES), default=None,
                        help="families of problems to learn from and to report (default: all)")
    parser.add_argument("--form-weight", type=float, default=0.2,
                        help="reward for the right form, beside 1 for the right answer "
                             "(default: 0.2)")
    parser.add_argument("--look-every", type=int, default=10,
                        help="steps between looks at 96 held-out problems, 0: none (default: 10)")
    parser.add_argument("--eval-problems", type=int, default=300,
                        help="held-out problems of each split at the end (default: 300)")
    parser.add_argument("--eval-exact", type=int, default=None,
                        help="questions on part 6's skills at the end, 0: none (default: 420; 0 "
                             "with --data)")
    parser.add_argument("--longest", type=int, default=LONGEST,
                        help="most tokens of a reply to a held-out problem; --max-new is that of "
                             f"training (default: {LONGEST})")
    parser.add_argument("--no-tensorboard", action="store_true",
                        help="write log.jsonl only (default: off)")
    add_progress_flags(parser, save_every=10)
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if args.eval_exact is None:
        args.eval_exact = 0 if args.data else 420
    if args.form_weight < 0:
        raise ValueError(f"--form-weight {args.form_weight}: must not be below 0")
    if min(args.eval_problems, args.longest) < 1 or min(args.eval_exact, args.look_every) < 0:
        raise ValueError(f"--eval-problems {args.eval_problems} and --longest {args.longest} must "
                         f"be at least 1, --eval-exact {args.eval_exact} and --look-every "
                         f"{args.look_every} at least 0")
    with training_in(__file__, args) as (_, processes):
        run = Run(args, processes)
        print(f"tasks   {len(run.tasks):,}, {run.settings.prompts * run.settings.group} replies a "
              "step")
        try:
            train(run)
            run.become_whole()
            if run.progress.is_over() and processes.is_main:
                (finish_model if run.by_model else finish_checker)(run)
        finally:
            if run.logger:
                run.logger.close()


if __name__ == "__main__":
    run_main(main, trains=True, processes=True)
