"""The router: which experts a token goes to, with which weights, and what keeps the load even.

Math   z = W x                        one score for each expert                        (eq. 5.1)
       p = softmax(z)  or  sigmoid(z)                                                  (eq. 5.2)
       S = the k experts with the largest  p_i + b_i;   weight of i in S:
       g_i = s p_i / sum over S of p_j   (k > 1)    g_i = s p_i   (k = 1)              (eq. 5.3)
       s is a constant: 1, or k, so that k experts are as loud as the dense MLP they are cut from
       L_balance = E sum_i f_i P_i    f_i share of the choices, P_i mean probability   (eq. 5.4)
       L_z = mean (log sum_i exp z_i)^2                                                (eq. 5.5)
       b_i <- b_i + u sign(mean load - load_i)        balance without a loss           (eq. 5.6)
Used   moe/layer.py, moe/expert_parallel.py.   See it: python demo_moe.py, demo_collapse.py
Shapes N tokens, E experts, k choices of a token, C = n_embd
Source Shazeer et al. 2017, "Outrageously Large Neural Networks" (noise, top-k); Fedus et al. 2021,
       "Switch Transformers" (eq. 5.4, capacity, top-1); Zoph et al. 2022, "ST-MoE" (eq. 5.5);
       Wang et al. 2024, "Auxiliary-Loss-Free Load Balancing"; DeepSeek-V3 2024 (sigmoid, eq. 5.6)

What reaches the router's scores z of one token (N tokens in all, c = k N choices):
  the weights g     by the chain rule through eq. 5.3, only for experts in S; nothing at all where
                    one weight is divided by itself, hence no division for k = 1
  L_balance         dL/dz_i = (E/N) p_i (f_i - sum_j f_j p_j): down where the load is high
  L_z               dL/dz_i = (2/N) p_i log sum_j exp z_j: all scores towards a sum of 1
  the bias b        nothing: it moves the choice, never the weight
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

DROPPED = -1  # in place of an expert's number: the choice found no room and counts for nothing
GATES = ("softmax", "sigmoid")
BALANCES = ("loss", "bias", "none")


@dataclass
class Routing:
    """What the router decided for N tokens."""

    experts: torch.Tensor  # (N, k) int64, the likeliest first; DROPPED where there was no room
    weights: torch.Tensor  # (N, k) float32: g of eq. 5.3
    scores: torch.Tensor   # (N, E) float32: p of eq. 5.2, divided by its sum for sigmoid
    logits: torch.Tensor   # (N, E) float32: z of eq. 5.1
    load: torch.Tensor     # (E,) int64: choices of each expert, before any was dropped

    @property
    def dropped(self) -> int:
        """Choices that found no room."""
        return int((self.experts == DROPPED).sum())


def gate_scores(logits: torch.Tensor, gate: str) -> torch.Tensor:
    """(N, E) -> (N, E): eq. 5.2. Softmax makes experts compete; sigmoid judges each by itself."""
    return logits.softmax(-1) if gate == "softmax" else logits.sigmoid()


def choose_experts(scores: torch.Tensor, k: int, *, renormalize: bool, bias: torch.Tensor | None = None,
           noise: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (N, E) -> (experts (N, k), weights (N, k)): eq. 5.3.

    `bias` (E,) and `noise` (N, E) move the choice only: the weights are always the plain scores of
    the chosen ones.   scores [.5, .3, .2], k 2 -> experts [0, 1], weights [.625, .375]
    """
    ranking = scores.detach()
    for shift in (bias, noise):
        if shift is not None:
            ranking = ranking + shift
    experts = ranking.topk(k, dim=-1).indices
    weights = scores.gather(-1, experts)
    if renormalize:
        weights = weights / weights.sum(-1, keepdim=True)
    return experts, weights


def count_load(experts: torch.Tensor, n_expert: int) -> torch.Tensor:
    """(N, k) -> (E,) int64: how many choices fell on each expert."""
    return torch.bincount(experts.flatten(), minlength=n_expert)


def max_load(load: torch.Tensor) -> float:
    """The fullest expert's load over the mean: 1 is even, E means that one expert takes all."""
    load = load.double()
    return float(load.max() / load.mean()) if load.sum() > 0 else 1.0


def balance_loss(scores: torch.Tensor, load: torch.Tensor) -> torch.Tensor:
    """eq. 5.4 -> a scalar: 1 when even, up to E when collapsed. The gradient goes through P only.

    scores (N, E), each row with sum 1;   load (E,), the counts of the choices.
    """
    share = load.to(scores.dtype) / load.sum()  # f_i: counts, which have no gradient
    return scores.size(-1) * (share * scores.mean(0)).sum()


def z_loss(logits: torch.Tensor) -> torch.Tensor:
    """eq. 5.5 -> a scalar. Large scores lose precision and saturate the softmax; this holds them."""
    return logits.logsumexp(-1).square().mean()


def bias_step(bias: torch.Tensor, load: torch.Tensor, rate: float) -> torch.Tensor:
    """eq. 5.6 -> the new bias: every expert below the mean load goes up by `rate`, above it down.

    bias 0, load [5, 1, 3], rate .1 -> [-.1, .1, 0]
    """
    load = load.to(bias.dtype)
    return bias + rate * torch.sign(load.mean() - load)


def capacity_of(tokens: int, k: int, n_expert: int, factor: float) -> int:
    """Slots of each expert: `factor` times its even share of the choices, rounded up."""
    return math.ceil(factor * tokens * k / n_expert)


def drop_overflow(experts: torch.Tensor, n_expert: int, capacity: int) -> torch.Tensor:
    """(N, k) -> (N, k) with DROPPED where an expert has had `capacity` choices already.

    First choices go before all second choices, and earlier tokens before later ones.
    """
    N, k = experts.shape
    in_turn = experts.T.flatten()  # (k*N,): all first choices, then all second choices
    order = in_turn.argsort(stable=True)
    count = count_load(experts, n_expert)
    begin = count.cumsum(0) - count
    place = torch.arange(N * k, device=experts.device) - begin[in_turn[order]]
    kept = torch.full_like(in_turn, DROPPED)
    kept[order] = torch.where(place < capacity, in_turn[order], DROPPED)
    return kept.view(k, N).T


class Router(nn.Module):
    """(N, C) -> Routing. Always in float32: a rounding of bfloat16 would change the choice.

    `config` is a MoEConfig (moe/layer.py). `bias` (E,) is b of eq. 5.6: no parameter, no gradient;
    `load` counts the choices made in training since the last `update_bias`.
    """

    def __init__(self, n_embd: int, config):
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.empty(config.n_expert, n_embd))
        self.register_buffer("bias", torch.zeros(config.n_expert))
        self.register_buffer("load", torch.zeros(config.n_expert, dtype=torch.int64),
                             persistent=False)
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: torch.Tensor) -> Routing:
        config, E = self.config, self.config.n_expert
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(x.float(), self.weight.float())  # (N, E), eq. 5.1
        scores = gate_scores(logits, config.gate)              # eq. 5.2
        noise = None
        if self.training and config.noise > 0:
            noise = config.noise * torch.randn_like(scores)
        bias = self.bias.float() if config.balance == "bias" else None
        experts, weights = choose_experts(scores, config.n_active, renormalize=config.n_active > 1
                                  if config.renormalize is None else config.renormalize,
                                  bias=bias, noise=noise)      # eq. 5.3
        weights = config.scale * weights
        load = count_load(experts, E)
        if self.training:
            self.load += load
        if config.capacity is not None and self.training:  # else a reply would depend on the batch
            room = capacity_of(x.size(0), config.n_active, E, config.capacity)
            experts = drop_overflow(experts, E, room)
        if config.gate == "sigmoid":
            scores = scores / scores.sum(-1, keepdim=True)
        return Routing(experts, weights, scores, logits, load)

    @torch.no_grad()
    def update_bias(self) -> None:
        """Once after each optimizer step: eq. 5.6 with the load counted since the last time."""
        if self.config.balance == "bias":
            self.bias.copy_(bias_step(self.bias, self.load, self.config.bias_rate))
        self.load.zero_()
