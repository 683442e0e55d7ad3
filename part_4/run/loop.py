"""One optimizer step, however it is cut: micro-batches, processes, number formats.

Math   g = sum over micro-batches m of all processes  (n_m / n) * grad loss_m            (eq. 4.7)
       loss_m is the mean over the n_m labels of m, and n the number of labels in the whole step.
       So g is the gradient of the mean over all labels, as if there were one big batch.
       The mean of the means, which is what most loops take, weighs a label in a short
       micro-batch more than one in a long micro-batch.
Used   train.py.   See it: python demo_accumulation.py, python demo_mixed_precision.py
Shapes R rows of this process in one step, B rows of a micro-batch, T context
"""

import math
from dataclasses import dataclass

import torch
from text.rows import IGNORED, segments
from torch import nn

from run.distributed import Processes, clip_gradient, gradients_exchanged, unwrapped
from run.runtime import Runtime

ALONE = Processes()  # one process


@dataclass(frozen=True)
class Report:
    """What a step says about itself."""

    loss: float           # mean over all labels of the step, before the update
    gradient_norm: float  # before clipping
    labels: int           # how many tokens were learnt from
    skipped: bool         # fp16 only: the gradient overflowed, the scaler left the step out


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, ids: torch.Tensor,
               targets: torch.Tensor, *, runtime: Runtime, scaler: torch.amp.GradScaler,
               rate: float, clip: float = 1.0, micro_rows: int | None = None,
               processes: Processes = ALONE, begin: int | None = None) -> Report:
    """Learn from ids and targets (R, T), `micro_rows` rows at a time.

    `begin`: the token that opens a document, if attention shall stay inside documents.
    Raises FloatingPointError when the loss or the gradient is not a number: nothing is updated.
    """
    # 1. the rate of this step
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)
    # 2. how many labels the whole step has, in all processes
    labels = processes.sum((targets != IGNORED).sum()).clamp(min=1)
    # 3. forward and backward, piece by piece; gradients add up
    pieces = list(zip(ids.split(micro_rows or len(ids)), targets.split(micro_rows or len(ids))))
    loss_sum = torch.zeros((), device=ids.device)
    for number, (x, y) in enumerate(pieces, 1):
        with gradients_exchanged(model, exchange=number == len(pieces)):
            with runtime.autocast():
                parts = segments(x, begin) if begin is not None else None
                _, loss = model(x, y, segments=parts, loss_only=True)
            share = loss * ((y != IGNORED).sum() / labels)  # eq. 4.7
            scaler.scale(share * processes.world).backward()  # DDP and FSDP divide by world
        loss_sum += share.detach()
    # 4. is it a number? 5. the true size of the gradient, then clip it
    loss = float(processes.sum(loss_sum))
    if not math.isfinite(loss):
        optimizer.zero_grad(set_to_none=True)
        raise FloatingPointError(f"the loss is {loss}")
    scaler.unscale_(optimizer)  # before clipping, else the limit would be `scale` times too low
    norm = clip_gradient(model.parameters(), clip)
    overflowed = not math.isfinite(norm)
    if overflowed and not scaler.is_enabled():
        optimizer.zero_grad(set_to_none=True)
        raise FloatingPointError(f"the norm of the gradient is {norm}")
    # 6. update
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    # 7. routers of experts (part 5) follow the load of this step
    if hasattr(unwrapped(model), "update_biases"):
        unwrapped(model).update_biases(processes)
    return Report(loss, norm, int(labels), overflowed)
