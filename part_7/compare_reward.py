"""Which loss, which start, which body? Reward models from the same pairs, three seeds each.

    python part_7/compare_reward.py                        all of them, in turn
    python part_7/compare_reward.py --only scratch         add one to what the file holds
    python part_7/compare_reward.py --draw                 only the table and the picture

Each row of the table is train_reward.py with the flags shown, on the same pairs in the same batches.
What is done is kept in out/compare_reward.json: a run that was stopped goes on where it was.
"""

from run.runtime import (
    choose_runtime,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import json
import time
from copy import deepcopy
from pathlib import Path
from statistics import mean, stdev

import torch
import train_reward
from reward.data import encode_pairs
from reward.report import measure
from reward.sources import world_data
from run import plotting
from run.checkpoint import load_checkpoint

VARIANTS = {"as it is": [], "ranking": ["--loss", "ranking"], "margin": ["--loss", "margin"],
            "head alone": ["--no-witness"],
            "base": ["--start", "base"], "scratch": ["--start", "scratch"],
            "bidirectional": ["--bidirectional"]}
SHOWN = ("accuracy", "true_accuracy", "calibration_error", "rank_correlation",
         "new_fault_accuracy")


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--sft", type=Path, default=train_reward.SFT,
                        help="the tuned model (default: part_6/out/sft.pt)")
    parser.add_argument("--base", type=Path, default=train_reward.BASE,
                        help="the base model (default: part_4/out/base.pt)")
    parser.add_argument("--items", type=int, default=800,
                        help="instructions to make pairs of (default: 800)")
    parser.add_argument("--held-out-items", type=int, default=300,
                        help="held-out instructions (default: 300)")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds (default: 3)")
    parser.add_argument("--only", choices=VARIANTS, action="append",
                        help="one of the variants; may be given again (default: all)")
    parser.add_argument("--draw", action="store_true",
                        help="train nothing, show what the file holds (default: off)")
    return parser.parse_args(argv)


def run_seed(args, seed: int, missing: list[str], runtime):
    """Yield {variant, seed, seconds, metrics} for each of the missing variants, on the same pairs.
    """
    sft, tokenizer, _ = load_checkpoint(args.sft, make_with=train_reward.SFT_WITH)
    common = ["--seed", str(seed), "--items", str(args.items), "--held-out-items",
              str(args.held_out_items), "--sft", str(args.sft), "--base", str(args.base)]
    data = world_data(train_reward.parse_args(common), sft.to(runtime.device), tokenizer, runtime)
    encoded, pairs, _ = encode_pairs(data.pairs, tokenizer, sft.config.block_size)
    for variant in missing:
        flags = train_reward.settled(train_reward.parse_args([*common, *VARIANTS[variant]]))
        seed_everything(seed)
        model = train_reward.make_model(flags, deepcopy(sft), tokenizer).to(runtime.device)
        start = time.perf_counter()
        log = train_reward.train(model, pairs, encoded, tokenizer, runtime, flags)
        seconds = time.perf_counter() - start
        metrics, _, _ = measure(model, tokenizer, runtime, data, seed)
        yield {"variant": variant, "seed": seed, "steps": len(log), "seconds": seconds,
               "metrics": metrics}


def run_all(args, path: Path) -> list[dict]:
    """Do what is missing -> all runs that the file holds."""
    runtime = choose_runtime(args.device, args.amp)
    settings = {"items": args.items, "held_out_items": args.held_out_items,
                "amp": runtime.amp_name, "threads": torch.get_num_threads()}
    comparison = {"settings": settings, "runs": []}
    if path.exists():
        comparison = json.loads(path.read_text(encoding="utf-8"))
        if comparison["settings"] != settings:
            raise ValueError(f"{path} holds runs with {comparison['settings']}, not {settings}; "
                             "give another --out, or delete it")
    done = {(run["variant"], run["seed"]) for run in comparison["runs"]}
    for seed in range(args.seed, args.seed + args.seeds):
        missing = [name for name in args.only or VARIANTS if (name, seed) not in done]
        for run in run_seed(args, seed, missing, runtime) if missing else ():
            comparison["runs"].append(run)
            save_json(path, comparison)
            print(f"{run['variant']:18s} seed {seed}  accuracy {run['metrics']['accuracy']:.3f}  "
                  f"done in {run['seconds']:.0f} s", flush=True)
    return comparison["runs"]


def summary(runs: list[dict]) -> dict[str, dict]:
    """Variant -> {metric: (mean, spread over seeds)}, in the order of VARIANTS."""
    by_variant = {}
    for variant in VARIANTS:
        mine = [run["metrics"] for run in runs if run["variant"] == variant]
        if mine:
            by_variant[variant] = {name: (mean(m[name] for m in mine),
                                          stdev(m[name] for m in mine) if len(mine) > 1 else 0.0)
                                   for name in (*SHOWN, "accuracy_ceiling")}
    return by_variant


def draw(runs: list[dict], by_variant: dict, items: str, path: Path) -> None:
    """Accuracy and calibration error: a dot a seed, a bar for the mean."""
    best = max(by_variant, key=lambda name: by_variant[name]["accuracy"][0])
    ceiling = mean(values["accuracy_ceiling"][0] for values in by_variant.values())
    fig, axes = plotting.figure(
        f"Most accurate: {best}, {by_variant[best]['accuracy'][0]:.2f} of at most {ceiling:.2f}",
        f"{items}; bars: means, dots: seeds; dashed: what the flipped labels allow", panels=2,
        sharey=True)
    names = list(by_variant)[::-1]
    for ax, metric in zip(axes, ("accuracy", "calibration_error")):
        ax.barh(names, [by_variant[name][metric][0] for name in names], color=plotting.SKY,
                height=0.6)
        for run in runs:
            ax.plot(run["metrics"][metric], names.index(run["variant"]), color=plotting.BLUE,
                    marker="o", ms=3.5)
        ax.grid(True, axis="x")
        ax.grid(False, axis="y")
        ax.locator_params(axis="x", nbins=5)
    axes[0].axvline(ceiling, color=plotting.GREY, ls="--", lw=0.8)
    axes[0].set(xlabel="accuracy on held-out pairs", xlim=(0.5, 1))
    axes[1].set(xlabel="calibration error", xlim=(0, None))
    plotting.save(fig, path)


def main(argv=None):
    args = parse_args(argv)
    if min(args.items, args.held_out_items, args.seeds) < 1:
        raise ValueError(f"--items {args.items} --held-out-items {args.held_out_items} --seeds "
                         f"{args.seeds}: each must be at least 1")
    out = out_folder(__file__, args.out)
    path = out / "compare_reward.json"
    if args.draw and not path.exists():
        raise ValueError(f"{path} is missing; make it without --draw")
    runs = json.loads(path.read_text("utf-8"))["runs"] if args.draw else run_all(args, path)
    by_variant = summary(runs)
    rows = [[name, " ".join(VARIANTS[name]), sum(run["variant"] == name for run in runs),
             *(f"{values[metric][0]:.3f} ± {values[metric][1]:.3f}" for metric in SHOWN)]
            for name, values in by_variant.items()]
    print_table(["variant", "flags", "seeds", *SHOWN], rows, f"{path}: mean ± spread over seeds")
    draw(runs, by_variant, f"pairs of {args.items} instructions, one epoch",
         out / "compare_reward.png")


if __name__ == "__main__":
    run_main(main)
