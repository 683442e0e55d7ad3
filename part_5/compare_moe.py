"""Do experts pay? Against a dense model of equal active compute, of equal size, of equal time.

    python part_5/compare_moe.py                    the world, three seeds: many minutes
    python part_5/compare_moe.py --data stdlib      real text: the sources of Python's library
    python part_5/compare_moe.py --draw             the picture from the runs that are there

Four models see the same rows in the same order, and are judged on the same held-out rows:

    dense           the model of part 4
    experts         8 experts, of which each token uses 2, each half as wide as the dense MLP:
                    the same products per token (and a router of 8 numbers), 4 times the MLP weights
    dense, longer   the dense model, with as many steps as it takes to use the experts' seconds
    dense, large    as many parameters as the experts have in all, 4 times the products in the MLPs

Every run is added to compare_<data>.json as soon as it has ended; a run that is there is not done
again. The seconds are those of this machine: measure with nothing else running.
"""

from runtime import (
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
import re
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import plotting
from data import DataPlan
from hybrid import HybridGPT
from learning import EMBEDDING_STD, Texts, held_out_loads, learn, read_texts
from measure import rows_loss
from model import GPT, GPTConfig
from moe import MoEConfig
from router import max_load
from schedule import Schedule

KINDS = ("dense", "experts", "dense, longer", "dense, large")
COLOURS = dict(zip(KINDS, (plotting.GREY, plotting.BLUE, plotting.BLACK, plotting.ORANGE)))
CONTEXT, ROWS, PEAK = 128, 16, 3e-3


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
        return HybridGPT(config, MoEConfig(n_expert=8, n_active=2))
    if kind == "dense, large":
        return GPT(GPTConfig(**sizes, n_hidden=4 * config.n_hidden))
    return GPT(config)


def run_job(job: Job, texts: Texts, runtime: Runtime, n_embd: int) -> dict:
    """Train one model -> its losses, seconds, sizes and loads."""
    seed_everything(job.seed)
    model = build(job.kind, n_embd, texts.tokenizer.vocab_size).to(runtime.device)
    schedule = Schedule("cosine", PEAK, PEAK / 10, 0.05)
    curve, seconds, start = [], 0.0, time.perf_counter()
    for step, _ in learn(model, texts.train, runtime, schedule, steps=job.steps, rows_a_step=ROWS):
        if (step + 1) % max(1, job.steps // 6) == 0 or step + 1 == job.steps:
            seconds += time.perf_counter() - start
            curve.append([step + 1, seconds,
                          rows_loss(model, texts.held_out, runtime, by_document=True)])
            start = time.perf_counter()
    loss = rows_loss(model, texts.held_out, runtime, batches=24, by_document=True)
    found = {"kind": job.kind, "seed": job.seed, "steps": job.steps, "n_embd": n_embd,
             "val_loss": loss, "bits_per_byte": texts.bits_per_byte(loss), "seconds": seconds,
             "curve": curve, "parameters": model.count_parameters()}
    if isinstance(model, HybridGPT):
        loads = held_out_loads(model, texts.held_out, runtime, batches=24)
        found |= {"max_load": max(max_load(load) for load in loads), "loads": loads.tolist()}
    return found


def jobs_of(args, runs: list[dict]) -> list[Job]:
    """All runs of a comparison; the steps of "dense, longer" are known once the others are timed"""
    jobs = [Job(kind, args.seed + i, args.steps) for i in range(args.seeds)
            for kind in ("dense", "experts", "dense, large")]
    times = {kind: [r["seconds"] for r in runs if r["kind"] == kind and r["steps"] == args.steps]
             for kind in ("dense", "experts")}
    if all(times.values()):
        steps = round(args.steps * mean(times["experts"]) / mean(times["dense"]))
        jobs += [Job("dense, longer", args.seed + i, steps) for i in range(args.seeds)]
    return [job for job in jobs if args.only in (None, job.kind)]


def is_done(job: Job, runs: list[dict]) -> bool:
    """Longer runs are not repeated when the timing changes by a few steps."""
    return any(r["kind"] == job.kind and r["seed"] == job.seed
               and (r["steps"] == job.steps or job.kind == "dense, longer") for r in runs)


def run_all(args, path: Path, out: Path) -> list[dict]:
    """Do what is missing -> all runs."""
    runs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    runs = [run for run in runs if run["n_embd"] == args.n_embd]
    if args.draw:
        return runs
    runtime = choose_runtime(args.device, args.amp, width=args.n_embd)
    plan = DataPlan(args.data, 1024, 4.0, seed=0)
    for _ in range(2):  # the second round holds the longer runs
        for job in jobs_of(args, runs):
            if not is_done(job, runs):
                texts = read_texts(plan, out / f"compare_{name_of(args.data)}", CONTEXT, job.seed)
                runs.append(run_job(job, texts, runtime, args.n_embd))
                save_json(path, runs)
                print(f"{job.kind:14s} seed {job.seed}  {job.steps} steps  "
                      f"{runs[-1]['seconds']:6.1f} s  loss {runs[-1]['val_loss']:.4f}", flush=True)
    return runs


def name_of(data: str) -> str:
    """A name for files: "../my text.txt" -> "my_text" """
    return re.sub(r"\W+", "_", Path(data).stem).strip("_") or "data"


def summary(runs: list[dict]) -> dict[str, dict]:
    """Kind -> mean and spread of the loss, and how often it beats the dense model seed by seed."""
    dense = {r["seed"]: r["val_loss"] for r in runs if r["kind"] == "dense"}
    found = {}
    for kind in KINDS:
        mine = [r for r in runs if r["kind"] == kind]
        if mine:
            losses = [r["val_loss"] for r in mine]
            found[kind] = {
                "loss": mean(losses), "spread": stdev(losses) if len(losses) > 1 else 0.0,
                "bits": mean(r["bits_per_byte"] for r in mine),
                "gain": mean(dense[r["seed"]] - r["val_loss"] for r in mine if r["seed"] in dense),
                "wins": sum(r["val_loss"] < dense.get(r["seed"], 0) for r in mine),
                "runs": len(mine), "steps": round(mean(r["steps"] for r in mine)),
                "seconds": mean(r["seconds"] for r in mine), "parameters": mine[0]["parameters"]}
    return found


def draw(runs: list[dict], found: dict, data: str, path: Path) -> None:
    """Loss over steps, and over seconds: thin runs under a bold mean."""
    gain, seeds = found["experts"]["gain"], found["experts"]["runs"]
    title = f"Experts: {gain:+.3f} nats gained per token at equal compute and equal tokens"
    if "dense, longer" in found:
        against = found["dense, longer"]["loss"] - found["experts"]["loss"]
        title += f"; {against:+.3f} at equal time"
    largest = max(max_load for r in runs if (max_load := r.get("max_load")))
    fig, (left, right) = plotting.figure(
        title, f"{data}, {found['experts']['steps']} steps of {ROWS * CONTEXT:,} tokens, {seeds} "
        f"seeds; 8 experts, top-2; fullest expert {largest:.2f} x the mean; float32, two cores", 2)
    for kind in found:
        curves = [r["curve"] for r in runs if r["kind"] == kind]
        points = list(zip(*curves))[1:]
        for ax, column in ((left, 0), (right, 1)):
            for curve in curves:
                ax.plot([p[column] for p in curve[1:]], [p[2] for p in curve[1:]],
                        color=COLOURS[kind], lw=0.5, alpha=0.5)
            xs = [mean(p[column] for p in point) for point in points]
            ys = [mean(p[2] for p in point) for point in points]
            ax.plot(xs, ys, color=COLOURS[kind], label=kind)
    left.set(xlabel="step", ylabel="held-out loss, nats per token")
    right.set(xlabel="seconds")
    left.legend(fontsize=8)
    plotting.save(fig, path)


def main(argv=None):
    args = parse_args(argv)
    if args.steps < 6 or args.seeds < 1:
        raise ValueError(f"--steps {args.steps} --seeds {args.seeds}: at least 6 steps and 1 seed")
    out = out_folder(__file__, args.out)
    path = out / f"compare_{name_of(args.data)}.json"
    runs = run_all(args, path, out)
    found = summary(runs)
    if not {"dense", "experts"} <= set(found):
        raise ValueError(f"{path} has no runs of both dense and experts yet; run without --draw "
                         "and without --only")
    rows = [[kind, f["parameters"], f["steps"], f["seconds"], f["loss"], f["spread"], f["gain"],
             f"{f['wins']}/{f['runs']}", f["bits"]] for kind, f in found.items()]
    print_table(["model", "parameters", "steps", "seconds", "held-out loss", "spread",
                 "gain over dense", "wins", "bits/byte"], rows, f"{args.data}, {path}")
    draw(runs, found, args.data, out / f"compare_{name_of(args.data)}.png")


if __name__ == "__main__":
    run_main(main)
