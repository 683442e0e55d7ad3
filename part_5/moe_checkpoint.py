"""Save and load a model with experts: one complete file, as in part 4, with the experts' settings.

Used   train_moe.py writes, demo_moe.py reads   (lesson 5.4)
"""

import pickle
from dataclasses import asdict
from pathlib import Path

import torch
from checkpoint import verify
from hybrid import HybridGPT
from model import GPTConfig
from moe import MoEConfig
from runtime import replacing
from tokenizer import Tokenizer

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
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such checkpoint; {MAKE_WITH}")
    verify(path, MAKE_WITH)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, KeyError) as error:
        raise ValueError(f"{path}: not a checkpoint ({str(error)[:90]}); {MAKE_WITH}") from None
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind != MOE_KIND or content.get("format") != MOE_FORMAT:
        raise ValueError(f"{path}: holds {kind!r}, not a {MOE_KIND!r} of format {MOE_FORMAT}; "
                         f"{MAKE_WITH}")
    if missing := [name for name in MOE_FIELDS if name not in content]:
        raise ValueError(f"{path}: the checkpoint lacks {', '.join(missing)}; {MAKE_WITH}")
    try:
        model = HybridGPT(GPTConfig(**content["config"]), MoEConfig(**content["moe"]))
        model.load_state_dict(content["weights"])
    except (TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"{path}: its weights do not fit its settings ({reason})") from None
    tokenizer = Tokenizer.from_dict(content["tokenizer"], str(path))
    return model.to(device).eval(), tokenizer, content
