"""A start at which heads look back: one at the token before, the next at the one before that.

To answer "Where is Olga now?" a model joins what stands some tokens apart: "Olga was in the garden".
Somewhere on the way a token must take up what stood just before it. Attention that starts at random
finds such heads by chance, and late: RoPE turns queries and keys, but where tokens have nothing in
common there is nothing that it could turn to the same place for all of them. Here the embeddings
start with a common part, and heads of the first layer with a look at one earlier token each.
Training may change both as it likes, and the model is the same Llama-like one as without.

Math   every embedding gets the same vector c added, as long as the rest of it is. From it W_K makes
       the same key k for all tokens, and W_Q the query that RoPE turns upon k at distance d:
       q_i = R(-d) k_i for the fastest pairs i of a head, 0 for the others            (eq. 4.17)
       so q_t . k_s is largest at t - s = d, whatever the tokens are
Used   base/run.py, with --look-back.   Measured in part 4: the base model
Source the idea of a start that is like a finished model: Trockman and Kolter 2023, "Mimetic
       Initialization of Self-Attention Layers"; heads for the token before: Olsson et al. 2022,
       "In-context Learning and Induction Heads"
"""

import torch
from gpt.model import GPT, GPTConfig
from torch import nn

PAIRS = 4         # of a head's pairs, the fastest: slow ones hardly tell neighbours apart
STRENGTH = 1.4    # of the common part in W_Q and W_K: far above the random rest
SHARPNESS = 1.6   # of query and key norms at the start: six sevenths of a head's look at one token
VALUE_STD, OUTPUT_STD = 0.09, 0.06  # what the first layer finds is passed on from the first step


def check_look_back(config: GPTConfig, heads: int) -> None:
    """Raises ValueError with more heads than there are, and without what such a start needs."""
    if not 0 <= heads <= config.n_head:
        raise ValueError(f"--look-back {heads}: from 0 to the {config.n_head} heads of the first "
                         "layer")
    if heads and (not config.qk_norm or config.head_dim < 2 * PAIRS):
        raise ValueError(f"--look-back {heads} needs query and key norms (qk_norm={config.qk_norm}) "
                         f"and heads of at least {2 * PAIRS} channels (head_dim={config.head_dim}); "
                         "or give --look-back 0")


@torch.no_grad()
def look_back(model: GPT, heads: int) -> None:
    """Let the first `heads` heads of the first layer begin with a look at one earlier token each:
    head 0 at the one before, head 1 two back. 0 changes nothing. Raises what check_look_back does."""
    config = model.config
    check_look_back(config, heads)
    if not heads:
        return
    H, K, D = config.n_head, config.n_kv_head, config.head_dim
    common = torch.randn(config.n_embd)
    common /= common.norm()
    model.token_embedding.weight += common * config.embedding_std * config.n_embd ** 0.5
    attention = model.blocks[0].attention
    queries, keys, values = (part.view(-1, D, config.n_embd) for part in
                             attention.qkv.weight.split([H * D, K * D, K * D]))
    fastest = config.frequencies()[:PAIRS].float()  # radians a token
    key = torch.zeros(D)
    key[:PAIRS] = 1.0
    for head in range(heads):
        angle, query = (head + 1) * fastest, torch.zeros(D)
        query[:PAIRS], query[D // 2:D // 2 + PAIRS] = angle.cos(), -angle.sin()  # pair i: i, D/2 + i
        queries[head] += STRENGTH * torch.outer(query, common)
    for group in range((heads - 1) // (H // K) + 1):  # the keys that these heads share
        keys[group] += STRENGTH * torch.outer(key, common)
    attention.q_norm.weight *= SHARPNESS
    attention.k_norm.weight *= SHARPNESS
    nn.init.normal_(values, std=VALUE_STD)
    nn.init.normal_(attention.project.weight, std=OUTPUT_STD)
