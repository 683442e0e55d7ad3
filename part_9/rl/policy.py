"""The policy: the tuned model, a value head on its hidden states, and a frozen copy beside it.

Math   π(a_t | s_t) = softmax(E h_t),   V(s_t) = v · h_t,   h_t the normed stream at s_t   (eq. 8.1)
       s_t is the prompt and the reply so far: the column *before* the token a_t.
Idea   Policy and critic read the same features, so a step reads a row once. v starts at zero: all
       values are 0, and the first advantages are the rewards themselves.
Used   rl/ppo_loop.py, train_dpo.py
Shapes B rows, T tokens of prompt and reply, R tokens of the longest reply, N reply tokens in all,
       C = n_embd, V vocabulary. Rows are padded on the right, so no mask is needed.
Source Ziegler et al. 2019; Stiennon et al. 2020; Ouyang et al. 2022 (frozen reference)
"""

import copy
from dataclasses import dataclass

import torch
from gpt.model import GPT
from reward.siblings import share_prompts
from sft.lora import with_reference
from torch import nn


@dataclass(frozen=True)
class Rows:
    """Prompts with their replies, as tensors. The reply of row b is columns first[b] … of `ids`."""

    ids: torch.Tensor  # (B, T) int64, padded on the right
    first: torch.Tensor  # (B,) the column of the reply's first token
    is_response: torch.Tensor  # (B, R) True where reply b has a token, its end token included
    prompt: torch.Tensor | None = None  # (B,) which prompt a row answers; None: each its own

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> torch.Tensor:
        """(B,): real tokens in each row."""
        return self.first + self.is_response.sum(1)

    @property
    def columns(self) -> torch.Tensor:
        """(B, R): where the reply's tokens stand in `ids`."""
        steps = torch.arange(self.is_response.size(1), device=self.ids.device)
        return (self.first[:, None] + steps).clamp(max=self.ids.size(1) - 1)

    @property
    def responses(self) -> torch.Tensor:
        """(B, R): the reply's tokens; what stands outside `is_response` has no meaning."""
        return self.ids.gather(1, self.columns)

    def pick(self, rows: torch.Tensor) -> "Rows":
        """Some of the rows, without the columns that only the others needed."""
        lengths = self.lengths[rows]
        width = int(self.is_response[rows].sum(1).max())
        return Rows(self.ids[rows, :int(lengths.max())], self.first[rows],
                    self.is_response[rows, :width],
                    None if self.prompt is None else self.prompt[rows])

    def to(self, device) -> "Rows":
        return Rows(self.ids.to(device), self.first.to(device), self.is_response.to(device),
                    None if self.prompt is None else self.prompt.to(device))


def spread(flat: torch.Tensor, is_response: torch.Tensor) -> torch.Tensor:
    """(N,) -> (B, R), zero outside the replies."""
    return torch.zeros_like(is_response, dtype=flat.dtype).masked_scatter(is_response, flat)


def response_features(body: GPT, rows: Rows) -> torch.Tensor:
    """(N, C): the features that each reply token was drawn from, those of the column before it.

    Neighbouring rows that answer the same prompt are read together (eq. 7.5).
    """
    row = torch.arange(len(rows), device=rows.ids.device)[:, None]
    row = row.expand_as(rows.is_response)[rows.is_response]  # (N,)
    before = (rows.columns - 1)[rows.is_response]  # (N,)
    if rows.prompt is None:
        return body.features(rows.ids[:, :-1])[row, before]  # nobody asks what follows the last
    shared = share_prompts(rows.prompt.tolist(), rows.first.tolist(),
                           (rows.is_response.sum(1) - 1).tolist(), widest=body.config.block_size,
                           device=rows.ids.device)
    x = body.features(shared.take(rows.ids), plan=shared.plan(body))
    return x.flatten(0, 1).index_select(0, shared.places(row, before))


def token_logp(body: GPT, features: torch.Tensor, tokens: torch.Tensor, *,
               temperature: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, C) and (N,) -> log-probability of each token and entropy of its distribution, (N,) each.

    `temperature` must be the sampler's.
    """
    logp = (body.head(features).float() / temperature).log_softmax(-1)  # (N, V)
    return (logp.gather(1, tokens[:, None]).squeeze(1),
            -(logp.exp() * logp).sum(-1))


def response_logp(body: GPT, rows: Rows, *, temperature: float = 1.0) -> torch.Tensor:
    """(B, R): log-probability of every reply token under a model without a value head."""
    tokens = rows.responses[rows.is_response]
    features = response_features(body, rows)
    return spread(token_logp(body, features, tokens, temperature=temperature)[0],
                  rows.is_response)


class Policy(nn.Module):
    """Rows -> log-probabilities, entropies and values of all reply tokens, (B, R) each."""

    def __init__(self, body: GPT):
        super().__init__()
        self.body = body
        self.value_head = nn.Linear(body.config.n_embd, 1)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)

    @property
    def config(self):
        return self.body.config

    def forward(self, rows: Rows, *, temperature: float = 1.0):
        features = response_features(self.body, rows)  # (N, C)
        logp, entropy = token_logp(self.body, features, rows.responses[rows.is_response],
                                   temperature=temperature)
        features = features.to(self.value_head.weight.dtype)  # frozen weights may be bfloat16
        values = self.value_head(features).float().squeeze(1)  # eq. 8.1
        return tuple(spread(part, rows.is_response) for part in (logp, entropy, values))


def frozen_copy(model: GPT) -> GPT:
    """The reference: the same weights, never trained, dropout off."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def reference_of(model: GPT, settings, seed: int = 0, processes=None) -> GPT:
    """The reference of a model that is going to learn: a copy; with `settings.lora` the model gets
    LoRA here, and the reference is its own frozen weights, as `settings.weights`."""
    if settings.lora:
        if processes is not None and processes.shards:
            raise ValueError("--shard with --lora: the reference is the policy itself without its "
                             "detours, and frozen weights are not sliced; use one of the two")
        return with_reference(model, settings.lora, settings.weights, seed)
    return frozen_copy(model)
