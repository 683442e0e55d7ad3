"""What is written down while a model trains.

    log.jsonl      one line a step: loss, gradient norm, learning rate; evaluations and samples.
                   Only what is a function of the seed: a resumed run writes the same bytes.
    timing.jsonl   seconds, tokens per second, memory: different in every run.
    tensorboard/   all of it:  tensorboard --logdir part_4/out
    wandb          on request, where it is installed

Used   train.py.
"""

import importlib.util
import json
import os
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


class Logger:
    """Writes to all places at once. `start_step` and `log_bytes` say where a resumed run goes on."""

    def __init__(self, folder: Path, *, start_step: int = 0, log_bytes: int = 0,
                 tensorboard: bool = True, wandb_project: str = "", settings: dict | None = None):
        self.path = Path(folder) / "log.jsonl"
        cut_back(self.path, log_bytes)
        timing = Path(folder) / "timing.jsonl"
        self.file = self.path.open("a", encoding="utf-8")
        self.timing = timing.open("a" if start_step else "w", encoding="utf-8")
        self.board = SummaryWriter(str(Path(folder) / "tensorboard"),
                                   purge_step=start_step) if tensorboard else None
        self.wandb = open_wandb(wandb_project, settings or {}) if wandb_project else None

    def log(self, step: int, **values) -> None:
        """Numbers (or a text) that depend on nothing but the seed."""
        self.file.write(json.dumps({"step": step, **values}) + "\n")
        self.show(step, values)

    def log_timing(self, step: int, **values) -> None:
        self.timing.write(json.dumps({"step": step, **values}) + "\n")
        self.show(step, values)

    def show(self, step: int, values: dict) -> None:
        """TensorBoard and wandb: numbers as curves, texts as texts."""
        for name, value in values.items() if self.board else ():
            if isinstance(value, str):
                self.board.add_text(name, value, step)
            else:
                self.board.add_scalar(name, value, step)
        if self.wandb:
            self.wandb.log(values, step=step)

    def bytes_written(self) -> int:
        """How long the log is, once it lies on the disk: a checkpoint remembers it."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.timing.flush()
        return self.path.stat().st_size

    def close(self) -> None:
        self.bytes_written()
        self.file.close()
        self.timing.close()
        if self.board:
            self.board.close()
        if self.wandb:
            self.wandb.finish()


def cut_back(path: Path, size: int) -> None:
    """Drop what was logged after the checkpoint: those steps will be made, and logged, again."""
    held = path.stat().st_size if path.exists() else 0
    if held < size:
        raise ValueError(f"{path} has {held:,} bytes, the checkpoint expects {size:,}: "
                         "it was changed or belongs to another run; start again with --fresh")
    with open(path, "ab") as file:
        file.truncate(size)


def open_wandb(project: str, settings: dict):
    """A run of Weights & Biases. Raises ValueError where the package is not installed."""
    if importlib.util.find_spec("wandb") is None:
        raise ValueError(f"--wandb {project}: the package is not installed; pip install wandb, "
                         "or leave the flag out (TensorBoard and log.jsonl are always written)")
    import wandb  # optional, hence not at the top
    return wandb.init(project=project, config=settings)


def read_log(path: Path) -> list[dict]:
    """The lines of a log as dictionaries. A last line that a kill cut short is left out."""
    text = Path(path).read_text(encoding="utf-8")
    return [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]
