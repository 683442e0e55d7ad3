"""Do experts pay? Against a dense model of equal active compute, of equal size, of equal time.

    python part_5/compare_moe.py --amp float32                 the world, three seeds: many minutes
    python part_5/compare_moe.py --amp float32 --data stdlib   real text: Python's own library
    python part_5/compare_moe.py --draw                        the picture of the runs there are

Four models see the same rows in the same order, and are judged on the same held-out rows:

    dense           the model of part 4
    experts         8 experts, of which each token uses 2, each half as wide as the dense MLP:
                    the same products per token (and a router of 8 numbers), 4 times the MLP weights
    dense, longer   the dense model, with as many steps as it takes to use the experts' seconds
    dense, large    as many parameters as the experts have in all, 4 times the products in the MLPs

Every run is added to compare_<data>.json as soon as it has ended; a run that is there is not done
again. Seconds are steps times the seconds of a step, and these are measured first, by turns: one
step of each model, round after round, so that a busy machine slows all of them alike.
"""

from run.runtime import (
    Runtime,
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
import os
import re
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import torch
from base.measure import rows_loss
from gpt.model import GPT, GPTConfig
from moe.hybrid import HybridGPT
from moe.layer import MoEConfig
from moe.learning import (
    BALANCE_WEIGHT,
    EMBEDDING_STD,
    Texts,
    held_out_loads,
    learn,
    read_texts,
)
from moe.router import max_load
from run import plotting
from run.schedule import Schedule
from text.data import DataPlan

KINDS = ("dense", "experts", "dense, longer", "dense, large")
COLOURS = dict(zip(KINDS, (plotting.GREY, plotting.BLUE, plotting.BLACK, plotting.ORANGE)))
CONTEXT, ROWS, PEAK = 128, 16, 3e-3
SCHEDULE = Schedule("cosine", PEAK, PEAK / 10, 0.05)


@dataclass(frozen=True)
class Job:
    """One run of the comparison."""

    kind: str
    seed: int
    steps: int


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--data", default="world",
                        help="world, stdlib, a file or folder (default: world)")
    parser.add_argument("--steps", type=int, default=240, help="optimizer steps (default: 240)")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds (default: 3)")
    parser.add_argument("--n-embd", type=int, default=96, help="width (default: 96)")
    parser.add_argument("--only", choices=KINDS, default=None,
                        help="run this kind only (default: all four)")
    parser.add_argument("--draw", action="store_true",
                        help="run nothing, draw what is there (default: off)")
    return parser.parse_args(argv)


def build(kind: str, n_embd: int, vocab_size: int) -> GPT:
    """The model of one kind. All have the same attention, width and depth."""
    sizes = {"vocab_size": vocab_size, "block_size": CONTEXT, "n_layer": 3, "n_head": 4,
             "n_kv_head": 2, "n_embd": n_embd, "qk_norm": True,
             "embedding_std": EMBEDDING_STD}
    config = GPTConfig(**sizes)
    if kind == "experts":
        return HybridGPT(config, MoEConfig(n_expert=8, n_active=2, scale=2.0,
                                           balance_weight=BALANCE_WEIGHT))
    if kind == "dense, large":
        return GPT(GPTConfig(**sizes, n_hidden=4 * config.n_hidden))
    return GPT(config)


def time_steps(texts: Texts, runtime: Runtime, n_embd: int, rounds: int = 15) -> dict[str, float]:
    """Kind -> median seconds of a step. All models take turns in every round."""
    steps = {kind: learn(build(kind, n_embd, texts.tokenizer.vocab_size).to(runtime.device),
                         texts.train, runtime, SCHEDULE, steps=rounds + 2, rows_a_step=ROWS)
             for kind in KINDS if kind != "dense, longer"}
    times = {kind: [] for kind in steps}
    for _ in range(rounds + 2):  # two rounds of warm-up
        for kind, step in steps.items():
            start = time.perf_counter()
            next(step)
            times[kind].append(time.perf_counter() - start)
    seconds = {kind: statistics.median(values[2:]) for kind, values in times.items()}
    return seconds | {"dense, longer": seconds["dense"]}


def run_job(job: Job, texts: Texts, runtime: Runtime, n_embd: int) -> dict:
    """Train one model -> its losses, size and loads."""
    seed_everything(job.seed)
    model = build(job.kind, n_embd, texts.tokenizer.vocab_size).to(runtime.device)
    curve = []
    for step, _ in learn(model, texts.train, runtime, SCHEDULE, steps=job.steps, rows_a_step=ROWS):
        if (step + 1) % max(1, job.steps // 6) == 0 or step + 1 == job.steps:
            curve.append([step + 1, rows_loss(model, texts.held_out, runtime, batches=4,
                                              by_document=True)])
    loss = rows_loss(model, texts.held_out, runtime, batches=24, by_document=True)
    result = {"kind": job.kind, "seed": job.seed, "steps": job.steps, "val_loss": loss,
              "bits_per_byte": texts.bits_per_byte(loss), "curve": curve,
              "parameters": model.count_parameters()}
    if isinstance(model, HybridGPT):
        loads = held_out_loads(model, texts.held_out, runtime, batches=24)
        result |= {"max_load": max(max_load(load) for load in loads), "loads": loads.tolist()}
    return result


def jobs_of(args, step_seconds: dict[str, float]) -> list[Job]:
    """All runs of a comparison, seed by seed. The longer one takes the seconds of the experts."""
    steps = dict.fromkeys(KINDS, args.steps)
    steps["dense, longer"] = round(args.steps * step_seconds["experts"] / step_seconds["dense"])
    return [Job(kind, args.seed + i, steps[kind]) for i in range(args.seeds) for kind in KINDS
            if args.only in (None, kind)]


def is_done(job: Job, runs: list[dict]) -> bool:
    return any((r["kind"], r["seed"], r["steps"]) == (job.kind, job.seed, job.steps) for r in runs)


def open_comparison(path: Path, settings: dict) -> dict:
    """What the file holds: settings, seconds of a step, runs. Raises ValueError if it holds others.
    """
    if not path.exists():
        return {"settings": settings, "step_seconds": {}, "runs": []}
    comparison = json.loads(path.read_text(encoding="utf-8"))
    if comparison["settings"] != settings:
        raise ValueError(f"{path} holds runs with {comparison['settings']}, not {settings}; "
                         "give another --out, or delete it")
    return comparison


def run_all(args, path: Path, out: Path) -> dict:
    """Do what is missing -> the comparison."""
    begun = json.loads(path.read_text("utf-8"))["settings"] if path.exists() else {}
    amp = begun.get("amp", "auto") if args.amp == "auto" else args.amp  # not measured anew
    runtime = choose_runtime(args.device, amp, width=args.n_embd)
    if begun.get("threads") and not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(begun["threads"])
    comparison = open_comparison(path, {
        "steps": args.steps, "n_embd": args.n_embd, "amp": runtime.amp_name,
        "device": str(runtime.device), "threads": torch.get_num_threads()})
    plan = DataPlan(args.data, 1024, 4.0, seed=0)
    folder = out / f"compare_{name_of(args.data)}"
    if not comparison["step_seconds"]:
        comparison["step_seconds"] = time_steps(read_texts(plan, folder, CONTEXT), runtime,
                                                args.n_embd)
    for job in jobs_of(args, comparison["step_seconds"]):
        if not is_done(job, comparison["runs"]):
            texts = read_texts(plan, folder, CONTEXT, job.seed)
            start = time.perf_counter()
            run = run_job(job, texts, runtime, args.n_embd)
            comparison["runs"].append(run)
            save_json(path, comparison)
            print(f"{job.kind:14s} seed {job.seed}  {job.steps} steps  loss {run['val_loss']:.4f}"
                  f"  done in {time.perf_counter() - start:.0f} s", flush=True)
    return comparison


def name_of(data: str) -> str:
    """A name for files: "../my text.txt" -> "my_text" """
    return re.sub(r"\W+", "_", Path(data).stem).strip("_") or "data"


def summary(runs: list[dict], step_seconds: dict[str, float]) -> dict[str, dict]:
    """Kind -> mean and spread of the loss, and how often it beats the dense model seed by seed."""
    dense = {r["seed"]: r["val_loss"] for r in runs if r["kind"] == "dense"}
    by_kind = {}
    for kind in KINDS:
        mine = [r for r in runs if r["kind"] == kind]
        if mine:
            losses = [r["val_loss"] for r in mine]
            by_kind[kind] = {
                "loss": mean(losses), "spread": stdev(losses) if len(losses) > 1 else 0.0,
                "bits": mean(r["bits_per_byte"] for r in mine),
                "gain": mean(dense[r["seed"]] - r["val_loss"] for r in mine if r["seed"] in dense),
                "wins": sum(r["val_loss"] < dense.get(r["seed"], 0) for r in mine),
                "runs": len(mine), "steps": round(mean(r["steps"] for r in mine)),
                "seconds": step_seconds[kind] * mean(r["steps"] for r in mine),
                "parameters": mine[0]["parameters"]}
    return by_kind


def draw(comparison: dict, by_kind: dict, data: str, path: Path) -> None:
    """Loss over steps, and over seconds: thin runs under a bold mean."""
    runs, settings, experts = comparison["runs"], comparison["settings"], by_kind["experts"]
    title = f"Experts: {experts['gain']:+.3f} nats gained per token at equal tokens"
    if "dense, longer" in by_kind:
        against = by_kind["dense, longer"]["loss"] - experts["loss"]
        title += f", {against:+.3f} at equal time"
    largest = max(max_load for r in runs if (max_load := r.get("max_load")))
    fig, (left, right) = plotting.figure(
        title, f"{data}, {experts['steps']} steps of {ROWS * CONTEXT:,} tokens, {experts['runs']} "
        f"seeds; 8 experts, top-2, fullest {largest:.2f} x the mean; {settings['amp']}, "
        f"{settings['device']}, {settings['threads']} thread(s)", 2, sharey=True)
    for kind in by_kind:
        curves = [r["curve"] for r in runs if r["kind"] == kind]
        steps, *_ = [[step for step, _ in curve] for curve in curves]
        losses = [[loss for _, loss in curve] for curve in curves]
        for ax, scale in ((left, 1.0), (right, comparison["step_seconds"][kind])):
            xs = [scale * step for step in steps]
            for ys in losses:
                ax.plot(xs, ys, color=COLOURS[kind], lw=0.5, alpha=0.5)
            ax.plot(xs, [mean(ys) for ys in zip(*losses)], color=COLOURS[kind], label=kind)
    left.set(xlabel="step", ylabel="held-out loss, nats per token")
    right.set(xlabel="seconds of steps, measured by turns")
    left.legend(fontsize=8)
    plotting.save(fig, path)


def main(argv=None):
    args = parse_args(argv)
    if args.steps < 6 or args.seeds < 1:
        raise ValueError(f"--steps {args.steps} --seeds {args.seeds}: at least 6 steps and 1 seed")
    if args.n_embd < 1:
        raise ValueError(f"--n-embd {args.n_embd}: must be at least 1")
    out = out_folder(__file__, args.out)
    path = out / f"compare_{name_of(args.data)}.json"
    if args.draw and not path.exists():
        raise ValueError(f"{path} is missing; make it without --draw")
    comparison = json.loads(path.read_text("utf-8")) if args.draw else run_all(args, path, out)
    by_kind = summary(comparison["runs"], comparison["step_seconds"])
    if not {"dense", "experts"} <= set(by_kind):
        raise ValueError(f"{path} has no runs of both dense and experts yet; run without --draw "
                         "and without --only")
    rows = [[kind, f["parameters"], f["steps"], f["seconds"], f["loss"], f["spread"], f["gain"],
             f"{f['wins']}/{f['runs']}", f["bits"]] for kind, f in by_kind.items()]
    print_table(["model", "parameters", "steps", "seconds", "held-out loss", "spread",
                 "gain over dense", "wins", "bits/byte"], rows, f"{args.data}, {path}")
    draw(comparison, by_kind, args.data, out / f"compare_{name_of(args.data)}.png")


if __name__ == "__main__":
    run_main(main)
