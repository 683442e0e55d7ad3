"""Experts on a GPU compute what they do on a CPU. Each test runs on the CPU too."""

import copy

import pytest
import torch
from moe.layer import MoE, MoEConfig

HERE = [torch.device("cpu"), pytest.param(torch.device("cuda"), marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize("form", ["sorted", "grouped"])
def test_experts_in_groups_are_those_of_a_loop(device, form):
    torch.manual_seed(0)
    layer = MoE(32, 64, MoEConfig(n_expert=4, n_active=2, form="loop"))
    other = copy.deepcopy(layer)
    other.experts.form = form
    x = torch.randn(50, 32)
    found = []
    for one, where in ((layer, torch.device("cpu")), (other, device)):
        one.to(where, torch.bfloat16)
        y = one(x.to(where, torch.bfloat16))
        y.float().square().sum().backward()
        found.append((y.detach().float().cpu(), one.experts.down.grad.float().cpu()))
    for one, same in zip(*found):
        torch.testing.assert_close(same, one, rtol=5e-2, atol=5e-2 * float(one.abs().max()))
