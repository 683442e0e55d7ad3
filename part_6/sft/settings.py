"""All settings of instruction tuning in one place, and the named groups of them (presets).

Used   train_sft.py.   What a checkpoint holds of them is compared when a run is resumed.
"""

from argparse import BooleanOptionalAction
from dataclasses import asdict, dataclass, field, fields

from pretrained.released_tokenizer import ReleasedTokenizer
from run.schedule import Schedule

from sft.curriculum import ORDERS
from sft.lora import check_lora
from sft.manners import PEOPLE, SETS


def setting(default, note: str):
    """A field with its default and what it means, for --help."""
    return field(default=default, metadata={"note": note})


@dataclass(frozen=True)
class SFTSettings:
    """One run. Every field is also a flag of train_sft.py: `eval_every` is --eval-every."""

    examples: int = setting(30000, "conversations of the world to learn from")
    manners: str = setting(PEOPLE, "manners of the world's answers: people, or gold (all plain)")
    replay: float = setting(0.3, "texts as in pretraining, as a share of the conversations")
    steps: int = setting(4000, "optimizer steps")
    rows: int = setting(4, "rows in one step (rows are as long as the context)")
    micro_rows: int = setting(4, "rows in one forward pass")
    packed: bool = setting(True, "several conversations in a row, attention kept apart")
    order: str = setting("mixed", f"order of the examples: {', '.join(ORDERS)}")
    peak: float = setting(1e-3, "highest learning rate of AdamW")
    muon: float = setting(0.006, "highest rate of Muon, for the blocks' matrices; 0: AdamW for all")
    low: float = setting(0.05, "lowest rate, as a share of the highest")
    warmup: float = setting(0.05, "share of the run that climbs")
    weight_decay: float = setting(0.0, "pull of matrices towards zero")
    clip: float = setting(1.0, "largest norm of the gradient")
    lora: int = setting(0, "rank of LoRA's detours; 0: all weights are trained")
    context: int = setting(0, "tokens in a row; 0: as many as the model reads, at most 1024")
    recompute: bool = setting(False, "keep little for the backward pass, compute the rest again")
    weights: str = setting("float32", "format of frozen weights: float32, or bfloat16 with --lora")
    eval_every: int = setting(400, "steps between looks at held-out conversations")

    def __post_init__(self):
        for name in ("examples", "steps", "rows", "micro_rows", "eval_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at "
                                 "least 1")
        for name in ("weight_decay", "muon", "replay", "context"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: must not be "
                                 "below 0")
        if not self.clip > 0:
            raise ValueError(f"--clip {self.clip}: must be above 0")
        check_lora(self.lora, self.weights)
        if self.order not in ORDERS:
            raise ValueError(f"--order {self.order}: choose from {', '.join(ORDERS)}")
        if self.manners not in SETS:
            raise ValueError(f"--manners {self.manners}: choose from {', '.join(SETS)}")
        self.learning_rate()  # refuses what does not fit

    def learning_rate(self) -> Schedule:
        return Schedule("cosine", self.peak, self.low * self.peak, self.warmup)


PRESETS = {
    "tiny": SFTSettings(),
    "gpu": SFTSettings(examples=200_000, steps=3000, rows=64, micro_rows=64, peak=5e-4,
                       muon=0.005, eval_every=250),
    "released": SFTSettings(steps=120, rows=8, micro_rows=4, peak=5e-4, muon=0.0, lora=16,
                            warmup=0.1, eval_every=40, replay=0.0),
}


def preset_for(preset: str, tokenizer) -> str:
    """The preset: that of released models where --base is one and no preset was asked for."""
    if preset == "tiny" and isinstance(tokenizer, ReleasedTokenizer):
        print("preset  released: rates and LoRA for a model that is trained already")
        return "released"
    return preset


def context_of(asked: int, longest: int) -> int:
    """Tokens in a row. ValueError where the model cannot read so many."""
    if asked > longest:
        raise ValueError(f"--context {asked}: the model reads at most {longest} tokens")
    return asked or min(longest, 1024)


# CHANGED in part 6: the settings of tuning
def add_flags(parser) -> None:
    """One flag for each setting. No flag given means: as the preset has it."""
    for one in fields(SFTSettings):
        flag = "--" + one.name.replace("_", "-")
        text = f"{one.metadata['note']} (tiny: {one.default})"
        if one.type is bool:
            parser.add_argument(flag, action=BooleanOptionalAction, default=None, help=text)
        else:
            parser.add_argument(flag, type=one.type, default=None, help=text)


# CHANGED in part 6: the settings of tuning
def chosen(preset: str, args) -> SFTSettings:
    """The preset, with every flag that was given put in its place."""
    given = {one.name: getattr(args, one.name) for one in fields(SFTSettings)
             if getattr(args, one.name) is not None}
    return SFTSettings(**{**asdict(PRESETS[preset]), **given})
