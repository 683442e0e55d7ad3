"""The plain cache equals the model: in one pass, in chunks, token by token, for all groups."""

import pytest
import torch
from model import GPT, GPTConfig
from plain_cache import PlainCache, read


def make(n_kv_head: int) -> GPT:
    torch.manual_seed(5)
    return GPT(GPTConfig(vocab_size=31, block_size=24, n_layer=2, n_head=4, n_embd=32,
                         n_kv_head=n_kv_head, embedding_std=0.2)).eval()


def plain_cache(model: GPT, batch: int = 2, length: int = 24) -> PlainCache:
    config = model.config
    return PlainCache(config.n_layer, batch, config.n_kv_head, length, config.head_dim)


@pytest.mark.parametrize("n_kv_head", [4, 2, 1])
@pytest.mark.parametrize("chunks", [[16], [5, 7, 4], [9] + [1] * 7, [1] * 16])
@torch.no_grad()
def test_the_plain_form_equals_the_model_in_full_passes_chunks_and_single_steps(n_kv_head, chunks):
    model, ids = make(n_kv_head), torch.randint(0, 31, (2, 16))
    whole, _ = model(ids)
    torch.testing.assert_close(read(model, ids), whole, atol=1e-5, rtol=0)
    plain, fast = plain_cache(model), model.make_cache(2)
    for part in ids.split(chunks, dim=1):
        mine, (theirs, _) = read(model, part, plain), model(part, cache=fast)
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)
        end = plain.seen
        torch.testing.assert_close(mine, whole[:, end - part.size(1):end], atol=1e-5, rtol=0)
    assert plain.seen == fast.seen == 16


@torch.no_grad()
def test_both_caches_hold_the_same_keys_and_values():
    model, ids = make(2), torch.randint(0, 31, (2, 10))
    plain, fast = plain_cache(model), model.make_cache(2)
    for part in ids.split([6, 1, 3], dim=1):
        read(model, part, plain)
        model(part, cache=fast)
    for layer in range(2):
        torch.testing.assert_close(plain.keys[layer], fast.keys[layer])
        torch.testing.assert_close(plain.values[layer], fast.values[layer])
    assert (plain.keys[..., 10:, :] == 0).all(), "a slot was written before its turn"


def test_the_plain_form_has_the_models_gradients():
    model, ids = make(2), torch.randint(0, 31, (2, 12))
    grads = []
    for logits in (read(model, ids), model(ids)[0]):
        model.zero_grad()
        logits.square().mean().backward()
        grads.append(model.blocks[0].attention.qkv.weight.grad.clone())
    torch.testing.assert_close(*grads, atol=1e-6, rtol=1e-4)
