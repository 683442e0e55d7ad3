"""The demos compute what they claim to."""

from dataclasses import replace

import demo_ablation
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from demo_cross_entropy import SCORES, TARGETS, cross_entropy, gradient, means_of_unequal_batches
from demo_label_shift import SETTINGS, shifted_batch, train_with_shift
from demo_sampling import real_words, variety


def test_cross_entropy_by_hand_equals_pytorch_and_its_gradient_finite_differences():
    generator = np.random.default_rng(0)
    scores, targets = generator.normal(size=(6, 5)) * 3, generator.integers(0, 5, 6)
    _, mean = cross_entropy(scores, targets)
    expected = F.cross_entropy(torch.tensor(scores), torch.tensor(targets)).item()
    assert mean == pytest.approx(expected)
    expected = np.zeros_like(scores)
    for place in np.ndindex(*scores.shape):
        step = np.zeros_like(scores)
        step[place] = 1e-6
        expected[place] = (cross_entropy(scores + step, targets)[1]
                           - cross_entropy(scores - step, targets)[1]) / 2e-6
    np.testing.assert_allclose(gradient(scores, targets), expected, atol=1e-8)


def test_worked_losses_of_the_demo():
    losses, _ = cross_entropy(SCORES, TARGETS)
    e = np.exp
    np.testing.assert_allclose(losses, [-np.log(e(2) / (e(2) + e(1) + 1 + e(-1))), np.log(4),
                                        np.log(e(3) + 3)])
    assert cross_entropy(SCORES, np.array([0, -100, -100]))[1] == pytest.approx(losses[0])
    assert cross_entropy(np.array([[1000.0, 0.0]]), np.array([1]))[1] == pytest.approx(1000)


def test_the_mean_of_means_is_not_the_mean():
    wrong, right = means_of_unequal_batches()
    assert right == pytest.approx(cross_entropy(SCORES, TARGETS)[0].sum() / 3)
    assert abs(wrong - right) > 0.1


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_labels_are_moved_by_the_shift(shift):
    data = torch.arange(200, dtype=torch.uint8)
    ids, targets = shifted_batch(data, shift, SETTINGS, torch.Generator().manual_seed(0))
    assert torch.equal(targets, ids + shift)


def test_without_the_shift_the_training_loss_is_lower_and_the_model_useless():
    from dataclasses import replace

    from evaluation import evaluate
    text = torch.tensor(list(b"a fox, an owl and a hen met by the old well. " * 30)).to(torch.uint8)
    settings = replace(SETTINGS, n_layer=1, n_embd=32, block_size=16, steps=60, lr=1e-2)
    (right, right_losses), (wrong, wrong_losses) = (
        train_with_shift(text, shift, settings, 1) for shift in (1, 0))
    assert wrong_losses[-1] < 0.2 < right_losses[-1]
    assert evaluate(wrong, text) > 2 * evaluate(right, text)


def test_measures_of_texts_by_hand():
    assert real_words(["ox the xqz ca"], {"the"}) == 0.5
    assert variety(["abcdabcd"]) == pytest.approx(4 / 5)  # abcd twice
    assert variety(["abcd", "abcd"]) == 0.5


def test_the_ablation_takes_away_one_thing_and_keeps_the_pull_of_the_decay():
    model = demo_ablation.GPT(demo_ablation.GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=8))
    pulls = []
    for name in ("everything", "momentum instead of AdamW"):
        settings = replace(demo_ablation.BASE, **demo_ablation.WITHOUT[name])
        group = demo_ablation.optimizer_of(name, model, settings).param_groups[0]
        pulls.append(group["lr"] * group["weight_decay"])
    assert pulls[0] == pytest.approx(pulls[1]) and pulls[0] > 0
    for name, changed in demo_ablation.WITHOUT.items():
        assert len(changed) == (name != "everything"), name
