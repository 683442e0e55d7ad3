"""GRPO or PPO? The same task, the same number of replies, the same start: score, seconds, memory.

    python part_9/demo_ppo_vs_grpo.py

See   Part 8's toy task, whose reward tells degrees. PPO learns values beside the policy and blames
      single tokens; GRPO compares siblings and blames whole replies. What GRPO saves is the value
      head and its measurements; a critic of its own, as large setups have, doubles PPO's memory.
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
import time
from dataclasses import replace

import torch
from reasoning.grpo_loop import GRPO
from reasoning.grpo_settings import GRPOSettings
from rl.ppo_loop import PPO
from rl.rollout import roll_out
from rl.toy_task import CONFIG, END, MOST, PAD, SETTINGS, prompts, qualities, tuned_model
from run import plotting

REPLIES = SETTINGS.prompts * SETTINGS.copies  # of one step, for both
GRPO_SETTINGS = GRPOSettings(steps=SETTINGS.steps, prompts=REPLIES // 8, group=8, max_new=MOST,
                             epochs=SETTINGS.epochs, minibatch=SETTINGS.minibatch,
                             micro_rows=SETTINGS.micro_rows, peak=SETTINGS.peak, clip_high=0.2,
                             beta=SETTINGS.beta, drop_equal=False)
COLORS = {"PPO": plotting.ORANGE, "GRPO": plotting.BLUE}
PLAIN = Runtime(torch.device("cpu"), None, "", "")


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--seeds", type=int, default=None,
                        help="runs of each (default: 3; 1 with --quick)")
    parser.add_argument("--quick", action="store_true",
                        help="one seed, four steps (default: off)")
    return parser.parse_args(argv)


def bytes_of(optimizer: torch.optim.Optimizer) -> int:
    """Weights, gradients and the optimizer's averages of all that is trained."""
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    state = [x for p in trained for x in optimizer.state[p].values() if torch.is_tensor(x)]
    return sum(2 * p.numel() * p.element_size() for p in trained) \
        + sum(x.numel() * x.element_size() for x in state)


def true_score(model, seed: int) -> float:
    """Mean quality of 256 fresh replies."""
    rollout = roll_out(model, prompts(256, 10_000 + seed), MOST, end=END, pad=PAD,
                       generator=torch.Generator().manual_seed(seed))
    return float(qualities(rollout).mean())


def learn(name: str, steps: int, seed: int) -> dict:
    """One run -> its curve (replies drawn, quality), seconds and bytes."""
    model = tuned_model(seed)
    if name == "PPO":
        loop = PPO(model, qualities, replace(SETTINGS, steps=steps), end=END, pad=PAD,
                   runtime=PLAIN, seed=seed)
        ask, tensors = SETTINGS.prompts, 6  # (N, R): log-probabilities, values, reference, …
    else:
        loop = GRPO(model, lambda rollout, _: qualities(rollout),
                    replace(GRPO_SETTINGS, steps=steps), end=END, pad=PAD, runtime=PLAIN,
                    seed=seed)
        ask, tensors = GRPO_SETTINGS.prompts, 3
    curve, start, looked = [(0, true_score(model, seed))], time.perf_counter(), 0.0
    for step in range(1, steps + 1):
        asked = prompts(ask, 1000 * seed + step)
        loop.step(asked) if name == "PPO" else loop.step(asked, asked)
        if step % max(steps // 8, 1) == 0 or step == steps:
            now = time.perf_counter()
            curve.append((step * REPLIES, true_score(model, seed)))
            looked += time.perf_counter() - now
    return {"curve": curve, "score": curve[-1][1],
            "seconds": time.perf_counter() - start - looked,
            "kilobytes": (bytes_of(loop.optimizer) + tensors * REPLIES * MOST * 4) / 1e3}


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seeds = (1 if args.quick else 3) if args.seeds is None else args.seeds
    if seeds < 1:
        raise ValueError(f"--seeds {seeds}: must be at least 1")
    seed_everything(args.seed)
    reason = choose_threads(CONFIG.n_embd, rows=REPLIES)
    print(f"threads {torch.get_num_threads()}: {reason}")
    steps = 4 if args.quick else SETTINGS.steps
    runs = {name: [learn(name, steps, args.seed + i) for i in range(seeds)] for name in COLORS}
    rows = [[f"{name}, seed {args.seed + i}", run["curve"][0][1], run["score"],
             steps * REPLIES, run["seconds"], run["kilobytes"]]
            for name, mine in runs.items() for i, run in enumerate(mine)]
    print_table(["run", "quality before", "quality after", "replies", "seconds", "kB"], rows,
                "Part 8's toy task; the best reply has quality 1")
    score = {name: sum(run["score"] for run in mine) / seeds for name, mine in runs.items()}
    fig, ax = plotting.figure(
        f"With {steps * REPLIES:,} replies PPO reaches a quality of {score['PPO']:.2f}, GRPO "
        f"{score['GRPO']:.2f}",
        f"part 8's toy task, {steps} steps of {REPLIES} replies, {SETTINGS.epochs} passes each, "
        f"{seeds} seeds (thin) and their mean")
    for name, color in COLORS.items():
        x = [n for n, _ in runs[name][0]["curve"]]
        for run in runs[name]:
            ax.plot(x, [y for _, y in run["curve"]], color=color, lw=0.6, alpha=0.4)
        y = [sum(run["curve"][i][1] for run in runs[name]) / seeds for i in range(len(x))]
        ax.plot(x, y, color=color)
        plotting.end_label(ax, x, y, name, color)
    ax.set(xlabel="replies drawn", ylabel="mean quality", ylim=(None, 1.02))
    plotting.save(fig, out / "ppo_vs_grpo.png")


if __name__ == "__main__":
    run_main(main)
