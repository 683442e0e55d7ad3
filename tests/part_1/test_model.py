"""The block and the minimal GPT: wiring, causality, loss, gradients, errors, memorising."""

import math

import pytest
import torch
import torch.nn.functional as F
from block import Block
from model import GPT, GPTConfig

SMALL = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 16}


def small_gpt(**changes) -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(**{**SMALL, **changes}))


def louder(model):
    """Weights far from zero, so that every path carries something that a test can see."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def block_from_pytorch(block: Block, x: torch.Tensor) -> torch.Tensor:
    """The same block from F.layer_norm, F.multi_head_attention_forward and F.gelu."""
    C, attention = x.size(-1), block.attention
    h = F.layer_norm(x, (C,), block.norm_1.weight, block.norm_1.bias).transpose(0, 1)
    hidden = torch.ones(x.size(1), x.size(1), dtype=torch.bool).triu(1)
    out, _ = F.multi_head_attention_forward(
        h, h, h, C, attention.n_head,
        torch.cat([attention.query.weight, attention.key.weight, attention.value.weight]),
        torch.cat([attention.query.bias, attention.key.bias, attention.value.bias]),
        None, None, False, 0.0, attention.project.weight, attention.project.bias,
        attn_mask=hidden, need_weights=False)
    x = x + out.transpose(0, 1)
    h = F.layer_norm(x, (C,), block.norm_2.weight, block.norm_2.bias)
    return x + F.linear(F.gelu(F.linear(h, block.mlp.widen.weight, block.mlp.widen.bias)),
                        block.mlp.project.weight, block.mlp.project.bias)


def test_block_equals_one_built_from_pytorch_functions():
    block, x = louder(Block(16, 4)).double(), torch.randn(2, 6, 16, dtype=torch.float64)
    torch.testing.assert_close(block(x), block_from_pytorch(block, x), rtol=0, atol=1e-9)


def test_block_with_silent_branches_passes_its_input_through():
    block, x = Block(16, 4), torch.randn(2, 6, 16)
    for linear in (block.attention.project, block.mlp.project):
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_logits_are_blocks_then_norm_then_head():
    model = louder(small_gpt()).double()
    ids = torch.randint(11, (2, 6))
    x = model.token_embedding.weight[ids] + model.positions.table[:6]
    for block in model.blocks:
        x = block_from_pytorch(block, x)
    x = F.layer_norm(x, (16,), model.norm.weight, model.norm.bias)
    torch.testing.assert_close(model(ids)[0], x @ model.head.weight.T, rtol=0, atol=1e-8)


def test_future_tokens_do_not_change_past_logits():
    model, ids = louder(small_gpt()), torch.randint(11, (1, 8))
    before = model(ids)[0]
    for t in range(1, 8):
        changed = ids.clone()
        changed[:, t] = (changed[:, t] + 1) % 11
        after = model(changed)[0]
        torch.testing.assert_close(after[:, :t], before[:, :t], rtol=0, atol=1e-5)
        assert (after[:, t:] - before[:, t:]).abs().amax(-1).min() > 1e-3


def test_loss_is_the_mean_negative_log_probability_of_the_counted_targets():
    model, ids = louder(small_gpt()), torch.randint(11, (2, 5))
    targets = torch.randint(11, (2, 5))
    targets[0, :3] = -100
    logits, loss = model(ids, targets)
    log_p = logits.log_softmax(-1)
    counted = [-log_p[b, t, targets[b, t]].item() for b in range(2) for t in range(5)
               if targets[b, t] != -100]
    assert len(counted) == 7
    assert loss.item() == pytest.approx(sum(counted) / 7, abs=1e-5)


def test_without_targets_there_is_no_loss():
    assert small_gpt()(torch.zeros(1, 3, dtype=torch.int64))[1] is None


def test_loss_at_the_start_is_the_logarithm_of_the_vocabulary():
    model = small_gpt(vocab_size=50)
    ids = torch.randint(50, (16, 8))
    assert model(ids, ids.roll(1, 0))[1].item() == pytest.approx(math.log(50), abs=0.1)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "none"])
def test_every_parameter_gets_a_gradient_but_the_biases_of_the_keys(positions):
    """A key's bias adds the same to all scores of a query, and softmax does not see that."""
    model = louder(small_gpt(positions=positions)).double()
    ids = torch.arange(16).view(2, 8) % 11
    model(ids, ids)[1].backward()
    without = [name for name, p in model.named_parameters()
               if p.grad is None or p.grad.abs().max() < 1e-12]
    assert without == ["blocks.0.attention.key.bias", "blocks.1.attention.key.bias"]


def test_position_zero_belongs_to_the_first_token():
    model = small_gpt()
    x = model.embed(torch.tensor([[4, 4]]))[0]
    torch.testing.assert_close(x - model.token_embedding.weight[4], model.positions.table[:2])


def test_residual_projections_start_smaller_by_the_root_of_twice_the_layers():
    model = small_gpt(n_layer=8, n_embd=64)
    block = model.blocks[3]
    assert block.mlp.widen.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert block.attention.query.weight.std().item() == pytest.approx(0.02, rel=0.1)
    for linear in (block.mlp.project, block.attention.project):
        assert linear.weight.std().item() == pytest.approx(0.02 / 4, rel=0.1)
    assert block.norm_1.weight.eq(1).all() and block.mlp.widen.bias.eq(0).all()


def test_attention_maps_are_lower_triangles_whose_rows_sum_to_one():
    maps = louder(small_gpt()).attention_maps(torch.randint(11, (3, 7)))
    assert maps.shape == (3, 2, 2, 7, 7)
    torch.testing.assert_close(maps.sum(-1), torch.ones(3, 2, 2, 7))
    assert maps.triu(1).eq(0).all() and maps[..., 3, :4].gt(0).all()


def test_attention_maps_of_the_second_layer_see_the_first_layers_output():
    model, ids = louder(small_gpt()), torch.randint(11, (1, 7))
    x = model.blocks[0](model.embed(ids))
    wanted = model.blocks[1].attention.weights(model.blocks[1].norm_1(x))
    torch.testing.assert_close(model.attention_maps(ids)[:, 1], wanted)


def test_generate_appends_the_likeliest_token_and_slides_its_window():
    model, ids = louder(small_gpt()), torch.randint(11, (2, 6))
    wanted = ids
    for _ in range(5):
        best = model(wanted[:, -8:])[0][:, -1].argmax(-1)
        wanted = torch.cat([wanted, best[:, None]], dim=1)
    assert model.generate(ids, 5).tolist() == wanted.tolist()


def test_model_memorises_one_batch():
    model, ids = small_gpt(), torch.randint(11, (4, 8))
    ids[:, 0] = torch.arange(4)  # the first token tells the rows apart
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss = model(ids[:, :-1], ids[:, 1:])[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert model.generate(ids[:, :1], 7).tolist() == ids.tolist()


@pytest.mark.parametrize(("changes", "message"), [
    ({"n_embd": 10, "n_head": 4}, "n_embd=10 must be a multiple of n_head=4"),
    ({"vocab_size": 0}, "vocab_size=0 must be at least 1"),
    ({"n_layer": -1}, "n_layer=-1 must be at least 1"),
    ({"n_head": 0}, "n_head=0 must be at least 1"),
    ({"positions": "rotary"}, "positions='rotary'"),
])
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        GPTConfig(**{**SMALL, **changes})


@pytest.mark.parametrize(("ids", "message"), [
    (torch.full((1, 9), 1), r"9 tokens do not fit in block_size=8"),
    (torch.tensor([[1, 11]]), r"holds the token 11; .*vocab_size=11"),
    (torch.tensor([[1, -1]]), r"holds the token -1"),
    (torch.tensor([1, 2]), r"must be \(B, T\)"),
    (torch.tensor([[1.0, 2.0]]), r"int64"),
    (torch.empty(1, 0, dtype=torch.int64), r"not empty"),
])
def test_ids_that_do_not_fit_are_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        small_gpt()(ids)
