"""The reward model's file: as part 4's checkpoints, with how the score is read and how it spreads.

Used   train_reward.py writes; evaluate_reward.py, score.py and the parts after this one read
"""

import pickle
from dataclasses import asdict
from pathlib import Path

import torch
from checkpoint import verify
from model import GPT, GPTConfig
from reward_model import RewardModel
from runtime import replacing
from tokenizer import Tokenizer

FORMAT = 2
KIND = "reward model of part 7"
FIELDS = ("format", "kind", "config", "weights", "tokenizer", "bidirectional", "reply_token",
          "mean", "std", "settings", "metrics")


def save_reward(path: Path, model: RewardModel, tokenizer: Tokenizer, *, mean: float, std: float,
                settings: dict, metrics: dict) -> None:
    """`mean`, `std`: of the scores of the tuned model's own replies; users subtract and divide."""
    content = {"format": FORMAT, "kind": KIND, "config": asdict(model.config),
               "weights": {k: v.detach().cpu().clone() for k, v in model.state_dict().items()},
               "tokenizer": tokenizer.to_dict(), "bidirectional": model.bidirectional,
               "reply_token": model.reply_token, "mean": mean, "std": std, "settings": settings,
               "metrics": metrics}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        torch.save(content, file)


def load_reward(path: Path, make_with: str) -> tuple[RewardModel, Tokenizer, dict]:
    """-> (model in eval mode, tokenizer, the whole content). Errors name the way out."""
    path, remedy = Path(path).expanduser(), f"make it with: {make_with}"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no reward model; {remedy}")
    verify(path, remedy)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: not a reward model ({str(error).splitlines()[0]}); {remedy}"
                         ) from None
    if not isinstance(content, dict) or content.get("kind") != KIND \
            or content.get("format") != FORMAT or set(content) != set(FIELDS):
        raise ValueError(f"{path}: not a {KIND}, format {FORMAT}; {remedy}")
    model = RewardModel(GPT(GPTConfig(**content["config"])), content["bidirectional"],
                        content["reply_token"])
    model.load_state_dict(content["weights"])
    return model.eval(), Tokenizer.from_dict(content["tokenizer"]), content
