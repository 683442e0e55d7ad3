"""The cache's memory: taken once, written in place, bounded; and what it refuses."""

import pytest
import torch
from kv_cache import NOWHERE, KVCache
from model import GPT, GPTConfig


def make(**settings):
    return GPT(GPTConfig(**{"vocab_size": 31, "block_size": 32, "n_layer": 2, "n_head": 4,
                            "n_embd": 32, **settings})).eval()


@torch.no_grad()
def test_a_rolling_cache_never_holds_more_than_sink_plus_window():
    model = make(window=6, sink=4)
    cache = model.make_cache(1)
    places = [t.data_ptr() for t in (*cache.keys, *cache.values)]
    size = cache.bytes
    assert [t.size(2) for t in cache.keys] == [10, 10]
    for _ in range(60):  # ten times the window
        model(torch.tensor([[3]]), cache=cache)
        assert cache.entries <= 10
    assert cache.entries == 10 and cache.seen == 60
    assert size == cache.bytes == 2 * 2 * 4 * 10 * 8 * 4  # k and v, layers, heads, slots, D, bytes
    assert places == [t.data_ptr() for t in (*cache.keys, *cache.values)], "memory was taken anew"


@torch.no_grad()
def test_a_full_cache_is_written_in_place_slot_by_slot():
    model, ids = make(), torch.randint(0, 31, (1, 8))
    cache = model.make_cache(1, 8)
    place = cache.keys[0].data_ptr()
    model(ids[:, :5], cache=cache)
    early = cache.keys[0][:, :, :5].clone()
    assert (cache.keys[0][:, :, 5:] == 0).all() and cache.entries == 5
    model(ids[:, 5:], cache=cache)
    assert torch.equal(cache.keys[0][:, :, :5], early) and cache.seen == 8
    assert (cache.keys[0] != 0).any(-1).all() and place == cache.keys[0].data_ptr()


def fill(cache, columns):
    """Write one number per token: its column."""
    x = torch.tensor(columns, dtype=torch.float32).view(1, 1, -1, 1).expand(cache.batch, 1, -1, 1)
    out = cache.update(0, x, x)[0][:, 0, :, 0].tolist()
    cache.advance(len(columns))
    return out


def test_ring_and_sinks_by_hand():
    cache = KVCache(1, 1, 1, 1, 1, 99, window=3, sink=1)
    assert fill(cache, [0, 1]) == [[0, 0, 1]]                # sink, then the ring
    assert cache.key_positions(1).tolist() == [[0, NOWHERE, 1, 2]]
    assert fill(cache, [2]) == [[0, 0, 1, 2]]
    assert fill(cache, [3]) == [[0, 3, 1, 2]]                # 0 leaves the ring, stays as a sink
    assert cache.key_positions(3).tolist() == [[0, 3, 1, 2, 4, 5, 6]]
    assert fill(cache, [4, 5, 6]) == [[0, 3, 1, 2, 4, 5, 6]]  # read before they are evicted
    assert fill(cache, [7]) == [[0, 6, 7, 5]]


def test_sinks_of_padded_rows_are_their_own_first_tokens():
    cache = KVCache(1, 3, 1, 1, 1, 99, window=2, sink=2, start=[0, 1, 3])
    fill(cache, [0, 1])
    fill(cache, [2])
    fill(cache, [3, 4, 5])
    assert cache.keys[0][:, 0, :2, 0].tolist() == [[0, 1], [1, 2], [3, 4]]


def test_keep_drops_rows():
    cache = KVCache(1, 3, 1, 1, 1, 8, start=[0, 1, 2])
    cache.keys[0][:] = torch.tensor([5.0, 6.0, 7.0]).view(3, 1, 1, 1)
    cache.keep(torch.tensor([0, 2]))
    assert cache.batch == 2 and cache.start.tolist() == [0, 2]
    assert cache.keys[0][:, 0, 0, 0].tolist() == [5.0, 7.0]


def test_fewer_key_heads_need_less_memory():
    sizes = {heads: make(n_kv_head=heads).make_cache(1, 32).bytes for heads in (4, 2, 1)}
    assert sizes[4] == 2 * sizes[2] == 4 * sizes[1]
    latent = make(attention="mla", kv_rank=6, rope_dim=4).make_cache(1, 32)
    assert latent.bytes == 2 * 32 * (6 + 4) * 4


@pytest.mark.parametrize("make_it, words", [
    (lambda: make(window=0), "window=0"),
    (lambda: make(sink=4), "sink=4"),
    (lambda: make(window=30, sink=4), "block_size=32"),
    (lambda: make().make_cache(0), "batch=0"),
    (lambda: make().make_cache(1, 0), "length=0"),
    (lambda: make().make_cache(1, rolling=True), "window"),
    (lambda: make().make_cache(2, start=[0]), "start"),
    (lambda: make().make_cache(2, start=[0, -1]), "-1"),
    (lambda: make()(torch.tensor([[1] * 9]), cache=make().make_cache(1, 8)), "length=8"),
    (lambda: make()(torch.tensor([[1], [2]]), cache=make().make_cache(1, 8)), "2 rows"),
])
def test_nonsense_is_refused_with_its_values(make_it, words):
    with pytest.raises(ValueError, match=words):
        make_it()
