"""SwiGLU against the formula in NumPy, and its width against GELU's."""

import numpy as np
import torch
from model import MLP, GPTConfig
from swiglu import SwiGLU, hidden_width


def test_it_equals_the_formula_with_the_gate_in_the_first_rows():
    layer = SwiGLU(4, 6).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    gate_up, down = (p.detach().numpy() for p in (layer.gate_up.weight, layer.project.weight))
    gate, up = x.numpy() @ gate_up[:6].T, x.numpy() @ gate_up[6:].T
    expected = (gate / (1 + np.exp(-gate)) * up) @ down.T
    assert np.allclose(layer(x).detach().numpy(), expected)


def test_a_closed_gate_lets_nothing_through():
    layer = SwiGLU(2, 1)
    with torch.no_grad():
        layer.gate_up.weight.copy_(torch.tensor([[-100.0, 0.0], [0.0, 1.0]]))
        layer.project.weight.fill_(1.0)
    assert layer(torch.tensor([[1.0, 5.0]])).abs().max() < 1e-6       # gate -100: shut
    assert torch.allclose(layer(torch.tensor([[-0.01, 5.0]])),         # gate 1: silu(1) * 5
                          torch.tensor([[3.655, 3.655]]), atol=1e-2)


def test_widths_by_hand():
    assert [hidden_width(c) for c in (96, 128, 512, 768)] == [256, 352, 1376, 2048]


def test_parameters_equal_those_of_gelu_to_within_the_rounding():
    config = GPTConfig(n_embd=512, n_head=8, mlp="gelu")
    gelu = sum(p.numel() for p in MLP(config).parameters())
    swiglu = sum(p.numel() for p in SwiGLU(512, hidden_width(512)).parameters())
    assert abs(swiglu / gelu - 1) < 0.01
