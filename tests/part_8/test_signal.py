"""Where the signal is: shares of a gradient that are signal, and who knows which reply is right."""

import pytest
import torch
from measure_signal import KINDS, kind_of, knowledge, signal_share
from reward.preferences import asked_items
from rl.policy import Policy
from run.runtime import choose_runtime


def test_the_signal_share_is_what_gradients_have_in_common():
    one = torch.randn(7, generator=torch.Generator().manual_seed(0))
    squares = 3 * float(one.square().sum())
    assert signal_share(3 * one, squares, 3) == pytest.approx(1.0, abs=1e-5)  # all the same
    apart = torch.eye(3)
    assert signal_share(apart.sum(0), 3.0, 3) == pytest.approx(0.0, abs=1e-6)  # nothing in common
    assert signal_share(torch.zeros(3), 2.0, 2) == pytest.approx(-1.0)  # one against the other


def test_noise_around_a_mean_has_the_mean_squares_share():
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(4000, generator=generator)
    many = mean + 3 * torch.randn(40, 4000, generator=generator)
    found = signal_share(many.sum(0), float(many.square().sum()), 40)
    assert found == pytest.approx(1 / (1 + 9), abs=0.01)


def test_every_parameter_but_the_value_heads_is_of_one_kind(tiny):
    kinds = {name: kind_of(name) for name, _ in Policy(tiny).named_parameters()}
    assert {name for name, kind in kinds.items() if kind is None} == {
        "value_head.weight", "value_head.bias"}
    assert set(kinds.values()) - {None} == set(KINDS)
    assert kinds["body.norm.weight"] == "last" and kinds["body.blocks.0.norm_1.weight"] == "gains"
    assert kinds["body.blocks.0.attention.qkv.weight"] == "attention"


def test_right_replies_are_set_against_wrong_ones_to_the_same_prompt(loaded, monkeypatch):
    """Scores that know everything, and scores that know the opposite; replies written by hand."""
    import measure_signal

    model, tokenizer = loaded
    asked = asked_items(3, "new_items", 1)
    replies = [text for item in asked for text in (item.answer, "no idea")]

    def by_hand(model, prompts, longest, *, end, pad, copies, **rest):
        from rl.rollout import as_rollout
        rows = [[*tokenizer.encode(f" {text}"), end] for text in replies]
        return as_rollout([p for p in prompts for _ in range(copies)], rows,
                          [[0.0] * len(row) for row in rows], end, pad, copies=copies)

    monkeypatch.setattr(measure_signal, "roll_out", by_hand)
    runtime = choose_runtime("cpu", "float32", quiet=True)
    for sign, share in ((1.0, 1.0), (-1.0, 0.0)):
        found = knowledge(model, lambda rollout: sign * torch.tensor([1.0, 0.0] * 3), asked,
                          tokenizer, runtime, copies=2, seed=0)
        assert (found["pairs"], found["preferred"]) == (3, share)
    assert 0 <= found["likelier"] <= 1
