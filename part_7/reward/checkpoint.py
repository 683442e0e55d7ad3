"""The reward model's file: as part 4's checkpoints, with how the score is read and how it spreads.

Used   train_reward.py writes; evaluate_reward.py, score.py and the parts after this one read
"""

from dataclasses import asdict
from math import isfinite
from pathlib import Path

import torch
from run.checkpoint import model_of, read_archive, restored
from run.runtime import replacing
from sft.lora import merged_weights
from text.tokenizer import Tokenizer

from reward.model import RewardModel

FORMAT = 2
KIND = "reward model of part 7"
FIELDS = ("format", "kind", "config", "weights", "tokenizer", "bidirectional", "reply_token",
          "mean", "std", "settings", "metrics")


def save_reward(path: Path, model: RewardModel, tokenizer: Tokenizer, *, mean: float, std: float,
                settings: dict, metrics: dict) -> None:
    """`mean`, `std`: of the scores of the tuned model's own replies; users subtract and divide. What
    LoRA has learnt is folded in."""
    weights = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
    content = {"format": FORMAT, "kind": KIND, "config": asdict(model.config),
               "weights": merged_weights(model, weights),
               "tokenizer": tokenizer.to_dict(), "bidirectional": model.bidirectional,
               "reply_token": model.reply_token, "mean": mean, "std": std, "settings": settings,
               "metrics": metrics}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        torch.save(content, file)


def load_reward(path: Path, make_with: str) -> tuple[RewardModel, Tokenizer, dict]:
    """-> (model in eval mode, tokenizer, the whole content). Errors name the way out."""
    path, remedy = Path(path).expanduser(), f"make it with: {make_with}"
    content = read_archive(path, "reward model", remedy)
    is_ours = isinstance(content, dict) and set(content) == set(FIELDS)
    if not is_ours or f"{content['kind']} {content['format']!r}" != f"{KIND} {FORMAT!r}":
        raise ValueError(f"{path}: not a {KIND}, format {FORMAT}; {remedy}")
    numbers = [content["mean"], content["std"]]
    numbers += [] if content["reply_token"] is None else [content["reply_token"]]
    if not all(type(number) in (int, float) and isfinite(number) for number in numbers) \
            or content["std"] <= 0:
        raise ValueError(f"{path}: damaged, its mean, std and reply_token are {numbers}; {remedy}")
    model = restored(path, content["config"], content["weights"], lambda: RewardModel(
        model_of(content["config"]), content["bidirectional"], content["reply_token"]))
    return model.eval(), Tokenizer.from_dict(content["tokenizer"], str(path)), content
