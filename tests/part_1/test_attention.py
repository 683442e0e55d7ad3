"""Attention against plain NumPy loops, by hand, by properties, and against the fused kernel."""

import math

import numpy as np
import pytest
import torch
from attention import Head, MultiHeadAttention, attention, causal_visibility
from demo_attention_by_hand import (
    W_KEY,
    W_QUERY,
    W_VALUE,
    X,
    attention_by_hand,
    backward_by_hand,
    softmax,
)


def attention_by_loops(q, k, v, is_visible):
    """One query at a time, one key at a time: slow, and easy to believe."""
    out, weights = np.zeros((len(q), v.shape[1])), np.zeros((len(q), len(k)))
    for t in range(len(q)):
        powers = [math.exp(sum(q[t] * k[s]) / math.sqrt(q.shape[1])) if is_visible[t, s] else 0.0
                  for s in range(len(k))]
        for s in range(len(k)):
            weights[t, s] = powers[s] / sum(powers)
            out[t] += weights[t, s] * v[s]
    return out, weights


def random_layer(n_embd=12, n_head=3, causal=False):
    torch.manual_seed(1)
    return MultiHeadAttention(n_embd, n_head, causal=causal).double()


def test_attention_equals_plain_loops():
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(4, 6)), rng.normal(size=(5, 6)), rng.normal(size=(5, 3))
    is_visible = rng.random((4, 5)) < 0.6
    is_visible[:, 0] = True
    wanted_out, wanted_weights = attention_by_loops(q, k, v, is_visible)
    out, weights = attention(*(torch.tensor(m) for m in (q, k, v, is_visible)))
    np.testing.assert_allclose(out.numpy(), wanted_out, atol=1e-12)
    np.testing.assert_allclose(weights.numpy(), wanted_weights, atol=1e-12)


def test_by_hand_numbers_of_the_lesson():
    got = attention_by_hand(X, W_QUERY, W_KEY, W_VALUE, causal=False)
    assert got["Q"][2].tolist() == [1, 3, 1, 3]        # fell: row 1 + row 2 + 2 * row 4 of W_Q
    assert got["K"].tolist() == [[1, 0, 0, 1], [0, 2, 1, 0], [1, 1, 2, 0]]
    assert got["V"].tolist() == [[1, 0, 2, 0], [0, 2, 0, 3], [1, 1, 0, 6]]
    assert got["scores"][2].tolist() == [4, 7, 6]      # 1*1+3*1, 3*2+1*1, 1*1+3*1+1*2
    assert got["scaled"][2].tolist() == [2, 3.5, 3]
    powers = [math.exp(2), math.exp(3.5), math.exp(3)]
    weights = [power / sum(powers) for power in powers]
    np.testing.assert_allclose(got["weights"][2], weights, atol=1e-12)
    np.testing.assert_allclose(got["weights"][2], [0.122, 0.547, 0.331], atol=6e-4)
    np.testing.assert_allclose(got["output"][2, 0], weights[0] + weights[2], atol=1e-12)


def test_numpy_and_torch_attention_agree_with_and_without_the_mask():
    for causal in (False, True):
        hand = attention_by_hand(X, W_QUERY, W_KEY, W_VALUE, causal=causal)
        q, k, v = (torch.tensor(hand[name]) for name in "QKV")
        out, weights = attention(q, k, v, causal_visibility(3) if causal else None)
        np.testing.assert_allclose(out.numpy(), hand["output"], atol=1e-12)
        np.testing.assert_allclose(weights.numpy(), hand["weights"], atol=1e-12)


def test_softmax_rows_sum_to_one_and_large_scores_do_not_overflow():
    weights = softmax(np.array([[1000.0, 1000.0, -np.inf], [0.0, math.log(3), 0.0]]))
    np.testing.assert_allclose(weights, [[0.5, 0.5, 0], [0.2, 0.6, 0.2]], atol=1e-12)


def test_causal_visibility_is_the_lower_triangle_with_its_diagonal():
    assert causal_visibility(3).tolist() == [[True, False, False], [True, True, False],
                                             [True, True, True]]


def test_future_tokens_do_not_change_past_outputs():
    head = Head(8, 4)
    layer = MultiHeadAttention(8, 2, causal=True)
    x = torch.randn(2, 6, 8)
    for module in (head, layer, lambda x: layer(x, explicit=True)):
        before = module(x)
        for t in range(1, 6):
            changed = x.clone()
            changed[:, t:] += 1.0
            after = module(changed)
            torch.testing.assert_close(after[:, :t], before[:, :t], rtol=0, atol=1e-6)
            assert (after[:, t] - before[:, t]).abs().max() > 1e-3


def test_a_token_sees_itself_and_all_before_it():
    layer = MultiHeadAttention(8, 2, causal=True)
    x = torch.randn(1, 5, 8, requires_grad=True)
    layer(x)[0, 3].sum().backward()
    reached = x.grad[0].abs().sum(-1) > 1e-6
    assert reached.tolist() == [True, True, True, True, False]


def test_without_causal_every_token_sees_every_token():
    for module in (Head(8, 4, causal=False), MultiHeadAttention(8, 2)):
        x = torch.randn(1, 5, 8, requires_grad=True)
        module(x)[0, 0].sum().backward()
        assert (x.grad[0].abs().sum(-1) > 1e-6).all()


def test_one_head_equals_the_formula_with_its_matrices():
    head = Head(6, 4, causal=True).double()
    x = torch.randn(1, 5, 6, dtype=torch.float64)
    q, k, v = ((x[0] @ m.weight.T + m.bias).detach().numpy()
               for m in (head.query, head.key, head.value))
    wanted, _ = attention_by_loops(q, k, v, np.tri(5, dtype=bool))
    np.testing.assert_allclose(head(x)[0].detach().numpy(), wanted, atol=1e-12)


def test_many_heads_equal_separate_heads_concatenated_and_projected():
    layer = random_layer(causal=True)
    x = torch.randn(1, 5, 12, dtype=torch.float64)
    q, k, v = ((x[0] @ m.weight.T + m.bias).detach().numpy()
               for m in (layer.query, layer.key, layer.value))
    parts = [attention_by_loops(q[:, h:h + 4], k[:, h:h + 4], v[:, h:h + 4],
                                np.tri(5, dtype=bool))[0] for h in (0, 4, 8)]
    joined = torch.tensor(np.concatenate(parts, axis=1))
    wanted = joined @ layer.project.weight.T + layer.project.bias
    for explicit in (True, False):
        torch.testing.assert_close(layer(x, explicit=explicit)[0], wanted, rtol=0, atol=1e-10)


def test_split_keeps_the_channels_of_a_head_together_and_concatenate_undoes_it():
    layer = MultiHeadAttention(6, 2)
    x = torch.arange(2 * 3 * 6).view(2, 3, 6).float()
    parts = layer.split(x)
    assert parts.shape == (2, 2, 3, 3)
    assert parts[0, 1, 2].tolist() == x[0, 2, 3:].tolist()
    torch.testing.assert_close(layer.concatenate(parts), x)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_explicit_equals_fused_in_outputs_and_gradients(causal, padded):
    layer = random_layer(causal=causal)
    is_visible = torch.ones(2, 1, 1, 7, dtype=torch.bool)
    is_visible[1, ..., 5:] = not padded
    results = []
    for explicit in (True, False):
        torch.manual_seed(3)
        x = torch.randn(2, 7, 12, dtype=torch.float64, requires_grad=True)
        layer.zero_grad()
        y = layer(x, is_visible=is_visible if padded else None, explicit=explicit)
        y.square().sum().backward()
        results.append([y, x.grad] + [p.grad.clone() for p in layer.parameters()])
    for ours, fused in zip(*results):
        torch.testing.assert_close(ours, fused, rtol=0, atol=1e-9)


def test_a_causal_layer_given_a_mask_obeys_both():
    layer, x = random_layer(causal=True), torch.randn(1, 5, 12).double()
    given = torch.tensor([True, True, False, True, True])[None, None, None]
    both = given[0, 0] & causal_visibility(5)
    for explicit in (True, False):
        torch.testing.assert_close(
            layer(x, is_visible=given, explicit=explicit),
            random_layer()(x, is_visible=both, explicit=explicit), rtol=0, atol=1e-12)
    assert torch.equal(layer.weights(x, is_visible=given)[0, 0] > 0, both)


def test_invisible_keys_change_nothing():
    layer = random_layer()
    x, context = torch.randn(1, 4, 12).double(), torch.randn(1, 6, 12).double()
    is_visible = torch.tensor([True, True, False, True, False, True])[None, None, None]
    changed = context.clone()
    changed[:, [2, 4]] = 100.0
    for explicit in (True, False):
        torch.testing.assert_close(
            layer(x, context, is_visible, explicit=explicit),
            layer(x, changed, is_visible, explicit=explicit), rtol=0, atol=1e-12)
    weights = layer.weights(x, context, is_visible)
    assert weights[..., [2, 4]].eq(0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 3, 4).double())


def test_cross_attention_takes_queries_from_x_and_keys_and_values_from_the_context():
    layer = random_layer(n_head=1)
    x, context = torch.randn(1, 3, 12).double(), torch.randn(1, 5, 12).double()
    q = (x[0] @ layer.query.weight.T + layer.query.bias).detach().numpy()
    k, v = ((context[0] @ m.weight.T + m.bias).detach().numpy() for m in (layer.key, layer.value))
    wanted, weights = attention_by_loops(q, k, v, np.ones((3, 5), dtype=bool))
    wanted = torch.tensor(wanted) @ layer.project.weight.T + layer.project.bias
    torch.testing.assert_close(layer(x, context)[0], wanted, rtol=0, atol=1e-10)
    np.testing.assert_allclose(layer.weights(x, context)[0, 0].numpy(), weights, atol=1e-10)


def test_shuffling_the_tokens_shuffles_the_output():
    layer = random_layer()
    x, shuffle = torch.randn(1, 6, 12).double(), torch.tensor([4, 2, 0, 5, 1, 3])
    torch.testing.assert_close(layer(x[:, shuffle]), layer(x)[:, shuffle], rtol=0, atol=1e-10)


def test_scores_keep_variance_one_whatever_the_width():
    q, k = torch.randn(200, 256), torch.randn(200, 256)
    _, weights = attention(q, k, k)
    unscaled = (q @ k.T).softmax(-1)
    peak, unscaled_peak = weights.max(-1).values.mean(), unscaled.max(-1).values.mean()
    assert peak < 0.15 and unscaled_peak > 0.6


def test_weights_for_pictures_are_those_that_make_the_output():
    layer = random_layer(causal=True)
    x = torch.randn(2, 5, 12).double()
    by_weights = layer.weights(x) @ layer.split(layer.value(x))
    torch.testing.assert_close(layer.project(layer.concatenate(by_weights)), layer(x))


@pytest.mark.parametrize("n_head", [5, 0, -2])
def test_heads_that_do_not_divide_the_width_are_an_error(n_head):
    with pytest.raises(ValueError, match=f"n_embd=12 must be a multiple of n_head={n_head}"):
        MultiHeadAttention(12, n_head)


@pytest.mark.parametrize("causal", [False, True])
def test_the_way_back_by_hand_equals_autograd(causal):
    rng = np.random.default_rng(3)
    matrices = [rng.normal(size=(5, 6))] + [rng.normal(size=(6, 4)) for _ in range(3)]
    d_output = rng.normal(size=(5, 4))
    hand = backward_by_hand(*matrices, attention_by_hand(*matrices, causal=causal), d_output)
    x, w_query, w_key, w_value = (torch.tensor(m, requires_grad=True) for m in matrices)
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    for one in (q, k, v):
        one.retain_grad()
    out, _ = attention(q, k, v, causal_visibility(5) if causal else None)
    out.backward(torch.tensor(d_output))
    for name, tensor in (("dQ", q), ("dK", k), ("dV", v), ("dX", x), ("dW_Q", w_query),
                         ("dW_K", w_key), ("dW_V", w_value)):
        np.testing.assert_allclose(hand[name], tensor.grad.numpy(), atol=1e-12, err_msg=name)


def test_the_way_back_of_the_lesson():
    found = attention_by_hand(X, W_QUERY, W_KEY, W_VALUE, causal=False)
    d_output = np.zeros((3, 4))
    d_output[2, 0] = 1
    back = backward_by_hand(X, W_QUERY, W_KEY, W_VALUE, found, d_output)
    assert back["d weights"][2].tolist() == [1, 0, 1]    # the first channel of the three values
    weights = found["weights"][2]
    shared = weights[0] + weights[2]                     # 0.453: what 'fell' gets in channel 1
    np.testing.assert_allclose(back["d scaled"][2], weights * ([1, 0, 1] - shared), atol=1e-12)
    np.testing.assert_allclose(back["d scaled"][2], [0.067, -0.248, 0.181], atol=6e-4)
    np.testing.assert_allclose(back["d scaled"].sum(axis=1), 0, atol=1e-12)
