"""Save and load a model with experts: a checkpoint as in part 4, whose settings hold the experts', too.

Used   train_moe.py writes, demo_moe.py reads   (lesson 5.4). load_checkpoint reads such a file as well,
       from this part on, and so do all scripts that take a checkpoint
"""

from pathlib import Path

from run.checkpoint import load_checkpoint, save_checkpoint
from run.optim import model_state
from text.tokenizer import Tokenizer

from moe.hybrid import HybridGPT

MAKE_WITH = "python part_5/train_moe.py (minutes on two cores)"


def save_moe(path: Path, model: HybridGPT, tokenizer: Tokenizer, *, step: int, settings: dict,
             metrics: dict) -> None:
    """Write the checkpoint, whole or not at all. Raises OSError when it cannot be written."""
    save_checkpoint(path, weights=model_state(model), config=model.config, tokenizer=tokenizer,
                    step=step, settings=settings, metrics=metrics)


def load_moe(path: Path, device="cpu") -> tuple[HybridGPT, Tokenizer, dict]:
    """A checkpoint -> (model in eval mode, tokenizer, all its fields); ValueError if it is none."""
    model, tokenizer, content = load_checkpoint(path, device, make_with=MAKE_WITH)
    if not isinstance(model, HybridGPT):
        raise ValueError(f"{path}: a model without experts; make one with: {MAKE_WITH}")
    return model, tokenizer, content
