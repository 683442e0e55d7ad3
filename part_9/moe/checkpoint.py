"""Save and load a model with experts: one complete file, as in part 4, with the experts' settings.

Used   train_moe.py writes, demo_moe.py reads   (lesson 5.4)
"""

from dataclasses import asdict
from pathlib import Path

import torch
from gpt.model import GPTConfig
from run.checkpoint import read_archive, restored
from run.runtime import replacing
from text.tokenizer import Tokenizer

from moe.hybrid import HybridGPT
from moe.layer import MoEConfig

MOE_FORMAT, MOE_KIND = 1, "moe of part 5"
MOE_FIELDS = ("config", "moe", "weights", "tokenizer", "step", "settings", "metrics")
MAKE_WITH = "make it with: python part_5/train_moe.py (minutes on two cores)"


def save_moe(path: Path, model: HybridGPT, tokenizer: Tokenizer, *, step: int, settings: dict,
             metrics: dict) -> None:
    """Write the checkpoint, whole or not at all. Raises OSError when it cannot be written."""
    weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    content = {"format": MOE_FORMAT, "kind": MOE_KIND, "config": asdict(model.config),
               "moe": asdict(model.moe_config), "weights": weights,
               "tokenizer": tokenizer.to_dict(), "step": step, "settings": settings,
               "metrics": metrics}
    try:
        with replacing(path) as temporary:
            torch.save(content, temporary)
    except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError
        raise OSError(f"{path}: the checkpoint could not be written "
                      f"({str(error).splitlines()[0]}); free some space, or choose another folder "
                      "with --out") from None


def load_moe(path: Path, device="cpu") -> tuple[HybridGPT, Tokenizer, dict]:
    """A checkpoint -> (model in eval mode, tokenizer, all its fields); ValueError if it is none."""
    path = Path(path).expanduser()
    content = read_archive(path, "checkpoint", MAKE_WITH)
    held = (f"{content.get('kind')!r} of format {content.get('format')!r}"
            if isinstance(content, dict) else type(content).__name__)
    if held != (wanted := f"{MOE_KIND!r} of format {MOE_FORMAT!r}"):
        raise ValueError(f"{path}: holds {held[:90]}, not {wanted}; {MAKE_WITH}")
    if missing := [name for name in MOE_FIELDS if name not in content]:
        raise ValueError(f"{path}: the checkpoint lacks {', '.join(missing)}; {MAKE_WITH}")
    model = restored(path, content["config"], content["weights"], lambda: HybridGPT(
        GPTConfig(**content["config"]), MoEConfig(**content["moe"])))
    tokenizer = Tokenizer.from_dict(content["tokenizer"], str(path))
    return model.to(device).eval(), tokenizer, content
