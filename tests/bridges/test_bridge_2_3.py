"""With its new features switched off, part 3's model is part 2's: same weights, same logits."""

from dataclasses import asdict

import pytest
import torch

OFF = {"norm": "layer", "positions": "learned", "mlp": "gelu"}


@pytest.mark.parametrize("settings", [{}, {"bias": True, "gelu": "tanh"}, {"tied": False}])
def test_old_weights_give_the_old_logits_and_loss(settings, modules_of):
    old, new = modules_of("part_2", "model").model, modules_of("part_3", "model").model
    config = old.GPTConfig(vocab_size=40, block_size=16, n_layer=2, n_head=4, n_embd=32, **settings)
    before = old.GPT(config).eval()
    with torch.no_grad():
        for parameter in before.parameters():
            parameter.copy_(torch.randn_like(parameter) / 5)
    after = new.GPT(new.GPTConfig(**asdict(config), **OFF)).eval()
    after.load_state_dict(before.state_dict())  # the same names and shapes
    ids, targets = torch.randint(0, 40, (2, 3, 16))
    for a, b in zip(before(ids, targets), after(ids, targets)):
        assert torch.allclose(a, b, atol=1e-5)


def test_switching_on_one_by_one_changes_the_logits(modules_of):
    new = modules_of("part_3", "model").model
    ids = torch.randint(0, 256, (1, 16))
    def logits(**settings):
        torch.manual_seed(0)
        return new.GPT(new.GPTConfig(**{**OFF, **settings}))(ids)[0]
    plain = logits()
    for change in ({"norm": "rms", "norm_eps": 0.1}, {"positions": "rope"}, {"mlp": "swiglu"}):
        assert not torch.allclose(logits(**change), plain, atol=1e-4), change
