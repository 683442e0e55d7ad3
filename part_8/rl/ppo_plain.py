"""One step of PPO on a page: sample, score, advantage, loss, update. Slow, and nothing is hidden.

Idea   All rows are padded to one width and read in one forward pass. What is measured before the
       update (log-probabilities, values, advantages) stays fixed in it.
Toy    prompt [BEGIN, d], wanted reply d+1, d+2, d+3 (mod 8), END; the score is the share of these
       four tokens in their places. The policy begins untrained, and so its reference is.
Used   train_ppo_plain.py; the tests hold rl/ppo_loop.py, the fast form, to it   (lessons 8.3 and 8.4)
Shapes B rows, T columns, V vocabulary. But for `ids` and the scores (B,) all is (B, T-1):
       column t is the state s_t, what is read up to ids[:, t], and the action a_t, ids[:, t+1].
Source Schulman et al. 2017; Ziegler et al. 2019
"""

import copy
from dataclasses import dataclass

import torch
from gpt.model import GPT, GPTConfig
from torch import nn

END, PAD, BEGIN = 8, 9, 10  # after the digits 0 to 7
CONFIG = GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=32)


@dataclass(frozen=True)
class PlainSettings:
    steps: int = 80            # rollouts, each followed by an update
    rows: int = 256            # replies in a rollout
    epochs: int = 4            # passes over a rollout, each one step of the optimizer
    rate: float = 2e-3         # of AdamW
    beta: float = 0.01         # weight of the KL in the reward
    gamma: float = 1.0         # discount of later rewards
    lam: float = 0.95          # lambda of GAE
    clip: float = 0.2          # ε: how far the ratio may move before it is clipped
    value_clip: float = 0.2    # ε_v: how far a value may move in an update
    value_weight: float = 0.5  # of the value loss
    max_norm: float = 1.0      # largest norm of the gradient

    def __post_init__(self):
        if min(self.steps, self.rows, self.epochs) < 1:
            raise ValueError(f"{self}: steps, rows and epochs must be at least 1")


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


def score(ids):
    """(B,): the share of the four wanted tokens in their places."""
    wanted = (ids[:, 1:2] + torch.arange(1, 5)) % 8
    wanted[:, 3] = END
    given = nn.functional.pad(ids[:, 2:6], (0, max(0, 6 - ids.size(1))), value=PAD)
    return (given == wanted).float().mean(1)


def logp_and_values(model, value_head, ids):
    """-> log π(a_t | s_t) and V(s_t) in every column. Padding is on the right: no token sees it."""
    features = model.features(ids[:, :-1])  # (B, T-1, C): h_t
    logp = model.head(features).log_softmax(-1)  # (B, T-1, V)
    logp = logp.gather(2, ids[:, 1:, None]).squeeze(2)  # of the token that came next, eq. 8.1
    return logp, value_head(features).squeeze(2)  # before that token is known, eq. 8.1


def token_rewards(scores, logp, ref_logp, is_response, beta):
    """Every token pays for leaving the reference; the last one gets the score, (B,)."""
    kl = logp - ref_logp  # KL_t, eq. 8.5
    rewards = torch.where(is_response, -beta * kl, 0.0)
    last = is_response.cumsum(1).argmax(1)  # (B,): the first column where the count is complete
    rewards[torch.arange(len(last)), last] += scores  # r_t, eq. 8.6
    return rewards


def gae(rewards, values, is_response, gamma, lam):
    """Advantages and returns, from the last column to the first; zero outside the replies."""
    values = torch.where(is_response, values, 0.0)  # behind the end V is 0
    advantages = torch.zeros_like(rewards)
    next_value = next_advantage = torch.zeros(len(rewards))  # V_{t+1}, A_{t+1}
    for t in reversed(range(rewards.size(1))):
        delta = rewards[:, t] + gamma * next_value - values[:, t]  # δ_t, eq. 8.7
        advantages[:, t] = delta + gamma * lam * next_advantage  # A_t, eq. 8.7
        next_value, next_advantage = values[:, t], advantages[:, t]
    advantages = torch.where(is_response, advantages, 0.0)
    return advantages, advantages + values  # R_t, eq. 8.8


def whiten(advantages, is_response):
    """To mean 0 and deviation 1 over all reply tokens; what stands elsewhere has no meaning."""
    real = advantages[is_response]
    return (advantages - real.mean()) * (real.var() + 1e-8).rsqrt()


def ppo_loss(logp, values, old_logp, old_values, advantages, returns, is_response, s):
    """L_π + c L_V: a mean over the reply tokens."""
    ratio = (logp - old_logp).exp()  # ρ
    clipped = ratio.clamp(1 - s.clip, 1 + s.clip)
    policy = torch.maximum(-advantages * ratio, -advantages * clipped)  # L_π, eq. 8.9
    near = old_values + (values - old_values).clamp(-s.value_clip, s.value_clip)
    value = 0.5 * torch.maximum((values - returns) ** 2, (near - returns) ** 2)  # L_V, eq. 8.10
    return (policy + s.value_weight * value)[is_response].mean()


def learn(model, value_head, reference, optimizer, ids, is_response, scores, s):
    """Beats 3 to 5, on a rollout that was scored -> what happened."""
    with torch.no_grad():  # 3 advantage: measured once, before anything moves
        old_logp, old_values = logp_and_values(model, value_head, ids)
        ref_logp, _ = logp_and_values(reference, value_head, ids)
        rewards = token_rewards(scores, old_logp, ref_logp, is_response, s.beta)
        advantages, returns = gae(rewards, old_values, is_response, s.gamma, s.lam)
        advantages = whiten(advantages, is_response)  # behind eq. 8.8: returns keep their unit
    for _ in range(s.epochs):
        logp, values = logp_and_values(model, value_head, ids)  # 4 loss
        loss = ppo_loss(logp, values, old_logp, old_values, advantages, returns, is_response, s)
        optimizer.zero_grad()  # 5 update
        loss.backward()
        nn.utils.clip_grad_norm_([*model.parameters(), *value_head.parameters()], s.max_norm)
        optimizer.step()
    kl = torch.where(is_response, old_logp - ref_logp, 0.0).sum(1)  # of a whole reply, in nats
    far = ((logp - old_logp).exp() - 1).abs()[is_response] > s.clip
    return {"score": scores.mean().item(), "KL": kl.mean().item(),
            "score - beta KL": rewards.sum(1).mean().item(),
            "tokens": is_response.sum(1).float().mean().item(),
            "ratio beyond clip": far.float().mean().item()}


def train(s, seed):
    """The whole run on the toy -> what happened in each step."""
    torch.manual_seed(seed)
    model, value_head = GPT(CONFIG).eval(), nn.Linear(CONFIG.n_embd, 1)  # eval: no dropout
    nn.init.zeros_(value_head.weight)  # all values begin at 0
    nn.init.zeros_(value_head.bias)
    reference = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW([*model.parameters(), *value_head.parameters()], lr=s.rate,
                                  weight_decay=0.0)
    log = []
    for _ in range(s.steps):
        prompts = torch.stack([torch.full((s.rows,), BEGIN), torch.randint(8, (s.rows,))], dim=1)
        ids, is_response = sample(model, prompts, 6, end=END, pad=PAD)  # 1 sample
        scores = score(ids)  # 2 score
        log.append(learn(model, value_head, reference, optimizer, ids, is_response, scores, s))
    return log
