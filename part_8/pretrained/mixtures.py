"""Mixtures of others: what Mixtral, Qwen2-MoE and Qwen3-MoE call the experts of part 5.

Idea   These layers are eq. 5.8 with other settings. What such a model has besides is dense, and is
       read and written as a Mistral, Qwen2 or Qwen3 is.
            weights of the chosen      shared experts       besides
Mixtral     sum to 1                   none                 as Mistral
Qwen2-MoE   as they are, or sum to 1   with a gate          as Qwen2: biases; some layers dense
Qwen3-MoE   as they are, or sum to 1   none                 as Qwen3: norms of q, k; some layers dense
Used   pretrained/config.py, pretrained/loading.py   (lesson 5.4)
Source Jiang et al. 2024, "Mixtral of Experts"; Yang et al. 2024, "Qwen2"; 2025, "Qwen3"
"""

from moe.hybrid import HybridConfig, expert_width, layer_kinds
from moe.layer import MoEConfig

from pretrained.weight_places import Place


def mixture_kind(config: HybridConfig) -> str:
    """Qwen2-MoE has shared experts, Qwen3-MoE norms of queries and keys; the rest is Mixtral."""
    return "qwen2_moe" if config.moe.n_shared else "qwen3_moe" if config.qk_norm else "mixtral"


def odd_experts(config: HybridConfig) -> list[str]:
    """What part 5's experts can be, and those of no released mixture are."""
    moe, kinds = config.moe, layer_kinds(config.moe.layers, config.n_layer)
    shares, is_mixtral = moe.n_shared > 0, mixture_kind(config) == "mixtral"
    found = {f"gate={moe.gate!r}": moe.gate != "softmax", f"scale={moe.scale}": moe.scale != 1,
             "balance='bias' (biases that choose)": moe.balance == "bias",
             "experts beside a dense MLP (blend)": "b" in kinds,
             "shared experts without a gate": shares and not moe.shared_gate,
             "shared experts with qk_norm": shares and config.qk_norm,
             "shared experts without qkv_bias": shares and not config.qkv_bias,
             "shared experts with a window": shares and config.window,
             "experts with qkv_bias, but none shared": config.qkv_bias and not shares,
             "experts in some layers without qk_norm": is_mixtral and "d" in kinds,
             "weights that do not sum to 1 without qk_norm": is_mixtral and not sums_to_1(moe)}
    return [what for what, is_so in found.items() if is_so]


def sums_to_1(moe: MoEConfig) -> bool:
    """Are the weights of the chosen experts divided by their sum?"""
    return moe.n_active > 1 if moe.renormalize is None else moe.renormalize


def experts_json(config: HybridConfig) -> dict:
    """What config.json says of the experts, and otherwise than for a dense model."""
    kind, moe, width = mixture_kind(config), config.moe, expert_width(config, config.moe)
    name = {"mixtral": "Mixtral", "qwen2_moe": "Qwen2Moe", "qwen3_moe": "Qwen3Moe"}[kind]
    fields = {"architectures": [f"{name}ForCausalLM"], "model_type": kind,
              "num_experts_per_tok": moe.n_active, "output_router_logits": False}
    if kind == "mixtral":
        return fields | {"num_local_experts": moe.n_expert, "intermediate_size": width,
                         "sliding_window": config.window}
    fields |= {"num_experts": moe.n_expert, "moe_intermediate_size": width,
               "norm_topk_prob": sums_to_1(moe), "decoder_sparse_step": 1, "mlp_only_layers": [
                   i for i, letter in enumerate(layer_kinds(moe.layers, config.n_layer))
                   if letter == "d"]}
    if kind == "qwen2_moe":
        fields |= {"shared_expert_intermediate_size": moe.n_shared * width, "qkv_bias": True}
    return fields


def expert_places(config: HybridConfig, i: int) -> dict[str, Place]:
    """Released name -> Place, for what stands in place of the MLP of layer i."""
    is_mixtral, width = mixture_kind(config) == "mixtral", expert_width(config, config.moe)
    at = f"model.layers.{i}.{'block_sparse_moe' if is_mixtral else 'mlp'}."
    ours = f"blocks.{i}.mlp."
    gate, up, down = ("w1", "w3", "w2") if is_mixtral else ("gate_proj", "up_proj", "down_proj")
    places = {f"{at}gate.weight": Place(f"{ours}router.weight")}
    for e in range(config.moe.n_expert):
        places |= {
            f"{at}experts.{e}.{gate}.weight": Place(f"{ours}experts.gate_up", 0, width, expert=e),
            f"{at}experts.{e}.{up}.weight": Place(f"{ours}experts.gate_up", width, None, expert=e),
            f"{at}experts.{e}.{down}.weight": Place(f"{ours}experts.down", expert=e)}
    if config.moe.n_shared:
        shared, width = f"{at}shared_expert", config.moe.n_shared * width
        places |= {f"{shared}.{gate}.weight": Place(f"{ours}shared.gate_up.weight", 0, width),
                   f"{shared}.{up}.weight": Place(f"{ours}shared.gate_up.weight", width),
                   f"{shared}.{down}.weight": Place(f"{ours}shared.project.weight"),
                   f"{shared}_gate.weight": Place(f"{ours}shared_gate.weight")}
    return places
