"""Checkpoints: one file that is complete, written whole or not at all, and checked when read.

    weights, model settings, tokenizer        what parts 5 to 9 need
    step, optimizer, scaler, seconds, log     what a resume needs ("training")
    format number, settings, metrics          what a reader needs

Used   train.py writes; sample.py, eval.py and the later parts read   (lesson 4.4)

torch.load does not notice a flipped bit: it returns a wrong number (a test shows it). A .pt file is
a zip archive, and zip keeps a checksum of every record; `verify` has Python compare them.
"""

import zipfile
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import get_args, get_type_hints

import torch
from gpt.model import GPT, GPTConfig
from pretrained.loading import load_released
from pretrained.weight_places import SkipInit
from text.tokenizer import Tokenizer

from run.runtime import replacing

try:
    from moe.hybrid import HybridGPT, MoEConfig
except ModuleNotFoundError:  # it is a room of part 5 and the parts after it
    HybridGPT = None

# CHANGED in part 4: the tokenizer, and all that a resume needs
FORMAT = 4  # of this file; counts up when a field changes its meaning
# CHANGED in part 4: another part
KIND = "gpt of part 4"
# CHANGED in part 4: what a resume needs
FIELDS = ("format", "kind", "config", "weights", "tokenizer", "step", "settings", "metrics",
          "training")


# NEW in part 4
TRAINING = {"optimizer", "seconds", "log_bytes"}  # of every training; each has more of its own
# Settings of the model that files of before do not hold: they are as by default.
# NEW in part 4
LATER = {"rope_scaling", "rope_factor", "rope_low", "rope_high", "rope_trained", "rope_gain"}
# NEW in part 4
OLD_MOE = "moe of part 5"  # files of before, which kept the settings of experts beside the others
LONGEST_CONTEXT = 2**24  # tokens; a file that claims more wants to fill the memory


# CHANGED in part 4: weights gathered from all processes, a tokenizer, the state of training
def save_checkpoint(path: Path, *, weights: dict, config: GPTConfig, tokenizer: Tokenizer,
                    step: int, settings: dict, metrics: dict, training: dict | None = None) -> None:
    """Write a checkpoint, whole or not at all. `training`: what only a resume needs.

    Raises OSError, with the way out, when the disk is full or the folder cannot be written.
    """
    checkpoint = {"format": FORMAT, "kind": KIND, "config": asdict(config), "weights": weights,
                  "tokenizer": tokenizer.to_dict(), "step": step, "settings": settings,
                  "metrics": metrics, "training": training}
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            torch.save(checkpoint, file)  # by name, torch would write that name into the file
            file.flush()
    except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError
        reason = str(error).splitlines()[0]
        raise OSError(f"{path}: the checkpoint could not be written ({reason}); "
                      "free some space there, or choose another folder with --out") from None


# NEW in part 4
def verify(path: Path, remedy: str) -> None:
    """Raise ValueError if a file is not a whole zip archive with the right checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist()):
                raise ValueError("packed, which torch.save never does")  # a megabyte may hold 1,000
            damaged = archive.testzip()
    except OSError:
        raise
    except Exception as error:  # an archive that somebody made up can fail in any way
        raise ValueError(f"{path}: not a checkpoint, or cut short ({error}); {remedy}") from None
    if damaged:
        raise ValueError(f"{path}: damaged, the checksum of {damaged} is wrong; {remedy}")


# NEW in part 4
def read_archive(path: Path, what: str, remedy: str):
    """What torch.save has written; nothing in the file is run. ValueError for any other file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such {what}; {remedy}")
    verify(path, remedy)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that somebody made up can fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: not a {what}, or cut short ({reason[:90]}); "
                         f"{remedy}") from None


# CHANGED in part 4: settings that came later may be missing
def restored(path: Path, config: dict, weights: dict, make: Callable[[], torch.nn.Module]):
    """make(), with the file's weights. ValueError where settings and weights do not fit.

    Sizes are compared first, with a model on the "meta" device, which takes no memory: a file may
    claim a width of a billion.
    """
    try:
        if not isinstance(config, dict) or not isinstance(weights, dict):
            raise ValueError("they are no tables")
        for name, kind in get_type_hints(GPTConfig).items():
            if name in LATER and not LATER & set(config):
                continue
            kinds = get_args(kind) or ((int, float) if kind is float else (kind,))
            if type(config[name]) not in kinds:
                raise ValueError(f"{name} is {config[name]!r}")
        if config["block_size"] > LONGEST_CONTEXT or config["n_layer"] > len(weights):
            raise ValueError(f"{config['n_layer']} layers with {len(weights)} weights, a context "
                             f"of {config['block_size']}")
        for name, value in weights.items():
            if not (value.is_floating_point() and value.isfinite().all()):
                raise ValueError(f"{name} holds something else than finite numbers")
        with torch.device("meta"), SkipInit():
            make().load_state_dict({name: value.to("meta") for name, value in weights.items()})
    except Exception as error:  # settings that somebody made up can fail in any way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: its weights do not fit its settings ({reason[:120]})") from None
    model = make()
    model.load_state_dict(weights)
    return model


# NEW in part 4
def model_of(config: dict) -> GPT:
    """The model that a file's settings describe: with experts where "moe" is among them."""
    if config.get("sink"):
        raise ValueError(f"sink={config['sink']}: models have attention sinks in part 3 alone")
    config = {name: value for name, value in config.items() if name != "sink"}  # old files: 0
    if "moe" not in config:
        return GPT(GPTConfig(**config))
    dense = {name: value for name, value in config.items() if name != "moe"}
    return HybridGPT(GPTConfig(**dense), MoEConfig(**config["moe"]))


# CHANGED in part 4: checksums are compared first
def read_checkpoint(path: Path, *, make_with: str = "python part_4/train.py") -> dict:
    """Read a checkpoint file and check that it is one of ours, and whole."""
    path, remedy = Path(path).expanduser(), f"make it with: {make_with}"
    checkpoint = read_archive(path, "checkpoint", remedy)
    if not isinstance(checkpoint, dict) or "format" not in checkpoint:
        raise ValueError(f"{path}: a PyTorch file, but no checkpoint of this part; {remedy}")
    if checkpoint.get("kind") == OLD_MOE and isinstance(checkpoint.get("config"), dict):
        checkpoint |= {"format": FORMAT, "kind": KIND, "training": None,
                       "config": {**checkpoint["config"], "moe": checkpoint.get("moe")}}
    held = f"format {checkpoint['format']!r}, kind {checkpoint.get('kind')!r}"
    if held != (wanted := f"format {FORMAT!r}, kind {KIND!r}"):
        raise ValueError(f"{path}: holds {held[:90]}; this part reads {wanted}; {remedy}")
    missing = [name for name in FIELDS if name not in checkpoint]
    if missing:
        raise ValueError(f"{path}: the checkpoint lacks {', '.join(missing)}; {remedy}")
    odd = [name for name in ("config", "weights", "settings", "metrics")
           if not isinstance(checkpoint[name], dict)]
    if odd or type(checkpoint["step"]) is not int:
        raise ValueError(f"{path}: damaged, {', '.join(odd or ['step'])} is of another kind than "
                         f"it was saved as; {remedy}")
    return checkpoint


# CHANGED in part 4: gives the tokenizer too; takes the folder of a released model
def load_checkpoint(path: Path, device: torch.device | str = "cpu", *, chat: str = "auto",
                    make_with: str = "python part_4/train.py") -> tuple[GPT, Tokenizer, dict]:
    """A checkpoint file, or the folder of a released model -> (the model on `device`, in eval mode;
    the tokenizer; all fields). `chat`: for a folder whose chat template is not to count."""
    path = Path(path).expanduser()
    if path.is_dir():
        return load_released(path, device, chat)
    checkpoint = read_checkpoint(path, make_with=make_with)
    config, known = checkpoint["config"], {field.name for field in fields(GPTConfig)}
    if "moe" in config and HybridGPT is None:
        raise ValueError(f"{path}: a model with experts; part 5 and the parts after it read it")
    held = set(config) - {"moe", "sink"}
    if held not in (known, known - LATER):
        odd = ", ".join(sorted(map(str, held ^ known - LATER)))
        raise ValueError(f"{path}: its model settings do not fit this part's GPTConfig ({odd}); "
                         f"make it with: {make_with}")
    model = restored(path, config, checkpoint["weights"], lambda: model_of(config))
    tokenizer = Tokenizer.from_dict(checkpoint["tokenizer"], str(path))
    if chat != "auto":
        raise ValueError(f"--chat {chat} is for the folder of a released model; {path} is a "
                         "checkpoint, which has its form of conversations already")
    return model.to(device).eval(), tokenizer, checkpoint


# NEW in part 4
class Checkpoints:
    """The checkpoints of one run in a folder: step_00000300.pt, … Keeps the last K and the best."""

    def __init__(self, folder: Path, keep: int = 2):
        self.folder, self.keep = Path(folder), keep

    def paths(self) -> list[Path]:
        """From the oldest to the newest."""
        return sorted(self.folder.glob("step_*.pt"))

    def path(self, step: int) -> Path:
        return self.folder / f"step_{step:08d}.pt"

    def newest(self) -> tuple[Path, dict] | None:
        """The newest checkpoint that is whole, or None. A damaged one is named and passed over."""
        for path in reversed(self.paths()):
            try:
                content = read_checkpoint(path)
                training = content["training"]
                if not (isinstance(training, dict) and TRAINING <= set(training)):
                    raise ValueError(f"{path}: a finished model, or another file without the state "
                                     "of a training")
                return path, content
            except ValueError as error:
                print(f"skipped {error}")
        return None

    def save(self, step: int, best_step: int | None, **content) -> Path:
        """Write the checkpoint of a step; then, not before, drop those that are not needed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        save_checkpoint(self.path(step), step=step, **content)
        kept = {*self.paths()[-self.keep:], *([self.path(best_step)] if best_step else [])}
        for path in self.paths():
            if path not in kept:
                path.unlink()
        for leftover in self.folder.glob(".step_*.tmp"):  # of a process that was killed
            leftover.unlink()
        return self.path(step)

    def clear(self) -> None:
        """Forget a run: for a fresh start in the same folder."""
        for path in [*self.paths(), *self.folder.glob(".step_*.tmp")]:
            path.unlink()
