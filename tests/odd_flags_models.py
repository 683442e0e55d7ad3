"""What odd_flags.py gives scripts besides the odd flag: tiny models, few steps, few questions.

Idea   Without a model a script of parts 6 to 9 would refuse that the model is missing, and no flag
       would be tried. With a tiny one a whole run takes a second, to its report at the end.
"""

import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHOLE = ("part_6", "part_7", "part_8", "part_9")  # runs of these parts go to their end

TRAINED = "--steps=1 --eval-prompts=2 --eval-samples=2 --eval-exact=2 --no-tensorboard"
PAGE = "--sft={sft} --base={base} --reward={reward} --moe=none --port=0"
SMALL = {
    "part_4/train.py": "--world-megabytes=0.02 --vocab-size=280 --eval-documents=3",
    "part_5/train_moe.py": "--world-megabytes=0.02",
    "part_4/benchmark_bpe.py": "--megabytes=0.05 --vocab=300 --rounds=1",
    "part_4/demo_world.py": "--texts=3",
    "part_6/chat.py": "--checkpoint={sft} --longest=4 --prompt=hi",
    "part_6/demo_before_after.py": "--checkpoint={sft} --base={base}",
    "part_6/demo_curriculum.py": "--base={base} --steps=1 --examples=12 --seeds=1 --questions=2",
    "part_6/demo_label_mask.py": "--base={base} --steps=1",
    "part_6/demo_packing.py": "--examples=20",
    "part_6/evaluate.py": "--checkpoint={sft} --items=2 --splits=new_items --longest=4",
    "part_6/export_weights.py": "{sft} exported",
    "part_6/show_experts.py": "{moe} --items=4",
    "part_6/train_sft.py": "--base={base} --examples=12 --steps=1 --rows=2 --eval-items=2 "
                           "--longest=4 --no-tensorboard",
    "part_7/benchmark_siblings.py": "--rounds=1",
    "part_7/compare_reward.py": "--sft={sft} --base={base} --items=4 --held-out-items=2 --seeds=1 "
                                "--only=plain",
    "part_7/demo_ranking.py": "--checkpoint={reward}",
    "part_7/demo_sanity.py": "--checkpoint={reward} --items=4",
    "part_7/demo_score_by_token.py": "--checkpoint={reward}",
    "part_7/evaluate_reward.py": "--checkpoint={reward} --sft={sft} --items=4 --pick=2",
    "part_7/score.py": "--checkpoint={reward} --prompt=hi --reply=yes",
    "part_7/show_pairs.py": "--show=1",
    "part_7/train_reward.py": "--sft={sft} --base={base} --items=4 --held-out-items=2 --rows=8 "
                              "--drawn=1 --no-tensorboard",
    "part_8/ablation.py": "--steps=1 --seeds=1",
    "part_8/benchmark_rollout.py": "--prompts=2 --rounds=1 --alone=1",
    "part_8/demo_overoptimization.py": "--steps=1",
    "part_8/demo_ppo.py": "--steps=1",
    "part_8/demo_wrong_on_purpose.py": "--steps=1",
    "part_8/evaluate_ppo.py": "--policy={sft} --sft={sft} --reward={reward} --prompts=2 --samples=2 "
                              "--exact=2 --best-of=2",
    "part_8/export_weights.py": "{sft} exported",
    "part_8/show_kl.py": "--policy={sft} --sft={sft} --prompts=2",
    "part_8/train_dpo.py": "--sft={sft} --reward={reward} --items=4 --pairs=8 --pairs-a-step=4 "
                           "--eval-prompts=2 --eval-samples=2 --eval-exact=2",
    "part_8/train_ppo.py": "--sft={sft} --reward={reward} --pool=4 --prompts=2 --copies=2 "
                           "--minibatch=4 --micro-rows=4 --max-new=4 " + TRAINED,
    "part_8/train_ppo_plain.py": "--steps=1",
    "part_9/benchmark_grpo.py": "--prompts=2 --rounds=1",
    "part_9/chat.py": "--checkpoint={sft} --longest=4 --prompt=hi",
    "part_9/cold_start.py": "--sft={sft} --examples=12 --steps=1 --rows=2",
    "part_9/demo_group_baseline.py": "--rollouts=8",
    "part_9/demo_grpo.py": "--seeds=1",
    "part_9/demo_kl_estimators.py": "--samples=100",
    "part_9/demo_ppo_vs_grpo.py": "--seeds=1",
    "part_9/demo_self_consistency.py": "--checkpoint={sft} --problems=2",
    "part_9/demo_tool_use.py": "--checkpoint={sft} --sums=2",
    "part_9/evaluate_reasoning.py": "--checkpoint={sft} --problems=2 --longest=4",
    "part_9/export_weights.py": "{sft} exported",
    "part_9/page.py": PAGE,
    "part_9/picture_page.py": PAGE,
    "part_9/train_grpo.py": "--model={sft} --reward-model={reward} --prompts=2 --group=2 "
                            "--max-new=4 --minibatch=4 --micro-rows=4 --keep-rows=0 --longest=4 "
                            "--steps=1 --eval-problems=2 --eval-exact=2 --no-tensorboard",
    "part_9/train_grpo_plain.py": "--steps=1",
    "part_9/train_tools.py": "--model={sft} --examples=12 --steps=1 --rows=2",
}
PLACES = {"checkpoint": 0, "checkpoints": 0, "folder": 1}  # positional arguments, in their order


def beside(script: str, flag: str, value: str, models: Path) -> list[str]:
    """The arguments of a case: the odd flag, and what keeps the rest of the run small."""
    words = [word.format(**{name: models / f"{name}.pt" for name in ("base", "moe", "sft", "reward")})
             for word in SMALL.get(script, "").split()]
    if flag in PLACES and script in SMALL:
        words[PLACES[flag]] = value
        return words if value.startswith("-") is False else ["--", *words]
    given = [f"{flag}={value}"] if flag.startswith("-") else [value]
    return [*(word for word in words if word.split("=")[0] != flag), *given]


def make_models(folder: Path) -> None:
    """base.pt, moe.pt, sft.pt and reward.pt: random weights, a tokenizer of bytes. In a process of its own."""
    sys.path.insert(0, str(ROOT / "part_9"))
    import torch
    from gpt.model import GPT, GPTConfig
    from moe.hybrid import HybridGPT
    from moe.layer import MoEConfig
    from reasoning.tiny_chat import tiny_tokenizer
    from reward.checkpoint import save_reward
    from reward.model import RewardModel
    from run.checkpoint import save_checkpoint
    from text.tokenizer import Tokenizer

    for name, tokenizer in (("base", Tokenizer.from_merges([])), ("sft", tiny_tokenizer())):
        torch.manual_seed(zlib.crc32(name.encode()))
        model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, block_size=512, n_layer=1, n_head=2,
                              n_kv_head=1, n_embd=16, qk_norm=True))
        for file, made in ((name, model), ("moe", HybridGPT(model.config, MoEConfig(n_expert=4)))):
            save_checkpoint(folder / f"{file}.pt", weights=made.state_dict(), config=made.config,
                            tokenizer=tokenizer, step=0, settings={}, metrics={})
    save_reward(folder / "reward.pt", RewardModel(model), tokenizer, mean=0.1, std=2.0,
                settings={}, metrics={})
