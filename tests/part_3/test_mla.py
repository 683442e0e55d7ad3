"""Latent attention: both forms are one function, and little is cached."""

import pytest
import torch
from attention import make_plan
from model import GPT, GPTConfig


def make(**settings):
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=31, block_size=32, n_layer=1, n_head=4, n_embd=32,
                          attention="mla", kv_rank=12, rope_dim=4, **settings)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)
    return model


@pytest.mark.parametrize("settings", [{}, {"window": 4}, {"window": 4, "sink": 2}])
def test_naive_and_absorbed_give_the_same(settings):
    model, x = make(**settings), torch.randn(2, 15, 32, dtype=torch.float64)
    plan = make_plan((2, 15), "cpu", window=model.config.window, sink=model.config.sink,
                     table=model.table, cache=None)
    layer = model.blocks[0].attention
    naive, absorbed = (layer(x, plan, absorb=absorb) for absorb in (False, True))
    assert naive.std() > 0.1
    assert (naive - absorbed).abs().max() < 1e-10


def test_it_equals_attention_spelled_out():
    model, x = make(), torch.randn(1, 6, 32, dtype=torch.float64)
    layer, T, H, D, r = model.blocks[0].attention, 6, 4, 8, 12
    down = x[0] @ layer.down.weight.T
    size = (down[:, :r].square().mean(-1, keepdim=True) + 1e-5).sqrt()
    c = layer.norm.weight * down[:, :r] / size
    q = (x[0] @ layer.query.weight.T).view(T, H, D)
    out = torch.zeros(T, H, D, dtype=torch.float64)
    w = 10000.0 ** -torch.tensor([0.0, 0.5], dtype=torch.float64)
    for h in range(H):
        k = c @ layer.up_key.weight[4 * h:4 * h + 4].T
        v = c @ layer.up_value.weight[8 * h:8 * h + 8].T
        for t in range(T):
            scores = []
            for s in range(t + 1):
                turn = torch.polar(torch.ones(2, dtype=torch.float64), (t - s) * w)
                a = torch.complex(q[t, h, 4:6], q[t, h, 6:])
                b = torch.complex(down[s, r:r + 2], down[s, r + 2:])
                scores.append((q[t, h, :4] @ k[s] + (a * b.conj() * turn).real.sum()) / D**0.5)
            out[t, h] = torch.stack(scores).softmax(0) @ v[:t + 1]
    expected = out.reshape(T, H * D) @ layer.project.weight.T
    plan = make_plan((1, T), "cpu", window=None, sink=0, table=model.table, cache=None)
    assert (layer(x, plan)[0] - expected).abs().max() < 1e-6  # the table is float32


def test_it_caches_the_latent_alone():
    cache = make().make_cache(2, 10)
    assert cache.keys[0].shape == (2, 1, 10, 12 + 4) and cache.values[0].numel() == 0


@pytest.mark.parametrize("settings, words", [
    ({"rope_dim": 8}, "rope_dim=8"), ({"rope_dim": 3}, "head_dim=3"), ({"kv_rank": 0}, "kv_rank=0"),
    ({"positions": "learned"}, "positions")])
def test_nonsense_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        GPTConfig(n_embd=32, n_head=4, attention="mla", **settings)
