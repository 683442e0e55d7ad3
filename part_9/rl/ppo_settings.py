"""All settings of a PPO run in one place, and the named groups of them (presets).

Used   train_ppo.py, ablation.py, the demos.   What a checkpoint holds of them is compared when a
       run is resumed.
"""

from argparse import BooleanOptionalAction
from dataclasses import asdict, dataclass, field, fields

from run.schedule import Schedule
from sft.lora import check_lora


def setting(default, note: str):
    """A field with its default and what it means, for --help."""
    return field(default=default, metadata={"note": note})


@dataclass(frozen=True)
class PPOSettings:
    """One run. Every field is also a flag of train_ppo.py: `stop_kl` is --stop-kl."""

    steps: int = setting(22, "rollouts, each followed by an update")
    pool: int = setting(1408, "prompts to choose from")
    unseen: float = setting(0.8, "share of them of content that tuning kept aside")
    kept: float = setting(1.0, "share to keep: those whose replies differ most in score; 1: all")
    prompts: int = setting(64, "prompts in a rollout")
    copies: int = setting(4, "replies drawn for each prompt")
    max_new: int = setting(72, "most tokens of a reply")
    temperature: float = setting(1.0, "of sampling and of all log-probabilities")
    epochs: int = setting(2, "times that each rollout is learnt from")
    minibatch: int = setting(128, "rows in one optimizer step")
    micro_rows: int = setting(32, "rows in one forward pass")
    peak: float = setting(2e-4, "highest learning rate")
    value_rate: float = setting(10.0, "the value head's rate, as a multiple")
    eps: float = setting(1e-5, "of AdamW: gradients far below it hardly move their weights")
    warmup: float = setting(0.05, "share of the run in which the rate climbs; then down to 0")
    gamma: float = setting(1.0, "discount of later rewards")
    lam: float = setting(0.95, "lambda of GAE")
    clip: float = setting(0.2, "how far the ratio may move before it is clipped")
    value_clip: float = setting(0.2, "how far a value may move in an update; 0: no limit")
    value_weight: float = setting(0.1, "weight of the value loss")
    entropy_weight: float = setting(0.0, "weight of the entropy bonus")
    beta: float = setting(0.05, "weight of the KL to the reference at the start")
    target_kl: float = setting(3.0, "KL of a reply to the reference, in nats, to hold")
    horizon: int = setting(4000, "episodes over which the weight follows the KL")
    adaptive: bool = setting(True, "the KL's weight follows the KL; else it stays")
    normalise: bool = setting(True, "scores in standard deviations of the reference's")
    group_baseline: bool = setting(True, "scores compared with those of the prompt's other replies")
    whiten: bool = setting(True, "advantages of a rollout to mean 0 and deviation 1")
    length_control: bool = setting(True, "shorter replies while the KL is above its target")
    max_norm: float = setting(1.0, "largest norm of the gradient; 0: no limit")
    stop_kl: float = setting(0.1, "an update ends at this KL to the rollout's policy; 0: never")
    no_end_penalty: float = setting(1.0, "taken off where a reply was not ended")
    lora: int = setting(0, "rank of LoRA's detours; 0: all weights are trained")
    weights: str = setting("float32", "format of frozen weights: float32, or bfloat16 with --lora")

    def __post_init__(self):
        for name in ("steps", "pool", "prompts", "copies", "max_new", "epochs", "minibatch",
                     "micro_rows", "horizon"):
            if getattr(self, name) < 1:
                raise ValueError(f"{flag_of(name)} {getattr(self, name)}: must be at least 1")
        for name in ("temperature", "value_rate", "eps", "target_kl"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{flag_of(name)} {getattr(self, name)}: must be above 0")
        for name in ("value_clip", "value_weight", "entropy_weight", "beta",
                     "max_norm", "stop_kl", "no_end_penalty"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{flag_of(name)} {getattr(self, name)}: must not be below 0")
        for name in ("gamma", "lam", "unseen"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{flag_of(name)} {getattr(self, name)}: must be from 0 to 1")
        if not 0 < self.kept <= 1:
            raise ValueError(f"--kept {self.kept}: must be above 0 and at most 1 (1 keeps all)")
        if not 0 < self.clip < 1:
            raise ValueError(f"--clip {self.clip}: must be above 0 and below 1")
        if self.adaptive and self.beta == 0:
            raise ValueError("--beta 0 with --adaptive: a weight of 0 stays 0 whatever it is "
                             "multiplied with; give --no-adaptive, or a beta above 0")
        if self.rollout_rows % self.minibatch:
            raise ValueError(f"--minibatch {self.minibatch} does not divide the "
                             f"{self.rollout_rows} rows of a rollout (--prompts {self.prompts} x "
                             f"--copies {self.copies})")
        if self.minibatch % self.micro_rows:
            raise ValueError(f"--micro-rows {self.micro_rows} does not divide --minibatch "
                             f"{self.minibatch}")
        check_lora(self.lora, self.weights)
        self.learning_rate()  # refuses what does not fit

    @property
    def rollout_rows(self) -> int:
        return self.prompts * self.copies

    def learning_rate(self) -> Schedule:
        return Schedule("linear", self.peak, 0.0, self.warmup)


def flag_of(name: str) -> str:
    """value_clip -> --value-clip"""
    return "--" + name.replace("_", "-")


PRESETS = {
    "tiny": PPOSettings(),
    "gpu": PPOSettings(steps=400, pool=20_000, prompts=128, copies=4, minibatch=128, micro_rows=128,
                       peak=3e-5),
}


# CHANGED in part 8: the settings of PPO, and of DPO
def add_flags(parser, settings) -> None:
    """One flag for each field of a dataclass. No flag given means: as the preset has it."""
    for one in fields(settings):
        text = f"{one.metadata['note']} (tiny: {one.default})"
        if one.type is bool:
            parser.add_argument(flag_of(one.name), action=BooleanOptionalAction, default=None,
                                help=text)
        else:
            parser.add_argument(flag_of(one.name), type=one.type, default=None, help=text)


# CHANGED in part 8: the settings of PPO, and of DPO
def chosen(preset, args):
    """The preset's settings, with every flag that was given put in its place."""
    given = {one.name: getattr(args, one.name) for one in fields(preset)
             if getattr(args, one.name) is not None}
    return type(preset)(**{**asdict(preset), **given})
