"""Makes reference.npz: outputs and gradients of the Mixtral and Qwen2-MoE layers of transformers.

    pip install transformers==5.23.0 && python tests/part_5/data/make_reference.py

Only this script needs that package; the tests read the file. The weights are not in it: both sides
draw them from the same NumPy seed.
"""

from pathlib import Path

import numpy as np
import torch

N, C, F, E, K = 48, 16, 24, 8, 2
SHAPES = {"router": (E, C), "gate_up": (E, 2 * F, C), "down": (E, C, F), "shared_gate_up": (4 * F, C),
          "shared_down": (C, 2 * F), "shared_gate": (1, C)}


def draw(seed: int) -> dict[str, np.ndarray]:
    """Weights, an input and a gradient of the output, float32."""
    random = np.random.default_rng(seed)
    drawn = {name: random.normal(0, 0.4, shape).astype(np.float32)
             for name, shape in SHAPES.items()}
    drawn["x"] = random.normal(0, 1, (N, C)).astype(np.float32)
    drawn["slope"] = random.normal(0, 1, (N, C)).astype(np.float32)
    return drawn


def run(layer, places: dict, drawn: dict) -> dict[str, np.ndarray]:
    """Put the weights in their places -> output and all gradients."""
    with torch.no_grad():
        for name, parameter in places.items():
            parameter.copy_(torch.from_numpy(drawn[name]).view(parameter.shape))
    x = torch.from_numpy(drawn["x"]).requires_grad_()
    out = layer(x[None])[0]
    out.backward(torch.from_numpy(drawn["slope"]))
    return {"out": out.detach().numpy(), "x": x.grad.numpy(),
            **{name: parameter.grad.view(SHAPES[name]).numpy()
               for name, parameter in places.items()}}


def main() -> None:
    from transformers import MixtralConfig, Qwen2MoeConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock
    from transformers.models.qwen2_moe.modeling_qwen2_moe import Qwen2MoeSparseMoeBlock

    torch.manual_seed(0)
    mixtral_config = MixtralConfig(hidden_size=C, intermediate_size=F, num_local_experts=E,
                                   num_experts_per_tok=K)
    qwen_config = Qwen2MoeConfig(hidden_size=C, moe_intermediate_size=F, num_experts=E,
                                 num_experts_per_tok=K, norm_topk_prob=False,
                                 shared_expert_intermediate_size=2 * F)
    mixtral_config._experts_implementation = qwen_config._experts_implementation = "eager"
    mixtral, qwen = MixtralSparseMoeBlock(mixtral_config), Qwen2MoeSparseMoeBlock(qwen_config)
    places = {"router": mixtral.gate.weight, "gate_up": mixtral.experts.gate_up_proj,
              "down": mixtral.experts.down_proj}
    found = {f"mixtral_{name}": value for name, value in run(mixtral, places, draw(1)).items()}
    drawn = draw(2)
    places = {"router": qwen.gate.weight, "gate_up": qwen.experts.gate_up_proj,
              "down": qwen.experts.down_proj, "shared_down": qwen.shared_expert.down_proj.weight,
              "shared_gate": qwen.shared_expert_gate.weight}
    with torch.no_grad():  # ours is one matrix, theirs are two
        gate, up = torch.from_numpy(drawn["shared_gate_up"]).chunk(2)
        qwen.shared_expert.gate_proj.weight.copy_(gate)
        qwen.shared_expert.up_proj.weight.copy_(up)
    found |= {f"qwen_{name}": value for name, value in run(qwen, places, drawn).items()}
    found["qwen_shared_gate_up"] = torch.cat([qwen.shared_expert.gate_proj.weight.grad,
                                              qwen.shared_expert.up_proj.weight.grad]).numpy()
    np.savez_compressed(Path(__file__).with_name("reference.npz"), **found)


if __name__ == "__main__":
    main()
