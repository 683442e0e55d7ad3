"""DPO: the tuned model learns from pairs directly; no reward model, no rollouts in the loop.

    python part_8/train_dpo.py                     from part 6's sft.pt, on part 7's pairs
    python part_8/train_dpo.py --data pairs.jsonl.gz    chosen/rejected records of your own
    python part_8/train_dpo.py --sft FOLDER --data pairs.jsonl --lora 16   a released model, by LoRA
    python part_8/train_dpo.py --resume            go on after a stop
    torchrun --nproc_per_node=2 part_8/train_dpo.py    in two processes

The pairs are part 7's: replies drawn from the tuned model, the gold answer and replies with a fault,
ordered by the judge, a tenth of the labels flipped. One pass. Part 7's reward model is read for the
report alone. Writes out/dpo.pt, dpo.json, dpo.png.
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
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from files.closing import measuring
from reward.preferences import FLIPPED
from reward.sources import DRAWN, training_pairs
from rl.dpo import dpo_loss
from rl.dpo_pairs import batches_of, own_pairs, pair_rows, pair_tokens
from rl.own_files import file_pairs, measure_pairs
from rl.policy import reference_of, response_logp
from rl.ppo_report import check_report
from rl.ppo_settings import add_flags, chosen, flag_of, setting
from rl.quality_report import compare
from rl.scoring import load_source
from rl.steps import take_step
from run import plotting
from run.checkpoint import load_checkpoint, save_checkpoint
from run.distributed import same_format, shard, sum_gradients, whole_model
from run.interrupt import StopOnSignal
from run.optim import model_state
from run.progress import Progress, add_progress_flags, sum_of, sum_of_weights, training_in
from run.schedule import Schedule
from sft.evaluation import is_chat_model
from sft.lora import check_lora, lora_training, merged_weights
from tqdm import tqdm

SFT = here(__file__).parent / "part_6" / "out" / "sft.pt"
SFT_WITH = "python part_6/train_sft.py (about 4 minutes)"
REWARD = here(__file__).parent / "part_7" / "out" / "reward.pt"
REWARD_WITH = "python part_7/train_reward.py (about 3 minutes)"


@dataclass(frozen=True)
class DPOSettings:
    """One run. Every field is also a flag."""

    items: int = setting(3500, "instructions to make pairs of, half of them not tuned on")
    pairs_an_item: int = setting(10, "most pairs of one instruction")
    pairs: int = setting(4000, "most pairs to learn from")
    pairs_a_step: int = setting(32, "pairs in one optimizer step")
    micro_tokens: int = setting(2048, "most tokens in one forward pass; one pair at least")
    peak: float = setting(3e-4, "highest learning rate")
    beta: float = setting(0.1, "how dear it is to leave the reference")
    smoothing: float = setting(0.1, "share of labels believed to be wrong")
    gold_weight: float = setting(0.2, "weight of the chosen reply's own loss, eq. 8.18")
    flipped: float = setting(FLIPPED, "share of labels turned round")
    max_norm: float = setting(1.0, "largest norm of the gradient")
    lora: int = setting(0, "rank of LoRA's detours; 0: all weights are trained")
    weights: str = setting("float32", "format of frozen weights: float32, or bfloat16 with --lora")

    def __post_init__(self):
        for name in ("items", "pairs_an_item", "pairs", "pairs_a_step", "micro_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{flag_of(name)} {getattr(self, name)}: must be at least 1")
        for name in ("peak", "beta", "max_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{flag_of(name)} {getattr(self, name)}: must be above 0")
        for name in ("smoothing", "flipped"):
            if not 0 <= getattr(self, name) < 0.5:
                raise ValueError(f"{flag_of(name)} {getattr(self, name)}: at least 0, below 0.5")
        if self.gold_weight < 0:
            raise ValueError(f"--gold-weight {self.gold_weight}: must not be below 0")
        check_lora(self.lora, self.weights)


def world_training_pairs(settings: DPOSettings, model, tokenizer, runtime, seed: int) -> list:
    """The pairs that part 7's reward model learns from with the same seed; of those the first
    `pairs`, which are in random order."""
    return training_pairs(model, tokenizer, runtime, items=settings.items, drawn=DRAWN,
                          per_item=settings.pairs_an_item, flipped=settings.flipped,
                          seed=seed)[:settings.pairs]


def train(body, reference, pairs, tokenizer, runtime, settings: DPOSettings, seed: int,
          progress: Progress | None = None) -> list:
    """One pass over the pairs -> the log, a dictionary a step. Of several processes each reads some
    of a step's pairs."""
    batches = batches_of(pairs, settings.pairs_a_step, seed)
    schedule = Schedule("linear", settings.peak, 0.0, 0.1)
    optimizer = torch.optim.AdamW(body.parameters(), lr=settings.peak, betas=(0.9, 0.99), eps=1e-5,
                                  weight_decay=0.0, fused=True)
    scaler = runtime.grad_scaler()
    progress = (progress or Progress()).begin(body, optimizer, scaler, len(batches), body.config)
    log, processes = progress.log, progress.processes
    with StopOnSignal() as stop, tqdm(total=len(batches), initial=progress.step, desc="dpo",
                                      mininterval=1.0, disable=progress.quiet) as bar:
        for step, batch in enumerate(batches[progress.step:], progress.step + 1):
            start = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step / (len(batches) + 1))  # never 0
            told = torch.zeros(6, dtype=torch.float64, device=runtime.device)
            for few, counts in own_pairs(batch, settings.micro_tokens, processes):
                told += learn_from(few, batch, body, reference, scaler, tokenizer, runtime, settings,
                                   counts)
            told = dict(zip(TOLD, processes.sum(told).tolist()))
            if not math.isfinite(told.pop("whole")):
                raise ValueError(f"step {step}: the loss is {told['loss']}; lower --peak")
            sum_gradients(body, processes)
            take_step(optimizer, scaler, body.parameters(), settings.max_norm)
            log.append({"step": step, **told})
            bar.update()
            if progress.step_done(time.perf_counter() - start, stop.requested):
                break
    return log


TOLD = ("loss", "accuracy", "chosen", "rejected", "chosen_change", "whole")


def learn_from(few: list, batch: list, body, reference, scaler, tokenizer, runtime,
               settings: DPOSettings, counts: int = 1) -> torch.Tensor:
    """Add the gradient of a `few` pairs of a step's `batch` -> their share of TOLD. `counts`: 0 where
    they are only read."""
    rows = pair_rows(few, tokenizer.end, tokenizer.pad, runtime.device)
    with runtime.autocast():
        with torch.no_grad():  # first: what it needs is gone before the policy keeps anything
            ref_logp = response_logp(reference, rows).sum(1)
        logp = response_logp(body, rows)
    one, other = logp.sum(1).view(-1, 2).unbind(1)
    result = dpo_loss(one, other, *ref_logp.view(-1, 2).unbind(1), beta=settings.beta,
                      smoothing=settings.smoothing)
    share, labels = counts * len(few) / len(batch), sum(len(pair.chosen) for pair in batch)
    loss = share * result.loss - counts * settings.gold_weight * one.sum() / labels  # eq. 8.18
    scaler.scale(loss).backward()
    change = float((one.detach() - ref_logp[::2]).mean())
    told = [share * x for x in (float(result.loss.detach()), result.accuracy, result.chosen,
                                result.rejected, change)]
    return torch.tensor([*told, float(loss.detach())], dtype=torch.float64, device=runtime.device)


def draw(log: list[dict], metrics: dict, settings: DPOSettings, seed: int, path: Path) -> None:
    """The implicit rewards of both sides, and the share of pairs in the right order."""
    last = log[-max(1, len(log) // 10):]
    accuracy = sum(line["accuracy"] for line in last) / len(last)
    title = f"DPO: {accuracy:.0%} of the last tenth's pairs in order"
    if "quality_after" in metrics:
        title += (f"; true quality {metrics['quality_before']:.3f} to "
                  f"{metrics['quality_after']:.3f}")
    elif "held_out_accuracy" in metrics:
        title += f", {metrics['held_out_accuracy']:.0%} of {metrics['held_out_pairs']} held-out ones"
    whose = f"pairs of {metrics['file']} as they are labelled" if "file" in metrics else \
        f"{settings.flipped:.0%} of the labels flipped"
    fig, (left, right) = plotting.figure(
        title, f"{len(log)} steps of {settings.pairs_a_step} pairs, one pass, β = {settings.beta}, "
        f"{whose}, seed {seed}", 2)
    steps = [line["step"] for line in log]
    for name, color in (("chosen", plotting.BLUE), ("rejected", plotting.ORANGE)):
        values = [line[name] for line in log]
        left.plot(steps, values, color=color, lw=1.2)
        plotting.end_label(left, steps, values, name, color)
    left.set(xlabel="step", ylabel="implicit reward (nats times β)")
    left.margins(x=0.2)
    right.plot(steps, [line["accuracy"] for line in log], color=plotting.BLUE, lw=1.2)
    if "file" not in metrics:
        right.axhline(1 - settings.flipped, color=plotting.GREY, lw=0.8, ls="--")
    right.set(xlabel="step", ylabel="share of pairs in the right order", ylim=(0, 1.02))
    plotting.save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__)
    add_flags(parser, DPOSettings)
    parser.add_argument("--sft", type=Path, default=SFT,
                        help="the tuned model (default: part_6/out/sft.pt)")
    parser.add_argument("--reward", type=Path, default=REWARD,
                        help="for the report alone (default: part_7/out/reward.pt)")
    parser.add_argument("--data", type=Path, default=None,
                        help="chosen/rejected records in any usual form, .json, .jsonl, .gz; the "
                             "report is then of its held-out pairs (default: the world)")
    parser.add_argument("--eval-prompts", type=int, default=300,
                        help="held-out prompts at the end, 0 for none (default: 300)")
    parser.add_argument("--eval-samples", type=int, default=4,
                        help="replies to each of them (default: 4)")
    parser.add_argument("--eval-exact", type=int, default=420,
                        help="held-out questions for exact match, 0 for none (default: 420)")
    add_progress_flags(parser, save_every=50)
    return parser.parse_args(argv)


def report(args, settings, log, metrics, body, reference, source, held_out, tokenizer, runtime,
           save, out: Path) -> None:
    """Measure what was learnt, on the world or on held-out pairs of a file; show and draw it."""
    if held_out:
        rows = [pair_rows(part, tokenizer.end, tokenizer.pad, runtime.device)
                for part in batches_of(held_out, settings.pairs_a_step, args.seed)]
        metrics |= measure_pairs(body, reference, rows, runtime, beta=settings.beta)
    if source is not None:
        metrics |= compare(body, reference, source, tokenizer, runtime, prompts=args.eval_prompts,
                           samples=args.eval_samples, exact=args.eval_exact, seed=args.seed)[0]
    save(metrics)
    print_table(["measured", "value"], [[name, value] for name, value in metrics.items()
                                        if isinstance(value, (int, float))],
                f"{out / 'dpo.pt'}: {len(log)} steps")
    draw(log, metrics, settings, args.seed, out / "dpo.png")


def prepared(args, settings: DPOSettings, out: Path, processes):
    """-> (body, tokenizer, runtime, reward model, pairs as tokens, held-out pairs, what to report of
    them, progress)."""
    body, tokenizer, _ = load_checkpoint(args.sft, make_with=SFT_WITH)
    if not is_chat_model(tokenizer):
        raise ValueError(f"{args.sft}: knows no roles; make a chat model with: {SFT_WITH}")
    runtime = same_format(choose_runtime(
        args.device, args.amp, width=body.config.n_embd, weights=settings.weights), processes)
    source = load_source(args.reward, tokenizer, runtime, REWARD_WITH, processes=processes) \
        if args.eval_prompts and args.data is None and (
            processes.is_main or processes.shards) else None
    seed_everything(args.seed)
    body.to(runtime.device)
    start, context = time.perf_counter(), body.config.block_size
    if args.data is None:
        pairs, held_out, about = world_training_pairs(settings, body, tokenizer, runtime,
                                                      args.seed), [], {}
    else:
        pairs, held_out, about = file_pairs(
            args.data, lambda pair: bool(pair_tokens([pair], tokenizer, context)[0]), settings.pairs)
    tokens, left_out = pair_tokens(pairs, tokenizer, context)
    if not tokens:
        raise ValueError(f"no pair fits into a context of {context} tokens")
    about["seconds_of_pairs"] = round(time.perf_counter() - start, 2)
    print(f"data    {len(tokens):,} pairs ({left_out} left out), made in "
          f"{about['seconds_of_pairs']:.0f} s")
    described = {**asdict(settings), "seed": args.seed, "amp": runtime.amp_name,
                 "data": sum_of(tokens), "weights": sum_of_weights(body),
                 "tokenizer": tokenizer.fingerprint}
    progress = Progress(out / "checkpoints_dpo", args, settings=described, tokenizer=tokenizer,
                        processes=processes)
    return (body, tokenizer, runtime, source, tokens,
            pair_tokens(held_out, tokenizer, context)[0], about, progress)


def main(argv=None):
    args = parse_args(argv)
    check_report(args)
    settings = chosen(DPOSettings(), args)
    with training_in(__file__, args) as (out, processes):
        body, tokenizer, runtime, source, tokens, held_out, about, progress = prepared(
            args, settings, out, processes)
        reference = shard(reference_of(body, settings, args.seed, processes), processes,
                          runtime.device)
        shard(body, processes, runtime.device)
        body.eval()  # dropout would make the two sides differ by chance
        log = train(body, reference, tokens, tokenizer, runtime, settings, args.seed, progress)
        body, reference = whole_model(body), whole_model(reference)
        source = source and source.whole()
        if not progress.is_over() or not processes.is_main:
            return

        def save(metrics: dict) -> None:
            save_checkpoint(out / "dpo.pt", weights=merged_weights(body, model_state(body)),
                            config=body.config, tokenizer=tokenizer, step=len(log),
                            metrics=metrics, settings={k: str(v) for k, v in vars(args).items()},
                            training=lora_training(body, args.sft))
            save_results(out / "dpo.json", name="dpo", preset="", seed=args.seed, runtime=runtime,
                         seconds=progress.seconds, metrics=metrics,
                         tokens=sum(2 * len(p.prompt) + len(p.chosen) + len(p.rejected)
                                    for p in tokens), parameters=body.count_parameters())

        metrics = {"pairs": len(tokens), "train_accuracy": log[-1]["accuracy"],
                   "chosen_change": log[-1]["chosen_change"], **about}
        save(metrics)
        with measuring(out / "dpo.pt", "python part_8/evaluate_ppo.py"):
            report(args, settings, log, metrics, body, reference, source, held_out, tokenizer,
                   runtime, save, out)


if __name__ == "__main__":
    run_main(main, trains=True, processes=True)
