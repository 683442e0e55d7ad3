"""GELU, the MLP and LayerNorm against PyTorch's own, by hand, and by properties."""

import math

import pytest
import torch
import torch.nn.functional as F
from mlp import MLP, gelu, gelu_tanh
from norm import LayerNorm


def test_gelu_equals_pytorch_in_both_forms():
    x = torch.linspace(-6, 6, 241, dtype=torch.float64)
    torch.testing.assert_close(gelu(x), F.gelu(x), rtol=0, atol=1e-14)
    torch.testing.assert_close(gelu_tanh(x), F.gelu(x, approximate="tanh"), rtol=0, atol=1e-14)


def test_gelu_by_hand():
    share_below_one = 0.841344746
    got = gelu(torch.tensor([0.0, 1.0, -1.0, 10.0, -10.0], dtype=torch.float64))
    wanted = [0.0, share_below_one, -(1 - share_below_one), 10.0, 0.0]
    assert got.tolist() == pytest.approx(wanted, abs=1e-8)


def test_the_two_forms_of_gelu_are_close_but_not_equal():
    x = torch.linspace(-6, 6, 1001, dtype=torch.float64)
    assert 1e-4 < (gelu(x) - gelu_tanh(x)).abs().max() < 5e-4


def test_mlp_equals_the_formula_and_is_four_times_wide():
    mlp = MLP(6).double()
    assert mlp.widen.weight.shape == (24, 6) and mlp.project.weight.shape == (6, 24)
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    hidden = F.gelu(x @ mlp.widen.weight.T + mlp.widen.bias)
    torch.testing.assert_close(mlp(x), hidden @ mlp.project.weight.T + mlp.project.bias)
    assert MLP(6, n_hidden=10).widen.weight.shape == (10, 6)


def test_mlp_does_not_mix_tokens():
    mlp, x = MLP(6), torch.randn(1, 4, 6, requires_grad=True)
    mlp(x)[0, 2].sum().backward()
    assert (x.grad[0].abs().sum(-1) > 0).tolist() == [False, False, True, False]


def test_layer_norm_equals_pytorch_in_output_and_gradients():
    torch.manual_seed(0)
    norm = LayerNorm(8).double()
    norm.weight.data.normal_()
    norm.bias.data.normal_()
    x = (3 + 5 * torch.randn(2, 4, 8, dtype=torch.float64)).requires_grad_()
    upstream = torch.randn(2, 4, 8, dtype=torch.float64)
    results = []
    for run in (norm, lambda x: F.layer_norm(x, (8,), norm.weight, norm.bias, 1e-5)):
        x.grad = norm.weight.grad = norm.bias.grad = None
        y = run(x)
        (y * upstream).sum().backward()
        results.append([y, x.grad, norm.weight.grad, norm.bias.grad])
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_layer_norm_by_hand():
    y = LayerNorm(4, eps=0.0)(torch.tensor([1.0, 3.0, 5.0, 7.0]))  # mean 4, variance 5
    assert y.tolist() == pytest.approx([-3 / math.sqrt(5), -1 / math.sqrt(5), 1 / math.sqrt(5),
                                        3 / math.sqrt(5)], abs=1e-6)


def test_layer_norm_treats_each_token_by_itself():
    norm, x = LayerNorm(8), torch.randn(2, 3, 8)
    changed = x.clone()
    changed[0, 1] = 100 * torch.randn(8)
    same = torch.ones(2, 3, dtype=torch.bool)
    same[0, 1] = False
    torch.testing.assert_close(norm(changed)[same], norm(x)[same], rtol=0, atol=0)


def test_layer_norm_forgets_scale_and_shift_of_its_input():
    norm, x = LayerNorm(8).double(), torch.randn(3, 8).double()
    torch.testing.assert_close(norm(10 * x + 7), norm(x), rtol=0, atol=1e-4)


def test_layer_norm_of_a_constant_vector_is_finite():
    assert LayerNorm(4)(torch.full((4,), 3.0)).tolist() == [0, 0, 0, 0]
