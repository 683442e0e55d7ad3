"""A checkpoint: one file with all that is needed to use the model again.

Used   train_gpt.py, sample.py, eval_loss.py   (lesson 2.4)

It is written to a temporary name and moved into place, so an older file is never harmed; it is read
with weights_only=True, so that nothing in it can be run.
"""

import zipfile
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import get_args, get_type_hints

import torch
from model import GPT, GPTConfig
from pretrained.weight_places import SkipInit
from runtime import replacing

FORMAT = 2  # of this file; counts up when a field changes its meaning
KIND = "gpt of part 2"
FIELDS = ("format", "kind", "config", "weights", "tokenizer", "step", "settings", "metrics")
LONGEST_CONTEXT = 2**24  # tokens; a file that claims more wants to fill the memory


def save_checkpoint(path: Path, model: GPT, *, step: int, settings: dict, metrics: dict) -> None:
    """Write the model, its settings and what was measured, whole or not at all.

    Raises OSError, with the way out, when the disk is full or the folder cannot be written.
    """
    weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    checkpoint = {"format": FORMAT, "kind": KIND, "config": asdict(model.config),
                  "weights": weights, "tokenizer": {"kind": "bytes"}, "step": step,
                  "settings": settings, "metrics": metrics}
    try:
        with replacing(path) as temporary:
            torch.save(checkpoint, temporary)
    except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError
        reason = str(error).splitlines()[0]
        raise OSError(f"{path}: the checkpoint could not be written ({reason}); "
                      "free some space there, or choose another folder with --out") from None


def restored(path: Path, config: dict, weights: dict, make: Callable[[], torch.nn.Module]):
    """make(), with the file's weights. ValueError where settings and weights do not fit.

    Sizes are compared first, with a model on the "meta" device, which takes no memory: a file may
    claim a width of a billion.
    """
    try:
        if not isinstance(config, dict) or not isinstance(weights, dict):
            raise ValueError("they are no tables")
        for name, kind in get_type_hints(GPTConfig).items():
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


def read_checkpoint(path: Path, *, make_with: str = "python part_2/train_gpt.py") -> dict:
    """Read a checkpoint file and check that it is one of ours, and whole."""
    path = Path(path).expanduser()
    remedy = f"make it with: {make_with}"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such checkpoint; {remedy}")
    with open(path, "rb") as file:
        is_archive = file.read(2) == b"PK"  # torch.save writes a zip archive
    what = "the file is cut short or damaged" if is_archive else "this is no checkpoint file"
    refusal = ValueError(f"{path}: {what} ({path.stat().st_size:,} bytes); {remedy}")
    if not zipfile.is_zipfile(path):  # a zip archive has its table of contents at the end
        raise refusal
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a file that somebody made up can fail in any way
        raise refusal from None
    if not isinstance(checkpoint, dict) or "format" not in checkpoint:
        raise ValueError(f"{path}: a PyTorch file, but no checkpoint of this part; {remedy}")
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


def load_checkpoint(path: Path, device: torch.device | str = "cpu", *,
                    make_with: str = "python part_2/train_gpt.py") -> tuple[GPT, dict]:
    """A checkpoint file -> (the model on `device`, in eval mode; the checkpoint's other fields)."""
    checkpoint = read_checkpoint(path, make_with=make_with)
    config, known = checkpoint["config"], {field.name for field in fields(GPTConfig)}
    if set(config) != known:
        odd = ", ".join(sorted(map(str, set(config) ^ known)))
        raise ValueError(f"{path}: its model settings do not fit this part's GPTConfig ({odd}); "
                         f"make it with: {make_with}")
    model = restored(path, config, checkpoint["weights"], lambda: GPT(GPTConfig(**config)))
    return model.to(device).eval(), checkpoint
