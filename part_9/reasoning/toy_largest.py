"""A reasoning task so small that a policy learns it in seconds: the largest of four digits.

    prompt [BEGIN, a, b, c, d], reply [max(a, b), max(a, b, c), max(a, b, c, d), END]: two steps,
    then the answer. reward = 1 if the last digit is right and END follows, else 0: no look at the steps.

All 10,000 prompts are known; a tenth is held out. The "tuned" model has read too few worked
replies: right in about half of its samples. That is where GRPO begins.
Used   demo_grpo.py, demo_group_baseline.py, tests
"""

import random
from itertools import product

import torch
from gpt.model import GPT, GPTConfig
from rl.rollout import Rollout

from reasoning.grpo_settings import GRPOSettings

END, PAD, BEGIN = 10, 11, 12
MOST = 6  # tokens of a reply, END included
CONFIG = GPTConfig(vocab_size=13, block_size=12, n_layer=2, n_head=2, n_embd=48)
SETTINGS = GRPOSettings(steps=100, prompts=32, group=8, max_new=MOST, micro_rows=256, peak=1e-3,
                        beta=0.005, warmup=0.05)


def all_prompts() -> tuple[list[list[int]], list[list[int]]]:
    """(trained, held out), in random order, the same every time."""
    prompts = [[BEGIN, *digits] for digits in product(range(10), repeat=4)]
    random.Random("toy largest").shuffle(prompts)
    return prompts[1000:], prompts[:1000]


def worked(prompt: list[int]) -> list[int]:
    """The reply as it should be."""
    return [max(prompt[1:3]), max(prompt[1:4]), max(prompt[1:]), END]


def is_right(prompt: list[int], reply: list[int]) -> bool:
    """Is the last token before END the answer?"""
    return len(reply) > 1 and reply[-1] == END and reply[-2] == max(prompt[1:])


def rewards(rollout: Rollout, tasks: list) -> torch.Tensor:
    """(N,): 1 for a right reply, else 0. `tasks` are the prompts; copies stand side by side."""
    replies = rollout.replies()
    copies = len(replies) // len(tasks)
    return torch.tensor([float(is_right(tasks[i // copies], reply))
                         for i, reply in enumerate(replies)])


def tuned_model(seed: int, steps: int = 22) -> GPT:
    """A tiny GPT that has read worked replies to the trained prompts, and not enough of them."""
    torch.manual_seed(seed)
    model, (trained, _) = GPT(CONFIG), all_prompts()
    rows = torch.tensor([prompt + worked(prompt) for prompt in trained])
    targets = rows[:, 1:].clone()
    targets[:, :4] = -100  # the prompt is read, not learnt
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    for _ in range(steps):
        part = torch.randint(len(rows), (64,))
        _, loss = model(rows[part, :-1], targets[part])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model.eval()


@torch.no_grad()
def greedy_accuracy(model: GPT, prompts: list[list[int]]) -> float:
    """Share of prompts whose likeliest reply is right."""
    ids = torch.tensor(prompts)
    for _ in range(MOST):
        ids = torch.cat([ids, model(ids)[0][:, -1:].argmax(-1)], dim=1)
    replies = [row[5:] for row in ids.tolist()]
    return sum(is_right(p, r[:r.index(END) + 1] if END in r else r)
               for p, r in zip(prompts, replies)) / len(prompts)
