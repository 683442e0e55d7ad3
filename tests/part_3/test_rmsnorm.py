"""RMSNorm against numbers worked out by hand and against the formula in NumPy."""

import numpy as np
import torch
from rmsnorm import RMSNorm, rms_norm


def test_three_four_by_hand():
    norm = RMSNorm(2, eps=0.0)
    assert torch.allclose(norm(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.848528, 1.131371]]))


def test_both_forms_equal_the_formula_in_numpy():
    x = np.random.default_rng(0).normal(2, 3, size=(4, 7, 16))
    weight = np.linspace(-1, 2, 16)
    expected = weight * x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-2)
    norm = RMSNorm(16, eps=1e-2).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor(weight))
        assert np.allclose(norm(torch.tensor(x)).numpy(), expected)
        by_hand = rms_norm(torch.tensor(x).float(), norm.weight.float(), 1e-2)
    assert np.allclose(by_hand.numpy(), expected, atol=1e-5)


def test_the_mean_is_kept_unlike_in_layernorm():
    shifted = torch.randn(5, 32) + 10
    assert (RMSNorm(32)(shifted).mean(-1) > 0.9).all()
    assert (torch.nn.LayerNorm(32)(shifted).mean(-1).abs() < 1e-5).all()


def test_a_longer_vector_gives_the_same_output():
    x = torch.randn(3, 8)
    norm = RMSNorm(8, eps=0.0)
    assert torch.allclose(norm(1000 * x), norm(x), atol=1e-5)


def test_zeros_stay_zero_and_have_a_gradient():
    x = torch.zeros(2, 8, requires_grad=True)
    out = RMSNorm(8)(x)
    out.sum().backward()
    assert (out == 0).all() and torch.isfinite(x.grad).all()


def test_squares_do_not_overflow_in_float16():
    x = torch.full((1, 8), 1000.0, dtype=torch.float16)  # 1000^2 is beyond float16
    assert torch.allclose(rms_norm(x, torch.ones(8, dtype=torch.float16), 1e-5).float(),
                          torch.ones(1, 8))


def test_the_gradient_is_that_of_finite_differences():
    norm = RMSNorm(6).double()
    assert torch.autograd.gradcheck(norm, torch.randn(3, 6, dtype=torch.float64,
                                                      requires_grad=True))
