"""Positions: the table by the formula, its properties, and what is lost without it."""

import math

import pytest
import torch
from block import Block
from model import GPT, GPTConfig
from positions import LearnedPositions, SinusoidalPositions, sinusoidal_table


def test_sinusoidal_table_follows_the_formula_number_by_number():
    table = sinusoidal_table(50, 12)
    for t in (0, 1, 7, 49):
        for i in range(6):
            angle = t / 10000 ** (2 * i / 12)
            assert table[t, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_position_zero_is_zero_one_zero_one():
    assert SinusoidalPositions(8, 6)(1).tolist() == [[0, 1, 0, 1, 0, 1]]


def test_products_of_sinusoidal_rows_depend_on_distance_alone():
    table = sinusoidal_table(100, 64).double()
    for distance in (0, 1, 5, 30):
        products = (table[:60] * table[distance:60 + distance]).sum(-1)
        torch.testing.assert_close(products, products[:1].expand(60), atol=1e-4, rtol=0)
    near, far = (table[0] @ table[1]).item(), (table[0] @ table[30]).item()
    assert near > far


def test_first_token_gets_row_zero_of_the_learned_table():
    positions = LearnedPositions(10, 4)
    torch.testing.assert_close(positions(3), positions.table[:3], rtol=0, atol=0)


def test_learned_positions_get_gradients_only_where_used():
    positions = LearnedPositions(10, 4)
    positions(3).sum().backward()
    assert positions.table.grad[:3].eq(1).all() and positions.table.grad[3:].eq(0).all()


def test_sinusoidal_table_is_not_trained_nor_saved_but_scaled():
    positions = SinusoidalPositions(10, 4, scale=0.5)
    assert not list(positions.parameters()) and not positions.state_dict()
    torch.testing.assert_close(positions(10), 0.5 * sinusoidal_table(10, 4))


@pytest.mark.parametrize("kind", [LearnedPositions, SinusoidalPositions])
def test_more_tokens_than_positions_is_an_error_with_both_numbers(kind):
    assert kind(5, 4)(5).shape == (5, 4)
    with pytest.raises(ValueError, match=r"6 tokens .*block_size=5"):
        kind(5, 4)(6)


def test_odd_width_is_an_error():
    with pytest.raises(ValueError, match="n_embd=7 must be even"):
        sinusoidal_table(5, 7)


@pytest.mark.parametrize(("kind", "keeps_order"),
                         [("none", False), ("learned", True), ("sinusoidal", True)])
def test_shuffled_input_gives_shuffled_output_only_without_positions(kind, keeps_order):
    model = GPT(GPTConfig(vocab_size=20, block_size=9, n_layer=1, n_head=2, n_embd=16,
                          positions=kind))
    block = Block(16, 2, causal=False)
    ids, shuffle = torch.randperm(20)[None, :9], torch.tensor([3, 0, 8, 1, 7, 2, 6, 4, 5])
    difference = block(model.embed(ids[:, shuffle])) - block(model.embed(ids))[:, shuffle]
    assert (difference.abs().max() > 1e-3) == keeps_order
    if not keeps_order:
        assert difference.abs().max() < 1e-5
