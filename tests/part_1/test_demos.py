"""What the demos compute: the task's data, the floor of the loss, the five wirings."""

import math

import demo_diagrams
import demo_embedding
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


def test_looking_up_a_row_is_a_product_with_a_one_hot_row_and_trains_that_row_alone():
    model = demo_embedding.GPT(demo_embedding.GPTConfig(vocab_size=7, n_layer=1, n_head=2, n_embd=8))
    ids = torch.tensor([2, 5, 2])
    rows, products = demo_embedding.embed(model, ids)
    torch.testing.assert_close(rows, products)
    assert torch.equal(rows[0], rows[2])
    assert demo_embedding.rows_with_gradient(model, ids) == [2, 5]


def test_the_sentence_shown_is_a_usual_one():
    """The head's weight on its answer there is nearest to the mean over all sentences."""
    _, held_out, words = heads.split_sentences()
    torch.manual_seed(0)
    model = heads.GPT(heads.GPTConfig(vocab_size=len(words), block_size=heads.ASK + 2, n_layer=1,
                                      n_head=2, n_embd=16))
    some = held_out[:30]
    maps = model.attention_maps(some[:, :heads.KIND + 1]).flatten(1, 2)
    each = maps[torch.arange(30), 1, heads.KIND, heads.answer_places(some)]
    shown = heads.usual_sentence(model, some, 1, float(each.mean()))
    place = int((each - each.mean()).abs().argmin())
    assert torch.equal(shown[0], some[place, :heads.KIND + 1])


def test_the_diagrams_show_the_layers_own_shapes():
    head, block = demo_diagrams.head_shapes(), demo_diagrams.block_shapes()
    assert head["scores"] == head["weights"] == "(2, 6, 6)" and head["out"] == "(2, 6, 8)"
    assert block["x"] == block["attention"] == block["mlp"] == block["out"] == "(2, 6, 32)"
    assert block["mlp.widen"] == "(2, 6, 128)"
