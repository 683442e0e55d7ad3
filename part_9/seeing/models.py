"""Which models the page can show: the chain's checkpoints, where each lies, and what makes it.

Used   page.py
"""

import threading
from pathlib import Path

from reward.checkpoint import load_reward
from rl.policy import Policy
from run.checkpoint import Checkpoints, load_checkpoint, model_of, read_checkpoint, restored
from run.runtime import choose_runtime
from sft.evaluation import is_chat_model
from sft.lora import add_lora, merge_lora
from text.bpe import SPLIT
from world.world import KINDS

CHAIN = {  # name: (file, what it is, what makes it)
    "base": ("part_4/out/base.pt", "read texts of the little world", "python part_4/train.py"),
    "moe": ("part_5/out/moe.pt", "the same with experts", "python part_5/train_moe.py"),
    "sft": ("part_6/out/sft.pt", "tuned to answer", "python part_6/train_sft.py"),
    "ppo": ("part_8/out/ppo.pt", "tuned by reward, PPO", "python part_8/train_ppo.py"),
    "dpo": ("part_8/out/dpo.pt", "tuned by pairs, DPO", "python part_8/train_dpo.py"),
    "cold": ("part_9/out/cold.pt", "read worked examples", "python part_9/cold_start.py"),
    "grpo": ("part_9/out/grpo.pt", "learnt to solve, GRPO", "python part_9/train_grpo.py"),
    "tools": ("part_9/out/tools.pt", "calls tools", "python part_9/train_tools.py"),
    "reward": ("part_7/out/reward.pt", "the reward model", "python part_7/train_reward.py"),
    "values": ("part_8/out/checkpoints", "PPO's value head", "python part_8/train_ppo.py"),
}
REFERENCES = {"grpo": "cold", "tools": "grpo"}  # what the KL is measured to; of others: sft


def named(chain: dict[str, Path], more: list[Path]) -> dict[str, Path]:
    """All paths by name. One of `more` has the name of its file and of the folder around it, and of
    more folders where two would have the same; one that is given twice is read once."""
    paths = dict(chain)
    for path in dict.fromkeys(path.expanduser().resolve() for path in more):
        parts = path.parts if path.is_dir() else path.with_suffix("").parts
        names = ["/".join(parts[-n:]) for n in range(2, len(parts))] + [str(path)]
        paths[next(name for name in names if name not in paths)] = path
    return paths


def knows_roles(tokenizer) -> bool:
    """May one chat with it? A released model whose template is not known goes on with texts."""
    return not tokenizer.problem and is_chat_model(tokenizer)


class Models:
    """The checkpoints that are there; read in the background, while the page is on its way."""

    def __init__(self, paths: dict[str, Path], device: str, amp: str, chat: str = "auto"):
        self.models, self.missing, self.reward, self.values = {}, {}, None, None
        self.paths, self.device, self.amp, self.chat = paths, device, amp, chat
        self.runtime, self.is_read = None, threading.Event()

    def read(self) -> None:
        try:
            plain = self.amp == "auto" and self.device in ("auto", "cpu")
            self.runtime = choose_runtime(self.device, "float32" if plain else self.amp, quiet=True)
            for name, path in self.paths.items():
                other = "a released model" if path.is_dir() else "another checkpoint"
                _, title, make = CHAIN.get(name, ("", other, "one of the train scripts"))
                try:
                    self.read_one(name, path, title, make)
                except (ValueError, OSError) as error:
                    self.missing[name] = {"what": title, "make": make, "why": str(error)}
        finally:
            self.is_read.set()

    def read_one(self, name: str, path: Path, title: str, make: str) -> None:
        device = self.runtime.device
        if name == "reward":
            model, tokenizer, content = load_reward(path, make)
            self.reward = model.to(device), tokenizer, content["mean"], content["std"]
        elif name == "values":
            steps = Checkpoints(path).paths() if path.is_dir() else [path]
            path = steps[-1] if steps else path
            content = read_checkpoint(path, make_with=make)
            rank = content["settings"].get("lora", 0)  # of a run by LoRA the file holds detours

            def policy():
                plain = Policy(model_of(content["config"]))
                return add_lora(plain, rank, train_embedding=False) if rank else plain

            found = restored(path, content["config"], content["weights"], policy)
            self.values = (merge_lora(found) if rank else found).to(device).eval()
        else:
            model, tokenizer, _ = load_checkpoint(path, device, make_with=make,
                                                  chat=self.chat if path.is_dir() else "auto")
            self.models[name] = model, tokenizer, title

    def get(self, name: str):
        """-> model, tokenizer; waits until all are read."""
        self.is_read.wait()
        if name not in self.models:
            raise ValueError(f"there is no model {name[:40]!r} here; there are "
                             f"{', '.join(self.models) or 'none, train one first'}")
        return self.models[name][:2]

    def scorer(self):
        """-> the reward model, its tokenizer, mean and spread of its scores."""
        self.is_read.wait()
        if self.reward is None:
            raise ValueError(f"there is no reward model; make it with: {CHAIN['reward'][2]}")
        return self.reward

    def values_for(self, tokenizer):
        """-> the policy with the value head, or None where there is none for these tokens."""
        fits = self.values is not None and self.values.config.vocab_size == tokenizer.vocab_size
        return self.values if fits else None

    def reference_of(self, name: str) -> str:
        return REFERENCES.get(name, "sft")

    def listing(self) -> dict:
        self.is_read.wait()
        rows = [{"name": name, "what": title, "is_chat": knows_roles(tokenizer),
                 "parameters": model.count_parameters(), "layers": model.config.n_layer,
                 "heads": model.config.n_head, "context": model.config.block_size,
                 "window": model.config.window, "reference": self.reference_of(name),
                 "is_of_the_world": tokenizer.pattern == SPLIT,
                 "experts": model.moe_config.n_expert if hasattr(model, "moe_config") else 0}
                for name, (model, tokenizer, title) in self.models.items()]
        return {"models": rows, "reward": self.reward is not None, "kinds": list(KINDS),
                "values": self.values is not None, "missing": self.missing}
