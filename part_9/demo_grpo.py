"""Can a policy learn to reason from nothing but right or wrong? A tiny one, in under a minute.

    python part_9/demo_grpo.py

See   A model that names the largest of four digits in half of the cases draws eight replies to each
      prompt, keeps what was better than its siblings, and ends near all right, on prompts that no
      step ever saw. What it read before is the same for all; only the normaliser differs.
"""

from run.runtime import (
    Runtime,
    choose_threads,
    make_parser,
    out_folder,
    print_table,
    run_main,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import random
import time
from dataclasses import replace

import torch
from reasoning.grpo import NORMALISERS
from reasoning.grpo_loop import GRPO
from reasoning.toy_largest import (
    CONFIG,
    END,
    PAD,
    SETTINGS,
    all_prompts,
    greedy_accuracy,
    rewards,
    tuned_model,
)
from run import plotting

COLORS = dict(zip(NORMALISERS, (plotting.ORANGE, plotting.BLUE, plotting.GREEN)))
PLAIN = Runtime(torch.device("cpu"), None, "", "")  # the model is too small for anything else


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--seeds", type=int, default=None,
                        help="runs of each form (default: 3; 1 with --quick)")
    parser.add_argument("--quick", action="store_true",
                        help="one seed, a fifth of the steps (default: off)")
    return parser.parse_args(argv)


def learn(normaliser: str, steps: int, seed: int) -> dict:
    """One run -> its curve of held-out accuracy, and how it ended."""
    trained, held_out = all_prompts()
    model = tuned_model(seed)
    settings = replace(SETTINGS, steps=steps, normaliser=normaliser)
    grpo = GRPO(model, rewards, settings, end=END, pad=PAD, runtime=PLAIN, seed=seed)
    rng, start = random.Random(f"demo {seed}"), time.perf_counter()
    curve = [(0, greedy_accuracy(model, held_out))]
    for step in range(1, steps + 1):
        prompts = rng.sample(trained, settings.prompts)
        metrics = grpo.step(prompts, prompts)
        if step % max(steps // 10, 1) == 0:
            curve.append((step, greedy_accuracy(model, held_out)))
    return {"curve": curve, "reward": metrics["reward"], "length": metrics["length"],
            "kl": metrics["kl"], "seconds": time.perf_counter() - start}


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seeds = (1 if args.quick else 3) if args.seeds is None else args.seeds
    if seeds < 1:
        raise ValueError(f"--seeds {seeds}: must be at least 1")
    seed_everything(args.seed)
    reason = choose_threads(CONFIG.n_embd, rows=SETTINGS.prompts * SETTINGS.group)
    print(f"threads {torch.get_num_threads()}: {reason}")
    steps = 8 if args.quick else SETTINGS.steps
    runs = {name: [learn(name, steps, args.seed + i) for i in range(seeds)]
            for name in NORMALISERS}

    def mean(name, key):
        return sum(run[key] for run in runs[name]) / seeds

    before = {name: sum(run["curve"][0][1] for run in mine) / seeds
              for name, mine in runs.items()}
    after = {name: sum(run["curve"][-1][1] for run in mine) / seeds
             for name, mine in runs.items()}
    print_table(["normaliser", "greedy before", "greedy after", "reward at the end",
                 "tokens a reply", "KL a token", "seconds"],
                [[name, before[name], after[name], mean(name, "reward"), mean(name, "length"),
                  mean(name, "kl"), mean(name, "seconds")] for name in NORMALISERS],
                f"1,000 held-out prompts, {seeds} seeds, {steps} steps of "
                f"{SETTINGS.prompts * SETTINGS.group} replies")
    fig, ax = plotting.figure(
        f"Rewarded for right answers alone: {before['token']:.0%} to {after['token']:.0%} of new "
        "prompts right",
        f"largest of four digits, {steps} steps, {SETTINGS.prompts} prompts x {SETTINGS.group} "
        f"replies, {seeds} seeds (thin) and their mean")
    for number, name in enumerate(sorted(NORMALISERS, key=after.get)):
        x = [step for step, _ in runs[name][0]["curve"]]
        for run in runs[name]:
            ax.plot(x, [y for _, y in run["curve"]], color=COLORS[name], lw=0.6, alpha=0.4)
        y = [sum(run["curve"][i][1] for run in runs[name]) / seeds for i in range(len(x))]
        ax.plot(x, y, color=COLORS[name])
        plotting.end_label(ax, x, y, name, COLORS[name], dy=(number - 1) * 11)
    ax.set(xlabel="step", ylabel="held-out prompts right, greedy", ylim=(0, 1.02))
    plotting.save(fig, out / "grpo_toy.png")


if __name__ == "__main__":
    run_main(main)
