"""The model of part 4 with experts: in every layer, in some, or beside the dense MLP.

    every      m m m m      alternate  d m d m      after_1    d m m m
    blend      b b b b      or spelled out for each layer: "ddmb"

    d  dense   x + MLP(x)                                    as in part 4
    m  experts x + MoE(x)                                    eq. 5.8
    b  blend   x + (1 - a) MLP(x) + a MoE(x),  a = sigmoid(c), c learned       (eq. 5.10)

Used   train_moe.py, compare_moe.py, demo_moe.py, demo_collapse.py; from part 6 on wherever a checkpoint
       holds experts: run/checkpoint.py makes the model that its settings describe
Shapes B batch, T time, L layers, E experts
Source alternate layers: Lepikhin et al. 2020, "GShard"; dense first layers: DeepSeekMoE 2024;
       dense and experts side by side: Snowflake Arctic 2024; `upcycle`: Komatsuzaki et al. 2022,
       "Sparse Upcycling"
"""

import math
import time
from dataclasses import dataclass, fields, replace

import torch
from gpt.model import GPT, GPTConfig
from run.distributed import Processes
from torch import nn

from moe.layer import MoE, MoEConfig
from moe.router import max_load


def layer_kinds(layers: str, n_layer: int) -> str:
    """One letter a layer: d (dense), m (experts) or b (blend).   "alternate", 4 -> "dmdm" """
    if layers == "every":
        return "m" * n_layer
    if layers == "blend":
        return "b" * n_layer
    if layers == "alternate":
        return ("dm" * n_layer)[:n_layer]
    first = layers.removeprefix("after_")
    if layers.startswith("after_") and first.isdecimal() and int(first) <= n_layer:
        return "d" * int(first) + "m" * (n_layer - int(first))
    if len(layers) == n_layer and set(layers) <= set("dmb"):
        return layers
    raise ValueError(f"layers={layers!r} for a model of {n_layer} layers: choose every, alternate, "
                     f"after_1 … after_{n_layer}, blend, or {n_layer} letters of d, m and b")


def expert_width(config: GPTConfig, moe: MoEConfig) -> int:
    """Hidden width of one expert. By default all that a token uses are as wide as the dense MLP."""
    return moe.n_hidden or max(1, config.n_hidden // (moe.n_active + moe.n_shared))


class Blend(nn.Module):
    """(…, C) -> (…, C): eq. 5.10. The dense MLP and the experts, mixed by one learned number."""

    def __init__(self, dense: nn.Module, moe: MoE):
        super().__init__()
        self.dense, self.moe = dense, moe
        self.mix = nn.Parameter(torch.zeros(1))  # c; 0: half and half

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        share = self.mix.sigmoid().to(x.dtype)  # a
        return (1 - share) * self.dense(x) + share * self.moe(x)


@dataclass(frozen=True)
class HybridConfig(GPTConfig):
    """GPT's settings with those of the experts: a file that holds them can make the model again."""

    moe: MoEConfig = MoEConfig()


class HybridGPT(GPT):
    """The GPT of gpt/model.py, some of whose MLPs are experts. In training mode the loss that `forward`
    returns holds what keeps the routers in order, too; in eval mode it is the cross-entropy alone.

    `moe` may be left out where `config` is another HybridGPT's. `processes`: those that share a step, each
    with equally many tokens; the balance is then that of the step.
    """

    def __init__(self, config: GPTConfig, moe: MoEConfig | None = None):
        super().__init__(config)
        self.processes, self.waited = Processes(), 0.0  # seconds of waiting for others, once a step
        self.moe_config = moe = moe or config.moe
        self.config = HybridConfig(**{one.name: getattr(config, one.name)
                                      for one in fields(GPTConfig)}, moe=moe)
        self.kinds = layer_kinds(moe.layers, config.n_layer)
        width = expert_width(config, moe)
        for block, kind in zip(self.blocks, self.kinds):
            if kind == "m":
                block.mlp = MoE(config.n_embd, width, moe)
            elif kind == "b":
                block.mlp = Blend(block.mlp, MoE(config.n_embd, width, moe))
        self.initialise()

    def initialise(self) -> None:
        """As in part 4; the experts' matrices, which are stacked, likewise."""
        super().initialise()
        for module in self.modules():
            if isinstance(module, MoE):
                module.experts.reset(0.02, 0.02 / math.sqrt(2 * self.config.n_layer))

    @property
    def moes(self) -> list[MoE]:
        """The layers with experts, from the first to the last."""
        return [module for module in self.modules() if isinstance(module, MoE)]

    def forward(self, ids, targets=None, cache=None, **options):
        """As GPT.forward -> (logits, loss)."""
        logits, loss = super().forward(ids, targets, cache, **options)
        if loss is not None and self.training:
            if self.processes.world > 1:
                self.balance_step(targets)
            loss = loss + self.router_loss()
        return logits, loss

    def balance_step(self, targets: torch.Tensor) -> None:
        """Several processes: make the routers' losses those of the whole step.

        eq. 5.4 is a sum of products f_i P_i. f of this process alone would be another loss: the loads are
        summed before. P is a mean over tokens, the z-loss, too: the mean of equal parts is that of all. But
        the loop weighs a process's loss by its share of the labels, not of the tokens: that is undone here.
        """
        labels, start = (targets != -100).sum(), time.perf_counter()
        summed = self.processes.sum(torch.cat([self.loads().flatten(), labels[None]]))
        self.waited += time.perf_counter() - start
        undone = summed[-1] / (labels.clamp(min=1) * self.processes.world)
        for moe, load in zip(self.moes, summed[:-1].view(len(self.moes), -1)):
            moe.loss = undone * moe.router_loss(replace(moe.routing, load=load))

    def router_loss(self) -> torch.Tensor | float:
        """Balance and z-loss of the last forward pass in training, summed over the layers."""
        return sum(moe.loss for moe in self.moes)

    def update_biases(self, processes=None) -> None:
        """Call it after each optimizer step: eq. 5.6 in every layer, with the load of all `processes`
        (run/distributed.py). A router that is frozen keeps its bias, too."""
        for router in (moe.router for moe in self.moes if moe.router.weight.requires_grad):
            if processes is not None:
                processes.sum(router.load)
            router.update_bias()

    def loads(self) -> torch.Tensor:
        """(L, E): choices of each expert in the last forward pass, for each layer with experts."""
        return torch.stack([moe.routing.load for moe in self.moes])

    def max_load(self) -> float:
        """The fullest expert of all layers, over the mean of its layer, in the last forward pass. All
        `processes` must ask."""
        return max(max_load(load) for load in self.processes.sum(self.loads()))

    def count_active(self) -> int:
        """Parameters that one token uses: of E routed experts only k."""
        idle = sum((moe.experts.gate_up[0].numel() + moe.experts.down[0].numel())
                   * (moe.config.n_expert - moe.config.n_active) for moe in self.moes)
        return self.count_parameters() - idle


def upcycle(dense: GPT, moe: MoEConfig) -> HybridGPT:
    """A trained dense model -> a model of experts that all start as copies of its MLPs.

    With weights that sum to 1 the new model gives exactly the old one's logits; training then pulls
    the copies apart. Raises ValueError for settings under which it would not.
    """
    sums_to_1 = moe.n_active > 1 if moe.renormalize is None else moe.renormalize
    if not sums_to_1 or moe.scale != 1 or moe.n_shared or moe.capacity or moe.n_hidden not in (
            None, dense.config.n_hidden):
        raise ValueError("upcycling copies the dense MLP into every expert: it needs renormalize, "
                         "scale 1, no shared experts, no capacity, and n_hidden None or "
                         f"{dense.config.n_hidden}")
    model = HybridGPT(dense.config, replace(moe, n_hidden=dense.config.n_hidden))
    weights = dense.state_dict()
    own = model.state_dict()
    own.update({name: value for name, value in weights.items() if name in own})
    for number, kind in enumerate(model.kinds):
        here = f"blocks.{number}.mlp."
        for old, new in (("gate_up.weight", "gate_up"), ("project.weight", "down")):
            copies = weights[here + old].expand(moe.n_expert, -1, -1)
            if kind == "b":
                own[f"{here}dense.{old}"] = weights[here + old]
            if kind != "d":
                own[f"{here}{'moe.' if kind == 'b' else ''}experts.{new}"] = copies
    model.load_state_dict(own)
    return model
