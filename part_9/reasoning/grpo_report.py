"""The end of a GRPO run: held-out measures before and after, grpo.pt, grpo.json, the curves.

Used   train_grpo.py
"""

import random
from pathlib import Path

from files.closing import measuring
from rl.quality_report import compare
from run import plotting
from run.checkpoint import save_checkpoint
from run.logger import read_log
from run.optim import model_state
from run.runtime import print_table, save_results
from sft.evaluation import evaluate_split
from sft.lora import lora_training, merged_weights

from reasoning.evaluation import COLUMNS, answer_problems, evaluate, judge_replies
from reasoning.sampling import LONGEST, draw_samples, pass_rate, voted_right
from reasoning.tasks import TEST_SPLITS, Problem, direct, problems

K = 8  # samples for pass@k


def reasoning_metrics(model, reference, tokenizer, runtime, *, n: int, exact: int, seed: int,
                      held_out: list[Problem] | None = None, longest: int = LONGEST,
                      families: tuple[str, ...] | None = None) -> dict:
    """Both models on the same held-out problems -> the metrics of grpo.json. `held_out`: those of a
    file of one's own, which is then all that is asked about. `families`: those that were learnt
    from; None: all."""
    sets = {split: problems(n, split, seed + 1, families) for split in TEST_SPLITS} \
        if held_out is None else {"file": held_out[:n]}
    metrics: dict = {"splits": {}}
    for split, asked in sets.items():
        both = [evaluate(m, tokenizer, asked, runtime, seed, longest) for m in (reference, model)]
        metrics["splits"][split] = {"before": both[0], "after": both[1]}
    first = next(iter(sets))  # new_operands, or the file
    asked = sets[first][:150] if held_out else problems(min(n, 150), first, seed + 1, families)
    rng = random.Random(f"at once {seed}")
    at_once = [direct(problem, rng) for problem in asked] if held_out is None else []
    for when, m in (("before", reference), ("after", model)):
        samples = draw_samples(m, tokenizer, asked, runtime, k=K, seed=seed, longest=longest)
        metrics |= {f"pass_at_1_{when}": pass_rate(1, asked, samples),
                    f"pass_at_{K}_{when}": pass_rate(K, asked, samples),
                    f"majority_{when}": voted_right(K, asked, samples)}
        if at_once:  # the world's wordings of "no steps, please" mean nothing for other files
            replies = answer_problems(m, tokenizer, at_once, runtime, longest=longest)
            metrics[f"direct_{when}"] = judge_replies(at_once, replies)["accuracy"]
    main = metrics["splits"][first]
    metrics |= {"accuracy_before": main["before"]["accuracy"],
                "accuracy_after": main["after"]["accuracy"], "end_rate": main["after"]["end_rate"]}
    if exact:
        for name, m in (("exact_match_before", reference), ("exact_match", model)):
            metrics[name] = evaluate_split(m, tokenizer, runtime, "new_items", exact,
                                           seed + 1).exact_match
    return metrics


def finish_checker(run) -> dict:
    """Measure on held-out problems, of the file if there is one, then write everything."""
    log = logged(run)
    metrics = common(run, log)
    save_model(run, metrics)  # what was learnt is safe, whatever happens while it is measured
    with measuring(run.out / f"{run.name}.pt", "python part_9/evaluate_reasoning.py"):
        measure_checker(run, log, metrics)
    return metrics


def measure_checker(run, log: list[dict], metrics: dict) -> None:
    """Held-out problems before and after, the files with these figures, the curves."""
    metrics |= reasoning_metrics(run.grpo.model, run.grpo.reference, run.tokenizer, run.runtime,
                                 n=run.args.eval_problems, exact=run.args.eval_exact,
                                 seed=run.args.seed, held_out=run.held_out,
                                 longest=run.args.longest, families=run.families)
    rows = [[split, when, *(both[when][key] for key in COLUMNS)]
            for split, both in metrics["splits"].items() for when in ("before", "after")]
    print_table(["split", "", *(name.replace("_", " ") for name in COLUMNS)], rows,
                "Held-out problems, greedy")
    write(run, metrics)
    draw_curves(run, log, metrics)


def finish_model(run) -> dict:
    """The same measures as part 8's of PPO: the judge on held-out prompts of the skills."""
    log = logged(run)
    metrics = common(run, log)
    save_model(run, metrics)
    with measuring(run.out / f"{run.name}.pt", "python part_9/evaluate_reasoning.py"):
        quality, _, _ = compare(run.grpo.model, run.grpo.reference, run.source, run.tokenizer,
                                run.runtime, prompts=run.args.eval_problems, samples=4,
                                exact=run.args.eval_exact, seed=run.args.seed,
                                longest=run.settings.max_new)
        metrics |= quality
        write(run, metrics)
        draw_curves(run, log, metrics)
    return metrics


def logged(run) -> list[dict]:
    run.logger.bytes_written()
    return read_log(run.out / "log.jsonl")


def common(run, log: list[dict]) -> dict:
    """What both kinds of run say of themselves; `kl` is in nats a token, in the last ten steps."""
    steps = [line for line in log if "reward" in line]
    if not steps:
        raise ValueError("the run was stopped before its first step: nothing is written")
    last = steps[-10:]
    return {"kl": sum(line["kl"] for line in last) / len(last),
            "reward_first": steps[0]["reward"],
            "reward_last": sum(line["reward"] for line in last) / len(last),
            "train_end_rate": sum(line["end_rate"] for line in last) / len(last),
            "steps": run.grpo.steps_done,
            "replies": run.grpo.steps_done * run.settings.prompts * run.settings.group,
            "seconds_by_beat": {name: round(x, 2) for name, x in run.laps.items()}}


def save_model(run, metrics: dict) -> None:
    """The checkpoint and its JSON, with the figures that there are so far."""
    model, name = run.grpo.model, run.name
    save_checkpoint(run.out / f"{name}.pt", weights=merged_weights(model, model_state(model)),
                    config=model.config, tokenizer=run.tokenizer, step=run.grpo.steps_done,
                    settings=run.described(), metrics=metrics,
                    training=lora_training(model, run.begun_from))
    save_results(run.out / f"{name}.json", name=name, preset=run.args.preset, seed=run.args.seed,
                 runtime=run.runtime, seconds=run.seconds, tokens=run.tokens,
                 parameters=model.count_parameters(), metrics=metrics)


def write(run, metrics: dict) -> None:
    """The checkpoint, its JSON, and the table."""
    save_model(run, metrics)
    print_table(["measured", "value"], [[key, value] for key, value in metrics.items()
                                        if isinstance(value, (int, float))],
                f"{run.out / run.name}.pt: {run.grpo.steps_done} steps in {run.seconds:.0f} s")


def draw_curves(run, log: list[dict], metrics: dict) -> Path:
    """Reward, held-out accuracy, KL and signal over the steps."""
    steps = [line for line in log if "reward" in line]
    looks = [(line["step"], line["held_out"]) for line in log if "held_out" in line]
    s = run.settings
    if "accuracy_after" in metrics:
        on = f" on {run.args.data.name}" if run.args.data else ""
        title = (f"GRPO{on}: {metrics['accuracy_before']:.0%} to {metrics['accuracy_after']:.0%} of "
                 f"held-out problems right, greedy; pass@{K} before: "
                 f"{metrics[f'pass_at_{K}_before']:.0%}")
    else:
        title = (f"GRPO on part 7's reward: true quality {metrics['quality_before']:.3f} to "
                 f"{metrics['quality_after']:.3f}")
    fig, axes = plotting.figure(title, f"{len(steps)} steps of {s.prompts} prompts x {s.group} "
                                f"replies, {s.normaliser} mean, beta {s.beta}, seed "
                                f"{run.args.seed}", panels=3, size=(7, 3.6))
    x = [line["step"] for line in steps]
    axes[0].plot(x, [line["reward"] for line in steps], color=plotting.SKY, lw=1)
    axes[0].set_title("mean reward (thin), held-out accuracy" if looks else "mean reward",
                      fontsize=7.5, loc="left")
    if looks:
        axes[0].plot(*zip(*looks), color=plotting.BLUE, marker="o", ms=3)
    axes[1].plot(x, [line["kl"] for line in steps], color=plotting.ORANGE)
    axes[1].set_title("KL to the reference, nats a token", fontsize=7.5, loc="left")
    for key, color in (("signal", plotting.GREEN), ("end_rate", plotting.GREY)):
        y = [line[key] for line in steps]
        axes[2].plot(x, y, color=color)
        plotting.end_label(axes[2], x, y, key.split("_")[0], color)
    axes[2].set_title("share with a signal, share that ended", fontsize=7.5, loc="left")
    axes[2].set_ylim(0, 1.12)
    for ax in axes:
        ax.set_xlabel("step")
    return plotting.save(fig, run.out / f"{run.name}.png")
