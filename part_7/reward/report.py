"""What a reward model's scores are worth on held-out pairs, and the files that say so.

Used   train_reward.py, evaluate_reward.py
"""

import random
from pathlib import Path

import numpy as np
from files.closing import measuring
from run import plotting
from run.logger import Logger
from run.runtime import print_table, save_results
from sft.chat_format import messages_of

from reward.checkpoint import save_reward
from reward.data import encode_pairs
from reward.faults import HELD_OUT, TRAINED, Reply, spoil
from reward.judge import judge_reply, quality
from reward.model import encode_reply, score_rows
from reward.preferences import LEAST_GAP
from reward.scores import accuracy, calibration, spearman
from reward.sources import RewardData


def pair_scores(model, pairs, tokenizer, runtime):
    """-> (scores of chosen, of rejected, the pairs that could be told apart)."""
    encoded, kept, _ = encode_pairs(pairs, tokenizer, model.config.block_size)
    rows = [p.chosen for p in encoded] + [p.rejected for p in encoded]
    scores = score_rows(model, rows, tokenizer.pad, runtime).numpy()
    return scores[:len(kept)], scores[len(kept):], kept


def reply_scores(model, tokenizer, runtime, asked, sets: list[list[Reply]]) -> list[list[float]]:
    """The score of each reply of sets[i] to asked[i]."""
    rows = [encode_reply(messages_of(item), reply, tokenizer, model.config.block_size)
            for item, replies in zip(asked, sets, strict=True) for reply in replies]
    scores = iter(score_rows(model, rows, tokenizer.pad, runtime).tolist())
    return [[next(scores) for _ in replies] for replies in sets]


def within_prompts(model, tokenizer, runtime, asked, replies, seed: int) -> float:
    """The mean over prompts of Spearman's correlation between score and true quality, among the
    gold reply, the model's, and one with each fault that is in the pairs; a reply that comes twice counts once.
    """
    rng = random.Random(f"ranks {seed}")
    sets = [list(dict.fromkeys([Reply(item.answer), *drawn,
                                *(spoil(fault, item, rng) for fault in TRAINED)]))
            for item, drawn in zip(asked, replies, strict=True)]
    scores = reply_scores(model, tokenizer, runtime, asked, sets)
    correlations = [spearman(mine, [judge_reply(item, reply.text, reply.ended).value
                                    for reply in options])
                    for item, options, mine in zip(asked, sets, scores)]
    return sum(correlations) / len(correlations)


def right_against(model, tokenizer, runtime, asked, replies, seed: int) -> dict[str, float]:
    """Kind of reply -> how often the gold reply scores above it. "model": the tuned model's own
    replies that are clearly worse than the gold one."""
    rng = random.Random(f"kinds {seed}")
    kinds = (*TRAINED, *HELD_OUT)
    sets = [[Reply(item.answer), *(spoil(kind, item, rng) for kind in kinds), *drawn]
            for item, drawn in zip(asked, replies, strict=True)]
    above = {kind: [] for kind in (*kinds, "model")}
    for item, options, scores in zip(asked, sets,
                                     reply_scores(model, tokenizer, runtime, asked, sets)):
        for number, (reply, score) in enumerate(zip(options[1:], scores[1:])):
            if quality(item, reply.text, reply.ended) < 0.9:
                kind = kinds[number] if number < len(kinds) else "model"
                above[kind].append(accuracy([scores[0]], [score]))
    return {kind: sum(values) / max(len(values), 1) for kind, values in above.items()}


def own_choice(model, tokenizer, runtime, asked, replies) -> dict[str, float]:
    """What the score does with the tuned model's own replies, several to each prompt, as a policy
    will meet it: pairs of different quality in order, and the true quality of the one it picks."""
    scores = np.array(reply_scores(model, tokenizer, runtime, asked, replies))  # (prompts, replies)
    marks = np.array([[quality(item, reply.text, reply.ended) for reply in some]
                      for item, some in zip(asked, replies, strict=True)])
    is_better = marks[:, :, None] > marks[:, None, :] + LEAST_GAP
    return {"own_pairs_in_order": float((scores[:, :, None] > scores[:, None, :])[is_better].mean())
            if is_better.any() else 0.5,
            "quality_of_a_random_one": float(marks.mean()),
            "quality_of_the_one_picked": float(marks[np.arange(len(marks)),
                                                     scores.argmax(1)].mean()),
            "quality_of_the_best": float(marks.max(1).mean())}


def own_spread(model, tokenizer, runtime, asked, replies) -> tuple[float, float]:
    """Mean and standard deviation of the scores of the tuned model's own replies."""
    scores = np.concatenate(reply_scores(model, tokenizer, runtime, asked, replies))
    return float(scores.mean()), max(float(scores.std(ddof=1)), 1e-6)


def spread_of(chosen, rejected) -> tuple[float, float]:
    """Mean and standard deviation of the scores of a file's replies, both sides together."""
    scores = np.concatenate([chosen, rejected])
    return float(scores.mean()), max(float(scores.std(ddof=1)), 1e-6)


def measure(model, tokenizer, runtime, data: RewardData, seed: int):
    """-> (metrics, points of the calibration, mean and spread of the model's own replies)."""
    chosen, rejected, kept = pair_scores(model, data.held_out, tokenizer, runtime) \
        if data.held_out else ([], [], [])
    if not kept:  # a file of one prompt: the spread is that of what was learnt
        chosen, rejected, _ = pair_scores(model, data.pairs, tokenizer, runtime)
        return {"held_out_pairs": 0, **data.about}, [], spread_of(chosen, rejected)
    error, points = calibration(chosen, rejected)
    metrics = {"accuracy": accuracy(chosen, rejected), "calibration_error": error,
               "held_out_pairs": len(kept)}
    if not data.asked:  # a file: nobody knows which labels are wrong
        return metrics | data.about, points, spread_of(chosen, rejected)
    is_right = np.array([pair.gap > 0 for pair in kept])
    one, two, _ = pair_scores(model, data.new_faults, tokenizer, runtime)
    metrics |= {"accuracy_ceiling": float(is_right.mean()),
                "true_accuracy": accuracy(np.where(is_right, chosen, rejected),
                                          np.where(is_right, rejected, chosen)),
                "new_fault_accuracy": accuracy(one, two),
                "rank_correlation": within_prompts(model, tokenizer, runtime, data.asked,
                                                   data.replies, seed),
                "right_against": right_against(model, tokenizer, runtime, data.asked,
                                               data.replies, seed)}
    return metrics, points, own_spread(model, tokenizer, runtime, data.asked, data.replies)


def write_log(log: list[dict], out: Path, args) -> None:
    """log.jsonl, TensorBoard, and a picture of the run."""
    logger = Logger(out, tensorboard=not args.no_tensorboard)
    for step, line in enumerate(log, 1):
        logger.log(step, **line)
    logger.close()
    size = max(1, len(log) // 20)
    steps = [first + size for first in range(0, len(log) - size + 1, size)]
    right = [sum(line["right"] for line in log[step - size:step]) / size for step in steps]
    fig, ax = plotting.figure(
        f"From {right[0]:.0%} to {right[-1]:.0%} of new pairs in the order of their labels in "
        f"{len(log)} steps",
        f"pairs{f' of {args.data.name}' if args.data else ''} not trained on yet, one pass, "
        f"{args.rows} replies a step, loss {args.loss}, start {args.start}, seed {args.seed}")
    ax.plot(range(1, len(log) + 1), [line["right"] for line in log], color=plotting.GREY, lw=0.6)
    ax.plot(steps, right, color=plotting.BLUE, marker="o", ms=3)
    ax.set(xlabel="step", ylabel="share of pairs in the right order", ylim=(0.4, 1))
    plotting.save(fig, out / "reward.png")


def finish(model, tokenizer, runtime, args, out: Path, *, data: RewardData, log: list[dict],
           seconds: float, tokens: int) -> dict:
    """Write the model, measure it on what was held out, then write everything that others need."""
    last = log[-max(1, len(log) // 10):]  # until it is measured, what the last steps read
    mean, std = (sum(line[name] for line in last) / len(last) for name in ("mean", "std"))

    def save(metrics: dict) -> None:
        save_reward(out / "reward.pt", model, tokenizer, mean=mean, std=max(std, 1e-6),
                    metrics=metrics, settings={k: str(v) for k, v in vars(args).items()})
        save_results(out / "reward.json", name="reward", preset="", seed=args.seed,
                     runtime=runtime, seconds=seconds, tokens=tokens,
                     parameters=model.count_parameters(), metrics=metrics)

    save({})
    with measuring(out / "reward.pt", "python part_7/evaluate_reward.py"):
        metrics, points, (mean, std) = measure(model, tokenizer, runtime, data, args.seed)
        save(metrics)
        if points:
            draw_calibration(points, metrics, out / "calibration.png")
        show(metrics, f"{out / 'reward.pt'}: {len(log)} steps in {seconds:.0f} s")
    return metrics


def show(metrics: dict, title: str) -> None:
    """The metrics as tables."""
    print_table(["measured", "value"], [[name, value] for name, value in metrics.items()
                                        if isinstance(value, (int, float))], title)
    if "right_against" in metrics:
        print_table(["kind of reply", "the right one scores higher"],
                    [[kind, share] for kind, share in metrics["right_against"].items()])


def draw_calibration(points, metrics: dict, path: Path) -> None:
    """Predicted against observed win rate."""
    fig, ax = plotting.figure(
        f"When it says 90% it is right how often? Calibration error "
        f"{metrics['calibration_error']:.3f}",
        f"{metrics['held_out_pairs']} held-out pairs"
        + (f" of {metrics['file']}" if "file" in metrics else "")
        + " in bins of equal size, labels with their noise")
    ax.plot([0.5, 1], [0.5, 1], color="#BBBBBB", lw=0.8)
    ax.plot([p for p, _, _ in points], [o for _, o, _ in points], color=plotting.BLUE, marker="o",
            ms=4)
    ax.set(xlabel="predicted win rate", ylabel="observed win rate", xlim=(0.5, 1), ylim=(0.4, 1))
    plotting.save(fig, path)
