"""What holds for every test: which part is under test, slow forms, and how scripts are run.

Several parts own a room `gpt`. Before a test file under tests/part_N is imported, and before each
of its tests runs, part_N is put first on the import path and the modules of the other parts are
shelved, so that `from gpt.model import GPT` means part N's. tests/part_N/test_isolation.py checks it.
"""

import importlib
import importlib.machinery
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
PARTS = {path.name: path for path in sorted(ROOT.glob("part_[0-9]"))}
shelf: dict[str, dict] = {name: {} for name in PARTS}  # part -> its imported modules

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for `from planted import Bug`
from two_processes import pytest_runtestloop  # noqa: E402, F401  pytest finds the hook here

sys.dont_write_bytecode = True
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # started in the background: tests send Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(min(2, torch.get_num_threads()))  # OMP_NUM_THREADS=1 is heeded


@cache
def part_of_file(file: str) -> str | None:
    """The part in whose folder, or a room of it, a file lies, or None. Kept: torch alone has two
    thousand modules, and they are looked at before every test."""
    folder = Path(file).resolve().parent
    return next((name for name, path in PARTS.items() if path in (folder, folder.parent)), None)


def part_of_module(module) -> str | None:
    """The part whose folder a module was loaded from, or None."""
    file = getattr(module, "__file__", None)
    return part_of_file(file) if file else None


def activate(part: str | None) -> None:
    """Put `part` first on the path; shelve the modules of all other parts."""
    folders = {str(path) for path in PARTS.values()}
    sys.path[:] = [entry for entry in sys.path if entry not in folders]
    for name, module in list(sys.modules.items()):
        owner = part_of_module(module)
        if owner and owner != part:
            shelf[owner][name] = sys.modules.pop(name)
    if part:
        sys.path.insert(0, str(PARTS[part]))
        sys.modules.update(shelf[part])
    importlib.invalidate_caches()


def part_of_test(path) -> str | None:
    match = re.search(r"tests[/\\](part_\d)[/\\]", str(path))
    return match[1] if match and match[1] in PARTS else None


@pytest.hookimpl(tryfirst=True)
def pytest_collectstart(collector):
    if isinstance(collector, pytest.Module):
        activate(part_of_test(collector.path))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    activate(part_of_test(item.path))
    torch.manual_seed(0)


@contextmanager
def using(part: str):
    """Inside the block, imports mean those of `part`: for tests that need two parts at once."""
    before = next((name for name, path in PARTS.items() if str(path) in sys.path), None)
    activate(part)
    try:
        yield
    finally:
        activate(before)


@pytest.fixture
def modules_of():
    """modules_of("part_7", "gpt.model", reward_model="reward.model") -> a namespace with those modules
    of that part: `.model`, by the last word of its name, and `.reward_model`, by the name it is given."""
    def load(part: str, *names: str, **renamed: str) -> SimpleNamespace:
        wanted = {name.rpartition(".")[2]: name for name in names} | renamed
        with using(part):
            return SimpleNamespace(**{short: importlib.import_module(name)
                                      for short, name in wanted.items()})
    return load


@pytest.fixture
def watch(monkeypatch):
    """watch(module, "train") -> a list to which every call of that function adds its arguments."""
    def watch(owner, name: str) -> list[SimpleNamespace]:
        function, calls = getattr(owner, name), []

        def passed_on(*args, **kwargs):
            bound = inspect.signature(function).bind(*args, **kwargs)
            bound.apply_defaults()
            calls.append(SimpleNamespace(**bound.arguments))
            return function(*args, **kwargs)
        monkeypatch.setattr(owner, name, passed_on)
        return calls
    return watch


@pytest.fixture
def pretended_transformers(monkeypatch):
    """A package `transformers` for --peer: its Llama is an embedding that is its own output layer.
    -> the lengths that its `generate` was asked for."""
    asked = []

    class Llama(torch.nn.Module):
        def __init__(self, config: dict):
            super().__init__()
            self.table = torch.nn.Embedding(config["vocab_size"], config["hidden_size"])
            self.generation_config = SimpleNamespace()

        def forward(self, ids, use_cache=False):
            return SimpleNamespace(logits=self.table(ids) @ self.table.weight.T)

        def generate(self, ids, max_new_tokens, **settings):
            asked.append(max_new_tokens)

    module = ModuleType("transformers")
    module.__spec__ = importlib.machinery.ModuleSpec("transformers", None)
    module.LlamaConfig, module.LlamaForCausalLM = dict, Llama
    monkeypatch.setitem(sys.modules, "transformers", module)
    return asked


class Starter:
    """Starts scripts, through the zygote where the system can fork (tests/zygote.py)."""

    def __init__(self):
        self.process = None

    def ask(self, request: dict) -> int | None:
        if self.process is None:
            environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1"}
            self.process = subprocess.Popen([sys.executable, str(ROOT / "tests" / "zygote.py")],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            text=True, env=environment)
            json.loads(self.process.stdout.readline())
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["status"]

    def run(self, command: list[str], cwd, timeout: float, input: str | None,
            env: dict) -> subprocess.CompletedProcess:
        with tempfile.TemporaryDirectory() as folder:
            files = {name: os.path.join(folder, name) for name in ("stdout", "stderr", "stdin")}
            Path(files["stdin"]).write_text(input or "", encoding="utf-8")
            status = self.ask({"script": command[1], "args": command[2:], "cwd": str(cwd),
                               "env": env, "timeout": timeout, **files})
            if status is None:
                raise subprocess.TimeoutExpired(command, timeout)
            texts = [Path(files[name]).read_text(encoding="utf-8", errors="replace")
                     for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(command, status, *texts)

    def stop(self):
        if self.process is not None:
            self.process.stdin.close()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:  # a very busy machine
                self.process.kill()


@pytest.fixture(scope="session")
def starter():
    starter = Starter()
    yield starter
    starter.stop()


@pytest.fixture
def run_script(tmp_path, starter):
    """run_script("part_2/train_gpt.py", "--steps", 5) -> CompletedProcess with text output.

    Runs in a folder of its own unless `cwd` is given; `check=True` insists on exit status 0;
    `fresh=True` starts a new interpreter (slower by the seconds that importing torch takes).
    """
    def run(script: str, *args, cwd=None, check: bool = True, timeout: float = 900, input=None,
            env: dict | None = None, fresh: bool = False) -> subprocess.CompletedProcess:
        command = [sys.executable, str(ROOT / script), *map(str, args)]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
        if fresh or not hasattr(os, "fork"):
            done = subprocess.run(command, cwd=cwd or tmp_path, capture_output=True, text=True,
                                  timeout=timeout, input=input, check=False, env=environment)
        else:
            done = starter.run(command, cwd or tmp_path, timeout, input, environment)
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n"
                        f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done
    return run


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", default=False,
                     help="run the slow forms too (three seeds, many kills, whole pipelines)")
    parser.addoption("--one-process", action="store_true", default=False,
                     help="run all tests in this process, one after the other, on all threads")


def pytest_collection_modifyitems(config, items):
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
    if config.getoption("--full"):
        return
    skip = pytest.mark.skip(reason="slow form: run with --full")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)
