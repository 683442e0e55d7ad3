"""The loss of instruction tuning and its gradient are those of `trl` on the same weights."""

import pytest
import torch
from field_losses import PAD, field_model, same_as_trl, sft_rows
from sft.data import Example, ExampleRows
from text.rows import IGNORED


@pytest.fixture
def model(tmp_path):
    return field_model(tmp_path)


def batch():
    """The rows as training makes them: targets shifted, and -100 where a token is only read."""
    examples = [Example(ids, [False] * (len(ids) - k) + [True] * k) for ids, k in sft_rows()]
    ids, targets = ExampleRows(examples, 16, pad=PAD, packed=False, shuffled=False).batch(0, 3)
    return ids, targets


def test_the_loss_is_trls_mean_over_all_labels(model):
    ids, targets = batch()
    assert int((targets != IGNORED).sum()) == 16
    same_as_trl("sft", model(ids, targets, loss_only=True)[1], model)


def test_cut_into_pieces_it_is_still_the_mean_over_all_labels(model):
    """trl gives each piece the number of labels of the whole step, `num_items_in_batch`; so do we,
    eq. 4.7. The mean of the pieces' means would be another number."""
    ids, targets = batch()
    labels = (targets != IGNORED).sum()
    shares = [model(x, y, loss_only=True)[1] * (y != IGNORED).sum() / labels
              for x, y in zip(ids.split(1), targets.split(1))]
    same_as_trl("sft", torch.stack(shares).sum(), model)
