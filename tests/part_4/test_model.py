"""What part 4 adds to the model: documents that do not see each other, a loss made in pieces."""

import pytest
import torch
from gpt import head_loss as module
from gpt.head_loss import head_loss
from gpt.model import GPT, GPTConfig

SMALL = {"vocab_size": 41, "block_size": 24, "n_layer": 2, "n_head": 4, "n_kv_head": 2, "n_embd": 32}


@pytest.fixture
def model():
    torch.manual_seed(3)
    return GPT(GPTConfig(**SMALL)).eval()


def random_ids(rows, columns, seed=0):
    return torch.randint(41, (rows, columns), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("piece", [41 * 2, 41 * 5, 10**9])
def test_the_loss_in_pieces_and_its_gradients_equal_plain_cross_entropy(monkeypatch, piece):
    monkeypatch.setattr(module, "PIECE_VALUES", piece)
    monkeypatch.setattr(module, "LEAST_TOKENS", 1)
    torch.manual_seed(0)
    x = torch.randn(3, 7, 16, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(41, 16, dtype=torch.float64, requires_grad=True)
    targets = random_ids(3, 7)
    targets[0, :5] = targets[2, 1] = -100
    wanted = torch.nn.functional.cross_entropy((x @ weight.T).flatten(0, 1), targets.flatten(),
                                               ignore_index=-100)
    wanted_gradients = torch.autograd.grad(3 * wanted, (x, weight))
    loss = head_loss(x, weight, targets)
    gradients = torch.autograd.grad(3 * loss, (x, weight))
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-6, atol=0)
    for one, two in zip(gradients, wanted_gradients):
        torch.testing.assert_close(one.double(), two, rtol=1e-5, atol=1e-7)


def test_rows_of_very_different_size_neither_overflow_nor_vanish():
    """Each row's own largest logit is taken off: with the largest of all, exp would give 0/0."""
    torch.manual_seed(0)
    x = torch.randn(6, 16) * torch.tensor([1e-2, 1.0, 3.0, 100.0, 300.0, 1000.0])[:, None]
    x.requires_grad_()
    weight = torch.randn(41, 16, requires_grad=True)
    targets = random_ids(1, 6)[0]
    wanted = torch.nn.functional.cross_entropy(x @ weight.T, targets)
    loss = head_loss(x, weight, targets)
    torch.testing.assert_close(loss, wanted)
    for one, two in zip(torch.autograd.grad(loss, (x, weight)),
                        torch.autograd.grad(wanted, (x, weight))):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_loss_only_gives_the_loss_of_the_full_forward_pass_and_no_logits(model):
    ids, targets = random_ids(3, 20), random_ids(3, 20, 1)
    targets[0, :9] = -100
    logits, loss = model(ids, targets)
    nothing, same = model(ids, targets, loss_only=True)
    assert logits.shape == (3, 20, 41) and nothing is None
    torch.testing.assert_close(same, loss)


def test_no_label_at_all_is_a_loss_of_zero_not_of_nan(model):
    ids, targets = random_ids(2, 8), torch.full((2, 8), -100)
    assert float(model(ids, targets)[1].detach()) == 0
    assert float(model(ids, targets, loss_only=True)[1].detach()) == 0


@pytest.mark.parametrize("window", [None, 5])
def test_packed_documents_equal_documents_alone(window):
    torch.manual_seed(3)
    model = GPT(GPTConfig(**SMALL, window=window)).eval()
    documents = [random_ids(1, n, n) for n in (5, 8, 3)]
    numbers = torch.tensor([[0] * 5 + [1] * 8 + [2] * 3])
    packed, _ = model(torch.cat(documents, 1), segments=numbers)
    alone = torch.cat([model(document)[0] for document in documents], 1)
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-5)


def test_without_segments_a_document_sees_the_one_before(model):
    first, other, second = (random_ids(1, 6, seed) for seed in range(3))
    one, two = (model(torch.cat([f, second], 1))[0][:, 6:] for f in (first, other))
    assert (one - two).abs().max() > 1e-3


def test_segments_are_refused_with_a_cache(model):
    ids = random_ids(1, 6)
    with pytest.raises(ValueError, match="without a cache"):
        model(ids, cache=model.make_cache(1), segments=torch.zeros_like(ids))


def test_future_tokens_do_not_change_past_logits(model):
    ids = random_ids(1, 24)
    changed = ids.clone()
    changed[0, 15] = (ids[0, 15] + 1) % 41
    before, after = model(ids)[0][0], model(changed)[0][0]
    torch.testing.assert_close(before[:15], after[:15])
    assert not torch.allclose(before[15:], after[15:])


@pytest.mark.parametrize("window", [None, 6])
def test_cached_decoding_equals_the_full_pass(window):
    torch.manual_seed(1)
    model = GPT(GPTConfig(**SMALL, window=window)).eval()
    ids = random_ids(2, 24)
    full, _ = model(ids)
    cache = model.make_cache(2)
    steps = [model(part, cache=cache)[0] for part in ids.split([9, 4, *[1] * 11], dim=1)]
    torch.testing.assert_close(torch.cat(steps, 1), full, rtol=1e-4, atol=1e-5)
