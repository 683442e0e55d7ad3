"""The pipeline's machinery: stages in processes of their own, run once, in order, resumable.

A stage is one training script of one part. It is skipped when its result is there and was made
with the same settings, code and inputs. State lies in pipeline.json in the run's folder.

Used    demo_pipeline.py (the list of stages) and demo_environment.py (how long they take here)
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from runtime import save_json, time_layer

ROOT = Path(__file__).resolve().parent.parent
PRESETS = ("quick", "full", "gpu")

# `time_layer` at width 256 on the machine that the lessons name (2 cores of an AMD EPYC, Zen 5).
REFERENCE_LAYER_SECONDS = 0.0045


@dataclass(frozen=True)
class Stage:
    """One step of the chain: a script, what it needs, what it leaves."""

    name: str  # the word for --from and --only
    title: str  # what happens, for a person
    script: str  # from the top of the repository
    result: str  # the JSON it leaves in its part's out folder
    seconds: dict[str, float]  # preset -> seconds on the reference machine
    flags: dict[str, tuple[str, ...]]  # preset -> flags of the script
    summary: str  # a line about the metrics, for str.format
    inputs: dict[str, str] = field(default_factory=dict)  # flag -> file of an earlier stage

    @property
    def part(self) -> str:
        return self.script.split("/")[0]


def folder_of(part: str, out: Path | None) -> Path:
    """Where a part's results go: its own out/ folder, or a folder under --out."""
    return ROOT / part / "out" if out is None else out / part


def command_of(stage: Stage, preset: str, seed: int, out: Path | None) -> list[str]:
    """The command line of a stage."""
    command = [sys.executable, str(ROOT / stage.script), *stage.flags[preset],
               "--seed", str(seed), "--out", str(folder_of(stage.part, out))]
    for flag, file in stage.inputs.items():
        part, name = file.split("/")
        command += [flag, str(folder_of(part, out) / name)]
    return command


def key_of(stage: Stage, preset: str, seed: int, out: Path | None) -> str:
    """A fingerprint of everything that decides a stage's result: settings, code, inputs."""
    digest = hashlib.sha256(json.dumps([stage.flags[preset], seed, torch.__version__]).encode())
    for path in sorted((ROOT / stage.part).glob("*.py")):
        if not path.name.startswith(("demo_", "benchmark")):
            digest.update(path.read_bytes())
    for file in stage.inputs.values():
        part, name = file.split("/")
        path = folder_of(part, out) / name
        digest.update(path.read_bytes() if path.is_file() else b"missing")
    return digest.hexdigest()[:16]


def result_path(stage: Stage, out: Path | None) -> Path:
    return folder_of(stage.part, out) / stage.result


def is_done(stage: Stage, state: dict, preset: str, seed: int, out: Path | None) -> bool:
    """True when the stage's result is there and nothing that decides it has changed since."""
    return (result_path(stage, out).is_file()
            and state.get(stage.name, {}).get("key") == key_of(stage, preset, seed, out))


def load_state(path: Path) -> dict:
    """What earlier runs noted. A file that cannot be read counts as none: stages then run again."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return state if isinstance(state, dict) else {}


def choose(stages: list[Stage], first: str | None, only: str | None) -> list[Stage]:
    """The stages that --from and --only leave. Raises ValueError for a name that is none."""
    names = [stage.name for stage in stages]
    for flag, name in (("--from", first), ("--only", only)):
        if name is not None and name not in names:
            raise ValueError(f"{flag} {name}: no such stage; choose one of {', '.join(names)}")
    if only is not None:
        return [stage for stage in stages if stage.name == only]
    return stages[names.index(first) if first else 0:]


def machine_slowness() -> float:
    """How many times slower than the reference machine a layer runs here (below 1: faster)."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fastest = min(time_layer(256, dtype, device) for dtype in (None, torch.bfloat16))
    return fastest / REFERENCE_LAYER_SECONDS


def is_alive(pid: int) -> bool:
    """True when a process with this number runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, and belongs to someone else
        return True
    return True


@contextmanager
def only_one(folder: Path):
    """Refuse a second run in the same folder. A lock left by a run that died is taken over."""
    path = folder / "pipeline.lock"
    if path.exists():
        text = path.read_text(encoding="utf-8").strip()
        if text.isdigit() and int(text) != os.getpid() and is_alive(int(text)):
            raise ValueError(f"another run (process {text}) works in {folder}; wait for it, or "
                             "give this one a folder of its own with --out")
        path.unlink()
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        raise ValueError(f"another run has just started in {folder}") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def run_stage(stage: Stage, preset: str, seed: int, out: Path | None) -> float:
    """Run one stage in a process of its own -> seconds. Its progress bar goes to our terminal.

    Raises ValueError with the way out when it fails. On Ctrl-C the stage gets time to save.
    """
    start = time.time()
    process = subprocess.Popen(command_of(stage, preset, seed, out))
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait(timeout=120)  # Ctrl-C reached the stage too; it saves and ends
        raise
    if status == 130:
        raise KeyboardInterrupt
    if status != 0:
        raise ValueError(f"stage {stage.name} ended with status {status}; its message is above. "
                         f"After mending it, the same command goes on from {stage.name}")
    return time.time() - start


def note_done(stage: Stage, state_path: Path, preset: str, seed: int, seconds: float,
              out: Path | None) -> dict:
    """Write down that a stage is done -> its results."""
    results = json.loads(result_path(stage, out).read_text(encoding="utf-8"))
    state = load_state(state_path)
    state[stage.name] = {"key": key_of(stage, preset, seed, out), "preset": preset, "seed": seed,
                         "wall_seconds": round(seconds, 1), "results": results}
    save_json(state_path, state)
    return results
