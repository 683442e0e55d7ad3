"""One definition of what attention sees, and every way of computing it agrees.

`reference_logits` is slow and plain: one row, one query at a time, no mask, no cache; the visible
positions are listed, and the rotation is a complex number that depends on the distance alone.
"""

import math

import pytest
import torch
from model import GPT, GPTConfig

SIZES = {"vocab_size": 31, "block_size": 32, "n_layer": 2, "n_head": 4, "n_embd": 32}
HEADS = {"MHA": 4, "GQA": 2, "MQA": 1}
SIGHT = {"full": {}, "window": {"window": 6}, "window+sink": {"window": 6, "sink": 4}}
CHUNKS = {"whole": lambda T: [T], "token by token": lambda T: [1] * T,
          "in chunks": lambda T: [5, 1, 3, 9] * 9,  # 9 is longer than the window
          "long chunk late": lambda T: [4, 4, 1, 17, 1, 1, 20]}
ROWS = {"one row": [0], "rows of different lengths": [0, 3, 11]}


@pytest.fixture(autouse=True)
def one_thread():
    """Tensors this small are slower with two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(seed=0, **settings):
    """A model whose attention is far from even and whose logits are of size 1."""
    torch.manual_seed(seed)
    model = GPT(GPTConfig(**{**SIZES, **settings})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(6 if "qkv" in name else 3)
            if "norm" in name:
                parameter.copy_(0.5 + torch.rand_like(parameter))
    return model


def rms(x, weight, eps):
    return weight * x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def reference_attention(x, weights, config):
    T, H, K, D = len(x), config.n_head, config.n_kv_head, config.head_dim
    q, k, v = (x @ weights["attention.qkv.weight"].T).split([H * D, K * D, K * D], dim=1)
    q, k, v = q.view(T, H, D), k.view(T, K, D), v.view(T, K, D)
    w = config.rope_theta ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    out = torch.zeros(T, H, D, dtype=torch.float64)
    for t in range(T):
        visible = [s for s in range(t + 1) if config.window is None or t - s < config.window
                   or s < config.sink]
        distance = [(min(t, config.sink + config.window - 1) if s < config.sink else t) - s
                    for s in visible]
        turn = torch.polar(torch.ones(len(visible), D // 2, dtype=torch.float64),
                           torch.tensor(distance, dtype=torch.float64)[:, None] * w)
        for h in range(H):
            keys, values = k[visible, h // (H // K)], v[visible, h // (H // K)]
            complex_q = torch.complex(q[t, h, :D // 2], q[t, h, D // 2:])
            complex_k = torch.complex(keys[:, :D // 2], keys[:, D // 2:])
            scores = (complex_q * complex_k.conj() * turn).real.sum(-1) / math.sqrt(D)
            out[t, h] = scores.softmax(0) @ values
    return out.reshape(T, H * D) @ weights["attention.project.weight"].T


def reference_logits(model, ids):
    config = model.config
    weights = {name: tensor.double() for name, tensor in model.state_dict().items()}
    x = weights["token_embedding.weight"][ids]
    for layer in range(config.n_layer):
        here = {name.removeprefix(f"blocks.{layer}."): tensor for name, tensor in weights.items()}
        x = x + reference_attention(rms(x, here["norm_1.weight"], config.norm_eps), here, config)
        gate, up = (rms(x, here["norm_2.weight"], config.norm_eps)
                    @ here["mlp.gate_up.weight"].T).chunk(2, -1)
        x = x + (gate * gate.sigmoid() * up) @ here["mlp.project.weight"].T
    return rms(x, weights["norm.weight"], config.norm_eps) @ weights["head.weight"].T


def make_ids(rows, T):
    return torch.randint(0, SIZES["vocab_size"], (rows, T))


def length_of(sight):
    return 30 if sight == "full" else 45  # with a window: beyond the window, and block_size


@torch.no_grad()
def cached_logits(model, ids, chunks, **settings):
    cache = model.make_cache(len(ids), ids.size(1), **settings)
    out, first = [], 0
    for count in chunks:
        part = ids[:, first:first + count]
        if part.numel() == 0:
            break
        out.append(model(part, cache=cache)[0])
        first += count
    out = torch.cat(out, dim=1)
    assert out.size(1) == ids.size(1) and cache.seen == ids.size(1)
    return out


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("heads", HEADS)
@torch.no_grad()
def test_the_forward_pass_equals_the_reference(heads, sight):
    model = make(n_kv_head=HEADS[heads], **SIGHT[sight])
    ids = make_ids(1, length_of(sight))
    expected = reference_logits(model, ids[0])
    assert expected.std() > 0.3, "logits this small would hide mistakes"
    assert (model(ids)[0][0] - expected).abs().max() < 1e-5


@torch.no_grad()
def test_the_base_of_the_rotation_is_that_of_the_config():
    model, ids = make(rope_theta=50.0), make_ids(1, 30)
    assert (model(ids)[0][0] - reference_logits(model, ids[0])).abs().max() < 1e-5


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("heads", HEADS)
@torch.no_grad()
def test_cached_decoding_gives_the_logits_of_the_uncached_pass(heads, sight, chunks, rows):
    model, start, T = make(n_kv_head=HEADS[heads], **SIGHT[sight]), ROWS[rows], length_of(sight)
    ids = make_ids(len(start), T)
    expected = [model(ids[row:row + 1, pads:])[0][0] for row, pads in enumerate(start)]
    padded = model(ids, start=start)[0]
    for rolling in (None, False) if SIGHT[sight] else (None,):
        got = cached_logits(model, ids, CHUNKS[chunks](T), start=start, rolling=rolling)
        for row, pads in enumerate(start):
            assert (got[row, pads:] - expected[row]).abs().max() < 1e-5
            assert (padded[row, pads:] - expected[row]).abs().max() < 1e-5


@pytest.mark.parametrize("sight", SIGHT)
@torch.no_grad()
def test_the_same_holds_for_latent_attention(sight):
    model, T = make(attention="mla", **SIGHT[sight]), length_of(sight)
    ids, start = make_ids(3, T), [0, 3, 11]
    expected = model(ids, start=start)[0]
    for chunks in CHUNKS.values():
        got = cached_logits(model, ids, chunks(T), start=start)
        for row, pads in enumerate(start):
            assert (got[row, pads:] - expected[row, pads:]).abs().max() < 1e-5


@torch.no_grad()
def test_the_same_holds_for_learned_positions():
    model, ids, start = make(positions="learned", norm="layer"), make_ids(3, 30), [0, 3, 11]
    got = cached_logits(model, ids, [5] * 6, start=start)
    for row, pads in enumerate(start):
        alone = model(ids[row:row + 1, pads:])[0]
        assert (got[row:row + 1, pads:] - alone).abs().max() < 1e-5


@pytest.mark.parametrize("attention", ["gqa", "mla"])
@pytest.mark.parametrize("sight", SIGHT)
@torch.no_grad()
def test_no_logit_depends_on_a_later_token(sight, attention):
    model, T = make(n_kv_head=2, attention=attention, **SIGHT[sight]), length_of(sight)
    ids = make_ids(1, T)
    before = model(ids)[0]
    for place in (0, 7, T - 1):
        changed = ids.clone()
        changed[0, place] = (ids[0, place] + 1) % SIZES["vocab_size"]
        for after in (model(changed)[0], cached_logits(model, changed, [11] * 5)):
            moved = (after - before).abs().amax(-1)[0]
            assert moved[:place].max() < 1e-5 if place else True
            assert moved[place] > 1e-3


@pytest.mark.parametrize("sink", [0, 2])
@torch.no_grad()
def test_one_layer_sees_exactly_the_window_and_the_sinks(sink):
    model = make(n_layer=1, window=5, sink=sink)
    ids = make_ids(1, 20)
    before = model(ids)[0]
    for place in range(20):
        changed = ids.clone()
        changed[0, place] = (ids[0, place] + 1) % SIZES["vocab_size"]
        moved = (model(changed)[0] - before).abs().amax(-1)[0] > 1e-5
        expected = [place <= t and (t - place < 5 or place < sink) for t in range(20)]
        assert moved.tolist() == expected, place


@torch.no_grad()
def test_what_stands_in_the_pads_changes_nothing():
    for sight in SIGHT.values():
        model, ids = make(n_kv_head=2, **sight), make_ids(2, 20)
        other = ids.clone()
        other[1, :7] = (ids[1, :7] + 5) % SIZES["vocab_size"]
        a, b = (cached_logits(model, x, [9, 1, 10], start=[0, 7]) for x in (ids, other))
        assert torch.equal(a[1, 7:], b[1, 7:])
        assert torch.isfinite(a).all()


@torch.no_grad()
def test_a_long_stream_equals_the_uncached_pass():
    """25 times the window: what the ring overwrites must never have been needed."""
    model, ids = make(n_kv_head=2, window=6, sink=4), make_ids(2, 150)
    got = cached_logits(model, ids, [7, 2] * 17, start=[0, 5])
    expected = model(ids, start=[0, 5])[0]
    assert (got[0] - expected[0]).abs().max() < 1e-5
    assert (got[1, 5:] - expected[1, 5:]).abs().max() < 1e-5
