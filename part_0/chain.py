"""The chain: every stage from an empty folder to a tuned model and one that marks its answers.

Presets   quick   at most 15 minutes on two cores, all stages together
          full    each stage as its own lesson runs it
          gpu     the sizes that a GPU can train
Seconds   on the machine that the lessons name (machine.py), data and measuring included
A stage is taken out by deleting its entry; the report card then does without it.
Used      demo_pipeline.py, the report card
"""

from pipeline import Stage

STAGES = [
    Stage(name="gpt", title="a tiny GPT on 110 KB of fables, byte by byte",
          script="part_2/train_gpt.py", is_optional=True,
          seconds={"quick": 140, "full": 140, "gpu": 80},
          flags={"quick": ("--preset", "default"), "full": ("--preset", "default"),
                 "gpu": ("--preset", "gpu")},
          summary="{bits_per_byte:.3f} bits a byte on text it never saw"),
    Stage(name="base", title="tokenizer and pretraining on the little world",
          script="part_4/train.py", speaks="text",
          resume=("--resume",), fresh=("--fresh",),
          seconds={"quick": 345, "full": 345, "gpu": 900},
          flags={"quick": ("--preset", "tiny"), "full": ("--preset", "tiny"),
                 "gpu": ("--preset", "30m", "--data", "world")},
          summary="{bits_per_byte:.3f} bits a byte on held-out text, where no model can be below "
                  "{floor_bits_per_byte:.3f}"),
    Stage(name="moe", title="beside it: a model with experts",
          script="part_5/train_moe.py", is_optional=True,
          seconds={"quick": 130, "full": 240, "gpu": 900},
          flags={"quick": ("--preset", "tiny", "--steps", "400"), "full": ("--preset", "tiny"),
                 "gpu": ("--preset", "gpu")},
          summary="{bits_per_byte:.3f} bits a byte; the fullest expert has {max_load:.2f} times "
                  "the mean"),
    Stage(name="sft", title="instruction tuning: it learns to answer, and to stop",
          script="part_6/train_sft.py", speaks="chat",
          resume=("--resume",), inputs={"--base": "part_4/base.pt"},
          seconds={"quick": 300, "full": 300, "gpu": 600},
          flags={"quick": ("--preset", "tiny"), "full": ("--preset", "tiny"),
                 "gpu": ("--preset", "gpu")},
          summary="{exact_match[new_items]:.0%} of new questions right; the base model had "
                  "{base_exact_match:.0%}"),
    Stage(name="reward", title="a reward model learns which of two replies is better",
          script="part_7/train_reward.py",
          inputs={"--sft": "part_6/sft.pt"},
          seconds={"quick": 150, "full": 150, "gpu": 150},
          flags={"quick": (), "full": (), "gpu": ()},
          summary="{accuracy:.1%} of held-out pairs as people order them, of {accuracy_ceiling:.1%}"
                  " that can be had"),
]


def summary_of(stage: Stage, metrics: dict) -> str:
    """The stage's line about its results. A figure that was not measured is named."""
    try:
        return stage.summary.format(**metrics)
    except KeyError as missing:
        return f"done; {stage.name}.json has no figure {missing}"
