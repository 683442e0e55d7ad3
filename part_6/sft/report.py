"""The end of a tuning run: right answers on all splits, sft.pt, sft.json, and the picture.

Used   train_sft.py.
"""

from pathlib import Path

import numpy as np
from files.closing import measuring
from files.own_files import room_for_answers
from run import plotting
from run.checkpoint import save_checkpoint
from run.logger import read_log
from run.optim import model_state
from run.runtime import print_table, save_results

from sft.evaluation import evaluate_split, reply_to, skill_table, token_f1, wilson
from sft.lora import lora_training, merge_lora
from sft.skills import TEST_SPLITS, normalise


def finish_tuning(run) -> None:
    """Merge LoRA, write what was learnt, measure it, and write that too."""
    run.logger.bytes_written()  # the curves are drawn from the file
    training = lora_training(run.model, run.args.base)  # export_weights.py --adapter
    if run.settings.lora:
        merge_lora(run.model.float())
    metrics = {**run.metrics, "trained_parameters": run.trained}
    if run.loss_before is not None:
        metrics["val_loss_before"] = run.loss_before
    write_model(run, metrics, training)
    with measuring(run.out / "sft.pt", "python part_6/evaluate.py"):
        draw_curves(run)
        scores, base = {}, None
        if run.args.data is not None:
            metrics = {**metrics, **file_metrics(run)}
        elif run.args.eval_items:
            scores = {split: evaluate_split(run.model, run.tokenizer, run.runtime, split,
                                            run.args.eval_items, run.args.seed + 1)
                      for split in TEST_SPLITS}
            base = evaluate_split(run.base, run.base_tokenizer, run.runtime, "new_items",
                                  min(run.args.eval_items, 210), run.args.seed + 1)
            metrics = {**metrics, **world_metrics(scores, base)}
        results = write_model(run, metrics, training)
        if scores:
            draw_skills(run, scores, base)
            print_table(["skill", *scores], skill_table(scores),
                        f"{run.out / 'sft.pt'}: share of right answers, {run.args.eval_items} "
                        f"questions a split; the base model has {base.answer_right:.1%} of new items")
        print(f"\n{run.step} steps in {run.seconds:.0f} s, "
              f"{results['tokens_per_second']:,.0f} tokens/s; {run.out / 'sft.pt'}")
        for name, value in metrics.items():
            if isinstance(value, float):
                print(f"{name:20s} {value:.4f}")


def write_model(run, metrics: dict, training: dict | None) -> dict:
    """sft.pt and sft.json, with the figures that there are so far."""
    save_checkpoint(run.out / "sft.pt", weights=model_state(run.model), config=run.config,
                    tokenizer=run.tokenizer, step=run.step, settings=run.described(),
                    metrics=metrics, training=training)
    return save_results(run.out / "sft.json", name="sft", preset=run.args.preset,
                        seed=run.args.seed, runtime=run.runtime, seconds=run.seconds,
                        tokens=run.tokens, parameters=run.parameters, metrics=metrics)


def world_metrics(scores: dict, base) -> dict:
    """The keys of sft.json."""
    return {
        "answer_right": {split: score.answer_right for split, score in scores.items()},
        "exact_match": {split: score.exact_match for split, score in scores.items()},
        "interval": {split: wilson(score.right, score.n) for split, score in scores.items()},
        "base_exact_match": base.exact_match,
        "by_skill": {split: {name: right / n for name, (right, n) in score.by_skill.items()}
                     for split, score in scores.items()},
        "by_manner": scores["new_items"].by_manner,
        "end_rate": min(score.end_rate for score in scores.values()),
        "f1": scores["new_items"].f1,
    }


def file_metrics(run) -> dict:
    """On conversations of the reader's own file that were held out."""
    n = len(run.held_out_chats)
    metrics = {"file": run.args.data.name, "held_out": n, **run.division}
    if not n:
        return metrics
    gold = [c[-1].content for c in run.held_out_chats]
    longest = run.args.longest or room_for_answers(gold, run.tokenizer)
    replies = reply_to(run.model, run.tokenizer, [c[:-1] for c in run.held_out_chats], run.runtime,
                       longest=longest)
    return {**metrics, "longest": longest,
            "exact_match": {"file": sum(normalise(r.text) == normalise(g)
                                        for r, g in zip(replies, gold)) / n},
            "f1": sum(token_f1(r.text, g) for r, g in zip(replies, gold)) / n,
            "end_rate": sum(r.ended for r in replies) / n}


def draw_skills(run, scores: dict, base) -> Path:
    """Right answers per skill on new items and new wordings, beside the base model's."""
    items, wordings = scores["new_items"], scores["new_wordings"]
    names = sorted(items.by_skill, key=lambda name: -share(items, name))
    fig, ax = plotting.figure(
        f"After {run.seconds / 60:.1f} minutes of tuning {items.answer_right:.0%} of new items are "
        f"right, {wordings.answer_right:.0%} in new wordings; the base model has "
        f"{base.answer_right:.0%}",
        f"{run.parameters / 1e6:.1f}M parameters, {run.step} steps, {items.n} questions a split, "
        f"greedy, seed {run.args.seed}", size=(7, 5))
    y = np.arange(len(names))
    for shift, score, color, label in ((-0.27, items, plotting.BLUE, "new items"),
                                       (0.0, wordings, plotting.ORANGE, "new wordings"),
                                       (0.27, base, plotting.GREY, "base model, new items")):
        ax.barh(y + shift, [share(score, name) for name in names], 0.27, color=color, label=label)
    ax.set_yticks(y, names)
    ax.invert_yaxis()
    ax.grid(True, axis="x")
    ax.grid(False, axis="y")
    ax.set(xlabel="share of right answers", xlim=(0, 1))
    ax.legend(loc="upper right", bbox_to_anchor=(1, -0.1), ncols=3, fontsize=7.5, frameon=False)
    return plotting.save(fig, run.out / "sft_skills.png")


def share(score, name: str) -> float:
    right, n = score.by_skill.get(name, (0, 0))
    return right / max(n, 1)


def draw_curves(run) -> Path:
    """Loss on the labels over the steps."""
    lines = read_log(run.out / "log.jsonl")
    steps, losses = zip(*[(line["step"], line["loss"]) for line in lines if "loss" in line])
    looks = [(line["step"], line["val_loss"]) for line in lines if "val_loss" in line]
    world = run.args.data is None
    told = f"Loss on held-out answers{'' if world else f' of {run.args.data.name}'}: " \
           f"{looks[-1][1]:.3f}" if looks else f"Loss on {run.args.data.name}: {losses[-1]:.3f}"
    fig, ax = plotting.figure(
        f"{told} nats per token after {run.step} steps",
        f"{run.trained / 1e6:.2f}M of {run.parameters / 1e6:.1f}M parameters trained, "
        f"{run.settings.rows} rows of {run.context} tokens a step, labels on the "
        f"assistant's tokens, seed {run.args.seed}")
    ax.plot(steps, losses, color=plotting.GREY, lw=0.7)
    if looks:
        ax.plot(*zip(*looks), color=plotting.BLUE, marker="o", ms=3)
        plotting.end_label(ax, *zip(*looks), "held out", plotting.BLUE)
    ax.set(xlabel="step", ylabel="loss, nats per label", ylim=(0, None))
    return plotting.save(fig, run.out / "sft.png")
