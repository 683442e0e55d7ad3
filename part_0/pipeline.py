"""The pipeline's stages: what each runs, what is done already, what can be gone on with.

A stage is one training script of one part. It is skipped when its result is there and was made
with the same settings, code and inputs. State lies in pipeline.json in the chain's folder.

Used    at_work.py, demo_pipeline.py, chain.py (the list of stages), asking.py and report_card.py
"""

import ast
import hashlib
import json
import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from runtime import save_json

ROOT = Path(__file__).resolve().parent.parent
PRESETS = ("smoke", "quick", "full", "gpu")


@dataclass(frozen=True)
class Stage:
    """One step of the chain: a script, what it needs; it leaves <name>.pt and <name>.json."""

    name: str  # the word for --from and --only
    title: str  # what happens, for a person
    script: str  # from the top of the repository
    seconds: dict[str, float]  # preset -> seconds on the reference machine
    flags: dict[str, tuple[str, ...]]  # preset -> flags of the script
    summary: str  # a line about the metrics, for str.format
    inputs: dict[str, str] = field(default_factory=dict)  # flag -> file of an earlier stage
    resume: tuple[str, ...] = ()  # flags that go on with an unfinished run; none: it starts anew
    fresh: tuple[str, ...] = ()  # flags that start anew over an unfinished run of ours
    is_optional: bool = False  # runs only when it is asked for by its name
    speaks: str = ""  # how its model is asked (asking.py): "text", "chat", or not at all

    @property
    def part(self) -> str:
        return self.script.split("/")[0]

    @property
    def checkpoint(self) -> str:
        """Its model, as `Chain.file` and the inputs of later stages name it."""
        return f"{self.part}/{self.name}.pt"


@dataclass(frozen=True)
class Chain:
    """One pass through the stages: its settings and its folders. Each seed has one."""

    preset: str
    seed: int
    home: Path  # pipeline.json and the lock lie here
    out: Path | None = None  # None: results go to each part's own out/
    common: tuple[str, ...] = ()  # flags for every script, such as --device cuda

    def folder(self, part: str) -> Path:
        """Where a part's results go."""
        return ROOT / part / "out" if self.out is None else self.out / part

    def file(self, name: str) -> Path:
        """Where a file of a part lies: part_4/base.pt -> part_4/out/base.pt."""
        part, file = name.split("/")
        return self.folder(part) / file

    def result(self, stage: Stage) -> Path:
        """The JSON that a stage leaves."""
        return self.folder(stage.part) / f"{stage.name}.json"

    @property
    def state_path(self) -> Path:
        return self.home / "pipeline.json"


def command_of(stage: Stage, chain: Chain, more: tuple[str, ...] = ()) -> list[str]:
    """The command line of a stage; `more`: flags that deal with an earlier attempt."""
    command = [sys.executable, str(ROOT / stage.script), *stage.flags[chain.preset],
               *chain.common, *more, "--seed", str(chain.seed),
               "--out", str(chain.folder(stage.part))]
    for flag, file in stage.inputs.items():
        command += [flag, str(chain.file(file))]
    return command


# ---------------------------------------------------------------- what is done already

@cache  # by the text: a chain asks for the same files dozens of times, and reading one takes long
def imported_by(text: str) -> tuple[str, ...]:
    """Names of the modules that a script's text imports, and of what it takes out of them."""
    names = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:  # of a module, or of a room
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def modules_of(script: Path) -> list[Path]:
    """The script and every file of its part that it imports, directly or through others."""
    modules, left, part = set(), [script], script.parent
    while left:
        path = left.pop()
        if path in modules or not path.is_file():
            continue
        modules.add(path)
        left += [part / f"{name.replace('.', '/')}.py"
                 for name in imported_by(path.read_text(encoding="utf-8"))]
    return sorted(modules)


def fingerprint(settings: list, scripts: list[str], files: list[Path]) -> str:
    """Of everything that decides a result: settings, the scripts' code, the files they read."""
    digest = hashlib.sha256(json.dumps([*settings, torch.__version__]).encode())
    for path in [path for script in scripts for path in modules_of(ROOT / script)] + files:
        digest.update(hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"missing")
    return digest.hexdigest()[:16]


def key_of(stage: Stage, chain: Chain) -> str:
    """A stage's fingerprint: it runs again when this changes."""
    return fingerprint([stage.flags[chain.preset], chain.seed, chain.common], [stage.script],
                       [chain.file(name) for name in stage.inputs.values()])


def load_json(path: Path) -> dict:
    """A JSON object; {} where there is none or it cannot be read (its stage then runs again)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def note_of(stage: Stage, chain: Chain) -> dict:
    """What earlier runs have written down about a stage."""
    note = load_json(chain.state_path).get(stage.name, {})
    return note if isinstance(note, dict) else {}


def write_note(stage: Stage, chain: Chain, note: dict) -> None:
    """Replace the note of one stage; those of the others stay."""
    save_json(chain.state_path, {**load_json(chain.state_path), stage.name: note})


def has_own_result(stage: Stage, chain: Chain) -> bool:
    """True when the result that lies there is the one that this command noted."""
    noted, there = note_of(stage, chain).get("results"), load_json(chain.result(stage))
    return bool(noted) and json.dumps(noted) == json.dumps(there)  # as texts: NaN equals NaN there


def is_done(stage: Stage, chain: Chain) -> bool:
    """True when the stage's result is there and nothing that decides it has changed since."""
    return (has_own_result(stage, chain)
            and note_of(stage, chain).get("key") == key_of(stage, chain))


def can_go_on(stage: Stage, chain: Chain) -> bool:
    """True when an attempt with these very settings was stopped, and the script can take it up."""
    return bool(stage.resume) and note_of(stage, chain).get("started") == key_of(stage, chain)


def estimate(stage: Stage, chain: Chain, slower: float) -> float:
    """Seconds that a stage will take: as long as it took here before, else by the machine's speed."""
    before = note_of(stage, chain).get("took", {}).get(" ".join(stage.flags[chain.preset]))
    return before or stage.seconds[chain.preset] * slower


def choose(stages: list[Stage], first: str | None, only: str | None,
           wanted: tuple[str, ...] = ()) -> list[Stage]:
    """The stages that --from and --only leave; optional ones where they are named or `wanted`.

    Raises ValueError for a name that is none.
    """
    names = [stage.name for stage in stages]
    for flag, name in (("--from", first), ("--only", only)):
        if name is not None and name not in names:
            raise ValueError(f"{flag} {name}: no such stage; choose one of {', '.join(names)}")
    if only is not None:
        return [stage for stage in stages if stage.name == only]
    return [stage for stage in stages[names.index(first) if first else 0:]
            if not stage.is_optional or stage.name in (*wanted, first)]


# ---------------------------------------------------------------- one run at a time

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
    """Refuse a second run in the same folder. A lock left by a run that died is taken over, but not
    while the stage that it had started still works."""
    path = folder / "pipeline.lock"
    if path.exists():
        numbers = [text for text in path.read_text(encoding="utf-8").split() if text.isdigit()]
        alive = [text for text in numbers if int(text) != os.getpid() and is_alive(int(text))]
        if alive:
            raise ValueError(f"another run (process {alive[0]}) works in {folder}; wait for it, or "
                             "give this one a folder of its own with --out")
        path.unlink()
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        raise ValueError(f"another run has just started in {folder}") from None
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def stopped_like_ctrl_c():
    """Inside the block a request to end, or a closed terminal, does what Ctrl-C does; but what was
    ignored before (by nohup) is ignored."""
    def stop(number, frame):
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
             and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN]
    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
