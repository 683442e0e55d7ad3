"""The model: settings, the limit of the context, the loss, learning."""

import math

import pytest
import torch
from model import GPT, GPTConfig

SMALL = {"vocab_size": 31, "block_size": 16, "n_layer": 2, "n_head": 4, "n_embd": 32}


def make(**settings):
    return GPT(GPTConfig(**{**SMALL, **settings})).eval()


def ids_of(length, rows=1):
    return torch.randint(0, 31, (rows, length))


@pytest.mark.parametrize("settings", [{}, {"positions": "learned"},
                                      {"positions": "learned", "window": 4}])
def test_beyond_block_size_both_paths_refuse_with_its_name(settings):
    model = make(**settings)
    model(ids_of(16))
    with pytest.raises(ValueError, match="block_size=16"):
        model(ids_of(17))
    cache = model.make_cache(1, 40, rolling=False)
    model(ids_of(16), cache=cache)
    with pytest.raises(ValueError, match="block_size=16"):
        model(ids_of(1), cache=cache)


def test_with_a_window_and_rope_both_paths_read_on():
    model = make(window=4, sink=2)
    assert model.config.endless
    cache, ids = model.make_cache(1), ids_of(50)
    with torch.no_grad():
        whole = model(ids)[0]
        steps = torch.cat([model(part, cache=cache)[0] for part in ids.split(1, 1)], dim=1)
    assert torch.allclose(whole, steps, atol=1e-5)


@torch.no_grad()
def test_far_from_the_start_logits_depend_on_the_visible_text_alone():
    """Sinks stay near (eq. 3.8): the same window after a longer stream gives the same logits."""
    model = make(window=4, sink=2, n_layer=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    sinks, end = ids_of(2), ids_of(4)
    near = model(torch.cat([sinks, ids_of(5), end], 1))[0][:, -1]
    far = model(torch.cat([sinks, ids_of(300), end], 1))[0][:, -1]
    assert torch.allclose(near, far, atol=1e-5)


def test_last_only_gives_the_last_logits():
    model, ids = make(), ids_of(9, 3)
    assert torch.allclose(model(ids, last_only=True)[0], model(ids)[0][:, -1:], atol=1e-6)
    assert model(ids, last_only=True)[0].shape == (3, 1, 31)


def test_the_loss_is_the_mean_over_counted_labels():
    model, ids, targets = make(), ids_of(6, 2), ids_of(6, 2)
    targets[0, :4] = -100
    logits, loss = model(ids, targets)
    picked = logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    assert torch.allclose(loss, -picked[targets != -100].mean(), atol=1e-5)


def test_an_untrained_model_is_undecided():
    torch.manual_seed(0)
    model, ids = make(), ids_of(16, 8)
    assert abs(model(ids[:, :-1], ids[:, 1:])[1].item() - math.log(31)) < 0.1


@pytest.mark.parametrize("settings", [{}, {"n_kv_head": 1, "window": 6, "sink": 2},
                                      {"attention": "mla"}, {"qk_norm": True, "tied": False}])
def test_it_memorises_one_batch(settings):
    torch.manual_seed(0)
    model, ids = make(**settings).train(), ids_of(12, 4)
    optimizer = torch.optim.AdamW(model.parameter_groups(0.0), lr=1e-2)
    for _ in range(60):
        loss = model(ids[:, :-1], ids[:, 1:])[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1.2, "the first token of each row tells most of the rest"


def test_widths_are_filled_in():
    config = GPTConfig(n_embd=128, n_head=4)
    assert (config.n_kv_head, config.head_dim, config.n_hidden) == (4, 32, 352)
    assert GPTConfig(mlp="gelu").n_hidden == 512
    assert GPTConfig(n_embd=30, n_head=4, head_dim=16).head_dim == 16


def test_tied_and_untied_heads():
    tied, untied = make(), make(tied=False)
    assert tied.head.weight is tied.token_embedding.weight
    assert untied.count_parameters() == tied.count_parameters() + 31 * 32


def test_writers_into_the_stream_start_smaller():
    torch.manual_seed(0)
    model = make(n_embd=128, n_layer=8)
    stds = {name: p.std().item() for name, p in model.named_parameters() if p.dim() == 2}
    for name, std in stds.items():
        assert abs(std / (0.005 if "project" in name else 0.02) - 1) < 0.1, name
    embedding = make(embedding_std=0.1).token_embedding.weight
    assert abs(embedding.std().item() / 0.1 - 1) < 0.1


def test_rounding_the_model_leaves_the_rotation_exact():
    model = make()
    model(ids_of(4))
    model.to(torch.bfloat16)
    cos, _ = model.table.at(torch.arange(16)[None], 15)
    assert cos.dtype == torch.float32
    assert abs(cos[0, 13, 0, 0].item() - math.cos(13)) < 1e-6


def test_in_bfloat16_it_stays_close():
    torch.manual_seed(0)
    model, ids = make(n_kv_head=2, window=6, sink=2), ids_of(16, 2)
    exact = model(ids)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close = model(ids)[0]
        cache = model.make_cache(2)
        cached = torch.cat([model(part, cache=cache)[0] for part in ids.split(3, 1)], dim=1)
    assert cache.keys[0].dtype == torch.bfloat16
    assert (close - exact).abs().max() < 0.05 and (cached - exact).abs().max() < 0.05


def test_dropout_acts_in_training_alone():
    model, ids = make(dropout=0.5), ids_of(8)
    assert torch.equal(model(ids)[0], model(ids)[0])
    model.train()
    assert not torch.equal(model(ids)[0], model(ids)[0])


@pytest.mark.parametrize("settings, words", [
    ({"n_head": 3}, "n_embd=32"), ({"n_kv_head": 3}, "n_kv_head=3"), ({"n_kv_head": 0}, "kv_head"),
    ({"n_layer": 0}, "n_layer=0"), ({"norm": "batch"}, "rms or layer"), ({"mlp": "relu"}, "relu"),
    ({"dropout": 1.0}, "dropout=1.0"), ({"head_dim": 7}, "head_dim=7"), ({"sink": -1}, "sink=-1"),
    ({"positions": "none"}, "rope or learned"), ({"rope_scaling": "yarn"}, "yarn"),
    ({"norm_eps": 0.0}, "norm_eps"), ({"embedding_std": 0.0}, "embedding_std"),
    ({"attention": "linear"}, "gqa or mla"),
    ({"window": -3}, "window=-3"), ({"rope_factor": 0.0}, "rope_factor")])
def test_settings_that_mean_nothing_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        make(**settings)


@pytest.mark.parametrize("ids, words", [
    (torch.zeros(0, 4, dtype=torch.int64), "empty"), (torch.zeros(4, dtype=torch.int64), "B, T"),
    (torch.zeros(1, 4), "int64"), (torch.tensor([[31]]), "31"), (torch.tensor([[-1]]), "-1")])
def test_ids_that_mean_nothing_are_refused(ids, words):
    with pytest.raises(ValueError, match=words):
        make()(ids)
