"""Attention: visibility by hand, groups of heads, and both ways of computing it."""

import math

import pytest
import torch
from attention import Plan, all_visible, attend, make_plan, visibility
from model import GPT, GPTConfig
from rope import RotaryTable, rope_frequencies


def test_visibility_by_hand():
    positions = torch.arange(5)[None]
    expected = torch.tensor([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 0, 1, 1, 0],
                             [1, 0, 0, 1, 1]], dtype=torch.bool)
    assert torch.equal(visibility(positions, positions, 2, 1)[0], expected)
    assert torch.equal(visibility(positions, positions)[0], torch.ones(5, 5).tril().bool())


def test_pads_are_seen_by_nobody_but_themselves():
    positions = torch.tensor([[-2, -1, 0, 1]])
    expected = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]).bool()
    for settings in ((), (4, 0), (4, 2)):
        assert torch.equal(visibility(positions, positions, *settings)[0], expected)


def test_consecutive_query_heads_share_a_key_head():
    """Values are constant per key head; so the output tells which one a query head has read."""
    q, k = torch.randn(1, 6, 3, 8), torch.randn(1, 2, 3, 8)
    v = torch.tensor([10.0, 20.0]).view(1, 2, 1, 1).expand(1, 2, 3, 8)
    for plan in (Plan(is_causal=True), Plan(is_visible=torch.ones(3, 3).tril().bool()[None, None])):
        assert attend(q, k, v, plan)[0, :, 2, 0].round().tolist() == [10, 10, 10, 20, 20, 20]
    q_half, k_half, v_half = (x.bfloat16() for x in (q, k, v))
    out = attend(q_half, k_half, v_half, Plan(is_causal=True))
    assert out[0, :, 2, 0].float().round().tolist() == [10, 10, 10, 20, 20, 20]


@pytest.mark.parametrize("plan", [Plan(), Plan(is_causal=True), Plan(
    is_visible=torch.ones(2, 1, 7, 7).tril().bool())])
def test_products_equal_the_fused_kernel(plan):
    q, k, v = torch.randn(2, 4, 7, 8), torch.randn(2, 2, 7, 8), torch.randn(2, 2, 7, 8)
    fused = attend(q, k, v, plan)
    wide = torch.cat([v, torch.zeros(2, 2, 7, 1)], dim=-1)  # widths differ: plain products
    assert torch.allclose(attend(q, k, wide, plan)[..., :8], fused, atol=1e-6)
    half = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), plan)
    assert (half.float() - fused).abs().max() < 0.05


def test_scores_are_divided_by_the_root_of_the_width():
    q, k = torch.full((1, 1, 1, 16), 1.0), torch.zeros(1, 1, 2, 16)
    k[0, 0, 1] = 1.0  # scores 0 and 16/4
    v = torch.tensor([0.0, 1.0]).view(1, 1, 2, 1)
    assert math.isclose(attend(q, k, v, Plan()).item(), 1 / (1 + math.exp(-4)), rel_tol=1e-5)


def test_the_mask_is_left_out_only_where_all_is_visible():
    table = RotaryTable(rope_frequencies(8), 32)
    for settings in ({}, {"window": 4}, {"window": 4, "sink": 2}):
        for rolling in {None, False} if settings else {None}:
            model = GPT(GPTConfig(vocab_size=9, block_size=32, n_layer=1, n_head=1, n_embd=8,
                                  **settings))
            cache = model.make_cache(1, 20, rolling=rolling)
            for seen in range(20):
                position = torch.tensor([[seen]])
                everything = visibility(position, cache.key_positions(1),
                                        model.config.window, model.config.sink).all().item()
                if all_visible(cache):
                    assert everything, (settings, rolling, seen)
                plan = make_plan((1, 1), "cpu", window=model.config.window, cache=cache,
                                 sink=model.config.sink, table=table)
                assert (plan.is_visible is None) <= everything
                cache.advance(1)


def test_no_mask_is_built_for_plain_decoding():
    for settings, seen in (({}, 9), ({"window": 4}, 9), ({"window": 4, "sink": 2}, 9)):
        cache = GPT(GPTConfig(n_layer=1, **settings)).make_cache(1, 20)
        cache.advance(seen)
        assert all_visible(cache)


@pytest.mark.parametrize("settings", [
    {}, {"n_kv_head": 2}, {"n_kv_head": 1, "qk_norm": True}, {"window": 4, "sink": 2},
    {"qkv_bias": True}, {"bias": True}, {"attention": "mla"}, {"tied": False}, {"head_dim": 20},
    {"attention": "mla", "window": 4, "sink": 2}])
def test_every_parameter_gets_a_gradient(settings):
    model = GPT(GPTConfig(vocab_size=20, block_size=32, n_layer=2, n_head=4, n_embd=32, **settings))
    ids = torch.arange(20)[None]
    model(ids[:, :-1], ids[:, 1:])[1].backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # a bias added to all keys alike moves no weight of the softmax but through the rotation
    assert idle == []


def test_qk_norm_makes_the_size_of_queries_and_keys_irrelevant():
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=20, block_size=8, n_layer=1, qk_norm=True, norm_eps=1e-12))
    ids = torch.arange(8)[None]
    before = model(ids)[0]
    with torch.no_grad():
        attention = model.blocks[0].attention
        attention.qkv.weight[:2 * 128] *= 7  # queries and keys, not values
    assert torch.allclose(model(ids)[0], before, atol=1e-5)
    with torch.no_grad():
        attention.q_norm.weight *= 7
    assert not torch.allclose(model(ids)[0], before, atol=1e-3)
