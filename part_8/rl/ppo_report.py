"""The end of a PPO run: held-out measures, ppo.pt, ppo.json, and the picture of its curves.

Used   train_ppo.py
"""

from pathlib import Path

from run import plotting
from run.checkpoint import save_checkpoint
from run.logger import read_log
from run.optim import model_state
from run.runtime import print_table, save_results

from rl.quality_report import compare

CURVES = {"score": "score (standard deviations)", "kl": "KL to the reference (nats)",
          "entropy": "entropy (nats a token)", "clip_fraction": "share of tokens clipped",
          "explained_variance": "variance explained by values", "length": "tokens in a reply", "end_rate": "share that ended"}


def finish(run) -> dict:
    """Measure on what was held out, then write everything that others need."""
    args, ppo = run.args, run.ppo
    run.logger.bytes_written()  # the curves are drawn from the file
    log = read_log(run.out / "log.jsonl")
    last = log[-max(1, len(log) // 3):]
    metrics = {"train_score": log[-1]["score"], "train_kl": log[-1]["kl"], "beta": ppo.kl.beta,
               "explained_variance": sum(line["explained_variance"] for line in last) / len(last),
               "seconds_by_beat": {name: round(x, 2) for name, x in run.laps.items()}}
    if args.eval_prompts:
        found, _, _ = compare(ppo.policy.body, ppo.reference, run.source, run.tokenizer,
                              run.runtime, prompts=args.eval_prompts, samples=args.eval_samples,
                              exact=args.eval_exact, seed=args.seed,
                              longest=run.settings.max_new)
        metrics |= found
    save_checkpoint(run.out / "ppo.pt", weights=model_state(ppo.policy.body),
                    config=ppo.policy.config, tokenizer=run.tokenizer, step=ppo.steps_done,
                    settings=run.described(), metrics=metrics, training=None)
    save_results(run.out / "ppo.json", name="ppo", preset=args.preset, seed=args.seed,
                 runtime=run.runtime, seconds=run.seconds, tokens=run.tokens,
                 parameters=ppo.policy.body.count_parameters(), metrics=metrics)
    print_table(["measured", "value"], [[name, value] for name, value in metrics.items()
                                        if isinstance(value, (int, float))],
                f"{run.out / 'ppo.pt'}: {ppo.steps_done} steps in {run.seconds:.0f} s")
    draw_curves(log, metrics, run)
    return metrics


def draw_curves(log: list[dict], metrics: dict, run) -> None:
    """Seven small curves."""
    title = f"PPO: score {log[0]['score']:.2f} to {log[-1]['score']:.2f}, KL {log[-1]['kl']:.1f}"
    if "quality_after" in metrics:
        title += (f"; true quality on held-out prompts {metrics['quality_before']:.3f} to "
                  f"{metrics['quality_after']:.3f}")
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
