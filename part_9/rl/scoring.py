"""Where the reward comes from: part 7's model in training; the judge for reports, and only there.

Math   score = (r(prompt, reply) − mean) / std,  mean and std of the tuned model's own replies,
       minus a penalty where the reply was not ended                                  (eq. 8.2)
Used   rl/ppo_loop.py, evaluate_ppo.py
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from reward.checkpoint import load_reward
from reward.judge import Judgement, judge_reply
from reward.model import RewardModel, score_rows
from run.distributed import Processes, as_whole, shard, whole_model
from run.runtime import Runtime
from sft.chat_format import decode_reply
from text.tokenizer import Tokenizer

from rl.rollout import Rollout

ALONE = Processes()  # one process


@dataclass(frozen=True)
class RewardSource:
    """Rollout -> scores (B,) on the CPU."""

    model: RewardModel
    mean: float
    std: float
    pad: int
    runtime: Runtime
    no_end_penalty: float = 1.0  # in the unit of the score

    def __call__(self, rollout: Rollout) -> torch.Tensor:
        scores = (self.raw(rollout) - self.mean) / self.std
        return scores - self.no_end_penalty * (~rollout.ended.cpu()).float()  # eq. 8.2

    def raw(self, rollout: Rollout) -> torch.Tensor:
        """The reward model's own numbers: prompt and reply are read together."""
        with as_whole(self.model) as model:
            return score_rows(model, rollout.token_rows(), self.pad, self.runtime)

    def whole(self) -> "RewardSource":
        """With all weights in this process, for a report of its own. All processes must ask."""
        return replace(self, model=whole_model(self.model))


def load_source(path: Path, tokenizer: Tokenizer, runtime: Runtime, make_with: str, *,
                normalise: bool = True, no_end_penalty: float = 1.0, block_size: int | None = None,
                processes: Processes = ALONE) -> RewardSource:
    """Part 7's reward model as a source, in slices with --shard. Raises ValueError where it reads
    other tokens, or shorter rows (`block_size`), than the policy writes."""
    model, its_tokenizer, content = load_reward(path, make_with)
    if its_tokenizer.fingerprint != tokenizer.fingerprint:
        raise ValueError(f"{path}: its tokenizer is not the policy's, so its scores would be of "
                         f"other words; train it from the same tuned model: {make_with}")
    if block_size is not None and model.config.block_size < block_size:
        raise ValueError(f"{path}: reads {model.config.block_size} tokens, the policy writes up to "
                         f"{block_size}; train it from the same tuned model: {make_with}")
    mean, std = (content["mean"], content["std"]) if normalise else (0.0, 1.0)
    model.to(runtime.device).requires_grad_(False)
    shard(model, processes, runtime.device, *model.bodies)
    return RewardSource(model, mean, std, tokenizer.pad, runtime, no_end_penalty)


def judgements(asked: list, rollout: Rollout, tokenizer: Tokenizer) -> list[Judgement]:
    """What the judge says of each reply; row i answers asked[i]. For reports: no training sees it."""
    return [judge_reply(item, decode_reply(reply, tokenizer), bool(ended)) for item, reply, ended
            in zip(asked, rollout.replies(), rollout.ended.tolist(), strict=True)]


def true_qualities(asked: list, rollout: Rollout, tokenizer: Tokenizer) -> list[float]:
    """The judge's mark of each reply; row i answers asked[i]."""
    return [judgement.quality for judgement in judgements(asked, rollout, tokenizer)]
