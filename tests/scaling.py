"""Does every training learn the same in several processes, and what does each of them hold?

    python tests/scaling.py                          all stages in 1, 2, 4 processes, and in 2 with FSDP
    python tests/scaling.py --stages dpo ppo --steps 5
    python tests/scaling.py --wide --ways 2 'FSDP 2' --steps 12    and how long does a step take?

A small model goes through the whole chain: what a stage leaves in one process, the next one reads. For
each stage a line: the largest difference of any figure that a step logs from that of one process, and
the bytes of weights and optimizer that the fullest process holds, counted after the second update.
With --wide the model has 4.5M parameters and eight times the rows; the line then has the seconds of a step
too, and how many times as fast that is: each process has one thread, what comes before the second update is left out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).parent))
from several import COUNTING, SEVERAL, free_port  # noqa: E402

TINY = '''
import json, sys, torch
from gpt.model import GPT, GPTConfig
from run.checkpoint import save_checkpoint
from text.tokenizer import Tokenizer
from world.world import World

tokenizer = Tokenizer.train([text.text for text in World().texts(60)], 400)
config = GPTConfig(vocab_size=tokenizer.vocab_size, block_size=320, qk_norm=True,
                   **json.loads(sys.argv[2]))
torch.manual_seed(0)
save_checkpoint(sys.argv[1], weights=GPT(config).state_dict(), config=config, tokenizer=tokenizer,
                step=0, settings={}, metrics={})
'''
SMALL = {"n_layer": 4, "n_head": 2, "n_kv_head": 1, "n_embd": 64}
WIDE = {"n_layer": 6, "n_head": 4, "n_kv_head": 2, "n_embd": 256}
SIZES = {False: (1, SMALL), True: (8, WIDE)}  # --wide or not -> how many times the rows, and the model
MOE = f"""
import sys
sys.path.insert(0, {str(ROOT / "part_5")!r})
import torch, train_moe
from run.runtime import run_main

many, size = MANY_AND_SIZE
if many == 1:  # else a token whose scores tie goes another way, sooner or later
    torch.set_default_dtype(torch.float64)
train_moe.PRESETS["tiny"] = train_moe.Size(**size, context=64, vocab_size=400, rows=8 * many)
run_main(train_moe.main, trains=True, processes=True)
"""
WAYS = {"1": (1, ()), "2": (2, ()), "4": (4, ()), "FSDP 2": (2, ("--shard",))}


def stages(folder: Path, steps: int, wide: bool = False) -> dict[str, tuple]:
    """Stage -> (script, its flags, the file that it leaves)."""
    many, size = SIZES[wide]
    shape = [x for name, value in size.items() for x in ("--" + name.replace("_", "-"), value)]
    sft, reward, pairs = folder / "sft.pt", folder / "reward.pt", folder / "pairs.jsonl"
    none = ("--eval-prompts", 0)
    return {
        "train": ("part_4/train.py", (
            *shape, "--context", 64, "--vocab-size", 400, "--world-megabytes", 0.05 * many, "--rows",
            8 * many, "--micro-rows", 2 * many, "--steps", steps, "--eval-documents", 9,
            "--muon", 0, "--sample-every", 10**6), "base.pt"),
        "moe": (folder / "moe.py", ("--world-megabytes", 0.05 * many, "--steps", steps), "moe.pt"),
        "moe, spread": (folder / "moe.py", (
            "--world-megabytes", 0.05 * many, "--steps", steps, "--parallel", "experts"), "moe.pt"),
        "sft": ("part_6/train_sft.py", (
            "--base", folder / "tiny.pt", "--examples", 200 * many, "--rows", 4 * many, "--steps", steps,
            "--eval-items", 0, "--muon", 0), "sft.pt"),
        "reward": ("part_7/train_reward.py", (
            "--sft", sft, "--data", pairs, "--rows", 8 * many, "--muon", 0), "reward.pt"),
        "dpo": ("part_8/train_dpo.py", (
            "--sft", sft, "--data", pairs, "--pairs-a-step", 6 * many, *none), "dpo.pt"),
        "ppo": ("part_8/train_ppo.py", (
            "--sft", sft, "--reward", reward, "--steps", steps, "--pool", 20 * many, "--kept", 0.5,
            "--prompts", 4 * many, "--copies", 2, "--minibatch", 4 * many, "--micro-rows", 2 * many,
            "--max-new", 8 * (1 + wide), *none), "ppo.pt"),
        "cold": ("part_9/cold_start.py", (
            "--sft", sft, "--examples", 100 * many, "--rows", 4 * many, "--steps", steps), "cold.pt"),
        "grpo": ("part_9/train_grpo.py", (
            "--model", folder / "cold.pt", "--steps", steps, "--prompts", 4 * many, "--group", 2,
            "--max-new", 8 * (1 + wide), "--keep-rows", 3 * many, "--micro-rows", 2 * many,
            "--no-drop-equal", "--look-every", 0, "--eval-problems", 1, "--eval-exact", 0,
            "--longest", 2), "grpo.pt"),
        "tools": ("part_9/train_tools.py", (
            "--model", folder / "cold.pt", "--examples", 60 * many, "--rows", 4 * many, "--steps",
            steps), "tools.pt"),
    }


def run(script: str | Path, flags, out: Path, many: int) -> None:
    """One training in `many` processes. Its messages are shown where it fails."""
    out.mkdir(parents=True)
    starter = out / "several.py"
    starter.write_text(COUNTING + SEVERAL, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-B", str(starter), str(ROOT / script), *map(str, flags), "--out", str(out),
         "--amp", "float32", "--device", "cpu"], capture_output=True, text=True, check=False,
        env={**os.environ, "WORLD_SIZE": str(many), "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1",
             "MASTER_PORT": str(free_port()), "HELD": str(out / "held_"), "TIMED": "yes"})
    if done.returncode:
        sys.exit(f"{script} in {many} processes: exit status {done.returncode}\n{done.stderr[-2000:]}")


def log_of(out: Path, steps: int) -> list[dict]:
    """What each of the first steps logged: in log.jsonl, or in the newest checkpoint."""
    import torch
    if logs := [*out.glob("log.jsonl"), *out.glob("moe_log/log.jsonl")]:
        lines = [json.loads(line) for line in logs[0].read_text("utf-8").splitlines()]
    else:
        newest = sorted(out.glob("checkpoints*/step_*.pt"))[-1]
        lines = torch.load(newest, weights_only=True)["training"]["log"]
    lines = [line if isinstance(line, dict) else {"loss": line} for line in lines]
    return [line for line in lines if "rate" in line or "loss" in line][:steps]


def difference(one: list[dict], other: list[dict]) -> float:
    """The largest of any figure of any step; as a share of figures above 1."""
    if len(one) != len(other):
        sys.exit(f"{len(one)} and {len(other)} steps were logged")
    return max(abs(a[name] - b[name]) / max(1.0, abs(a[name])) for a, b in zip(one, other)
               for name in a if isinstance(a[name], (int, float)))


def seconds_a_step(out: Path, steps: int) -> float:
    """Of the main process, without what comes before its second update."""
    when = json.loads((out / "held_when_0").read_text())
    return (when[-1] - when[1]) / (len(when) - 2) * len(when) / steps


def compare(stage: str, folder: Path, steps: int, ways, wide: bool) -> list:
    """Run a stage in all ways -> its line of the table."""
    script, flags, leaves = stages(folder, steps, wide)[stage]
    line, logs, seconds = [stage], {}, {}
    for way in ways:
        many, more = WAYS[way]
        if more and stage == "moe, spread":
            line.append("")  # they lie in slices already
            continue
        if more and stage in ("train", "moe"):
            more = ("--parallel", "fsdp")
        out = folder / stage / way.replace(" ", "_")
        run(script, (*flags, *more), out, many)
        if way == "1":
            (out / leaves).replace(folder / leaves)
        logs[way] = log_of(out, steps)
        held = max(int(path.read_text()) for path in out.glob("held_[0-9]*"))
        apart = "" if way == "1" else f"{difference(logs['1'], logs[way]):.0e}, "
        line.append(f"{apart}{held / 1e6:.2f} MB")
        if wide:
            seconds[way] = seconds_a_step(out, len(logs[way]))
            line[-1] += f", {seconds[way]:.2f} s, {seconds['1'] / seconds[way]:.2f}"
        print(f"{stage} {way}: {line[-1]}", file=sys.stderr, flush=True)
    return line


def main(argv=None) -> list[list]:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="+", default=None, choices=tuple(stages(Path(), 1)),
                        help="those of the chain that are compared (default: all)")
    parser.add_argument("--steps", type=int, default=20, help="steps of each (default: 20)")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=tuple(WAYS),
                        help="numbers of processes, beside 1 (default: 1 2 4 'FSDP 2')")
    parser.add_argument("--wide", action="store_true", help="a larger model, and seconds of a step")
    args = parser.parse_args(argv)
    ways, (many, size) = ["1", *(way for way in args.ways if way != "1")], SIZES[args.wide]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "pairs.jsonl").write_text("\n".join(json.dumps(
            {"prompt": f"What is {n} + 1?", "chosen": str(n + 1), "rejected": f"{n}, I think"})
            for n in range(7 * args.steps * many)), encoding="utf-8")
        (folder / "moe.py").write_text(MOE.replace("MANY_AND_SIZE", str((many, size))), encoding="utf-8")
        subprocess.run([sys.executable, "-B", "-c", TINY, str(folder / "tiny.pt"),
                        json.dumps(size)], check=True,
                       env={**os.environ, "PYTHONPATH": str(ROOT / "part_6")})
        rows = []
        for stage in stages(folder, args.steps):
            asked = args.stages is None or stage in args.stages
            later = args.stages is None or any(stage in needed_by(name) for name in args.stages)
            if asked or later:
                rows.append(compare(stage, folder, args.steps, ways if asked else ["1"], args.wide))
    head = ["stage", *(f"{way} process{'es' * (way != '1')}" if way.isdecimal() else way
                       for way in ways)]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        if len(row) == len(head):
            print(f"| {' | '.join(row)} |")
    return rows


def needed_by(stage: str) -> tuple[str, ...]:
    """The stages whose files a stage reads."""
    return {"reward": ("sft",), "dpo": ("sft",), "ppo": ("sft", "reward"), "cold": ("sft",),
            "grpo": ("sft", "cold"), "tools": ("sft", "cold")}.get(stage, ())


if __name__ == "__main__":
    main()
