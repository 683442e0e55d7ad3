"""The three forms of the layer, against each other, a plain oracle and two released models."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from moe.experts import RUN, sort_by_expert
from moe.layer import MoE, MoEConfig
from moe.router import DROPPED, drop_overflow

C, H, E = 16, 24, 5
FAST = ("sorted", "grouped")


def draw(experts: torch.Tensor, seed: int = 0, C: int = C, H: int = H, E: int = E):
    """Random weights in float64 and weights of the choices -> inputs of the three forms."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64).requires_grad_()
    N, k = experts.shape
    return {"x": normal(N, C), "weights": normal(N, k), "gate_up": normal(E, 2 * H, C),
            "down": normal(E, C, H)}


def oracle(x, experts, weights, gate_up, down):
    """Token by token, choice by choice, straight from eq. 5.7."""
    rows = []
    for n in range(x.size(0)):
        y = torch.zeros(C, dtype=x.dtype)
        for j, e in enumerate(experts[n].tolist()):
            if e != DROPPED:
                gate, up = gate_up[e][:H] @ x[n], gate_up[e][H:] @ x[n]
                y = y + weights[n, j] * (down[e] @ (gate * torch.sigmoid(gate) * up))
        rows.append(y)
    return torch.stack(rows)


def outcome(run, experts, inputs):
    """-> output and the gradients of all inputs"""
    out = run(inputs["x"], experts, inputs["weights"], inputs["gate_up"], inputs["down"])
    slope = torch.sin(torch.arange(out.numel(), dtype=torch.float64)).view(out.shape)
    total = (out * slope.to(out.dtype)).sum() + 0 * sum(value.sum() for value in inputs.values())
    return [out, *torch.autograd.grad(total, list(inputs.values()))]


def some_choices(n: int = 30, k: int = 2) -> torch.Tensor:
    return torch.stack([torch.randperm(E)[:k] for _ in range(n)])


CASES = {
    "mixed": some_choices,
    "top-1": lambda: some_choices(k=1),
    "all experts": lambda: some_choices(k=E),
    "empty experts": lambda: torch.tensor([[1, 3], [3, 1], [1, 3]]),
    "all tokens to one": lambda: torch.full((9, 1), 2),
    "all tokens to the last": lambda: torch.full((9, 1), E - 1),
    "one token": lambda: torch.tensor([[4, 0]]),
    "overflow": lambda: drop_overflow(some_choices(), E, 5),
    "everything dropped": lambda: torch.full((4, 2), DROPPED),
}


@pytest.mark.parametrize("form", ["loop", *FAST])
@pytest.mark.parametrize("case", CASES)
def test_every_form_equals_the_oracle_forward_and_gradients(form, case):
    experts = CASES[case]()
    inputs = draw(experts)
    run = RUN[form]
    if form == "grouped":  # its kernel takes float32 and bfloat16
        found = outcome(run, experts, {name: value.detach().float().requires_grad_()
                                       for name, value in inputs.items()})
        tolerance = 2e-4
    else:
        found, tolerance = outcome(run, experts, inputs), 1e-10
    for one, other in zip(found, outcome(oracle, experts, inputs)):
        torch.testing.assert_close(one.double(), other, rtol=tolerance, atol=tolerance)


def test_the_backward_pass_by_hand_agrees_with_finite_differences():
    experts = torch.tensor([[0, 1], [1, 3], [3, DROPPED]])  # expert 2 gets nothing
    inputs = draw(experts, C=3, H=2, E=4)
    assert torch.autograd.gradcheck(
        lambda x, weights, gate_up, down: RUN["sorted"](x, experts, weights, gate_up, down),
        tuple(inputs.values()))


@pytest.mark.parametrize("form", FAST)
def test_forms_agree_in_bfloat16_within_its_precision(form):
    experts = some_choices(200)
    inputs = {name: (value.detach() * 0.3).float() for name, value in draw(experts).items()}
    exact = outcome(RUN["loop"], experts, {n: v.requires_grad_() for n, v in inputs.items()})
    rough = outcome(RUN[form], experts, {name: value.detach().bfloat16().requires_grad_()
                                         for name, value in inputs.items()})
    for one, other in zip(rough, exact):
        assert (one.float() - other).norm() < 0.02 * other.norm()


def test_sorting_by_expert_worked_out_by_hand():
    order, counts = sort_by_expert(torch.tensor([[1, 0], [1, DROPPED], [2, 1]]), 4)
    assert order.tolist() == [1, 0, 2, 5, 4] and counts.tolist() == [1, 3, 1, 0]


@pytest.mark.parametrize("form", ["auto", "loop", *FAST])
def test_autocast_computes_in_bfloat16_and_gradients_stay_float32(form):
    layer = MoE(16, 32, MoEConfig(n_expert=4, form=form))
    x = torch.randn(3, 10, 16)
    exact = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    assert (out - exact).norm() < 0.02 * exact.norm()
    out.float().square().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in layer.parameters())


# ---------------------------------------------------------------- released models

def load_reference():
    """What transformers' own layers gave, and the script that draws the same weights."""
    folder = Path(__file__).parent / "data"
    spec = importlib.util.spec_from_file_location("make_reference", folder / "make_reference.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script, np.load(folder / "reference.npz")


@pytest.mark.parametrize("form", ["loop", *FAST])
@pytest.mark.parametrize("name, seed, settings", [
    ("mixtral", 1, {}),
    ("qwen", 2, {"renormalize": False, "n_shared": 2, "shared_gate": True}),
])
def test_the_layer_equals_mixtral_and_qwen_moe_forward_and_gradients(name, seed, settings, form):
    script, reference = load_reference()
    drawn = {key: torch.from_numpy(value) for key, value in script.draw(seed).items()}
    layer = MoE(script.C, script.F, MoEConfig(n_expert=script.E, n_active=script.K, form=form,
                                              **settings))
    places = {"router": layer.router.weight, "gate_up": layer.experts.gate_up,
              "down": layer.experts.down}
    if layer.shared is not None:
        places |= {"shared_gate_up": layer.shared.gate_up.weight,
                   "shared_down": layer.shared.project.weight,
                   "shared_gate": layer.shared_gate.weight}
    with torch.no_grad():
        for key, parameter in places.items():
            parameter.copy_(drawn[key])
    x = drawn["x"].requires_grad_()
    out = layer(x)
    out.backward(drawn["slope"])
    found = {"out": out, "x": x.grad, **{key: value.grad for key, value in places.items()}}
    assert {f"{name}_{key}" for key in found} == {k for k in reference if k.startswith(name)}
    for key, value in found.items():
        expected = torch.from_numpy(reference[f"{name}_{key}"])
        scale = max(1.0, float(expected.abs().max()))
        assert float((value.detach() - expected).abs().max()) < 1e-5 * scale, key


# ---------------------------------------------------------------- the whole layer

def make_layer(**settings) -> MoE:
    torch.manual_seed(3)
    layer = MoE(16, 24, MoEConfig(**settings))
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return layer


def test_shared_experts_are_added_once_and_their_gate_scales_them():
    x = torch.randn(2, 7, 16)
    layer = make_layer(n_shared=2)
    assert layer.shared.project.weight.shape == (16, 48)
    with torch.no_grad():
        both = layer(x)
        layer.experts.down.zero_()
        alone = layer(x)
        torch.testing.assert_close(alone, layer.shared(x))
        assert (both - alone).abs().max() > 0.1
    gated = make_layer(n_shared=1, shared_gate=True)
    with torch.no_grad():
        gated.experts.down.zero_()
        expected = gated.shared(x) * torch.sigmoid(x @ gated.shared_gate.weight[0])[..., None]
        torch.testing.assert_close(gated(x), expected)


def test_one_expert_that_all_tokens_use_is_a_dense_swiglu():
    layer, x = make_layer(n_expert=1, n_active=1), torch.randn(5, 16)
    gate, up = (x @ layer.experts.gate_up[0].T).chunk(2, dim=-1)
    expected = (F.silu(gate) * up) @ layer.experts.down[0].T
    torch.testing.assert_close(layer(x), expected)


def test_with_a_scale_of_k_even_experts_are_a_dense_swiglu_cut_in_pieces():
    """All of 4 experts, equal scores: with scale 4 each piece counts in full, as in the whole."""
    layer, x = make_layer(n_expert=4, n_active=4, scale=4.0), torch.randn(9, 16)
    with torch.no_grad():
        layer.router.weight.zero_()
        gate, up = layer.experts.gate_up.chunk(2, dim=1)
        whole = (F.silu(x @ gate.flatten(0, 1).T) * (x @ up.flatten(0, 1).T))
        expected = whole @ layer.experts.down.transpose(0, 1).flatten(1).T
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_fine_grained_experts_contain_the_coarse_ones():
    """Experts cut in two, both halves always chosen together, give the same layer."""
    coarse = make_layer(n_expert=4, n_active=1)
    fine = MoE(16, 12, MoEConfig(n_expert=8, n_active=2, renormalize=False))
    with torch.no_grad():
        gate, up = coarse.experts.gate_up.chunk(2, dim=1)
        halves = [torch.cat([gate[:, part], up[:, part]], dim=1)
                  for part in (slice(0, 12), slice(12, 24))]
        fine.experts.gate_up.copy_(torch.stack(halves, 1).flatten(0, 1))
        fine.experts.down.copy_(coarse.experts.down.view(4, 16, 2, 12).transpose(1, 2)
                                .flatten(0, 1))
        fine.router.weight.copy_(coarse.router.weight.repeat_interleave(2, dim=0))
        x = torch.randn(30, 16)
        torch.testing.assert_close(2 * fine(x), coarse(x))  # each half has half the probability


def test_a_token_that_is_dropped_everywhere_adds_nothing_to_the_residual_stream():
    layer, x = make_layer(n_active=1, capacity=0.5, n_expert=4), torch.randn(60, 16)
    out = layer(x)
    is_dropped = (layer.routing.experts == DROPPED).all(-1)
    assert layer.routing.dropped == int(is_dropped.sum()) >= 28  # 4 x 8 places for 60
    assert (out[is_dropped] == 0).all()           # x + 0: the stream goes on unchanged
    assert (out[~is_dropped].abs().sum(-1) > 0).all()


def test_the_layers_loss_is_the_weighted_sum_and_only_there_in_training():
    from moe.router import balance_loss, z_loss
    layer = make_layer(balance_weight=0.02, z_weight=0.003)
    layer(torch.randn(50, 16))
    routing = layer.routing
    expected = (0.02 * balance_loss(routing.scores, routing.load) + 0.003 * z_loss(routing.logits))
    torch.testing.assert_close(layer.loss, expected)
    other = make_layer(balance="none", z_weight=0.003)
    other(torch.randn(50, 16))
    torch.testing.assert_close(other.loss, 0.003 * z_loss(other.routing.logits))
    layer.eval()
    layer(torch.randn(50, 16))
    assert layer.loss is None


def test_every_expert_and_the_router_get_a_gradient():
    layer = make_layer(n_shared=1, shared_gate=True)
    out = layer(torch.randn(200, 16))
    (out.square().mean() + layer.loss).backward()
    assert (layer.routing.load > 0).all()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    for stacked in (layer.experts.gate_up, layer.experts.down):
        assert (stacked.grad.flatten(1).abs().max(1).values > 0).all()
    assert (layer.router.weight.grad.abs().max(1).values > 0).all()
