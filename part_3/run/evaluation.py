"""Validation loss: how surprised is the model by text that it was not trained on?

Math   loss = -(1/N) sum_t log p(d[t] | the bytes before it in its window), nats a byte  (eq. 2.10)
       bits per byte = loss / ln 2                                                   (eq. 2.11)
Used   train_gpt.py, eval_loss.py   (lesson 2.6)
Shapes B batch, T time

Every byte but the first counts exactly once; nothing is drawn at random, so that two models are
asked the same.
"""

import math

import torch


def bits_per_byte(nats_per_byte: float) -> float:
    """1 bit = ln 2 nats: 0.6931 nats -> 1 bit. Guessing evenly among 256 bytes costs 8 bits."""
    return nats_per_byte / math.log(2)  # eq. 2.11


def windows(n_bytes: int, block_size: int, stride: int) -> list[tuple[int, int, int]]:
    """(start, end, first counted target) of each window; targets are bytes start+1 … end.

    windows(11, 4, 4) -> [(0, 4, 1), (4, 8, 5), (8, 10, 9)]: each byte from 1 to 10 is counted once.
    windows(9, 4, 2) -> [(0, 4, 1), (2, 6, 5), (4, 8, 7)]: with at least two bytes to go by.
    """
    if not 1 <= stride <= block_size:
        raise ValueError(f"--stride {stride}: must be from 1 to the block size, {block_size}")
    spans, counted = [], 0  # bytes up to `counted` have been asked for
    for start in range(0, n_bytes, stride):
        if counted >= n_bytes - 1:
            break
        end = min(start + block_size, n_bytes - 1)
        spans.append((start, end, counted + 1))
        counted = end
    return spans


@torch.inference_mode()
def evaluate(model, data: torch.Tensor, *, stride: int | None = None, every: int = 1,
             batch_size: int = 64) -> float:
    """The loss on all of `data` (uint8), in nats a byte, in eval mode and in float32.

    `stride` is how far one window lies behind the one before; by default they do not overlap. A
    smaller stride gives each byte more to go by, costs more, and gives a lower loss. `every=5` asks
    every fifth window only: a quick look, spread over the whole text.
    """
    if len(data) < 2:
        raise ValueError(f"the text has {len(data)} bytes; a loss needs at least 2")
    was_training = model.training
    model.eval()  # no dropout
    block_size, device = model.config.block_size, next(model.parameters()).device
    data = data.long()
    total, count = 0.0, 0
    pending = windows(len(data), block_size, block_size if stride is None else stride)[::every]
    while pending:
        length = pending[0][1] - pending[0][0]
        batch = [w for w in pending[:batch_size] if w[1] - w[0] == length]  # the last may be short
        pending = pending[len(batch):]
        ids = torch.stack([data[start:end] for start, end, _ in batch]).to(device)
        targets = torch.stack([data[start + 1:end + 1] for start, end, _ in batch]).to(device)
        for row, (start, _, first) in zip(targets, batch):
            row[:first - start - 1] = -100  # counted in the window before
        n_labels = int((targets != -100).sum())
        total += model(ids, targets)[1].item() * n_labels  # a sum: windows differ in their labels
        count += n_labels
    model.train(was_training)
    return total / count  # eq. 2.10
