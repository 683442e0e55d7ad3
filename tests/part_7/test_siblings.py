"""Shared rows: every token has the features, and gives the gradient, of a row of its own."""

from dataclasses import replace

import pytest
import torch
from gpt.model import GPT, GPTConfig
from reward.siblings import share_prompts

CONFIG = GPTConfig(vocab_size=50, block_size=24, n_layer=2, n_head=4, n_kv_head=2, n_embd=32)
PROMPTS = [[1, 2, 3], [1, 2, 3], [1, 2, 3], [9, 8], [9, 8], [7]]
REPLIES = [[4, 5], [6], [7, 8, 9, 10], [11], [12, 13, 14], [15, 16]]


def model_of(**changes) -> GPT:
    torch.manual_seed(0)
    return GPT(replace(CONFIG, embedding_std=1.0, **changes)).eval()


def padded(rows, width=12, fill=0) -> torch.Tensor:
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])


def layout(widest=24):
    return share_prompts([tuple(p) for p in PROMPTS], [len(p) for p in PROMPTS],
                         [len(r) for r in REPLIES], widest=widest)


def test_the_layout_by_hand():
    shared = layout()
    ids = shared.take(padded([p + r for p, r in zip(PROMPTS, REPLIES)]))
    assert ids[0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert ids[1, :6].tolist() == [9, 8, 11, 12, 13, 14]
    assert shared.part[0].tolist() == [0, 0, 0, 1, 1, 2, 3, 3, 3, 3]
    assert shared.part[1].tolist() == [0, 0, 1, 2, 2, 2, -1, -1, -1, -1]
    assert shared.column[0].tolist() == [0, 1, 2, 3, 4, 3, 3, 4, 5, 6], "positions go on"
    assert shared.row.tolist() == [0, 0, 0, 1, 1, 2] and shared.first.tolist() == [3, 5, 6, 2, 3, 1]


def test_a_row_is_no_wider_than_allowed_and_strangers_never_share():
    assert layout(widest=7).row.tolist() == [0, 0, 1, 2, 2, 3]
    assert layout(widest=1).row.tolist() == list(range(6)), "longer alone: stays alone"
    apart = share_prompts(["a", "b", "a"], [2, 2, 2], [1, 1, 1], widest=24)
    assert apart.row.tolist() == [0, 1, 2], "only neighbours share"


@pytest.mark.parametrize("changes", [{}, {"window": 3}, {"qk_norm": True}])
@pytest.mark.parametrize("widest", [24, 7])
def test_features_and_gradients_are_those_of_rows_by_themselves(changes, widest):
    model, shared = model_of(**changes), layout(widest)
    rows = [p + r for p, r in zip(PROMPTS, REPLIES)]
    ids = padded(rows)
    alone = [model.features(torch.tensor([row]))[0] for row in rows]
    x = model.features(shared.take(ids), plan=shared.plan(model))
    assert bool(x.isfinite().all()), "padding must not be NaN"
    together = shared.give_back(x, ids.size(1))
    for mine, own, row in zip(together, alone, rows):
        torch.testing.assert_close(mine[:len(row)], own, rtol=1e-5, atol=1e-5)

    weight = torch.randn(12, 32)
    gradients = []
    for features in (alone, [mine[:len(row)] for mine, row in zip(together, rows)]):
        model.zero_grad()
        sum((f * weight[:len(f)]).sum() for f in features).backward()
        gradients.append(torch.cat([p.grad.flatten() for n, p in model.named_parameters()
                                    if p.grad is not None]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)


def test_a_window_lets_a_row_be_longer_than_the_context():
    model, row = model_of(window=3), [n % 50 for n in range(40)]
    shared = share_prompts(["long"], [30], [10], widest=24)
    x = model.features(shared.take(torch.tensor([row])), plan=shared.plan(model))
    torch.testing.assert_close(x, model.features(torch.tensor([row])), rtol=1e-5, atol=1e-5)


def test_no_reply_sees_a_sibling():
    model, shared = model_of(), layout()
    rows = [p + r for p, r in zip(PROMPTS, REPLIES)]
    other = [row if i != 1 else [1, 2, 3, 44] for i, row in enumerate(rows)]
    one, two = (shared.give_back(model.features(shared.take(padded(r)), plan=shared.plan(model)),
                                 12) for r in (rows, other))
    changed = (one != two).any(2)  # (B, T)
    for b, row in enumerate(rows):
        assert changed[b, :len(row)].tolist() == [b == 1 and t == 3 for t in range(len(row))]


def test_what_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match="row 1 has a prompt of 0 tokens"):
        share_prompts([0, 1], [1, 0], [1, 1], widest=24)
