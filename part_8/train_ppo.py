"""RLHF with PPO: the tuned model learns what the reward model likes, close to where it was.

    python part_8/train_ppo.py                      from part 6's sft.pt and part 7's reward.pt
    python part_8/train_ppo.py --no-adaptive --beta 0       without the KL penalty
    python part_8/train_ppo.py --data chats.jsonl   prompts of your own (their answers are not read)
    python part_8/train_ppo.py --resume             go on after a stop
    torchrun --nproc_per_node=2 part_8/train_ppo.py    in two processes

Each step: replies are drawn, scored by the reward model, and learnt from (rl/ppo_loop.py). The judge
is asked only at the end, on held-out prompts. Writes out/ppo.pt, ppo.json, ppo.png, log.jsonl.
"""

from run.runtime import (
    choose_runtime,
    here,
    make_parser,
    out_folder,
    run_main,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import random
import time
from dataclasses import asdict
from pathlib import Path

import torch
from reward.preferences import asked_items
from rl.own_files import file_prompts
from rl.ppo_loop import PPO
from rl.ppo_report import check_report, finish
from rl.ppo_settings import PRESETS, PPOSettings, add_flags, chosen
from rl.rollout import roll_out
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
from sft.evaluation import is_chat_model
from tqdm import tqdm

SFT = here(__file__).parent / "part_6" / "out" / "sft.pt"
SFT_WITH = "python part_6/train_sft.py (about 4 minutes)"
REWARD = here(__file__).parent / "part_7" / "out" / "reward.pt"
REWARD_WITH = "python part_7/train_reward.py (about 3 minutes)"
WITHOUT = ("story questions",)  # five times as long as the others, and answered already


def world_prompts(n: int, seed: int, tokenizer, unseen: float = 0.5) -> list[list[int]]:
    """n prompts, a share `unseen` of content that tuning kept aside (split "validation"): PPO needs
    no answers, and what was tuned on is mostly right already, in all of a prompt's replies."""
    kept_aside = round(unseen * n)
    asked = [item for split, many in (("train", n - kept_aside), ("validation", kept_aside))
             for item in asked_items(many, split, seed, WITHOUT)]
    return [encode_prompt(messages_of(item), tokenizer) for item in asked]


def worth_asking(scores: torch.Tensor, share: float) -> list[int]:
    """Scores (P, S) of S replies to each prompt -> the numbers of the prompts whose scores differ
    most, `share` of all. Where all replies are worth the same there is nothing to learn."""
    count = max(1, round(share * len(scores)))
    order = scores.std(1).argsort(descending=True, stable=True)
    return sorted(order[:count].tolist())


def prompts_of_step(pool: list, step: int, count: int, seed: int) -> list:
    """`count` prompts for a step, a function of the step alone: pass by pass through the pool, each
    pass in an order of its own. A pool of one prompt is asked `count` times."""
    picked, orders = [], {}
    for place in range(step * count, (step + 1) * count):
        turn, index = divmod(place, len(pool))
        if turn not in orders:
            orders[turn] = random.Random(f"prompts {seed} {turn}").sample(range(len(pool)),
                                                                          len(pool))
        picked.append(pool[orders[turn][index]])
    return picked


class Run:
    """Everything a run needs, put together once; `train` below only takes steps."""

    def __init__(self, args, processes: Processes = ALONE):
        self.args, self.settings = args, chosen(PRESETS[args.preset], args)
        self.out = out_folder(__file__, args.out)
        body, self.tokenizer, _ = load_checkpoint(args.sft, make_with=SFT_WITH)
        if not is_chat_model(self.tokenizer):
            raise ValueError(f"{args.sft}: knows no roles; make a chat model with: {SFT_WITH}")
        self.runtime = same_format(choose_runtime(
            args.device, args.amp, width=body.config.n_embd, weights=self.settings.weights),
            processes)
        seed_everything(args.seed)
        s, context = self.settings, body.config.block_size
        if s.max_new >= context:
            raise ValueError(f"--max-new {s.max_new}: the context has {context} tokens, the "
                             "prompt's included")
        self.source = load_source(args.reward, self.tokenizer, self.runtime, REWARD_WITH,
                                  normalise=s.normalise, no_end_penalty=s.no_end_penalty,
                                  block_size=context, processes=processes)
        self.held_out, self.about = [], {}  # of a file; the world's are made for the report
        if args.data is None:
            self.prompts = world_prompts(s.pool, args.seed, self.tokenizer, s.unseen)
        else:
            self.prompts, self.held_out, self.about = file_prompts(args.data, self.tokenizer,
                                                                   context - s.max_new)
        self.ppo = PPO(body.to(self.runtime.device), self.source, s, end=self.tokenizer.end,
                       pad=self.tokenizer.pad, runtime=self.runtime, seed=args.seed,
                       processes=processes)
        self.progress = Progress(self.out / "checkpoints", args, settings=self.described(),
                                 tokenizer=self.tokenizer, processes=processes)
        step, log_bytes = self.progress.begin(self.ppo.policy, self.ppo.optimizer, self.ppo.scaler,
                                              s.steps, body.config).moved()
        more = self.progress.more
        if "ppo" in more:
            self.ppo.load_state(more["ppo"])
        self.tokens, self.laps = more.get("tokens", 0), more.get("laps", {})
        self.kept: list[int] = more.get("kept") or self.choose()
        self.pool = [self.prompts[i] for i in self.kept]
        self.logger = None
        if processes.is_main:
            self.logger = Logger(self.out, start_step=step, log_bytes=log_bytes,
                                 tensorboard=not args.no_tensorboard,
                                 settings=self.progress.settings)
            self.progress.log_bytes = self.logger.bytes_written

    @property
    def seconds(self) -> float:
        return self.progress.seconds

    def choose(self) -> list[int]:
        """The numbers of the prompts to learn from: all are asked `copies` times first."""
        s, start = self.settings, time.perf_counter()
        if s.kept == 1 or s.copies == 1:
            return list(range(len(self.prompts)))
        with as_whole(self.ppo.policy) as policy:
            tried = roll_out(policy.body, self.prompts, s.max_new, end=self.tokenizer.end,
                             pad=self.tokenizer.pad, copies=s.copies, runtime=self.runtime,
                             generator=torch.Generator().manual_seed(self.args.seed))
        kept = worth_asking(self.source(tried).view(-1, s.copies), s.kept)
        self.progress.seconds += time.perf_counter() - start
        self.laps["choosing prompts"] = time.perf_counter() - start
        return kept

    def become_whole(self) -> None:
        """Every model with all its weights, for the report that one process makes."""
        self.ppo.become_whole()
        self.source = self.source.whole()

    def described(self) -> dict:
        """What must be the same for a resume to be the same run."""
        return {**asdict(self.settings), "seed": self.args.seed, "data": sum_of(self.prompts),
                "sft": sum_of_weights(self.ppo.reference), "amp": self.runtime.amp_name,
                "reward": sum_of_weights(self.source.model),
                "tokenizer": self.tokenizer.fingerprint}


def train(run: Run) -> None:
    """Take steps until the run is done, or until someone stops it.

    Raises ValueError, with the reason, where the policy collapses; checkpoints stay.
    """
    s, ppo, progress = run.settings, run.ppo, run.progress
    with StopOnSignal() as stop, tqdm(total=s.steps, initial=ppo.steps_done, desc="ppo",
                                      mininterval=1.0, disable=progress.quiet) as bar:
        while ppo.steps_done < s.steps:
            start = time.perf_counter()
            prompts = prompts_of_step(run.pool, ppo.steps_done, s.prompts, run.args.seed)
            try:
                metrics = ppo.step(prompts)
            except FloatingPointError as error:
                raise ValueError(f"the run collapsed and was stopped: {error}") from None
            laps = metrics.pop("seconds")
            run.tokens += round(metrics["length"] * s.rollout_rows)
            run.laps = {name: run.laps.get(name, 0.0) + x for name, x in laps.items()}
            if run.logger:
                run.logger.log(ppo.steps_done, **metrics)
                run.logger.log_timing(ppo.steps_done, **laps)
            bar.update()
            bar.set_postfix_str(f"score {metrics['score']:.2f}, KL {metrics['kl']:.1f}")
            progress.more = {"ppo": ppo.state(), "tokens": run.tokens, "laps": run.laps,
                             "kept": run.kept}
            if progress.step_done(time.perf_counter() - start, stop.requested):
                break


def parse_args(argv=None):
    parser = make_parser(__doc__, presets=tuple(PRESETS), preset="tiny")
    add_flags(parser, PPOSettings)
    parser.add_argument("--sft", type=Path, default=SFT,
                        help="the tuned model (default: part_6/out/sft.pt)")
    parser.add_argument("--reward", type=Path, default=REWARD,
                        help="the reward model (default: part_7/out/reward.pt)")
    parser.add_argument("--data", type=Path, default=None,
                        help="prompts, conversations or pairs of any usual form, whose answers are "
                             "not read (default: the world)")
    parser.add_argument("--eval-prompts", type=int, default=300,
                        help="held-out prompts at the end, 0 for none (default: 300)")
    parser.add_argument("--eval-samples", type=int, default=4,
                        help="replies to each of them (default: 4)")
    parser.add_argument("--eval-exact", type=int, default=420,
                        help="held-out questions for exact match, 0 for none (default: 420)")
    parser.add_argument("--no-tensorboard", action="store_true",
                        help="write log.jsonl only (default: off)")
    add_progress_flags(parser, save_every=10)
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    check_report(args)
    with training_in(__file__, args) as (_, processes):
        run = Run(args, processes)
        print(f"prompts {len(run.pool):,} of {len(run.prompts):,}; {run.settings.rollout_rows} "
              "replies a step")
        try:
            train(run)
            run.become_whole()
            if run.progress.is_over() and processes.is_main:
                finish(run)
        finally:
            if run.logger:
                run.logger.close()


if __name__ == "__main__":
    run_main(main, trains=True, processes=True)
