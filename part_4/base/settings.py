"""All settings of a training run in one place, and the named groups of them (presets).

Used   train.py.   What a checkpoint holds of them is compared when a run is resumed.
"""

import math
from argparse import BooleanOptionalAction
from dataclasses import asdict, dataclass, field, fields

from gpt.model import GPTConfig
from run.schedule import Schedule
from text.data import DataPlan

# Settings that may differ after a resume: they change nothing but the rounding, or how often
# something is written.
MOST_DOCUMENTS = 1_000_000  # for the figures: more takes days
HARMLESS = ("micro_rows", "keep", "minutes")


def setting(default, note: str):
    """A field with its default and what it means, for --help."""
    return field(default=default, metadata={"note": note})


# CHANGED in part 4: everything that a long run needs
@dataclass(frozen=True)
class Settings:
    """One run. Every field is also a flag of train.py: `n_layer` is
    --n-layer."""

    data: str = setting("world", "world, stdlib, a file, a folder, tinyshakespeare, enwik8; joined by +")
    vocab_size: int = setting(2560, "tokens of the vocabulary, the special ones included")
    world_megabytes: float = setting(20.0, "how much text of the world to make")
    stories: float = setting(0.28, "share of stories in it; 0: as the held-out text has them, 0.37")
    n_layer: int = setting(4, "blocks")
    n_head: int = setting(2, "query heads")
    n_kv_head: int = setting(2, "key/value heads they share")
    n_embd: int = setting(128, "width of the residual stream")
    context: int = setting(288, "tokens in a row")
    embedding_std: float = setting(0.16, "spread of the embeddings at the start")
    qk_norm: bool = setting(True, "RMSNorm of each query and key head")
    dropout: float = setting(0.0, "share of values set to 0 in training")
    segments: bool = setting(True, "attention stays inside a document")
    rows: int = setting(8, "rows in one step, over all processes and micro-batches")
    micro_rows: int = setting(8, "rows in one forward pass of one process")
    steps: int = setting(3600, "optimizer steps")
    minutes: float = setting(0.0, "length of the run instead of `steps`; 0: steps count")
    schedule: str = setting("linear", "cosine, linear, wsd or constant")
    peak: float = setting(3e-3, "highest learning rate")
    low: float = setting(0.02, "lowest, as a share of the highest")
    warmup: float = setting(0.04, "share of the run that climbs")
    decay: float = setting(0.2, "wsd: share of the run that comes down")
    muon: float = setting(0.012, "highest rate of Muon, for the blocks' matrices; 0: AdamW for all")
    weight_decay: float = setting(0.1, "pull of matrices towards zero")
    beta_1: float = setting(0.9, "AdamW: memory of the gradient")
    beta_2: float = setting(0.98, "AdamW: memory of its square")
    clip: float = setting(1.0, "largest norm of the gradient")
    eval_every: int = setting(600, "steps between looks at validation text")
    save_every: int = setting(1800, "steps between checkpoints")
    sample_every: int = setting(1800, "steps between samples of text")
    eval_documents: int = setting(400, "documents of the world for the final figures")
    keep: int = setting(2, "checkpoints kept, beside the best")

    def __post_init__(self):
        for name in ("rows", "micro_rows", "steps", "eval_every", "save_every", "sample_every",
                     "keep", "context", "vocab_size", "eval_documents"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at "
                                 "least 1")
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"--{one.name.replace('_', '-')} {value}: must be finite")
        for name in ("minutes", "weight_decay", "dropout", "muon", "world_megabytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: must not be "
                                 "below 0")
        for name in ("beta_1", "beta_2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at "
                                 "least 0 and below 1")
        if not self.clip > 0:
            raise ValueError(f"--clip {self.clip}: must be above 0")
        if self.eval_documents > MOST_DOCUMENTS:
            raise ValueError(f"--eval-documents {self.eval_documents}: at most {MOST_DOCUMENTS:,}")
        # They refuse what does not fit
        self.model_config(self.vocab_size), self.learning_rate(), self.data_plan(0)

    def model_config(self, vocab_size: int) -> GPTConfig:
        return GPTConfig(vocab_size=vocab_size, block_size=self.context, n_layer=self.n_layer,
                         n_head=self.n_head, n_kv_head=self.n_kv_head, n_embd=self.n_embd,
                         dropout=self.dropout, qk_norm=self.qk_norm,
                         embedding_std=self.embedding_std)

    def learning_rate(self) -> Schedule:
        return Schedule(self.schedule, self.peak, self.low * self.peak, self.warmup, self.decay)

    def data_plan(self, seed: int) -> DataPlan:
        return DataPlan(self.data, self.vocab_size, self.world_megabytes, seed=seed,
                        stories=self.stories)


def differences(saved: dict, now: dict) -> list[str]:
    """What changed between two sets of settings, but for the harmless ones: lines of text."""
    same_texts = saved.get("texts") == now.get("texts")
    harmless = {*HARMLESS, *(["data"] if same_texts else [])}  # "./x" holds what "x" holds
    return [f"{name}: was {saved.get(name)}, now {now.get(name)}" for name in sorted(saved | now)
            if name not in harmless and saved.get(name) != now.get(name)]


# The embeddings are also the head: a token's score for itself starts at about n_embd * embedding_std,
# which is kept at about 20 in all sizes.
# CHANGED in part 4: the sizes of the base model
PRESETS = {
    "tiny": Settings(),
    "10m": Settings(
        data="world+stdlib", vocab_size=4096, world_megabytes=8, stories=0.0, n_layer=6, n_head=6,
        n_kv_head=2, n_embd=384, embedding_std=0.05, context=256, rows=16, micro_rows=16,
        steps=3000, peak=1.5e-3, eval_every=200, save_every=200, sample_every=400),
    "30m": Settings(
        data="world+stdlib", vocab_size=8192, world_megabytes=16, stories=0.0, n_layer=8, n_head=8,
        n_kv_head=4, n_embd=512, embedding_std=0.04, context=512, rows=32, micro_rows=8,
        steps=5000, peak=1e-3, eval_every=250, save_every=250, sample_every=500),
    "50m": Settings(
        data="world+stdlib", vocab_size=8192, world_megabytes=32, stories=0.0, n_layer=12,
        n_head=10, n_kv_head=5, n_embd=640, embedding_std=0.03, context=512, rows=64,
        micro_rows=16, steps=8000, peak=8e-4, eval_every=250, save_every=250, sample_every=500),
    "124m": Settings(
        data="enwik8", vocab_size=32768, world_megabytes=0.0, stories=0.0, n_layer=12, n_head=12,
        n_kv_head=12, n_embd=768, embedding_std=0.025, context=1024, rows=480, micro_rows=32,
        steps=20000, peak=6e-4, warmup=0.03, eval_every=500, save_every=1000, sample_every=1000),
}


def add_flags(parser) -> None:
    """One flag for each setting. No flag given means: as the preset has it."""
    for one in fields(Settings):
        flag, text = "--" + one.name.replace("_", "-"), f"{one.metadata['note']} (tiny: {one.default})"
        if one.type is bool:
            parser.add_argument(flag, action=BooleanOptionalAction, default=None, help=text)
        else:
            parser.add_argument(flag, type=one.type, default=None, help=text)


def chosen(preset: str, args) -> Settings:
    """The preset, with every flag that was given put in its place."""
    given = {one.name: getattr(args, one.name) for one in fields(Settings)
             if getattr(args, one.name) is not None}
    return Settings(**{**asdict(PRESETS[preset]), **given})
