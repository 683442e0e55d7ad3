"""One step of GRPO on a page: sample, score, advantage, loss, update. Slow, and nothing is hidden.

Idea   K replies to each prompt; a reply is as good as it is better than its siblings. No value
       head; the KL stands in the loss. All rows are padded and read in one forward pass.
Toy    prompt [a, b, ASK], wanted reply [max(a, b), END]. The reward (eq. 9.1) is 1 for the right
       first digit, and 0.2 for the form: one token and END. The policy begins untrained.
Used   train_grpo_plain.py; the tests hold reasoning/grpo_loop.py, the fast form, to it   (lessons 9.1 to 9.5)
Shapes N = G·K rows (B in `sample`), replies to one prompt side by side; T columns of prompt and
       reply, V vocabulary. All but `ids`, and rewards and advantages (N,), is (N, T-1): column t
       is the token ids[:, t+1], and what was read before it, up to ids[:, t].
Source Shao et al. 2024, "DeepSeekMath"; Yu et al. 2025, "DAPO" (token mean, clip-higher)
"""

import copy
from dataclasses import dataclass

import torch
from gpt.model import GPT, GPTConfig
from torch import nn

END, PAD, ASK = 8, 9, 10  # after the digits 0 to 7
CONFIG = GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=32)


# CHANGED in part 9: a group and no critic
@dataclass(frozen=True)
class PlainSettings:
    steps: int = 100          # rollouts, each followed by an update
    prompts: int = 32         # G, prompts in a rollout
    group: int = 8            # K, replies to each of them
    epochs: int = 2           # passes over a rollout, each one step of the optimizer
    rate: float = 2e-3        # of AdamW
    beta: float = 0.005       # weight of the KL in the loss
    clip_low: float = 0.2     # how far the ratio may fall before it is clipped
    clip_high: float = 0.28   # how far it may rise
    max_norm: float = 1.0     # largest norm of the gradient

    def __post_init__(self):
        if min(self.steps, self.prompts, self.epochs) < 1 or self.group < 2:
            raise ValueError(f"{self}: steps, prompts, epochs must be at least 1, group 2")


@torch.no_grad()
def sample(model, prompts, max_new, *, end, pad):
    """prompts (B, P), all of one length -> ids (B, T) and is_response (B, T-1)."""
    ids, going = prompts, torch.ones(len(prompts), 1, dtype=torch.bool)
    is_response = [torch.zeros_like(prompts[:, 1:], dtype=torch.bool)]  # a prompt is no action
    for _ in range(max_new):
        chances = model(ids)[0][:, -1].softmax(-1)  # (B, V): temperature 1, no top-k
        token = torch.multinomial(chances, 1)
        ids = torch.cat([ids, torch.where(going, token, pad)], dim=1)
        is_response.append(going)  # END too: without it nobody learns to stop
        going = going & (token != end)
        if not going.any():
            break
    return ids, torch.cat(is_response, dim=1)


# CHANGED in part 9: another toy
def score(ids, is_response):
    """(N,): 1 for the larger digit, and 0.2 for one token and END after it (eq. 9.1)."""
    is_right = ids[:, 3] == ids[:, :2].max(1).values
    is_form = is_response.sum(1) == 2  # who ended at once has one token, who went on has more
    return is_right.float() + 0.2 * is_form.float()


def logp_of(model, ids):
    """-> log π of every token. Padding is on the right: no token sees it."""
    logp = model(ids[:, :-1])[0].log_softmax(-1)  # (N, T-1, V)
    return logp.gather(2, ids[:, 1:, None]).squeeze(2)  # of the token that came next


def group_advantages(rewards, group):
    """(N,) -> (N,): how much better than its siblings a reply is, in their deviations."""
    groups = rewards.view(-1, group)  # (G, K)
    better = groups - groups.mean(1, keepdim=True)
    return (better / (groups.std(1, keepdim=True) + 1e-4)).flatten()  # A_i, eq. 9.2


def grpo_loss(logp, old_logp, ref_logp, advantages, is_response, s):
    """L_π + β k3: a mean over all reply tokens, so that each counts the same."""
    advantages = advantages[:, None]  # (N, 1): one for all tokens of a reply
    ratio = (logp - old_logp).exp()  # ρ
    clipped = ratio.clamp(1 - s.clip_low, 1 + s.clip_high)
    policy = torch.maximum(-advantages * ratio, -advantages * clipped)  # L_π, eq. 9.3
    k3 = (ref_logp - logp).exp() - 1 - (ref_logp - logp)  # eq. 9.4
    return (policy + s.beta * k3)[is_response].mean()  # L, eq. 9.5


# CHANGED in part 9: the group is the baseline, the KL stands in the loss
def learn(model, reference, optimizer, ids, is_response, rewards, s):
    """Beats 3 to 5, on a rollout that was scored -> what happened."""
    with torch.no_grad():  # 3 advantage: measured once, before anything moves
        advantages = group_advantages(rewards, s.group)
        old_logp, ref_logp = logp_of(model, ids), logp_of(reference, ids)
    for _ in range(s.epochs):
        logp = logp_of(model, ids)  # 4 loss
        loss = grpo_loss(logp, old_logp, ref_logp, advantages, is_response, s)
        optimizer.zero_grad()  # 5 update
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), s.max_norm)
        optimizer.step()
    kl = torch.where(is_response, old_logp - ref_logp, 0.0).sum(1)  # of a whole reply, in nats
    ratio = (logp - old_logp).exp()[is_response]
    far = (ratio < 1 - s.clip_low) | (ratio > 1 + s.clip_high)
    differs = rewards.view(-1, s.group).std(1) > 1e-6  # else all siblings earned the same
    return {"reward": rewards.mean().item(), "KL": kl.mean().item(),
            "groups with signal": differs.float().mean().item(),
            "tokens": is_response.sum(1).float().mean().item(),
            "ratio beyond clip": far.float().mean().item()}


# CHANGED in part 9: no critic, siblings side by side
def train(s, seed):
    """The whole run on the toy -> what happened in each step."""
    torch.manual_seed(seed)
    model = GPT(CONFIG).eval()  # eval: dropout would spoil the ratio
    reference = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=s.rate, weight_decay=0.0)
    log = []
    for _ in range(s.steps):
        prompts = torch.randint(8, (s.prompts, 3))
        prompts[:, 2] = ASK
        prompts = prompts.repeat_interleave(s.group, 0)  # (N, P): siblings side by side
        ids, is_response = sample(model, prompts, 4, end=END, pad=PAD)  # 1 sample
        rewards = score(ids, is_response)  # 2 score
        log.append(learn(model, reference, optimizer, ids, is_response, rewards, s))
    return log
