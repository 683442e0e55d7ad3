"""Ctrl-C in the first seconds, while torch is being loaded: every script ends, without a traceback."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAIN = 'if __name__ == "__main__":'
HEAVY = {"numpy", "torch", "matplotlib", "tiktoken", "tqdm", "regex"}


def first_import(path: Path) -> list[str]:
    """The modules that a file imports at its top, in order."""
    return [node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, (ast.Import, ast.ImportFrom))]


SCRIPTS = [path for path in sorted(ROOT.glob("part_[0-9]/*.py"))
           if MAIN in path.read_text(encoding="utf-8")
           and path.name != "whats_new.py"]  # it loads nothing
ENDS = [SCRIPTS[0], SCRIPTS[len(SCRIPTS) // 2], SCRIPTS[-1]]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_runtime_is_imported_before_anything_heavy(script):
    names = first_import(script)
    place = next(i for i, name in enumerate(names)
                 if name in ("runtime", "run.runtime", "before_torch"))
    assert all(name.split(".")[0] in sys.stdlib_module_names for name in names[:place])


@pytest.fixture
def slow_numpy(tmp_path):
    """A folder with a numpy that says when it is being loaded, and takes its time."""
    (tmp_path / "numpy.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(60)\n")
    return {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}


def interrupt_while_loading(script: Path, environment: dict) -> tuple[int, str]:
    process = subprocess.Popen([sys.executable, str(script)], env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=30)
    return process.returncode, words


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals are sent as on Unix")
@pytest.mark.parametrize("script", ENDS, ids=lambda p: str(p.relative_to(ROOT)))
def test_ctrl_c_while_torch_is_loaded_ends_a_script_quietly(script, slow_numpy):
    status, words = interrupt_while_loading(script, slow_numpy)
    assert status in (-signal.SIGINT, 130) and words == ""


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_ctrl_c_while_torch_is_loaded_ends_every_script_quietly(script, slow_numpy):
    status, words = interrupt_while_loading(script, slow_numpy)
    assert status in (-signal.SIGINT, 130) and words == ""
