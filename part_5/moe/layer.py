"""The mixture-of-experts layer: it takes the place of the MLP in a block.

Math   y = sum over shared experts of s_j(x)  +  sum over i in S of g_i e_i(x)         (eq. 5.8)
Used   moe/hybrid.py, moe/expert_parallel.py.   See it: python demo_moe.py
Shapes N tokens, E routed experts, k of them for each token, C = n_embd, F = hidden width of one
Source Dai et al. 2024, "DeepSeekMoE" (shared and fine-grained experts); Yang et al. 2024, "Qwen2"
       (the gate on the shared expert)

With the settings renormalize=True this is Mixtral's layer; with shared experts and shared_gate=True
Qwen2-MoE's; with gate="sigmoid", balance="bias" and shared experts DeepSeek-V3's.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from gpt.layers import SwiGLU
from torch import nn

from moe.experts import FORMS, Experts
from moe.router import BALANCES, GATES, Router, balance_loss, z_loss


@dataclass(frozen=True)
class MoEConfig:
    """Settings of the layer, and of which layers of a model have one."""

    n_expert: int = 8               # E, routed experts of a layer
    n_active: int = 2               # k, how many of them each token uses
    n_shared: int = 0               # experts that every token uses, besides
    n_hidden: int | None = None     # hidden width of one expert; None: active compute as dense
    gate: str = "softmax"           # "softmax" or "sigmoid", eq. 5.2
    renormalize: bool | None = None  # weights of the chosen sum to 1; None: where k > 1
    scale: float = 1.0              # s of eq. 5.3; n_active: as loud as the dense MLP cut in pieces
    shared_gate: bool = False       # the shared experts' output times sigmoid(w . x)
    noise: float = 0.0              # standard deviation added to the scores in training
    capacity: float | None = None   # room of an expert in training, in even shares; None: endless
    balance: str = "loss"           # "loss" (eq. 5.4), "bias" (eq. 5.6) or "none"
    balance_weight: float = 0.01    # of eq. 5.4 in the training loss
    bias_rate: float = 0.01         # u of eq. 5.6
    z_weight: float = 0.001         # of eq. 5.5 in the training loss
    layers: str = "every"           # every, alternate, after_1, after_2 …, blend, or e.g. "dmdb"
    form: str = "auto"              # how experts are computed: auto, loop, sorted or grouped

    def __post_init__(self):
        if self.n_expert < 1:
            raise ValueError(f"n_expert={self.n_expert}: a layer needs at least 1 expert")
        if not 1 <= self.n_active <= self.n_expert:
            raise ValueError(f"n_active={self.n_active} of n_expert={self.n_expert}: choose from 1 "
                             f"to {self.n_expert}, or have more experts")
        if self.n_shared < 0:
            raise ValueError(f"n_shared={self.n_shared}: must be 0 or more")
        if self.n_hidden is not None and self.n_hidden < 1:
            raise ValueError(f"n_hidden={self.n_hidden}: must be 1 or more, or None")
        if not 0 < self.scale < float("inf"):
            raise ValueError(f"scale={self.scale}: must be above 0; 1 is usual, or n_active")
        if self.capacity is not None and not self.capacity > 0:
            raise ValueError(f"capacity={self.capacity}: every token would be dropped; give a "
                             "factor above 0 (1.25 is usual), or None to drop nothing")
        for name, value, known in (("gate", self.gate, GATES), ("form", self.form, FORMS),
                                   ("balance", self.balance, BALANCES)):
            if value not in known:
                raise ValueError(f"{name}={value!r}: choose one of {', '.join(known)}")
        for name in ("noise", "balance_weight", "bias_rate", "z_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)}: must be 0 or more")
        if self.shared_gate and not self.n_shared:
            raise ValueError("shared_gate=True needs n_shared of 1 or more")


class MoE(nn.Module):
    """(…, C) -> (…, C). After a forward pass, `routing` holds what was decided.

    In training, `loss` holds what keeps the router in order (eq. 5.4 and 5.5, weighted): it must be
    added to the training loss; `HybridGPT` does.
    """

    def __init__(self, n_embd: int, n_hidden: int, config: MoEConfig):
        super().__init__()
        self.config = config
        self.router = Router(n_embd, config)
        self.experts = Experts(config.n_expert, n_embd, n_hidden, config.form)
        self.shared = SwiGLU(n_embd, config.n_shared * n_hidden) if config.n_shared else None
        self.shared_gate = nn.Linear(n_embd, 1, bias=False) if config.shared_gate else None
        self.routing = self.loss = None

    def __getstate__(self) -> dict:
        """For copies: they begin without what the last pass left, which hangs on its gradients."""
        return {**self.__dict__, "routing": None, "loss": None}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.reshape(-1, x.size(-1))  # (N, C)
        routing = self.router(tokens)
        out = self.experts(tokens, routing.experts, routing.weights)
        if self.shared is not None:
            shared = self.shared(tokens)
            if self.shared_gate is not None:
                shared = shared * F.sigmoid(self.shared_gate(tokens))
            out = out + shared  # eq. 5.8
        self.loss = self.router_loss(routing) if self.training else None
        self.routing = routing
        return out.view(x.shape)

    def router_loss(self, routing) -> torch.Tensor:
        """eq. 5.4 and eq. 5.5, weighted -> a scalar."""
        loss = self.config.z_weight * z_loss(routing.logits)
        if self.config.balance == "loss":
            loss = loss + self.config.balance_weight * balance_loss(routing.scores, routing.load)
        return loss
