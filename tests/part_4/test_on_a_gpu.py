"""The same numbers on a GPU as on a CPU. Each test runs on the CPU too, so that it is one that can fail."""

import pytest
import torch
from gpt.generate import generate
from gpt.model import GPT, GPTConfig
from run.loop import train_step
from run.optim import make_optimizer
from run.runtime import Runtime

HERE = [torch.device("cpu"), pytest.param(torch.device("cuda"), marks=pytest.mark.gpu)]
CONFIG = GPTConfig(vocab_size=90, block_size=64, n_layer=2, n_head=4, n_kv_head=2, n_embd=64, window=24)
ROWS = torch.arange(2 * 65).view(2, 65) * 31 % 90


def model_on(device) -> GPT:
    torch.manual_seed(0)
    return GPT(CONFIG).to(device)


def losses(device, kind, steps: int = 6) -> list[float]:
    model = model_on(device).train()
    runtime = Runtime(device, kind, "", "")
    optimizer, scaler = make_optimizer(model, weight_decay=0.1, betas=(0.9, 0.95)), \
        runtime.grad_scaler()
    x, y = ROWS[:, :-1].to(device), ROWS[:, 1:].contiguous().to(device)
    return [train_step(model, optimizer, x, y, runtime=runtime, scaler=scaler, rate=3e-3,
                       micro_rows=1).loss for _ in range(steps)]


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize("kind, bound", [(None, 2e-3), (torch.bfloat16, 6e-2), (torch.float16, 3e-2)])
def test_a_training_falls_as_in_float32_on_the_cpu(device, kind, bound):
    wanted, found = losses(torch.device("cpu"), None), losses(device, kind)
    assert wanted[-1] < wanted[0] - 0.5
    assert found == pytest.approx(wanted, abs=bound)


@pytest.mark.parametrize("device", HERE)
def test_replies_are_those_of_the_cpu_and_of_no_cache(device):
    model = model_on(device).eval()
    prompts = [[5, 6, 7], [8], list(range(30))]
    assert generate(model, prompts, 20, temperature=0.0) == \
        generate(model_on("cpu").eval(), prompts, 20, temperature=0.0)
    row = ROWS[:1, :40].to(device)
    cache = model.make_cache(1)
    with torch.no_grad():
        parts = [model(part, cache=cache)[0] for part in row.split(7, dim=1)]
        torch.testing.assert_close(torch.cat(parts, 1), model(row)[0], rtol=1e-3, atol=1e-4)
