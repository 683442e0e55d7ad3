"""The drawing of one pair shows Bradley–Terry's own numbers."""

import demo_one_pair
import pytest
import torch


@pytest.fixture(scope="module")
def pair():
    return demo_one_pair.one_pair(0)


def test_the_gradients_are_those_of_eq_7_7_and_a_step_moves_the_scores_apart(pair):
    d = pair["scores"][0] - pair["scores"][1]
    slope = torch.sigmoid(d) - 1
    torch.testing.assert_close(pair["gradients"], torch.stack([slope, -slope]))
    assert pair["loss"] == pytest.approx(float(-torch.sigmoid(d).log()))
    assert pair["after"][0] - pair["after"][1] > d + 0.05


def test_each_row_is_read_at_its_own_last_token(pair):
    for row, last in zip(pair["ids"], pair["last"].tolist()):
        assert (row[last + 1:] == pair["pad"]).all() and row[last] != pair["pad"]


def test_it_draws(pair, tmp_path):
    demo_one_pair.draw(tmp_path / "diagram_pair.png", pair, "")
    assert (tmp_path / "diagram_pair.png").exists()
