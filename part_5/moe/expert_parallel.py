"""Experts spread over processes: each token's vector travels to its experts and back.

    process 0: its tokens, experts 0 … E/R - 1      process 1: its tokens, the next E/R experts …
    route -> sort by expert -> all-to-all -> own experts -> all-to-all back -> weigh and add

Math   values sent by all in one layer, forward and backward = 4 k N C (R - 1)/R      (eq. 5.9)
       there and back, twice; 1/R of the choices fall on experts at home
Used   demo_expert_parallel.py, and train_moe.py --parallel experts; with torchrun:
       torchrun --nproc_per_node=2 part_5/train_moe.py --parallel experts
Shapes N tokens of all processes, n = N/R of this one, R processes, E experts, k choices, C = n_embd
Source Lepikhin et al. 2020, "GShard"

Gradients: with the loss as a sum over all tokens of all processes, divided by their number, those
of the experts are complete where they live. The router and the shared experts are copies in every
process: `sum_copies` adds up their gradients. In a model (`spread_experts`) DDP does that, as for all else.
"""

import os
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from run.distributed import Processes, hollow, hollows, joined, wrap
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel

from moe.experts import sort_by_expert
from moe.hybrid import HybridGPT
from moe.layer import MoE, MoEConfig


@contextmanager
def exchange(what: str, clock: dict | None = None):
    """Add the time of a collective to the clock; tell in plain words when another process is gone.

    Raises ConnectionError.
    """
    start = time.perf_counter()
    try:
        yield
    except RuntimeError as error:
        if joined:  # in a training others_watched finds out which one it was
            raise
        rank, world = dist.get_rank(), dist.get_world_size()
        reason = str(error).splitlines()[0][:120]
        raise ConnectionError(
            f"process {rank} of {world} waited in the {what} for a process that has ended or hangs "
            f"({reason}); see what that one said, then start all of them again") from error
    if clock is not None:
        clock["communication"] = clock.get("communication", 0.0) + time.perf_counter() - start


class AllToAll(torch.autograd.Function):
    """x (sum of send, C) -> (sum of receive, C): rows for process r leave, rows from r arrive.

    Both lists have one number of rows for each process. Backward is the same way in reverse.
    """

    @staticmethod
    def forward(ctx, x, send: list[int], receive: list[int], group, clock):
        ctx.send, ctx.receive, ctx.group, ctx.clock = send, receive, group, clock
        out = x.new_empty(sum(receive), x.size(1))
        with exchange("all-to-all", clock):
            dist.all_to_all_single(out, x.contiguous(), receive, send, group=group)
        return out

    @staticmethod
    def backward(ctx, grad):
        out = grad.new_empty(sum(ctx.send), grad.size(1))
        with exchange("all-to-all of the backward pass", ctx.clock):
            dist.all_to_all_single(out, grad.contiguous(), ctx.send, ctx.receive, group=ctx.group)
        return out, None, None, None, None


class ExpertParallelMoE(MoE):
    """(…, C) -> (…, C): the layer of moe/layer.py, of whose experts this process holds E / R.

    Every process calls it with tokens of its own, equally many. `clock` collects seconds of
    communication in training. A capacity counts the choices of each process by itself.
    """

    def __init__(self, n_embd: int, n_hidden: int, config: MoEConfig, group=None):
        world = dist.get_world_size(group)
        if config.n_expert % world:
            raise ValueError(f"n_expert={config.n_expert} experts cannot be spread evenly over "
                             f"{world} processes; choose a multiple of {world}")
        super().__init__(n_embd, n_hidden, config)
        self.group, self.world, self.rank = group, world, dist.get_rank(group)
        self.clock: dict[str, float] = {}
        self.in_model = False  # True: a model sums the loads of all its layers at once
        for name in ("gate_up", "down"):
            setattr(self.experts, name, nn.Parameter(self.own(getattr(self.experts, name))))

    def own(self, stacked: torch.Tensor) -> torch.Tensor:
        """(E, …) -> (E/R, …): of what is stacked expert by expert, that of this process."""
        many = self.config.n_expert // self.world
        return stacked.detach()[self.rank * many:(self.rank + 1) * many].clone()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.reshape(-1, x.size(-1))  # (n, C)
        routing = self.router(tokens)
        if not self.in_model:
            self.sum_loads(routing)
        out = self.send_to_experts(tokens, routing)
        if self.shared is not None:
            shared = self.shared(tokens)
            if self.shared_gate is not None:
                shared = shared * self.shared_gate(tokens).sigmoid()
            out = out + shared
        self.loss = self.router_loss(routing) if self.training else None
        self.routing = routing
        return out.view(x.shape)

    @torch.compiler.disable  # how many rows travel is known only then
    def send_to_experts(self, tokens, routing) -> torch.Tensor:
        """(n, C) -> (n, C): eq. 5.7 with experts that live elsewhere."""
        E, k = self.config.n_expert, self.config.n_active
        clock = self.clock if self.training else None
        order, counts = sort_by_expert(routing.experts, E)  # by expert, hence by process, too
        arriving = torch.empty_like(counts)  # (E,) = (R, E/R): from each process, for each own
        with exchange("all-to-all of the counts", clock):
            dist.all_to_all_single(arriving, counts, group=self.group)
        send, receive = (c.view(self.world, -1).sum(1).tolist() for c in (counts, arriving))
        token = order // k
        rows = AllToAll.apply(tokens.index_select(0, token), send, receive, self.group, clock)
        own = torch.arange(E // self.world, device=tokens.device).repeat(self.world)
        expert = own.repeat_interleave(arriving)[:, None]  # (m, 1): which of the own experts
        here = {name: p.to_local() if isinstance(p, DTensor) else p  # spread_experts makes slices
                for name, p in self.experts.named_parameters()}
        alone = torch.ones_like(expert, dtype=routing.weights.dtype)
        y = functional_call(self.experts, here, (rows, expert, alone))
        back = AllToAll.apply(y, receive, send, self.group, clock)
        weights = routing.weights.flatten()[order, None].to(back.dtype)
        return torch.zeros_like(tokens, dtype=back.dtype).index_add(0, token, back * weights)

    def sum_loads(self, routing) -> None:
        """The balance is that of all processes' tokens: an even load here may be none there."""
        local = routing.load.clone()
        with exchange("sum of the loads", self.clock):
            dist.all_reduce(routing.load, group=self.group)
        if self.training:
            self.router.load += routing.load - local

    def sum_copies(self) -> None:
        """After backward: add up the gradients of what every process has a copy of."""
        for name, parameter in self.named_parameters():
            if not name.startswith("experts.") and parameter.grad is not None:
                with exchange("sum of the gradients", self.clock):
                    dist.all_reduce(parameter.grad, group=self.group)


# ---------------------------------------------------------------- layers and models

def spread(layer: MoE, group=None) -> ExpertParallelMoE:
    """A whole layer -> the same, of whose experts this process keeps its own."""
    _, n_embd, n_hidden = layer.experts.down.shape
    part = ExpertParallelMoE(n_embd, n_hidden, layer.config, group)
    part.load_state_dict({name: part.own(value) if name.startswith("experts.") else value
                          for name, value in layer.state_dict().items()})
    return part.to(layer.router.weight.device)


def spread_experts(model: HybridGPT, together: Processes, device: torch.device) -> nn.Module:
    """A model -> the same for training (run/loop.py): experts over the processes, all else by DDP.

    The experts become slices, as FSDP makes them: so they are clipped, saved and loaded as slices are,
    and `whole_model` puts them together.
    """
    hollows[model] = hollow(model)
    mesh = init_device_mesh(device.type, (together.world,))
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, MoE):
                setattr(parent, name, spread(layer))
    for layer in model.moes:
        layer.in_model = True
        for name, own in list(layer.experts.named_parameters()):
            part = nn.Parameter(DTensor.from_local(own.detach(), mesh, [Shard(0)], run_check=False))
            part.register_hook(lambda grad: grad / together.world)  # it is the sum; DDP's are means
            setattr(layer.experts, name, part)
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(
        model, [name for name, p in model.named_parameters() if isinstance(p, DTensor)])
    return wrap(model, "ddp", together, device)


def seconds_exchanging(model: HybridGPT) -> float:
    """What the clocks of all layers show; they begin anew."""
    clocks = [layer.clock for layer in model.moes if isinstance(layer, ExpertParallelMoE)]
    return sum(clock.pop("communication", 0.0) for clock in clocks)


# ---------------------------------------------------------------- starting and ending

def join(rank: int, world: int, meeting: str, seconds: float) -> None:
    """Become process `rank` of `world`. Nobody waits longer than `seconds` for another."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // world))
    backend = "nccl" if torch.cuda.is_available() and torch.cuda.device_count() >= world else "gloo"
    with exchange_start(rank, world):
        dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=world,
                                timeout=timedelta(seconds=seconds))


@contextmanager
def exchange_start(rank: int, world: int):
    """A clear message when the processes do not find each other."""
    try:
        yield
    except (RuntimeError, dist.DistError) as error:
        raise ConnectionError(f"process {rank} of {world} did not find the others "
                              f"({str(error).splitlines()[0][:120]})") from error


def _work(rank: int, worker, world: int, meeting: str, seconds: float, args: tuple) -> None:
    try:
        join(rank, world, meeting, seconds)
        worker(rank, world, *args)
    except (ValueError, OSError) as error:
        print(f"process {rank}: error: {error}", file=sys.stderr, flush=True)
        os._exit(2)  # at once: destroying the group would wait for those that are gone
    dist.barrier()
    dist.destroy_process_group()


def launch(worker, world: int, *args, seconds: float = 60, method: str | None = None) -> None:
    """Run worker(rank, world, *args) in `world` processes of this machine, and wait for them.

    If one ends badly the others are ended, and ConnectionError says which it was. With "fork" (the
    default on Linux) the calling process must not have computed with several threads before.
    """
    method = method or ("fork" if sys.platform == "linux" else "spawn")
    with tempfile.TemporaryDirectory() as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        try:
            processes.start_processes(_work, (worker, world, meeting, seconds, args), nprocs=world,
                                      join=True, start_method=method)
        except processes.ProcessExitedException as error:
            how = (f"was ended by signal {error.signal_name}" if error.signal_name
                   else f"ended with status {error.exit_code}")
            raise ConnectionError(f"process {error.error_index} of {world} {how}; the others were "
                                  "stopped; what it said stands above") from None
