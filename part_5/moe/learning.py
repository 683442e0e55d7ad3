"""Train a dense model or one with experts on rows of tokens, and look at what the routers do.

Used   train_moe.py, compare_moe.py, demo_moe.py, demo_collapse.py: the same steps for all of them
Shapes R rows a step, T context, L layers with experts, E experts
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from run.distributed import Processes
from run.loop import ALONE, Report, train_step
from run.optim import make_optimizer
from run.runtime import Runtime
from run.schedule import Schedule
from text.data import DataPlan, TokenRows, open_shards, prepare
from text.rows import segments
from text.tokenizer import Tokenizer
from torch.distributed.tensor import DTensor

from moe.hybrid import HybridGPT

EMBEDDING_STD = 0.08  # spread of the embeddings at the start, as in part 4's training
BALANCE_WEIGHT = 0.03  # of eq. 5.4 with scale 2: 0.01 leaves the fullest expert above 1.5 x the mean


@dataclass(frozen=True)
class Texts:
    """Prepared data: rows to learn from, rows to be judged by, and how many bytes a token is."""

    tokenizer: Tokenizer
    train: TokenRows
    held_out: TokenRows
    bytes_per_label: float  # of the held-out text; a label is a token that is predicted

    def bits_per_byte(self, loss: float) -> float:
        """Nats per token -> bits per byte, which do not depend on the tokenizer."""
        return loss / math.log(2) / self.bytes_per_label


def read_texts(plan: DataPlan, folder: Path, context: int, seed: int = 0,
               processes: Processes = ALONE) -> Texts:
    """Make the tokens of a plan (or find them in `folder`), and open them. One process makes them."""
    if not processes.is_main:
        processes.wait()
    tokenizer, made = prepare(plan, folder / "data", folder / "cache")
    if processes.is_main:
        processes.wait()
    train, held_out = (TokenRows(open_shards(folder / "data", split, tokenizer), context,
                                 begin=tokenizer.begin, seed=seed)
                       for split in ("train", "validation"))
    split = made["validation"]
    return Texts(tokenizer, train, held_out,
                 split["text_bytes"] / (split["tokens"] - split["documents"]))


def optimizer_of(model, weight_decay: float = 0.1) -> torch.optim.Optimizer:
    """AdamW. Slices (experts over processes) are a group of their own: one call takes one kind."""
    optimizer = make_optimizer(model, weight_decay=weight_decay, betas=(0.9, 0.95))
    for group in list(optimizer.param_groups):
        slices = [p for p in group["params"] if isinstance(p, DTensor)]
        rest = [p for p in group["params"] if not isinstance(p, DTensor)]
        if slices and rest:
            group["params"] = rest
            optimizer.add_param_group({**group, "params": slices})
    return optimizer


def learn(model, rows: TokenRows, runtime: Runtime, schedule: Schedule, *, steps: int,
          rows_a_step: int, weight_decay: float = 0.1, first: int = 0, optimizer=None,
          scaler=None, processes: Processes = ALONE) -> Iterator[tuple[int, Report]]:
    """Train; after each step yield (its number, its report), so that the caller can look in.

    As in part 4, attention stays inside a document (`rows.begin` is the token that opens one).
    A run that is resumed gives its first step and the optimizer and scaler as they were. Of several
    processes each reads its rows of the step.
    Raises ValueError when the loss or the gradient is not a number: that step changed nothing.
    """
    optimizer = optimizer or optimizer_of(model, weight_decay)
    scaler = scaler or runtime.grad_scaler()
    model.train()
    for step in range(first, steps):
        # 1. the batch is a function of the step, the rate of the share that is done
        ids, targets = rows.batch(step, rows_a_step, processes.rank, processes.world)
        # 2. forward, backward, clip, update; the loss of a HybridGPT holds the routers' losses, and its
        # biases follow the load of the step: balance without a loss
        rate = schedule.rate((step + 1) / steps)
        try:
            report = train_step(model, optimizer, ids.to(runtime.device),
                                targets.to(runtime.device), runtime=runtime, scaler=scaler,
                                rate=rate, processes=processes, begin=rows.begin)
        except FloatingPointError as error:
            raise ValueError(f"step {step + 1}: {error}, at the rate {rate:.2g}; nothing was "
                             "updated in this step. Try a lower rate, a smaller --scale or "
                             "--balance-weight, or --amp float32") from None
        yield step, report


@torch.no_grad()
def held_out_loads(model: HybridGPT, rows: TokenRows, runtime: Runtime, *, batches: int = 8,
                   size: int = 16) -> torch.Tensor:
    """(L, E): choices of each expert over the first held-out rows, in every layer with experts."""
    was_training = model.training
    model.eval()
    total = 0
    for first in range(0, min(batches * size, rows.epoch_rows - size + 1), size):
        tokens = torch.stack([torch.from_numpy(rows.packed_row(first + i)) for i in range(size)])
        ids = tokens[:, :-1].to(runtime.device)
        with runtime.autocast():
            model(ids, segments=segments(ids, rows.begin), last_only=True)
        total = total + model.loads().cpu()
    model.train(was_training)
    return total
