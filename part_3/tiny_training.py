"""A short training loop for the demos and the benchmark: the same for every model compared.

Used   the demos, benchmark_upgrades.py. train_gpt.py is the full loop, with checkpoints.
Shapes B batch, T time

Models that are compared see the same batches in the same order: only the model differs.
"""

from pathlib import Path

import torch
from data import get_batch, read_bytes, split_bytes
from model import GPT, GPTConfig
from schedule import learning_rate

FABLES = Path(__file__).resolve().parent.parent / "part_2" / "fables.txt"


def load_text(path: str | Path = FABLES) -> tuple[torch.Tensor, torch.Tensor]:
    """The bytes of a file or folder -> the first 90% for training, the last 10% for validation."""
    return split_bytes(read_bytes(path))


@torch.no_grad()
def validation_loss(model, data: torch.Tensor, block_size: int, windows: int = 64) -> float:
    """Mean loss in nats per byte over evenly spread windows, the same ones each time."""
    was_training = model.training
    model.eval()
    starts = torch.linspace(0, len(data) - block_size - 1, windows).long()[:, None]
    rows = data[starts + torch.arange(block_size + 1)].long()
    total = sum(model(part[:, :-1], part[:, 1:])[1].item() * len(part) for part in rows.split(16))
    model.train(was_training)
    return total / len(rows)


def train(model, data: torch.Tensor, *, steps: int, batch_size: int = 16,
          block_size: int | None = None, peak: float = 2e-3, seed: int = 0,
          report=None, every: int = 0) -> list[float]:
    """Train in place -> the loss of each step. `report(step)` is called every `every` steps."""
    block_size = block_size or model.config.block_size
    generator = torch.Generator().manual_seed(seed)  # the batches, whatever the model draws
    optimizer = torch.optim.AdamW(model.parameter_groups(0.1), lr=peak, betas=(0.9, 0.95),
                                  fused=True)
    losses = []
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate((step + 1) / steps, peak=peak, final=0.1 * peak,
                                        warmup=0.05)
        ids, targets = get_batch(data, batch_size, block_size, generator)
        _, loss = model(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if report and every and (step + 1) % every == 0:
            report(step + 1)
    model.eval()
    return losses


def make_model(seed: int, **settings) -> GPT:
    """A model whose first weights depend on `seed` alone."""
    torch.manual_seed(seed)
    return GPT(GPTConfig(**settings))
