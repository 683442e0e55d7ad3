"""The end of a PPO run: held-out measures, ppo.pt, ppo.json, and the picture of its curves.

Used   train_ppo.py
"""

from pathlib import Path

from files.closing import measuring
from run import plotting
from run.checkpoint import save_checkpoint
from run.logger import read_log
from run.optim import model_state
from run.runtime import print_table, save_results
from sft.lora import lora_training, merged_weights

from rl.own_files import compare_on_prompts
from rl.quality_report import compare

CURVES = {"score": "score (standard deviations)", "kl": "KL to the reference (nats)",
          "entropy": "entropy (nats a token)", "clip_fraction": "share of tokens clipped",
          "explained_variance": "variance explained by values", "length": "tokens in a reply",
          "end_rate": "share that ended"}


def check_report(args) -> None:
    """Raise ValueError, before anything is trained, for what the report could not do at its end."""
    for name, least in (("eval_prompts", 0), ("eval_samples", 1), ("eval_exact", 0)):
        if getattr(args, name) < least:
            raise ValueError(f"--{name.replace('_', '-')} {getattr(args, name)}: must be at least "
                             f"{least}")


def finish(run) -> dict:
    """Write the policy, measure it on what was held out, then write everything that others need."""
    ppo = run.ppo
    run.logger.bytes_written()  # the curves are drawn from the file
    log = read_log(run.out / "log.jsonl")
    last = log[-max(1, len(log) // 3):]
    metrics = {"train_score": log[-1]["score"], "train_kl": log[-1]["kl"], "beta": ppo.kl.beta,
               "explained_variance": sum(line["explained_variance"] for line in last) / len(last),
               "seconds_by_beat": {name: round(x, 2) for name, x in run.laps.items()}, **run.about}
    save(run, metrics)
    with measuring(run.out / "ppo.pt", "python part_8/evaluate_ppo.py"):
        metrics |= held_out(run)
        save(run, metrics)
        print_table(["measured", "value"], [[name, value] for name, value in metrics.items()
                                            if isinstance(value, (int, float))],
                    f"{run.out / 'ppo.pt'}: {ppo.steps_done} steps in {run.seconds:.0f} s")
        draw_curves(log, metrics, run)
    return metrics


def held_out(run) -> dict:
    """The policy beside its reference: on the world's new items, or on held-out prompts of a file."""
    args, policy, reference = run.args, run.ppo.policy.body, run.ppo.reference
    if not args.eval_prompts or (args.data is not None and not run.held_out):
        return {}
    if args.data is not None:
        return compare_on_prompts(policy, reference, run.source, run.held_out[:args.eval_prompts],
                                  run.tokenizer, run.runtime, longest=run.settings.max_new,
                                  samples=args.eval_samples, seed=args.seed)
    return compare(policy, reference, run.source, run.tokenizer, run.runtime,
                   prompts=args.eval_prompts, samples=args.eval_samples, exact=args.eval_exact,
                   seed=args.seed, longest=run.settings.max_new)[0]


def save(run, metrics: dict) -> None:
    """ppo.pt and ppo.json, with the figures that there are so far."""
    policy = run.ppo.policy
    save_checkpoint(run.out / "ppo.pt", config=policy.config, tokenizer=run.tokenizer,
                    weights=merged_weights(policy.body, model_state(policy.body)),
                    step=run.ppo.steps_done, settings=run.described(), metrics=metrics,
                    training=lora_training(policy.body, run.args.sft))
    save_results(run.out / "ppo.json", name="ppo", preset=run.args.preset, seed=run.args.seed,
                 runtime=run.runtime, seconds=run.seconds, tokens=run.tokens,
                 parameters=policy.body.count_parameters(), metrics=metrics)


def draw_curves(log: list[dict], metrics: dict, run) -> None:
    """Seven small curves."""
    title = f"PPO: score {log[0]['score']:.2f} to {log[-1]['score']:.2f}, KL {log[-1]['kl']:.1f}"
    if "quality_after" in metrics:
        title += (f"; true quality on held-out prompts {metrics['quality_before']:.3f} to "
                  f"{metrics['quality_after']:.3f}")
    elif "held_out_prompts" in metrics:
        title += (f"; reward on {metrics['held_out_prompts']} held-out prompts of {metrics['file']} "
                  f"{metrics['reward_before']:.2f} to {metrics['reward_after']:.2f}")
    s = run.settings
    draw_grid(log, title, f"{s.steps} steps of {s.rollout_rows} replies, {s.epochs} passes each, "
              f"seed {run.args.seed}, {run.seconds:.0f} s", run.out / "ppo.png", s.target_kl)


def draw_grid(log: list[dict], title: str, setup: str, path: Path, target_kl: float) -> None:
    """The curves of a log in a grid; the KL with its target."""
    fig, axes = plotting.figure(title, setup, panels=1, size=(8.5, 4.4))
    axes.remove()
    grid = fig.add_gridspec(2, 4)
    steps = [line["step"] for line in log]
    for place, name in enumerate(CURVES):
        ax = fig.add_subplot(grid[place // 4, place % 4])
        ax.plot(steps, [line[name] for line in log], color=plotting.BLUE, lw=1.2)
        ax.set_title(CURVES[name], fontsize=7.5, loc="left")
        ax.tick_params(labelsize=7)
        if name == "kl":
            ax.axhline(target_kl, color=plotting.GREY, lw=0.8, ls="--")
        if name in ("end_rate", "clip_fraction"):
            ax.set_ylim(0, 1.05 if name == "end_rate" else None)
        if place >= 3:
            ax.set_xlabel("step", fontsize=7)
    plotting.save(fig, path)
