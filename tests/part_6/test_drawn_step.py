"""The drawing of LoRA shows what the layer does."""

import demo_lora
import pytest


def test_the_detour_is_nothing_at_first_and_folds_in(capsys, tmp_path):
    demo_lora.main(["--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "0e+00 at the start" in printed and "49,152 are trained" in printed
    after_step = float(printed.split("at the start, ")[1].split()[0])
    folded = float(printed.split("folded in: ")[1].split()[0])
    assert after_step > 0.1 and folded < 1e-5
    assert (tmp_path / "diagram_lora.png").exists()


@pytest.mark.parametrize("name, shape", [("A x", "(4, 16, 8)"), ("W", "(1024, 192)"),
                                         ("y", "(4, 16, 1024)")])
def test_shapes_are_those_of_the_layer(name, shape):
    import torch
    from torch import nn
    layer = demo_lora.LoRALinear(nn.Linear(192, 1024, bias=False), 8, 16)
    assert demo_lora.shapes_of(layer, torch.zeros(4, 16, 192))[name] == shape
