"""RoPE: rotation, relative positions, both layouts, the table, longer contexts."""

import math

import pytest
import torch
from rope import (
    RotaryTable,
    apply_rope,
    apply_rope_interleaved,
    interleaved_to_halves,
    rope_frequencies,
)


def turned(x, positions, **settings):
    """x (T, D) -> the same with each row turned by its position."""
    table = RotaryTable(rope_frequencies(x.size(-1), **settings), 64)
    cos, sin = table.at(torch.as_tensor(positions)[None], max(positions))
    return apply_rope(x[None, :, None], cos.to(x.dtype), sin.to(x.dtype))[0, :, 0]


def test_a_pair_turns_counterclockwise_by_one_radian_per_position():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    expected = torch.tensor([[math.cos(1), math.sin(1)], [-math.sin(3), math.cos(3)]])
    assert torch.allclose(turned(x, [1, 3]), expected)


def test_channel_i_turns_with_channel_i_plus_half():
    x = torch.tensor([[0.0, 1.0, 0.0, 0.0]])  # channel 1: the second pair, w = 1/100
    expected = torch.tensor([[0.0, math.cos(0.05), 0.0, math.sin(0.05)]])
    assert torch.allclose(turned(x, [5]), expected)


def test_frequencies_by_hand():
    expected = torch.tensor([1.0, 0.1, 0.01, 0.001], dtype=torch.float64)
    assert torch.allclose(rope_frequencies(8), expected)
    assert torch.allclose(rope_frequencies(4, theta=100.0),
                          torch.tensor([1.0, 0.1], dtype=torch.float64))


def test_only_the_distance_is_left_in_the_product():
    q, k = torch.randn(2, 1, 16)
    near = (turned(q, [9]) * turned(k, [5])).sum()
    far = (turned(q, [41]) * turned(k, [37])).sum()
    other = (turned(q, [41]) * turned(k, [36])).sum()
    assert torch.allclose(near, far, atol=1e-5)
    assert (near - other).abs() > 1e-3


def test_the_product_matches_complex_numbers():
    """Re(q conj(k) e^(i d w)) with d = t - s: query and key turn the same way, by t and by s."""
    q, k = torch.randn(2, 1, 12)
    w = rope_frequencies(12).float()
    complex_q, complex_k = (torch.complex(x[:, :6], x[:, 6:]) for x in (q, k))
    for t, s in ((7, 2), (2, 7), (30, 30)):
        expected = (complex_q * complex_k.conj() * torch.polar(torch.ones(6), (t - s) * w)).real
        got = (turned(q, [t]) * turned(k, [s])).sum()
        assert torch.allclose(got, expected.sum(), atol=1e-5)


def test_position_zero_changes_nothing_and_lengths_are_kept():
    x = torch.randn(3, 10)
    out = turned(x, [0, 17, 63])
    assert torch.equal(out[0], x[0])
    assert torch.allclose(out.norm(dim=-1), x.norm(dim=-1))


def test_halves_and_interleaved_are_the_same_up_to_a_permutation():
    assert interleaved_to_halves(6).tolist() == [0, 2, 4, 1, 3, 5]
    table = RotaryTable(rope_frequencies(16), 64)
    cos, sin = table.at(torch.arange(20)[None], 19)
    q, k = torch.randn(2, 1, 20, 3, 16)
    p = interleaved_to_halves(16)
    for x in (q, k):
        assert torch.allclose(apply_rope(x[..., p], cos, sin),
                              apply_rope_interleaved(x, cos, sin)[..., p], atol=1e-6)
    def scores(a, b):
        return torch.einsum("bthd,bshd->bhts", a, b)
    assert torch.allclose(
        scores(apply_rope(q[..., p], cos, sin), apply_rope(k[..., p], cos, sin)),
        scores(apply_rope_interleaved(q, cos, sin), apply_rope_interleaved(k, cos, sin)), atol=1e-4)


def test_beyond_the_table_angles_are_computed_and_exact():
    table = RotaryTable(rope_frequencies(8), 16)
    inside = table.at(torch.tensor([[3, 15]]), 15)
    beyond = table.at(torch.tensor([[3, 15]]), 16)
    assert all(torch.equal(a, b) for a, b in zip(inside, beyond))
    cos, sin = table.at(torch.tensor([[1_000_003]]), 1_000_003)
    assert abs(cos[0, 0, 0, 0].item() - math.cos(1_000_003)) < 1e-6  # float32 angles: off by 0.03
    assert abs(sin[0, 0, 0, 1].item() - math.sin(100_000.3)) < 1e-6


def test_linear_interpolation_divides_every_angle():
    assert torch.allclose(rope_frequencies(8, scaling="linear", factor=4),
                          rope_frequencies(8) / 4)


def test_ntk_leaves_the_fastest_pair_and_slows_the_slowest_by_the_factor():
    plain, ntk = rope_frequencies(16), rope_frequencies(16, scaling="ntk", factor=4)
    assert ntk[0] == plain[0]
    assert torch.isclose(ntk[-1], plain[-1] / 4)
    assert (ntk[1:] < plain[1:]).all() and (ntk > plain / 4.0001).all()


def test_llama3_scaling_by_hand():
    """Wavelengths below 8192/4 are kept, above 8192/1 slowed by 8, between blended."""
    plain = rope_frequencies(128, theta=500000.0)
    scaled = rope_frequencies(128, theta=500000.0, scaling="llama3", factor=8.0, trained=8192)
    wavelength = 2 * math.pi / plain
    for w, p, s in zip(wavelength, plain, scaled):
        if w < 8192 / 4:
            assert s == p
        elif w > 8192:
            assert torch.isclose(s, p / 8)
        else:
            smooth = (8192 / w - 1) / (4 - 1)
            assert torch.isclose(s, (1 - smooth) * p / 8 + smooth * p)


@pytest.mark.parametrize("settings, word", [({"head_dim": 7}, "7"), ({"head_dim": 0}, "0"),
                                            ({"head_dim": 8, "scaling": "yarn"}, "yarn")])
def test_nonsense_is_refused_with_its_value(settings, word):
    with pytest.raises(ValueError, match=word):
        rope_frequencies(**settings)
