"""What is each safeguard worth? PPO on the task of rl/toy_task.py, with one taken away at a time.

    python part_8/ablation.py               two seeds; the same switches are flags of train_ppo.py
    python part_8/ablation.py --quick

The score is the learned one of demo_overoptimization.py, so that going too far can be seen:
"score" is what PPO is given, "quality" what it is not. "hard" is twice the learning rate without
any of them.
"""

from run.runtime import make_parser, out_folder, print_table, run_main, save_json

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import math
from dataclasses import replace
from statistics import fmean

from demo_overoptimization import learn_score
from rl.toy_task import SETTINGS, make_ppo, take_steps, tuned_model
from run import plotting

FULL = replace(SETTINGS, steps=30, beta=0.02, target_kl=3.0, horizon=1000)
WITHOUT = {
    "all of them": {},
    "no whitening": {"whiten": False},
    "with group baseline": {"group_baseline": True},
    "raw rewards (x5)": {"normalise": False},
    "no gradient clipping": {"max_norm": 0.0},
    "no ratio clipping": {"clip": 0.99},
    "no value clipping": {"value_clip": 0.0},
    "no early stop": {"stop_kl": 0.0},
    "fixed KL weight": {"adaptive": False},
    "no length control": {"length_control": False},
    "no KL penalty": {"adaptive": False, "beta": 0.0},
    "one pass": {"epochs": 1},
    "hard": {"whiten": False, "max_norm": 0.0, "clip": 0.99, "value_clip": 0.0, "stop_kl": 0.0,
             "adaptive": False, "beta": 0.0, "length_control": False,
             "peak": 2 * FULL.peak},
}
COLUMNS = ("score", "quality", "kl", "entropy", "length", "gradient_norm")


def one_run(name: str, seed: int, steps: int, tuned, score) -> dict:
    """The last line of a run's log; `collapsed` where it was stopped."""
    settings = replace(FULL, steps=steps, **WITHOUT[name])
    scale = 1.0 if settings.normalise else 5.0  # raw scores have any unit: here five times as large
    log = take_steps(make_ppo(lambda rollout: scale * score(rollout), settings, seed, tuned=tuned))
    last = log[-1]
    if "score" not in last:  # it collapsed in its first step
        last = {**dict.fromkeys(COLUMNS, math.nan), **last}
    return {**last, "score": last["score"] / scale, "steps": len(log)}


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--steps", type=int, default=None,
                        help=f"rollouts of each run (default: {FULL.steps}; 3 with --quick)")
    parser.add_argument("--seeds", type=int, default=None,
                        help="runs of each kind (default: 2; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="3 steps, one seed (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    steps = (3 if args.quick else FULL.steps) if args.steps is None else args.steps
    seeds = (1 if args.quick else 2) if args.seeds is None else args.seeds
    if steps < 1 or seeds < 1:
        raise ValueError(f"--steps {steps}, --seeds {seeds}: both must be at least 1")
    by_name = {name: [] for name in WITHOUT}
    for seed in range(args.seed, args.seed + seeds):
        tuned = tuned_model(seed)
        score = learn_score(tuned, seed)
        for name in WITHOUT:
            by_name[name].append(one_run(name, seed, steps, tuned, score))
    means = {name: {c: fmean(run[c] for run in runs) for c in COLUMNS}
             for name, runs in by_name.items()}
    stopped = {name: [run["collapsed"] for run in runs if "collapsed" in run]
               for name, runs in by_name.items()}
    print_table(["without", *COLUMNS, "stopped"],
                [[name, *row.values(), len(stopped[name])] for name, row in means.items()],
                f"the end of {steps} steps of {FULL.rollout_rows} replies, mean of {seeds} seeds")
    for name, reasons in stopped.items():
        for reason in reasons:
            print(f"stopped {name}: {reason}")
    save_json(out / "ablation.json", {"means": means, "stopped": stopped, "seeds": seeds,
                                      "steps": steps})
    names = list(means)[::-1]
    full, free = means["all of them"], means["no KL penalty"]
    fig, axes = plotting.figure(
        f"Quality {full['quality']:.2f} with all safeguards, {free['quality']:.2f} without the KL "
        "penalty", f"PPO on a learned score, {steps} steps of {FULL.rollout_rows} replies, mean of "
        f"{seeds} seeds", 2, size=(7.5, 4.6))
    for ax, keys, label in ((axes[0], ("quality", "score"), "true quality (blue), score (orange)"),
                            (axes[1], ("kl",), "KL to the reference (nats a reply)")):
        for key, color, shift in zip(keys, (plotting.BLUE, plotting.ORANGE), (0.18, -0.18)):
            ax.barh([i + (shift if len(keys) > 1 else 0) for i in range(len(names))],
                    [means[name][key] for name in names], 0.34, color=color)
        ax.set_xlabel(label)
        ax.set_yticks(range(len(names)), names if ax is axes[0] else [])
        ax.grid(axis="y", visible=False)
    axes[1].set_xscale("symlog", linthresh=5)
    plotting.save(fig, out / "ablation.png")


if __name__ == "__main__":
    run_main(main)
