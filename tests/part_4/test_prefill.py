"""Many long prompts are read a few tokens of each at a time: memory does not grow with their number.
A long causal pass of plain products leaves out the keys that none of its queries can see."""

import math

import pytest
import torch
from gpt import generate as module
from gpt.generate import generate
from gpt.layers import PIECE, Plan, attend, attend_plainly
from gpt.model import GPT, GPTConfig


@pytest.fixture
def model():
    torch.manual_seed(3)
    return GPT(GPTConfig(vocab_size=41, block_size=288, n_layer=2, n_head=2, n_embd=16)).eval()


@pytest.fixture
def passes(model):
    """Tokens of each forward pass."""
    found = []
    model.token_embedding.register_forward_pre_hook(lambda _, given: found.append(given[0].numel()))
    return found


def test_192_replies_that_go_on_from_a_full_context_are_not_read_at_once(model, passes):
    generate(model, [[5] * 270] * 192, 2)
    assert max(passes) <= 2**13 and sum(passes) == 192 * 271


def test_a_batch_of_usual_prompts_is_read_in_one_pass(model, passes):
    generate(model, [[5] * 40] * 192, 1)
    assert passes == [192 * 40]


@pytest.mark.parametrize("at_once", [1, 9, 30])
def test_what_follows_prompts_of_different_lengths_does_not_depend_on_the_pieces(model, monkeypatch,
                                                                                at_once):
    prompts = [[7, 3, 9], [4], [n % 41 for n in range(30)], [2] * 17]
    wanted = generate(model, prompts, 12)
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    assert generate(model, prompts, 12) == wanted


@pytest.mark.parametrize("T", [2, PIECE, 2 * PIECE, 2 * PIECE + 1, 3 * PIECE + 44])
def test_a_causal_pass_in_pieces_is_that_of_one_product_with_its_gradients(T):
    torch.manual_seed(T)
    made = [torch.randn(1, heads, T, 8).bfloat16() for heads in (4, 2, 2)]
    one, other = ([part.clone().requires_grad_() for part in made] for _ in range(2))
    whole = torch.ones(1, 1, T, T, dtype=torch.bool).tril()
    wanted = attend_plainly(*one, whole, 1 / math.sqrt(8), 0.0)
    got = attend(*other, Plan(is_causal=True))
    assert torch.allclose(got.float(), wanted.float(), atol=0.02)
    for side in (wanted, got):
        (side.float() * torch.arange(T)[:, None]).sum().backward()
    for a, b in zip(one, other):
        assert (a.grad - b.grad).float().norm() < 0.01 * a.grad.float().norm()


def test_what_no_query_of_a_piece_sees_is_not_computed():
    q, k, v = torch.randn(3, 1, 2, 3 * PIECE, 8).bfloat16()
    k[:, :, PIECE:], v[:, :, PIECE:] = math.nan, math.nan
    assert attend(q, k, v, Plan(is_causal=True))[:, :, :PIECE].isfinite().all()
