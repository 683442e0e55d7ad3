"""Does every training learn the same in several processes, and what does each of them hold?

    python tests/scaling.py                          all stages in 1, 2, 4 processes, and in 2 with FSDP
    python tests/scaling.py --stages dpo ppo --steps 5

A small model goes through the whole chain: what a stage leaves in one process, the next one reads. For
each stage a line: the largest difference of any figure that a step logs from that of one process, and
the bytes of weights and optimizer that the fullest process holds, counted after the second update.
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
import sys, torch
from gpt.model import GPT, GPTConfig
from run.checkpoint import save_checkpoint
from text.tokenizer import Tokenizer
from world.world import World

tokenizer = Tokenizer.train([text.text for text in World().texts(60)], 400)
config = GPTConfig(vocab_size=tokenizer.vocab_size, block_size=320, n_layer=4, n_head=2, n_kv_head=1,
                   n_embd=64, qk_norm=True)
torch.manual_seed(0)
save_checkpoint(sys.argv[1], weights=GPT(config).state_dict(), config=config, tokenizer=tokenizer,
                step=0, settings={}, metrics={})
'''
WAYS = {"1": (1, ()), "2": (2, ()), "4": (4, ()), "FSDP 2": (2, ("--shard",))}


def stages(folder: Path, steps: int) -> dict[str, tuple]:
    """Stage -> (script, its flags, the file that it leaves)."""
    sft, reward, pairs = folder / "sft.pt", folder / "reward.pt", folder / "pairs.jsonl"
    none = ("--eval-prompts", 0)
    return {
        "train": ("part_4/train.py", (
            "--n-layer", 4, "--n-head", 2, "--n-kv-head", 1, "--n-embd", 64, "--context", 64,
            "--vocab-size", 400, "--world-megabytes", 0.05, "--rows", 8, "--micro-rows", 2, "--steps",
            steps, "--eval-documents", 9, "--muon", 0, "--sample-every", 10**6), "base.pt"),
        "moe": ("part_5/train_moe.py", ("--world-megabytes", 0.3, "--steps", steps), "moe.pt"),
        "moe, spread": ("part_5/train_moe.py", (
            "--world-megabytes", 0.3, "--steps", steps, "--parallel", "experts"), "moe.pt"),
        "sft": ("part_6/train_sft.py", (
            "--base", folder / "tiny.pt", "--examples", 200, "--rows", 4, "--steps", steps,
            "--eval-items", 0, "--muon", 0), "sft.pt"),
        "reward": ("part_7/train_reward.py", (
            "--sft", sft, "--data", pairs, "--rows", 8, "--muon", 0), "reward.pt"),
        "dpo": ("part_8/train_dpo.py", (
            "--sft", sft, "--data", pairs, "--pairs-a-step", 6, *none), "dpo.pt"),
        "ppo": ("part_8/train_ppo.py", (
            "--sft", sft, "--reward", reward, "--steps", steps, "--pool", 20, "--kept", 0.5, "--prompts",
            4, "--copies", 2, "--minibatch", 4, "--micro-rows", 2, "--max-new", 8, *none), "ppo.pt"),
        "cold": ("part_9/cold_start.py", (
            "--sft", sft, "--examples", 100, "--rows", 4, "--steps", steps), "cold.pt"),
        "grpo": ("part_9/train_grpo.py", (
            "--model", folder / "cold.pt", "--steps", steps, "--prompts", 4, "--group", 2, "--max-new",
            8, "--keep-rows", 3, "--micro-rows", 2, "--no-drop-equal", "--look-every", 0,
            "--eval-problems", 1, "--eval-exact", 0, "--longest", 2), "grpo.pt"),
        "tools": ("part_9/train_tools.py", (
            "--model", folder / "cold.pt", "--examples", 60, "--rows", 4, "--steps", steps), "tools.pt"),
    }


def run(script: str, flags, out: Path, many: int) -> None:
    """One training in `many` processes. Its messages are shown where it fails."""
    out.mkdir(parents=True)
    starter = out / "several.py"
    starter.write_text(COUNTING + SEVERAL, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-B", str(starter), str(ROOT / script), *map(str, flags), "--out", str(out),
         "--amp", "float32", "--device", "cpu"], capture_output=True, text=True, check=False,
        env={**os.environ, "WORLD_SIZE": str(many), "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1",
             "MASTER_PORT": str(free_port()), "HELD": str(out / "held_")})
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


def compare(stage: str, folder: Path, steps: int, ways) -> list:
    """Run a stage in all ways -> its line of the table."""
    script, flags, leaves = stages(folder, steps)[stage]
    line, logs = [stage], {}
    for way in ways:
        many, more = WAYS[way]
        if more and stage == "moe, spread":
            line.append("")  # they lie in slices already
            continue
        if more and script in ("part_4/train.py", "part_5/train_moe.py"):
            more = ("--parallel", "fsdp")
        out = folder / stage / way.replace(" ", "_")
        run(script, (*flags, *more), out, many)
        if way == "1":
            (out / leaves).replace(folder / leaves)
        logs[way] = log_of(out, steps)
        held = max(int(path.read_text()) for path in out.glob("held_*"))
        apart = "" if way == "1" else f"{difference(logs['1'], logs[way]):.0e}, "
        line.append(f"{apart}{held / 1e6:.2f} MB")
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
    args = parser.parse_args(argv)
    ways = ["1", *(way for way in args.ways if way != "1")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "pairs.jsonl").write_text("\n".join(json.dumps(
            {"prompt": f"What is {n} + 1?", "chosen": str(n + 1), "rejected": f"{n}, I think"})
            for n in range(7 * args.steps)), encoding="utf-8")
        subprocess.run([sys.executable, "-B", "-c", TINY, str(folder / "tiny.pt")], check=True,
                       env={**os.environ, "PYTHONPATH": str(ROOT / "part_6")})
        rows = []
        for stage in stages(folder, args.steps):
            asked = args.stages is None or stage in args.stages
            later = args.stages is None or any(stage in needed_by(name) for name in args.stages)
            if asked or later:
                rows.append(compare(stage, folder, args.steps, ways if asked else ["1"]))
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
