"""Train the reward model on pairs: which of two replies do people prefer?

    python part_7/train_reward.py                      from part_6/out/sft.pt, some minutes
    python part_7/train_reward.py --no-witness         the head alone, as in most of the literature
    python part_7/train_reward.py --start scratch      random weights, or --start base
    python part_7/train_reward.py --loss ranking       margin ranking in place of Bradley–Terry
    python part_7/train_reward.py --data pairs.jsonl.gz    chosen/rejected records of your own
    python part_7/train_reward.py --sft FOLDER --data pairs.jsonl --lora 16   a released model, by LoRA
    python part_7/train_reward.py --resume             go on after a stop
    torchrun --nproc_per_node=2 part_7/train_reward.py    in two processes

The pairs: replies drawn from the tuned model, in the manners of people, the gold answer, and replies
with a fault that the model never makes, ordered by the judge, a tenth of the labels flipped. One
epoch, the rate falls to 0. Writes out/reward.pt, reward.json, pictures.
"""

from run.runtime import choose_runtime, here, make_parser, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import math
import time
from argparse import BooleanOptionalAction
from pathlib import Path

import torch
from gpt.model import GPT
from reward.data import batches_of, encode_pairs, pair_batch
from reward.losses import bradley_terry, centring, margin_ranking
from reward.model import RewardModel, sharing
from reward.own_pairs import file_data
from reward.preferences import FLIPPED
from reward.report import finish, write_log
from reward.sources import DRAWN, shuffled_labels, world_data
from run.checkpoint import load_checkpoint
from run.distributed import clip_gradient, part_of, same_format, shard, sum_gradients, whole_model
from run.interrupt import StopOnSignal
from run.optim import make_optimizer
from run.progress import Progress, add_progress_flags, sum_of, sum_of_weights, training_in
from run.schedule import Schedule
from sft.chat_format import chat_tokenizer, grow_vocabulary, reply_token
from sft.evaluation import is_chat_model
from sft.lora import check_lora, with_reference
from tqdm import tqdm

SFT = here(__file__).parent / "part_6" / "out" / "sft.pt"
SFT_WITH = "python part_6/train_sft.py (about 4 minutes)"
BASE = here(__file__).parent / "part_4" / "out" / "base.pt"
BASE_WITH = "python part_4/train.py (about 5 minutes)"
LOSSES = ("bradley-terry", "ranking", "margin")


def settled(args):
    """Settings that follow from others, and mistakes. Raises ValueError."""
    for name in ("items", "drawn", "pairs_an_item", "rows", "held_out_items"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} {getattr(args, name)}: at least 1")
    for name in ("peak", "muon", "head_peak"):
        value = getattr(args, name)
        if not 0 <= value < math.inf or (name == "peak" and value == 0):
            raise ValueError(f"--{name.replace('_', '-')} {value}: a finite rate, "
                             f"{'above' if name == 'peak' else 'at least'} 0")
    for name in ("margin", "centring", "pairs"):
        if getattr(args, name) < 0:
            raise ValueError(f"--{name} {getattr(args, name)}: must not be below 0")
    if not 0 <= args.unseen <= 1:
        raise ValueError(f"--unseen {args.unseen}: a share, from 0 to 1")
    check_lora(args.lora, args.weights)
    if args.lora and args.start == "scratch":
        raise ValueError(f"--lora {args.lora} --start scratch: random weights would stay as they "
                         "are; leave one of the two out")
    if args.bidirectional:
        args.witness = False  # an encoder is compared by its head alone
    return args


def loss_of(name: str, chosen, rejected, gaps, args):
    """The loss of one batch by name. `gaps` (P,): how much better chosen is, for the margin."""
    if name == "ranking":
        loss = margin_ranking(chosen, rejected, margin=args.margin)
    else:
        loss = bradley_terry(chosen, rejected, smoothing=args.smoothing,
                             margin=args.margin * gaps if name == "margin" else 0.0)
    return loss + args.centring * centring(chosen, rejected)


def make_model(args, sft: GPT, tokenizer) -> RewardModel:
    """What training starts from."""
    body = sft
    if args.start == "scratch":
        body = type(sft)(sft.config)
    elif args.start == "base":
        base, base_tokenizer, _ = load_checkpoint(args.base, make_with=BASE_WITH)
        if chat_tokenizer(base_tokenizer).fingerprint != tokenizer.fingerprint:
            raise ValueError(f"{args.base}: its tokenizer is not that of {args.sft}")
        body = grow_vocabulary(base, tokenizer.vocab_size, args.seed)
    witness = with_reference(body, args.lora, args.weights, args.seed) if args.lora else None
    return RewardModel(body, args.bidirectional, reply_token(tokenizer) if args.witness else None,
                       witness)


def optimizer_of(model: RewardModel, runtime, args):
    """As in tuning; what is new (w, v, z of eq. 7.4) has a higher rate than the tuned body."""
    optimizer = make_optimizer(model.body, weight_decay=0.0, betas=(0.9, 0.98),
                               muon=0.0 if args.lora else args.muon / args.peak,
                               dtype=runtime.amp_dtype or torch.float32)
    optimizer.add_param_group({"params": model.new_parameters(), "weight_decay": 0.0,
                               "scale": args.head_peak / args.peak})
    return optimizer


def train(model: RewardModel, pairs: list, encoded: list, tokenizer, runtime, args,
          progress: Progress | None = None) -> list[dict]:
    """One pass over the pairs -> the log: loss, share of pairs in the right order, rate; a step a
    line. Of several processes each reads some of a step's pairs."""
    batches = batches_of(pairs, encoded, args.rows, args.seed)
    optimizer, scaler = optimizer_of(model, runtime, args), runtime.grad_scaler()
    schedule = Schedule("linear", args.peak, 0.0, 0.05)
    progress = (progress or Progress()).begin(model, optimizer, scaler, len(batches), model.config)
    log, processes = progress.log, progress.processes
    model.train()
    with StopOnSignal() as stop, tqdm(total=len(batches), initial=progress.step, desc="compare",
                                      mininterval=1.0, disable=progress.quiet) as bar:
        for step, part in enumerate(batches[progress.step:], progress.step + 1):
            start = time.perf_counter()
            # 1. the rate, 2. the pairs of this process: functions of the step alone
            rate = schedule.rate(step / (len(batches) + 1))  # 0 after the last step, not in it
            for group in optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            progress.seed_step()
            own = part_of(part, processes)
            # 3. their scores, compared pair by pair, and the gradient of the mean over all pairs
            told = torch.zeros(5, dtype=torch.float64, device=runtime.device)
            if own:
                told = learn_from([pairs[i] for i in own], [encoded[i] for i in own], len(part),
                                  model, scaler, tokenizer, runtime, args)
            elif processes.shards:  # slices are gathered with everybody's help; a share of 0
                learn_from(pairs[:1], encoded[:1], math.inf, model, scaler, tokenizer, runtime, args)
            loss, right, total, squares, count = processes.sum(told).tolist()
            if not math.isfinite(loss):
                raise ValueError(f"step {step}: the loss is {loss}; lower --peak (now "
                                 f"{args.peak}) or --muon (now {args.muon})")
            # 4. add up, clip, update
            sum_gradients(model, processes)
            scaler.unscale_(optimizer)
            clip_gradient(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            # 5. write down
            mean = total / count
            spread = max(squares - count * mean**2, 0.0) / max(count - 1, 1)
            log.append({"loss": loss, "right": right, "rate": rate, "mean": mean,
                        "std": spread**0.5})
            bar.update()
            bar.set_postfix_str(f"loss {loss:.3f}, right {right:.2f}")
            if progress.step_done(time.perf_counter() - start, stop.requested):
                break
    return log


def learn_from(pairs: list, encoded: list, all_pairs: int, model, scaler, tokenizer, runtime,
               args) -> torch.Tensor:
    """Add the gradient of some of a step's `all_pairs` -> their share of the loss and of the pairs
    in order; and of the scores their sum, sum of squares and number."""
    batch = pair_batch(encoded, tokenizer.pad, runtime.device)
    gaps = torch.tensor([abs(pair.gap) for pair in pairs], device=runtime.device)
    with runtime.autocast():
        scores = model(batch.ids, batch.last, sharing(model, batch.rows, runtime.device))
    chosen, rejected = scores[batch.chosen], scores[batch.rejected]
    share = len(pairs) / all_pairs
    loss = loss_of(args.loss, chosen, rejected, gaps, args) * share
    scaler.scale(loss).backward()
    read = scores.detach().double()
    right = (chosen > rejected).double().mean() * share
    return torch.stack([loss.detach().double(), right, read.sum(), read.square().sum(),
                        torch.tensor(float(len(read)), dtype=torch.float64, device=read.device)])


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--sft", type=Path, default=SFT,
                        help="the tuned model (default: part_6/out/sft.pt)")
    parser.add_argument("--base", type=Path, default=BASE,
                        help="for --start base (default: part_4/out/base.pt)")
    parser.add_argument("--start", choices=("sft", "base", "scratch"), default="sft",
                        help="weights to begin with (default: sft)")
    parser.add_argument("--witness", action=BooleanOptionalAction, default=True,
                        help="also read what a frozen copy would have said (eq. 7.4; default: on)")
    parser.add_argument("--bidirectional", action="store_true",
                        help="every token sees all others, as in an encoder (default: off)")
    parser.add_argument("--loss", choices=LOSSES, default="bradley-terry",
                        help="which loss (default: bradley-terry)")
    parser.add_argument("--margin", type=float, default=1.0,
                        help="of ranking; for margin, times the gap in quality (default: 1)")
    parser.add_argument("--smoothing", type=float, default=0.0,
                        help="share of labels believed to be wrong (default: 0)")
    parser.add_argument("--centring", type=float, default=0.001,
                        help="weight of the scores' square (default: 0.001)")
    parser.add_argument("--items", type=int, default=2500,
                        help="instructions to make pairs of (default: 2500)")
    parser.add_argument("--unseen", type=float, default=0.5,
                        help="share of them that tuning has not seen (default: 0.5)")
    parser.add_argument("--drawn", type=int, default=DRAWN,
                        help=f"replies of the tuned model to each instruction (default: {DRAWN})")
    parser.add_argument("--pairs-an-item", type=int, default=10,
                        help="most pairs of one instruction (default: 10)")
    parser.add_argument("--rows", type=int, default=32,
                        help="different replies a step (default: 32)")
    parser.add_argument("--peak", type=float, default=3e-4,
                        help="highest rate of AdamW (default: 3e-4)")
    parser.add_argument("--muon", type=float, default=2e-3,
                        help="highest rate of Muon, for the blocks' matrices; 0: AdamW "
                             "(default: 2e-3)")
    parser.add_argument("--head-peak", type=float, default=5e-3,
                        help="highest rate of what starts from nothing, w, v, z (default: 5e-3)")
    parser.add_argument("--flipped", type=float, default=FLIPPED,
                        help=f"share of labels turned round (default: {FLIPPED})")
    parser.add_argument("--shuffle-labels", action="store_true",
                        help="a check: labels at random, so 50%% is all there is (default: off)")
    parser.add_argument("--held-out-items", type=int, default=300,
                        help="held-out instructions for the figures (default: 300)")
    parser.add_argument("--lora", type=int, default=0,
                        help="rank of LoRA's detours; 0: all weights are trained (default: 0)")
    parser.add_argument("--weights", default="float32",
                        help="format of frozen weights: float32, or bfloat16 with --lora "
                             "(default: float32)")
    parser.add_argument("--data", type=Path, default=None,
                        help="chosen/rejected records in any usual form, .json, .jsonl, .gz; "
                             "the flags about items and labels are the world's (default: the world)")
    parser.add_argument("--pairs", type=int, default=0,
                        help="most pairs of --data to learn from (default: 0, all)")
    parser.add_argument("--no-tensorboard", action="store_true",
                        help="write log.jsonl only (default: off)")
    add_progress_flags(parser, save_every=100)
    return parser.parse_args(argv)


# what may change between a stop and a resume: where things lie, and what is only looked at
FREE = ("out", "device", "amp", "resume", "stop_at", "save_every", "no_tensorboard", "sft", "base",
        "data", "held_out_items", "recompute", "compile", "shard")


def prepared(args, out: Path, processes):
    """-> (model, data, pairs, encoded, tokenizer, runtime, progress): all that training needs."""
    if args.lora and processes.shards:
        raise ValueError("--shard with --lora: the witness is the body itself without its detours, "
                         "and frozen weights are not sliced; use one of the two")
    sft, tokenizer, _ = load_checkpoint(args.sft, make_with=SFT_WITH)
    if not is_chat_model(tokenizer):
        raise ValueError(f"{args.sft} knows no roles; make a tuned model with: {SFT_WITH}")
    runtime = same_format(choose_runtime(
        args.device, args.amp, width=sft.config.n_embd, weights=args.weights), processes)
    seed_everything(args.seed)
    sft.to(runtime.device)
    start = time.perf_counter()
    data = file_data(args, tokenizer, sft.config.block_size) if args.data else \
        world_data(args, sft, tokenizer, runtime)
    if args.shuffle_labels:
        data.pairs = shuffled_labels(data.pairs, args.seed)
    encoded, pairs, left_out = encode_pairs(data.pairs, tokenizer, sft.config.block_size)
    if not pairs:
        raise ValueError(f"no pair is left to learn from: {left_out}")
    flipped = "labels as they are" if args.data and not args.shuffle_labels else \
        f"{sum(p.gap < 0 for p in pairs) / len(pairs):.1%} flipped"
    print(f"data    {len(pairs):,} pairs ({left_out['too long']} too long, {left_out['the same']} "
          f"the same), {flipped}; {len(data.held_out)} held out "
          f"({time.perf_counter() - start:.0f} s)")
    torch.manual_seed(args.seed)
    model = make_model(args, sft, tokenizer).to(runtime.device)
    settings = {name: str(value) for name, value in vars(args).items() if name not in FREE} | {
        "amp": runtime.amp_name, "data": sum_of(encoded), "weights": sum_of_weights(model),
        "tokenizer": tokenizer.fingerprint}
    progress = Progress(out / "checkpoints", args, settings=settings, tokenizer=tokenizer,
                        processes=processes)
    return model, data, pairs, encoded, tokenizer, runtime, progress


def main(argv=None):
    args = settled(parse_args(argv))
    with training_in(__file__, args) as (out, processes):
        model, data, pairs, encoded, tokenizer, runtime, progress = prepared(args, out, processes)
        shard(model, processes, runtime.device, *model.bodies)
        log = train(model, pairs, encoded, tokenizer, runtime, args, progress)
        model = whole_model(model)
        if progress.is_over() and processes.is_main:
            write_log(log, out, args)
            finish(model, tokenizer, runtime, args, out, data=data, log=log,
                   seconds=progress.seconds,
                   tokens=sum(map(len, {row for p in encoded for row in (p.chosen, p.rejected)})))


if __name__ == "__main__":
    run_main(main, trains=True, processes=True)
