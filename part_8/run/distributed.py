"""Several processes: who am I, sums over all, and the model as DDP or FSDP.

Used   train.py, under `torchrun --nproc_per_node=2 part_4/train.py`; with plain `python` it is
       one process and everything here does nothing.

DDP    every process holds the whole model; gradients are averaged while backward runs.
FSDP   every process holds a slice of each weight and of the optimizer's state; the whole weight of
       a block is gathered just before it is needed and dropped after it.
Both average over processes. The loop wants sums over all labels, hence its factor `world`.
sum_gradients adds up, for losses that are more than one call of the model; `shard` slices their models,
and their references and judges, in just that way (--shard of the trainings from part 6 on).
"""

import copy
import math
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from run.runtime import AMP_TYPES, Runtime

KINDS = ("ddp", "fsdp")
PATIENCE = timedelta(hours=6)  # while one process works alone and the others wait
joined: dict = {}  # what this process shares with the others: "store", and the group "patient"
hollows: WeakKeyDictionary = WeakKeyDictionary()  # a sliced model -> the same without any weights


@dataclass(frozen=True)
class Processes:
    """This process among `world`. `rank` 0 prints, writes and saves."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    shards: bool = False  # --shard: models lie in slices, so all must call them equally often

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def kind(self) -> str:
        """How models are wrapped, one of KINDS."""
        return "fsdp" if self.shards else "ddp"

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """The sum over all processes; in place."""
        if self.world > 1:
            dist.all_reduce(value)
        return value

    def share(self, seconds: float, stop: bool, device) -> tuple[float, bool]:
        """The mean of `seconds`, and whether anyone wants to stop: all must leave the loop at the
        same step, and follow the same schedule."""
        if self.world == 1:
            return seconds, stop
        both = self.sum(torch.tensor([seconds / self.world, float(stop)], device=device))
        return float(both[0]), bool(both[1] > 0)

    def wait(self) -> None:
        """Until all are here. One of them may have written a large file meanwhile: no hurry."""
        if self.world > 1:
            dist.barrier(group=joined.get("patient"))


def start_processes(device: str) -> tuple[Processes, str]:
    """Read what torchrun set, and join the others -> (this process, its device's name)."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return Processes(), device
    numbers = [os.environ.get(name, "") for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK")]
    if not all(text.isdecimal() for text in numbers) or "MASTER_ADDR" not in os.environ:
        raise ValueError("WORLD_SIZE={}, RANK={}, LOCAL_RANK={}: torchrun sets all three, and "
                         "MASTER_ADDR; start several processes with torchrun, or unset WORLD_SIZE"
                         .format(*numbers))
    world, rank, local_rank = map(int, numbers)
    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if on_gpu:
        torch.cuda.set_device(local_rank)
        device = f"cuda:{local_rank}"
    elif os.environ.get("OMP_NUM_THREADS") == "1":  # torchrun's cautious default
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // world))
    store, rank, world = next(dist.rendezvous("env://"))
    dist.init_process_group("nccl" if on_gpu else "gloo", store=store, rank=rank, world_size=world,
                            timeout=timedelta(seconds=longest_wait()))
    joined.update(store=store, patient=dist.new_group(backend="gloo", timeout=PATIENCE))
    return Processes(rank, world, local_rank), device


def longest_wait() -> float:
    """Seconds that a process waits for the others in a step; PROCESS_WAIT=300 makes it longer."""
    text = os.environ.get("PROCESS_WAIT", "45")
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"PROCESS_WAIT={text}: must be a whole number of seconds, at least 1")
    return int(text)


def same_format(runtime: Runtime, processes: Processes) -> Runtime:
    """With --amp auto each process has timed a layer for itself: what the main one found counts."""
    names = list(AMP_TYPES)
    number = names.index(runtime.amp_name) if processes.is_main else 0
    chosen = int(processes.sum(torch.tensor(number, device=runtime.device)))
    return replace(runtime, amp_dtype=AMP_TYPES[names[chosen]])


@contextmanager
def others_watched(processes: Processes):
    """In here the job ends where a process dies or hangs, with a message that names it."""
    try:
        yield
    except RuntimeError as error:
        lost = lost_processes(processes) if processes.world > 1 else []
        if not lost:
            raise
        names = ", ".join(f"process {rank}" for rank in lost)
        raise ConnectionError(
            f"{names} of {processes.world} died or did not answer for {longest_wait()} seconds; its "
            "own message, if it had one, stands above. Go on with --resume; PROCESS_WAIT=300 waits "
            "longer") from error


def lost_processes(processes: Processes) -> list[int]:
    """The ranks that do not answer: all that still run say so in the store, at about the same time."""
    store, last = joined["store"], time.monotonic() + 8  # seconds
    try:
        store.set(f"alive {processes.rank}", "yes")
    except RuntimeError:
        return [0]  # it keeps the store, where torchrun does not
    lost = []
    for rank in range(processes.world):
        try:
            store.wait([f"alive {rank}"], timedelta(seconds=max(0.1, last - time.monotonic())))
        except RuntimeError:
            lost.append(rank)
    return lost


def stop_processes() -> None:
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def wrap(model: nn.Module, kind: str, processes: Processes, device: torch.device) -> nn.Module:
    """The model for training in several processes; unchanged in one."""
    if processes.world == 1:
        return model
    if kind == "ddp":
        return DistributedDataParallel(model, device_ids=[device.index] if device.index is not None
                                       else None)
    if kind != "fsdp":
        raise ValueError(f"--parallel {kind}: unknown; choose {' or '.join(KINDS)}")
    hollows[model] = hollow(model)
    return slice_weights(model, processes, device)


def slice_weights(model: nn.Module, processes: Processes, device: torch.device) -> nn.Module:
    """FSDP for a GPT: block by block, and what is around them; `features` counts as a call too."""
    from torch.distributed.device_mesh import init_device_mesh  # here: they take a second, and
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method  # few need them

    mesh = init_device_mesh(device.type, (processes.world,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "features")
    return model


def shard(model: nn.Module, processes: Processes, device: torch.device, *bodies) -> nn.Module:
    """With --shard: slice the GPTs `bodies` inside of `model`, or itself; else nothing. Backward then
    adds up their gradients over all processes, and sum_gradients those of what is around them."""
    if processes.shards:
        hollows[model] = hollow(model)
        for body in bodies or (model,):
            slice_weights(body, processes, device)
            for part in body.modules():
                if hasattr(part, "set_gradient_divide_factor"):  # one of FSDP's
                    part.set_gradient_divide_factor(1.0)
                    part.set_force_sum_reduction_for_comms(True)
    return model


def hollow(model: nn.Module) -> nn.Module:
    """A copy of a model without its weights, in which `as_whole` puts them together."""
    return copy.deepcopy(model, {id(p): nn.Parameter(p.data.new_empty(0), p.requires_grad)
                                 for p in model.parameters()})


@contextmanager
def as_whole(model: nn.Module):
    """In here: the whole model, to write replies or to be measured. All processes must come here; what
    it then reads is its own affair."""
    yield (whole_one := whole_model(model))
    if model in hollows:
        for p in whole_one.parameters():
            p.data = p.data.new_empty(0)


def whole_model(model: nn.Module) -> nn.Module:
    """A sliced model -> a plain one with all weights (all processes must ask); others unwrapped."""
    if model not in hollows:
        return unwrapped(model)
    found = hollows[model].train(model.training)
    values = {**dict(found.named_parameters(remove_duplicate=False)), **dict(found.named_buffers())}
    filled = set()
    for name, value in model.state_dict().items():
        if id(values[name]) not in filled:  # tied ones once
            filled.add(id(values[name]))
            values[name].data = whole(value).detach().clone()
    return found


def part_of(items: list, processes: Processes) -> list:
    """The share of this process in what a step reads; together they are all of it, in its order."""
    rank, world = processes.rank, processes.world
    return items[len(items) * rank // world:len(items) * (rank + 1) // world]


def sum_gradients(model: nn.Module, processes: Processes) -> None:
    """Add up the gradients of all processes, for losses that were divided by what the whole step
    holds. A process that had nothing to read adds zeros. Models in slices that were only read, as a
    reference is, let go of what they have still gathered."""
    for part in (part for sliced_one in hollows for part in sliced_one.modules()):
        if hasattr(part, "reshard"):
            part.reshard()
    learnt = [p for p in model.parameters() if p.requires_grad and not is_slice(p)]
    if processes.world == 1 or not learnt:  # FSDP has added up the gradients of its slices
        return
    has = processes.sum(torch.tensor([float(p.grad is not None) for p in learnt],
                                     device=learnt[0].device)).tolist()
    learnt = [p for p, many in zip(learnt, has) if many]  # what nobody has, stays without
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in learnt]
    total = processes.sum(torch.cat([grad.flatten().float() for grad in grads]))
    for p, grad, summed in zip(learnt, grads, total.split([grad.numel() for grad in grads])):
        p.grad = summed.view_as(grad).to(grad.dtype)


def clip_gradient(parameters, largest: float) -> float:
    """clip_grad_norm_ for all weights together, slices and whole ones -> the norm before it."""
    parameters = [p for p in parameters if p.grad is not None]
    slices = [p for p in parameters if is_slice(p)]
    if not slices:
        return float(nn.utils.clip_grad_norm_(parameters, largest))
    parts = [slices, [p for p in parameters if not is_slice(p)]]
    norm = math.hypot(*(float(whole(nn.utils.get_total_norm([p.grad for p in part])))
                        for part in parts if part))
    for part in parts:
        nn.utils.clip_grads_with_norm_(part, largest, torch.tensor(norm, device=slices[0].device))
    return norm


def unwrapped(model: nn.Module) -> nn.Module:
    """The GPT inside DDP or torch.compile."""
    model = getattr(model, "_orig_mod", model)
    return model.module if isinstance(model, DistributedDataParallel) else model


@contextmanager
def gradients_exchanged(model: nn.Module, exchange: bool):
    """Exchange gradients only in the last micro-batch of a step: the others just add up."""
    inner = getattr(model, "_orig_mod", model)
    if isinstance(inner, DistributedDataParallel) and not exchange:
        with inner.no_sync():
            yield
    else:
        if hasattr(inner, "set_requires_gradient_sync"):  # FSDP
            inner.set_requires_gradient_sync(exchange)
        yield


def is_slice(value) -> bool:
    """Is it a DTensor, a slice as FSDP holds them?"""
    return hasattr(value, "full_tensor")


def whole(value):
    """A slice of FSDP -> the whole tensor (all processes must ask for it); others unchanged."""
    return value.full_tensor() if is_slice(value) else value


def sliced(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A whole tensor -> the slice that this process holds of `like`; unchanged without FSDP."""
    if not is_slice(like):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def put(target: torch.Tensor, value: torch.Tensor) -> None:
    """Copy a whole tensor into `target`, which may be a slice of FSDP."""
    with torch.no_grad():
        target.copy_(sliced(value, target))
