"""The settings of a training run, in named groups, and how the command line changes them.

Used   train_gpt.py   (lesson 2.4)
"""

import math
from dataclasses import asdict, dataclass, replace


# CHANGED in part 3: grouped heads, a window and sinks
@dataclass(frozen=True)
class Settings:
    """What a preset fixes. A run ends after `steps` or `minutes`, whichever comes first."""

    n_layer: int = 4
    n_head: int = 4
    n_kv_head: int | None = None  # None: as many as n_head
    n_embd: int = 128
    block_size: int = 64
    window: int | None = None
    sink: int = 0
    dropout: float = 0.0
    embedding_std: float = 0.05  # narrow models learn faster from 0.05 than from GPT-2's 0.02
    batch_size: int = 12
    steps: int | None = 2000
    minutes: float | None = None
    lr: float = 1e-3            # at the peak, after the warmup
    final_lr: float = 0.1       # at the end, as a share of the peak
    warmup: float = 0.05        # share of the run
    weight_decay: float = 0.1   # matrices only
    beta2: float = 0.99         # Adam's memory of squared gradients: 0.99 is about 100 steps
    clip: float = 1.0           # the largest norm of all gradients together
    evaluations: int = 10       # over the whole run
    eval_bytes: int = 20_000    # about so many, spread over it; the whole text is for the end

    def __post_init__(self):
        for name in ("batch_size", "steps", "minutes", "lr", "clip", "evaluations", "eval_bytes"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} {value}: must be above 0, and finite")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"--weight-decay {self.weight_decay}: must not be below 0")
        if self.steps is None and self.minutes is None:
            raise ValueError("give --steps or --minutes: the run must end some time")


# CHANGED in part 3: two key/value heads; a preset for endless texts
PRESETS = {
    "default": Settings(n_kv_head=2, block_size=128, batch_size=8, steps=3000, dropout=0.1,
                        lr=4e-3),
    "streaming": Settings(n_kv_head=2, block_size=128, window=64, sink=4, batch_size=8,
                          steps=3000, dropout=0.1, lr=4e-3),
    "three_minutes": Settings(n_kv_head=2, block_size=128, batch_size=8, steps=None, minutes=2.8,
                              lr=4e-3, final_lr=0.02, eval_bytes=10_000, evaluations=5),
    "gpu": Settings(n_layer=6, n_head=6, n_kv_head=2, n_embd=384, block_size=256, batch_size=64,
                    steps=5000, dropout=0.2, embedding_std=0.02),
}


def choose_settings(args) -> Settings:
    """The preset, with what was given on the command line in its place."""
    given = {name: value for name in asdict(PRESETS[args.preset])
             if (value := getattr(args, name, None)) is not None}
    if "minutes" in given and "steps" not in given:
        given["steps"] = None  # --minutes alone: the clock decides
    elif "steps" in given and "minutes" not in given:
        given["minutes"] = None
    return replace(PRESETS[args.preset], **given)
