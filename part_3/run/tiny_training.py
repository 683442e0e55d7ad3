"""A short training loop for the demos and the benchmark: the same for every model compared.

Used   the demos, benchmark_upgrades.py. train_gpt.py is the full loop, with checkpoints.
Shapes B batch, T time

Models that are compared see the same batches in the same order: only the model differs.
"""

import time
from pathlib import Path

import torch
from model import GPT, GPTConfig

from run.data import get_batch, read_bytes, split_bytes
from run.runtime import Runtime
from run.schedule import learning_rate

FABLES = Path(__file__).resolve().parent.parent / "fables.txt"  # those of part 2


def load_text(path: str | Path = FABLES) -> tuple[torch.Tensor, torch.Tensor]:
    """The bytes of a file or folder -> the first 90% for training, the last 10% for validation."""
    return split_bytes(read_bytes(path))


def train(model, data: torch.Tensor, *, steps: int | None = None, seconds: float | None = None,
          batch_size: int = 16, runtime: Runtime | None = None,
          block_size: int | None = None, peak: float = 2e-3, seed: int = 0,
          first_token: int | None = None, report=None, every: int = 0) -> list[float]:
    """Train in place -> the loss of each step. `report(step)` is called every `every` steps.

    The run ends after `steps`, or after `seconds`. `first_token` takes the place of the first
    token of every window: a begin token.
    """
    block_size = block_size or model.config.block_size
    generator = torch.Generator().manual_seed(seed)  # the batches, whatever the model draws
    optimizer = torch.optim.AdamW(model.parameter_groups(0.1), lr=peak, betas=(0.9, 0.95),
                                  fused=True)
    runtime = runtime or Runtime(data.device, None, "", "")
    losses, start, step = [], time.perf_counter(), 0
    model.train()
    while True:
        progress = (step + 1) / steps if steps else (time.perf_counter() - start) / seconds
        if progress > 1:
            break
        step += 1
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, peak=peak, final=0.1 * peak, warmup=0.05)
        ids, targets = get_batch(data, batch_size, block_size, generator)
        if first_token is not None:
            ids[:, 0] = first_token
        with runtime.autocast():
            _, loss = model(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if report and every and step % every == 0:
            report(step)
    model.eval()
    return losses


def make_model(seed: int, **settings) -> GPT:
    """A model whose first weights depend on `seed` alone."""
    torch.manual_seed(seed)
    return GPT(GPTConfig(**settings))
