"""All settings of a GRPO run in one place, and the named groups of them (presets).

Used   train_grpo.py, the demos
"""

from dataclasses import dataclass

from rl.ppo_settings import flag_of, setting
from run.schedule import Schedule
from sft.lora import check_lora

from reasoning.grpo import NORMALISERS


@dataclass(frozen=True)
class GRPOSettings:
    """One run. Every field is also a flag of train_grpo.py: `soft_length` is --soft-length."""

    steps: int = setting(60, "rollouts, each followed by an update")
    prompts: int = setting(32, "prompts in a rollout")
    group: int = setting(8, "replies drawn for each prompt")
    max_new: int = setting(116, "most tokens of a reply")
    temperature: float = setting(1.0, "of sampling and of all log-probabilities")
    epochs: int = setting(1, "times that each rollout is learnt from")
    minibatch: int = setting(0, "rows in one optimizer step; 0: all that have a signal")
    micro_rows: int = setting(16, "rows in one forward pass")
    peak: float = setting(2e-4, "highest learning rate of AdamW")
    eps: float = setting(1e-5, "of AdamW: gradients far below it hardly move their weights")
    warmup: float = setting(0.1, "share of the run in which the rate climbs; then down to 0")
    clip_low: float = setting(0.2, "how far the ratio may fall before it is clipped")
    clip_high: float = setting(0.28, "how far it may rise; more than clip_low: clip-higher")
    beta: float = setting(0.002, "weight of the KL to the reference")
    normaliser: str = setting("token", f"how the loss is averaged: {', '.join(NORMALISERS)}")
    scale: bool = setting(True, "advantages are divided by the group's standard deviation")
    drop_equal: bool = setting(True, "groups with equal rewards are left out of the update")
    soft_length: int = setting(0, "tokens before max_new from which length costs; 0: none")
    keep_rows: int = setting(0, "packed rows of earlier examples read in each update; 0: none")
    keep_weight: float = setting(0.5, "weight of their loss, eq. 9.6")
    max_norm: float = setting(1.0, "largest norm of the gradient; 0: no limit")
    lora: int = setting(0, "rank of LoRA's detours; 0: all weights are trained")
    weights: str = setting("float32", "format of frozen weights: float32, or bfloat16 with --lora")

    def __post_init__(self):
        for name in ("steps", "prompts", "max_new", "epochs", "micro_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{flag_of(name)} {getattr(self, name)}: must be at least 1")
        if self.group < 2:
            raise ValueError(f"--group {self.group}: must be at least 2; one reply has no sibling "
                             "to be compared with")
        for name in ("temperature", "peak", "eps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{flag_of(name)} {getattr(self, name)}: must be above 0")
        for name in ("beta", "max_norm", "minibatch", "soft_length", "keep_rows",
                     "keep_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{flag_of(name)} {getattr(self, name)}: must not be below 0")
        if not 0 < self.clip_low < 1 or not self.clip_high > 0:
            raise ValueError(f"--clip-low {self.clip_low} must be above 0 and below 1, --clip-high "
                             f"{self.clip_high} above 0")
        if self.normaliser not in NORMALISERS:
            raise ValueError(f"--normaliser {self.normaliser}: choose from "
                             f"{', '.join(NORMALISERS)}")
        if self.soft_length > self.max_new:
            raise ValueError(f"--soft-length {self.soft_length}: must be at most --max-new "
                             f"{self.max_new}")
        check_lora(self.lora, self.weights)
        self.learning_rate()  # refuses what does not fit

    def learning_rate(self) -> Schedule:
        return Schedule("linear", self.peak, 0.0, self.warmup)


PRESETS = {
    "tiny": GRPOSettings(keep_rows=4, peak=4e-4),
    "gpu": GRPOSettings(steps=400, prompts=128, group=16, micro_rows=256, peak=3e-5, keep_rows=8),
}
