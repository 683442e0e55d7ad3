"""A task so small that a policy learns it in seconds: digits, with a quality that is known.

    prompt [BEGIN, d], reply: some digits, then END
    quality = 0.3 if the reply begins with d  + 0.7 · different digits / 8  − 0.1 · repeated digits

So the best reply to 3 is 3 and then the seven others, each once: quality 1. The "tuned" model that
PPO begins with has seen random replies of two to six digits, which begin with d every other time.
Used   demo_ppo.py, demo_overoptimization.py, demo_wrong_on_purpose.py, ablation.py, tests
"""

import copy
import random

import torch
from gpt.model import GPT, GPTConfig
from run.runtime import Runtime

from rl.ppo_loop import PPO
from rl.ppo_settings import PPOSettings
from rl.rollout import Rollout

DIGITS = 8
PAD, END, BEGIN = 8, 9, 10
MOST = 16  # tokens of a reply, END included
CONFIG = GPTConfig(vocab_size=11, block_size=24, n_layer=2, n_head=2, n_embd=32)
SETTINGS = PPOSettings(steps=60, prompts=64, copies=2, max_new=MOST, epochs=4, minibatch=64,
                       micro_rows=64, peak=4e-3, value_rate=2.0, value_weight=0.5, beta=0.02,
                       target_kl=8.0, horizon=4000, stop_kl=0.2, group_baseline=False)  # all prompts are equally hard


def quality(prompt: list[int], reply: list[int]) -> float:
    """From 1 down; `reply` with or without its END.

    >>> quality([BEGIN, 3], [3, 1, 1, END])
    0.375
    """
    digits = [token for token in reply if token < DIGITS]
    different = len(set(digits))
    right = 0.3 if digits and digits[0] == prompt[-1] else 0.0
    return round(right + 0.7 * different / DIGITS - 0.1 * (len(digits) - different), 10)


def qualities(rollout: Rollout) -> torch.Tensor:
    """(B,): the quality of each row of a rollout."""
    firsts = rollout.rows.first.tolist()
    return torch.tensor([quality(row[:first], row[first:])
                         for row, first in zip(rollout.token_rows(), firsts)])


def make_ppo(score, settings: PPOSettings, seed: int, *, tuned: GPT | None = None, kind=PPO) -> PPO:
    """A run from the tuned model (or a copy of one that is there), in float32 on the CPU."""
    body = tuned_model(seed) if tuned is None else copy.deepcopy(tuned)
    return kind(body, score, settings, end=END, pad=PAD, seed=seed,
                runtime=Runtime(torch.device("cpu"), None, "", ""))


def take_steps(ppo: PPO, *, watch=qualities) -> list[dict]:
    """All steps of a run -> its log, with `quality` of each step's replies by `watch`. A run that
    collapses ends early; the reason is in the last line as `collapsed`."""
    log, seen, score = [], [], ppo.score

    def watched(rollout: Rollout) -> torch.Tensor:
        seen.append(float(watch(rollout).mean()))
        return score(rollout)

    ppo.score = watched
    for step in range(ppo.settings.steps):
        try:
            metrics = ppo.step(prompts(ppo.settings.prompts, 1000 * ppo.seed + step))
        except FloatingPointError as error:
            log.append({**(log[-1] if log else {}), "collapsed": str(error)})
            break
        log.append({"step": step + 1, "quality": seen[-1], **metrics})
    ppo.score = score
    return log


def prompts(n: int, seed: int) -> list[list[int]]:
    rng = random.Random(f"toy prompts {seed}")
    return [[BEGIN, rng.randrange(DIGITS)] for _ in range(n)]


def random_reply(digit: int, rng: random.Random) -> list[int]:
    """Two to six digits, by chance the right one first; never one twice in a row."""
    reply = [digit if rng.random() < 0.5 else rng.randrange(DIGITS)]
    for _ in range(rng.randint(1, 5)):
        reply.append(rng.choice([d for d in range(DIGITS) if d != reply[-1]]))
    return [*reply, END]


def tuned_model(seed: int, steps: int = 120) -> GPT:
    """A tiny GPT that imitates the random replies: what PPO begins with, and its reference."""
    torch.manual_seed(seed)
    rng, model = random.Random(f"toy {seed}"), GPT(CONFIG)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    for _ in range(steps):
        ids = torch.full((64, 9), PAD)
        targets = torch.full((64, 9), -100)
        for row, target in zip(ids, targets):
            digit = rng.randrange(DIGITS)
            text = [BEGIN, digit, *random_reply(digit, rng)]
            row[:len(text)] = torch.tensor(text)
            target[1:len(text) - 1] = row[2:len(text)]
        _, loss = model(ids, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model.eval()
