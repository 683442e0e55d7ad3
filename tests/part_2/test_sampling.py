"""Temperature, top-k, top-p by numbers worked out by hand; generation; settings refused."""

import math

import pytest
import torch
from model import GPT, GPTConfig
from sampling import generate, keep_top_k, keep_top_p, next_probabilities, sample_next

P = torch.tensor([[0.1, 0.5, 0.15, 0.25]])


def close(a, b):
    torch.testing.assert_close(a, torch.as_tensor(b), rtol=1e-5, atol=1e-6)


def test_temperature_divides_the_scores():
    # p^(1/tau): at 0.5 squares, 0.01 : 0.25 : 0.0225 : 0.0625, sum 0.345
    squared = torch.tensor([[0.01, 0.25, 0.0225, 0.0625]]) / 0.345
    close(next_probabilities(P.log(), 0.5), squared)
    close(next_probabilities(P.log(), 1.0), P)
    flatter = next_probabilities(P.log(), 2.0)
    close(flatter, P.sqrt() / P.sqrt().sum())
    assert flatter.max() < 0.5


def test_temperature_zero_takes_the_likeliest_and_the_first_of_equals():
    close(next_probabilities(P.log(), 0.0), [[0.0, 1.0, 0.0, 0.0]])
    close(next_probabilities(torch.zeros(1, 3), 0.0), [[1.0, 0.0, 0.0]])


def test_top_k_keeps_exactly_k():
    close(next_probabilities(P.log(), 1.0, top_k=2), [[0.0, 0.5 / 0.75, 0.0, 0.25 / 0.75]])
    close(next_probabilities(P.log(), 1.0, top_k=1), [[0.0, 1.0, 0.0, 0.0]])
    for k in (4, 9):
        close(next_probabilities(P.log(), 1.0, top_k=k), P)


def test_top_k_keeps_exactly_k_of_equal_scores_the_first_ones():
    close(next_probabilities(torch.zeros(1, 5), 1.0, top_k=2), [[0.5, 0.5, 0.0, 0.0, 0.0]])
    kept = keep_top_k(torch.tensor([[1.0, 3.0, 3.0, 3.0]]), 2)
    assert kept.tolist() == [[-math.inf, 3.0, 3.0, -math.inf]]


@pytest.mark.parametrize("p, kept", [(0.3, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3), (0.9, 3),
                                     (0.91, 4), (1.0, 4), (1e-9, 1)])
def test_top_p_keeps_the_fewest_that_reach_p(p, kept):
    is_kept = next_probabilities(P.log(), 1.0, top_p=p) > 0
    assert is_kept.sum() == kept
    order = [1, 3, 2, 0]
    assert set(is_kept[0].nonzero().flatten().tolist()) == set(order[:kept])


def test_top_p_with_exact_sums_is_not_thrown_off_by_rounding():
    assert torch.isfinite(keep_top_p(torch.zeros(1, 10), 0.5)).sum() == 5


def test_what_is_kept_sums_to_one_and_keeps_its_proportions():
    logits = torch.randn(50, 30, generator=torch.Generator().manual_seed(0))
    p = next_probabilities(logits, 0.7, top_k=12, top_p=0.8)
    close(p.sum(-1), torch.ones(50))
    full = (logits / 0.7).softmax(-1)
    ratio = torch.where(p > 0, p / full, torch.nan)
    spread = ratio.nan_to_num(-1).max(-1).values - ratio.nan_to_num(1e9).min(-1).values
    assert spread.max() < 1e-3


def test_top_p_counts_what_top_k_has_left():
    # top-k 2 leaves 2/3 and 1/3; the first alone reaches 0.6
    close(next_probabilities(P.log(), 1.0, top_k=2, top_p=0.6), [[0.0, 1.0, 0.0, 0.0]])


def test_temperature_comes_before_top_p():
    # at 0.5 the likeliest has 0.25 / 0.345 = 0.72 and reaches 0.7 alone; at 1 it has 0.5
    assert (next_probabilities(P.log(), 0.5, top_p=0.7) > 0).sum() == 1
    assert (next_probabilities(P.log(), 1.0, top_p=0.7) > 0).sum() == 2


def test_rows_are_filtered_each_by_itself():
    logits = torch.stack([P[0], P[0].flip(0)]).log()
    for setting in ({"top_k": 2}, {"top_p": 0.7}):
        both = next_probabilities(logits, 1.0, **setting)
        close(both[1], both[0].flip(0))


def test_tokens_are_drawn_as_often_as_their_probability_says():
    drawn = sample_next(P.log().repeat(20_000, 1), generator=torch.Generator().manual_seed(0))
    share = torch.bincount(drawn, minlength=4) / 20_000
    assert (share - P[0]).abs().max() < 0.012  # three and a half standard deviations


@pytest.mark.parametrize("setting, says", [
    ({"temperature": -0.1}, "--temperature -0.1: must be 0"),
    ({"temperature": math.nan}, "--temperature nan"),
    ({"temperature": math.inf}, "--temperature inf"),
    ({"top_k": 0}, "--top-k 0: must be at least 1"),
    ({"top_p": 0.0}, "--top-p 0.0: must be above 0"),
    ({"top_p": 1.5}, "--top-p 1.5: must be above 0 and at most 1")])
def test_settings_out_of_range_are_refused_with_their_values(setting, says):
    with pytest.raises(ValueError) as error:
        next_probabilities(P.log(), **setting)
    assert says in str(error.value)


def tiny(dropout=0.0) -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(block_size=6, n_layer=1, n_head=2, n_embd=8, dropout=dropout,
                          tied=False))
    with torch.no_grad():
        for parameter in model.parameters():  # far from the start: every place counts
            parameter.add_(torch.randn_like(parameter))
    return model


def test_generation_feeds_back_what_it_drew_and_slides_its_window():
    model, ids = tiny().eval(), [7, 3]
    by_hand = list(ids)
    for _ in range(12):  # twice the block size
        with torch.no_grad():
            logits = model(torch.tensor([by_hand[-6:]]))[0][0, -1]
        by_hand.append(int(logits.argmax()))
    assert len(set(by_hand[2:])) > 4, "a text that repeats itself would hide a wrong window"
    assert list(generate(model, ids, 12, temperature=0)) == by_hand[2:]


def test_generation_switches_dropout_off():
    model = tiny(dropout=0.6).train()
    texts = [list(generate(model.train(), [65], 20, temperature=0)) for _ in range(3)]
    assert texts[0] == texts[1] == texts[2]


def test_generation_streams():
    stream = generate(tiny(), [65], 10**9)
    assert [next(stream) for _ in range(3)] and next(stream) >= 0


def test_the_same_seed_writes_the_same_text_and_another_seed_another():
    texts = [list(generate(tiny(), [65], 30, generator=torch.Generator().manual_seed(seed)))
             for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="the prompt is empty"):
        next(generate(tiny(), [], 5))
