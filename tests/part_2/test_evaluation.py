"""The validation loss against a loop in NumPy; bits per byte; which bytes are counted."""

import math

import pytest
import torch
from evaluation import bits_per_byte, evaluate, windows
from model import GPT, GPTConfig


def make(dropout=0.0) -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(block_size=6, n_layer=1, n_head=2, n_embd=8, dropout=dropout))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


TEXT = torch.randint(256, (45,), generator=torch.Generator().manual_seed(3)).to(torch.uint8)


def slow_loss(model, text, block_size) -> float:
    """Byte by byte: from the start of its window of block_size bytes to the byte before."""
    losses = []
    for t in range(1, len(text)):
        start = (t - 1) // block_size * block_size
        with torch.no_grad():
            logits = model(text[None, start:t].long())[0][0, -1].double()
        losses.append(-logits.log_softmax(-1)[int(text[t])].item())
    return sum(losses) / len(losses)


@pytest.mark.parametrize("length", [2, 6, 7, 8, 13, 45])
def test_the_loss_equals_a_loop_over_single_bytes(length):
    model = make().eval()
    assert evaluate(model, TEXT[:length]) == pytest.approx(
        slow_loss(model, TEXT[:length], 6), rel=1e-5)


def test_the_batch_size_does_not_change_the_loss():
    model = make()
    losses = [evaluate(model, TEXT, batch_size=size) for size in (1, 3, 64)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6) == pytest.approx(losses[2], rel=1e-6)


@pytest.mark.parametrize("n, block, stride", [(11, 4, 4), (9, 4, 2), (45, 6, 1), (46, 6, 5),
                                              (7, 6, 6), (8, 6, 6), (2, 6, 3), (5, 6, 2)])
def test_every_byte_but_the_first_is_counted_exactly_once(n, block, stride):
    counted = [t for start, end, first in windows(n, block, stride) for t in range(first, end + 1)]
    assert counted == list(range(1, n))
    for start, end, first in windows(n, block, stride):
        assert 1 <= end - start <= block and first > start


def test_the_examples_of_the_docstring():
    assert windows(11, 4, 4) == [(0, 4, 1), (4, 8, 5), (8, 10, 9)]
    assert windows(9, 4, 2) == [(0, 4, 1), (2, 6, 5), (4, 8, 7)]


def test_stride_one_asks_for_each_byte_with_a_full_window():
    model = make().eval()
    losses = []
    for t in range(1, len(TEXT)):
        with torch.no_grad():
            logits = model(TEXT[None, max(0, t - 6):t].long())[0][0, -1]
        losses.append(-logits.log_softmax(-1)[int(TEXT[t])].item())
    assert evaluate(model, TEXT, stride=1) == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_a_quick_look_asks_every_third_window_all_over_the_text():
    model = make().eval()
    total = count = 0
    for start, end, _ in windows(len(TEXT), 6, 6)[::3]:
        total += evaluate(model, TEXT[start:end + 1]) * (end - start)
        count += end - start
    assert 0 < count < len(TEXT) / 2
    assert evaluate(model, TEXT, every=3) == pytest.approx(total / count, rel=1e-5)


def test_dropout_is_off_in_evaluation_and_on_again_after_it():
    model = make(dropout=0.5).train()
    assert evaluate(model, TEXT) == evaluate(model, TEXT)
    assert model.training
    assert not (model.eval(), evaluate(model, TEXT), model.training)[2]


def test_evaluation_leaves_no_gradient_and_moves_no_random_number():
    model, before = make(dropout=0.5).train(), torch.get_rng_state()
    evaluate(model, TEXT)
    assert torch.equal(before, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_bits_are_nats_over_ln_2():
    assert bits_per_byte(math.log(256)) == pytest.approx(8)
    assert bits_per_byte(math.log(2)) == pytest.approx(1)


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="--stride 7: must be from 1 to the block size, 6"):
        evaluate(make(), TEXT, stride=7)
    with pytest.raises(ValueError, match="1 bytes; a loss needs at least 2"):
        evaluate(make(), TEXT[:1])
