"""The chain: every stage from an empty folder to a model that reasons, in order.

Presets   smoke   about two minutes, the same model: a first look, few right answers
          quick   8 to 18 minutes on two cores with nothing else running, all stages together
          full    each stage as its own lesson runs it
          gpu     the sizes that a GPU can train
Seconds   on two cores of an AMD EPYC (Zen 5, as in machine.py), data and measuring included, two
          stages side by side with a core each (at_work.py); those of gpu are a guess
A stage is taken out by deleting its entry; the report card then does without it.
Used      demo_pipeline.py, the report card
"""

from pipeline import Stage

STAGES = [
    Stage(name="gpt", title="a tiny GPT on 110 KB of fables, byte by byte",
          script="part_2/train_gpt.py", is_optional=True,
          seconds={"smoke": 30, "quick": 140, "full": 140, "gpu": 80},
          flags={"smoke": ("--preset", "default", "--steps", "150"),
                 "quick": ("--preset", "default"), "full": ("--preset", "default"),
                 "gpu": ("--preset", "gpu")},
          summary="{bits_per_byte:.3f} bits a byte on text it never saw"),
    Stage(name="base", title="tokenizer and pretraining on the little world",
          script="part_4/train.py", speaks="text",
          resume=("--resume",), fresh=("--fresh",),
          seconds={"smoke": 29, "quick": 141, "full": 308, "gpu": 900},
          flags={"smoke": ("--preset", "tiny", "--world-megabytes", "3", "--steps", "320",
                           "--eval-documents", "60"),
                 "quick": ("--preset", "tiny", "--steps", "1640",
                           "--world-megabytes", "12"), "full": ("--preset", "tiny"),
                 "gpu": ("--preset", "30m", "--data", "world")},
          summary="{bits_per_byte:.3f} bits a byte on held-out text, where no model can be below "
                  "{floor_bits_per_byte:.3f}"),
    Stage(name="moe", title="beside it: a model with experts",
          script="part_5/train_moe.py", is_optional=True,
          resume=("--resume",),
          seconds={"smoke": 30, "quick": 130, "full": 240, "gpu": 900},
          flags={"smoke": ("--preset", "tiny", "--steps", "40"),
                 "quick": ("--preset", "tiny", "--steps", "400"), "full": ("--preset", "tiny"),
                 "gpu": ("--preset", "gpu")},
          summary="{bits_per_byte:.3f} bits a byte; the fullest expert has {max_load:.2f} times "
                  "the mean"),
    Stage(name="sft", title="instruction tuning: it learns to answer, and to stop",
          script="part_6/train_sft.py", speaks="chat",
          resume=("--resume",), inputs={"--base": "part_4/base.pt"},
          seconds={"smoke": 26, "quick": 165, "full": 228, "gpu": 600},
          flags={"smoke": ("--preset", "tiny", "--steps", "400", "--examples", "6400",
                           "--eval-items", "42"),
                 "quick": ("--preset", "tiny", "--steps", "3200", "--examples", "24000",
                           "--eval-items", "105"),
                 "full": ("--preset", "tiny"), "gpu": ("--preset", "gpu")},
          summary="{answer_right[new_items]:.0%} of new questions right; the base model had "
                  "{base_exact_match:.0%}"),
    Stage(name="reward", title="a reward model learns which of two replies is better",
          script="part_7/train_reward.py",
          resume=("--resume",),
          inputs={"--sft": "part_6/sft.pt"},
          seconds={"smoke": 17, "quick": 51, "full": 132, "gpu": 200},
          flags={"smoke": ("--items", "190", "--held-out-items", "60"),
                 "quick": ("--items", "900", "--held-out-items", "150"), "full": (), "gpu": ()},
          summary="{accuracy:.1%} of held-out pairs as people order them, of {accuracy_ceiling:.1%}"
                  " that can be had"),
    Stage(name="ppo", title="PPO: it writes what the reward model likes, near where it was",
          script="part_8/train_ppo.py", speaks="chat",
          resume=("--resume",),
          inputs={"--sft": "part_6/sft.pt", "--reward": "part_7/reward.pt"},
          seconds={"smoke": 18, "quick": 45, "full": 83, "gpu": 300},
          flags={"smoke": ("--preset", "tiny", "--steps", "5", "--pool", "320",
                           "--eval-prompts", "60", "--eval-samples", "2", "--eval-exact", "0"),
                 "quick": ("--preset", "tiny", "--steps", "12", "--pool", "768",
                           "--eval-prompts", "150",
                           "--eval-exact", "0"),  # asking.py asks the same questions
                 "full": ("--preset", "tiny"), "gpu": ("--preset", "gpu")},
          summary="true quality {quality_before:.3f} to {quality_after:.3f}, KL {kl:.1f}"),
    Stage(name="dpo", title="DPO: the same from pairs, without a reward model",
          script="part_8/train_dpo.py", speaks="chat",
          resume=("--resume",),
          inputs={"--sft": "part_6/sft.pt", "--reward": "part_7/reward.pt"},
          seconds={"smoke": 13, "quick": 34, "full": 115, "gpu": 100},
          flags={"smoke": ("--items", "170", "--pairs", "800", "--eval-prompts", "60",
                           "--eval-samples", "2", "--eval-exact", "0"),
                 "quick": ("--items", "500", "--pairs", "1200", "--eval-prompts", "150",
                            "--eval-exact", "0"),
                 "full": (), "gpu": ()},
          summary="true quality {quality_before:.3f} to {quality_after:.3f}, KL {kl:.1f}"),
    Stage(name="cold", title="solutions to read: some at once, some step by step",
          script="part_9/cold_start.py",
          resume=("--resume",),
          inputs={"--sft": "part_6/sft.pt"},
          seconds={"smoke": 8, "quick": 61, "full": 122, "gpu": 30},
          flags={"smoke": ("--steps", "50", "--examples", "2000"),
                 "quick": ("--steps", "500",), "full": (), "gpu": ()},
          summary="loss {loss:.3f} on both ways to answer"),
    Stage(name="grpo", title="GRPO: it solves problems, and right solutions get likelier",
          script="part_9/train_grpo.py", speaks="chat",
          resume=("--resume",),
          inputs={"--model": "part_9/cold.pt"},
          seconds={"smoke": 15, "quick": 136, "full": 147, "gpu": 400},
          flags={"smoke": ("--preset", "tiny", "--steps", "3", "--eval-problems", "40",
                           "--eval-exact", "0", "--look-every", "0", "--longest", "120"),
                 "quick": ("--preset", "tiny", "--steps", "56", "--eval-problems", "100",
                           "--eval-exact", "0", "--look-every", "0"),
                 "full": ("--preset", "tiny"), "gpu": ("--preset", "gpu")},
          summary="{accuracy_before:.0%} to {accuracy_after:.0%} of held-out problems right"),
]


def summary_of(stage: Stage, metrics: dict) -> str:
    """The stage's line about its results. A figure that was not measured is named."""
    try:
        return stage.summary.format(**metrics)
    except KeyError as missing:
        return f"done; {stage.name}.json has no figure {missing}"
