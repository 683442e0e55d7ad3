"""Stop a training of experts at any step, and go on with the same bytes as if it had never stopped.

    out/moe_training.pt   weights, optimizer, step, log: written while it trains, deleted at its end

Used   train_moe.py   (lesson 5.4). Batches and rates are functions of the step: nothing to keep.
"""

import os
import tempfile
from pathlib import Path

import torch
from run.checkpoint import read_archive
from run.loop import ALONE
from run.optim import load_model_state, load_optimizer_state, model_state, optimizer_state
from run.runtime import cores, replacing

from moe.hybrid import HybridGPT

FORMAT = "training of part 5, 1"
FIELDS = {"format", "step", "seconds", "curve", "log_bytes", "threads", "settings", "weights",
          "optimizer", "scaler", "tokenizer"}
MAY_DIFFER = ("data",)  # by its name: what the texts hold is compared


def save_training(path: Path, model: HybridGPT, optimizer, scaler, processes=ALONE, **more) -> None:
    """Write the state of a training, whole or not at all; if the disk is full, where there is room.

    All processes gather what lies in slices, the main one writes. Raises OSError, which says where the
    state is.
    """
    state = {"format": FORMAT, "threads": torch.get_num_threads(), "weights": model_state(model),
             "optimizer": optimizer_state(model, optimizer), "scaler": scaler.state_dict(), **more}
    try:
        if processes.is_main:
            write(path, state)
    except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError
        rescue = Path(tempfile.gettempdir()) / f"rescued_{path.name}"
        write(rescue, state)
        raise OSError(f"{path}: the training could not be saved ({str(error).splitlines()[0]}); "
                      f"free some space there, move {rescue} to it, and go on with "
                      "--resume") from None
    processes.wait()


def write(path: Path, state: dict) -> None:
    with replacing(path) as temporary, open(temporary, "wb") as file:
        torch.save(state, file)


def read_training(path: Path) -> dict | None:
    """What save_training wrote; None where there is no such file. ValueError for any other file."""
    if not path.is_file():
        return None
    state = read_archive(path, "saved training", "delete it, and begin again")
    if not isinstance(state, dict) or state.get("format") != FORMAT or not FIELDS <= set(state):
        raise ValueError(f"{path}: no saved training of this script; delete it, and begin again")
    return state


def check_same(saved: dict, now: dict) -> None:
    """ValueError that names what differs between the settings of a saved training and these."""
    changed = [f"{name}: was {saved.get(name)}, now {now.get(name)}" for name in sorted(saved | now)
               if saved.get(name) != now.get(name) and name not in MAY_DIFFER]
    if changed:
        raise ValueError("these settings differ from those of the training that was stopped; give "
                         "the old ones, or begin again with --fresh:\n  " + "\n  ".join(changed))


def restore(state: dict, model: HybridGPT, optimizer, scaler) -> None:
    """Put a saved training's state into the model, its optimizer and its scaler."""
    load_model_state(model, state["weights"])
    load_optimizer_state(model, optimizer, state["optimizer"])
    scaler.load_state_dict(state["scaler"])
    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(min(state["threads"], cores()))  # sums round the same way
