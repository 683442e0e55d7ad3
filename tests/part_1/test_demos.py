"""What the demos compute: the task's data, the floor of the loss, the five wirings."""

import math

import demo_overfit
import demo_positions
import demo_residuals
import demo_visualize_multi_head as heads
import pytest
import torch
from attention import MultiHeadAttention
from block import Block
from demo_mha_shapes import compare_with_fused, heads_one_by_one, trace_shapes
from toy_text import TOY_TEXT, Vocabulary


def test_vocabulary_gives_back_what_it_was_given_and_names_what_it_does_not_know():
    vocabulary = Vocabulary(TOY_TEXT)
    assert "".join(vocabulary.decode(vocabulary.encode(TOY_TEXT))) == TOY_TEXT
    with pytest.raises(ValueError, match="'Z' is not in the vocabulary"):
        vocabulary.encode("aZ")


def test_least_loss_by_hand():
    # windows of 1 in "aab" (all but the last letter start one): a -> a, a -> b: ln 2
    assert demo_overfit.least_loss("aab", 1) == pytest.approx(math.log(2))
    # windows of 2 in "abcabd": ab->c? after "a": b b, "b": c, "c": a; after "ab": c d ...
    one = 0.0                     # a -> b twice, b -> c, c -> a: each certain
    two = 2 * math.log(2)         # ab -> c and ab -> d; bc -> a; ca -> b
    assert demo_overfit.least_loss("abcabd", 2) == pytest.approx((one + two) / 8)


def test_windows_are_shifted_by_one():
    inputs, targets = demo_overfit.window_batch(torch.arange(40), 2000, 8)
    assert torch.equal(targets, inputs + 1) and torch.equal(inputs[:, 1:], targets[:, :-1])
    assert inputs.min() == 0 and targets.max() == 39


def test_the_answer_is_the_letter_three_places_back():
    ids, targets = demo_positions.batch_of_rows(4, torch.Generator().manual_seed(0))
    assert torch.equal(targets[:, 3:], ids[:, :-3]) and targets[:, :3].eq(-100).all()


def test_every_answer_stands_in_its_sentence_and_no_sentence_is_both_trained_and_tested():
    training, held_out, words = heads.split_sentences()
    as_sets = [set(map(tuple, ids.tolist())) for ids in (training, held_out)]
    assert not as_sets[0] & as_sets[1] and len(as_sets[0]) + len(as_sets[1]) == 3888
    for row, place in zip(held_out, heads.answer_places(held_out)):
        sentence = words.decode(row)
        answer = sentence[heads.ASK + 1]
        assert answer in heads.KINDS[sentence[heads.KIND]].split()
        assert sentence[int(place)] == answer and sentence[heads.ASK] == "the"


def test_traced_shapes_end_in_the_layers_output_and_heads_add_up():
    layer, x = MultiHeadAttention(12, 3, causal=True), torch.randn(2, 5, 12)
    steps, y = trace_shapes(layer, x)
    torch.testing.assert_close(y, layer(x))
    assert [step[2] for step in steps][2:6] == ["(2, 5, 3, 4)", "(2, 3, 5, 4)", "(2, 3, 5, 5)",
                                                "(2, 3, 5, 5)"]
    torch.testing.assert_close(heads_one_by_one(layer, x), layer(x))
    assert max(row[2] for row in compare_with_fused(layer, x)) < 1e-5


def test_pre_norm_stack_is_a_stack_of_blocks():
    stack = demo_residuals.Stack("pre-norm", 1, 10)
    block = Block(demo_residuals.WIDTH, demo_residuals.HEADS)
    block.attention.load_state_dict(stack.branches[0].state_dict())
    block.mlp.load_state_dict(stack.branches[1].state_dict())
    ids = torch.randint(10, (2, 7))
    loss, inputs = stack(ids, ids)
    logits = stack.head(stack.norm(block(inputs[0])))
    torch.testing.assert_close(
        loss, torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten()))


def test_gradients_die_without_residuals_and_live_with_them():
    vocabulary = Vocabulary(TOY_TEXT)
    ids = vocabulary.encode(TOY_TEXT)
    ratio = {}
    for wiring in demo_residuals.WIRINGS:
        norms = demo_residuals.gradient_norms(wiring, 8, ids, len(vocabulary), 0, "cpu")
        assert len(norms) == 8
        ratio[wiring] = norms[0] / norms[-1]
    assert ratio["plain"] < 1e-4 and 0.3 < ratio["pre-norm"] < 30
