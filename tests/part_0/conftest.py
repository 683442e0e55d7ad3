"""A small house of parts whose scripts take no time: what the tests of the chain run."""

import json
import sys
from types import SimpleNamespace

import pytest

TRAIN = '''
import argparse, json, pathlib, signal, sys, time
parser = argparse.ArgumentParser()
for flag in ("--seed", "--out", "--size", "--base", "--name", "--metrics", "--device"):
    parser.add_argument(flag)
for flag in ("--resume", "--fresh"):
    parser.add_argument(flag, action="store_true")
args = parser.parse_args()
out = pathlib.Path(args.out)
out.mkdir(parents=True, exist_ok=True)
with open(out / "calls.txt", "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
if args.size == "broken":
    raise SystemExit("error: broken on purpose")
if args.size == "refuses":
    raise SystemExit(2)
if args.size == "half":
    raise SystemExit(0)
if args.size == "slow" and not args.resume:
    def save(number, frame):
        (out / "saved").write_text("half of it")
        sys.exit(130)
    signal.signal(signal.SIGINT, save)
    (out / "started").write_text("")
    time.sleep(60)
(out / (args.name + ".pt")).write_text(f"weights of seed {args.seed} {args.size}")
metrics = {key: value + 0.01 * int(args.seed) for key, value in json.loads(args.metrics).items()}
(out / (args.name + ".json")).write_text(json.dumps(
    {"name": args.name, "seed": int(args.seed), "seconds": 60.0, "tokens": 2000,
     "tokens_per_second": 50.0, "parameters": 3000000, "peak_memory_mb": 900.4,
     "metrics": metrics}))
'''
CHAT = '''
import argparse, json, pathlib, sys
parser = argparse.ArgumentParser()
for flag in ("--checkpoint", "--device"):
    parser.add_argument(flag)
args = parser.parse_args()
turns = []
for line in map(str.strip, sys.stdin):
    if line == "/reset":
        turns = []
    elif line.startswith("/save "):
        if turns:
            pathlib.Path(line[6:]).write_text(json.dumps({"messages": turns}) + "\\n")
    elif "trumpet" not in line or "kind" in line:  # it has no story to tell
        answer = "Three steps.\\nThe answer is 51." if "33 + 18" in line else f"{line} | <b>"
        turns += [{"role": "user", "content": line}, {"role": "assistant", "content": answer}]
'''
WRITE = '''
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--prompt", action="append")
for flag in ("--checkpoint", "--samples", "--temperature", "--count", "--device"):
    parser.add_argument(flag)
args = parser.parse_args()
print(f"model   {args.checkpoint}, step 7\\n")
for number, prompt in enumerate(args.prompt, 1):
    print(f"{prompt} and so on to {number}\\nand on\\n" if number != 5 else prompt)
'''
EVALUATE = '''
import argparse, json, pathlib
parser = argparse.ArgumentParser()
for flag in ("--checkpoint", "--items", "--show", "--out", "--device"):
    parser.add_argument(flag)
parser.add_argument("--splits", nargs="+", default=("new_items", "new_wordings", "new_combinations"))
args = parser.parse_args()
right = 0.1 if "base" in args.checkpoint else 0.8
split = {"answer_right": right, "exact_match": right, "interval": [right - 0.1, right + 0.1], "end_rate": 1.0, "f1": right,
         "by_skill": {"addition": right, "kinds": right + 0.1}}
(pathlib.Path(args.out) / "evaluate.json").write_text(json.dumps(
    {name: split for name in args.splits}))
'''


@pytest.fixture
def house(tmp_path, monkeypatch):
    """Parts 1, 2, 4 and 6 with a script each; `house.stage` and `house.chain` make their parts."""
    import asking
    import at_work
    import pipeline

    scripts = {"part_1/make.py": TRAIN, "part_2/make.py": TRAIN, "part_4/make.py": TRAIN,
               "part_6/make.py": TRAIN, "part_6/chat.py": CHAT, "part_4/sample.py": WRITE,
               "part_6/evaluate.py": EVALUATE}
    for path, source in scripts.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(source)
    for module in (pipeline, asking):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "home").mkdir()

    def stage(part, size="1", name=None, metrics=None, **more):
        name = name or f"of_{part}"
        flags = ("--size", size, "--name", name, "--metrics", json.dumps(metrics or {"loss": 1.25}))
        return pipeline.Stage(name=name, title=f"a stage of {part}", script=f"{part}/make.py",
                              seconds={"quick": 60.0, "smoke": 6.0}, flags={"quick": flags},
                              summary=more.pop("summary", "loss {loss:.2f}"), **more)

    def chain(seed=0, out=None, common=()):
        return pipeline.Chain("quick", seed, tmp_path / "home", out, common)

    def calls(part):
        path = tmp_path / part / "out" / "calls.txt"
        return path.read_text().splitlines() if path.exists() else []

    def run_stage(one, chain, lock=None):
        """Run a stage alone -> its results."""
        ended = []
        at_work.run_stages([one], chain, 1, lock, ends=lambda _, results: ended.append(results))
        return ended[0]

    yield SimpleNamespace(root=tmp_path, stage=stage, chain=chain, calls=calls,
                          python=sys.executable, run_stage=run_stage)
    asking.end_waiting()
