"""The optimizer: AdamW, and its state by the names of the parameters.

Math   m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2                               (eq. 4.4)
       w = w - rate * (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay * w)
Used   train.py, checkpoint.py.   Source Loshchilov and Hutter 2019, "Decoupled weight decay"

The state is kept by name and whole, not by number and in slices, so that a run may be resumed with
another number of processes, or with FSDP after DDP.
"""

import torch
from distributed import put, unwrapped, whole
from torch import nn

MOMENTS = ("exp_avg", "exp_avg_sq")


def make_optimizer(model: nn.Module, *, weight_decay: float, betas: tuple[float, float],
                   rate: float = 1e-3) -> torch.optim.AdamW:
    """AdamW, fused (one pass over memory, on every device); only matrices decay."""
    return torch.optim.AdamW(unwrapped(model).parameter_groups(weight_decay), lr=rate, betas=betas,
                             eps=1e-8, fused=True)


def optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """{parameter name: {"step", "exp_avg", "exp_avg_sq"}}, whole tensors on the CPU."""
    named = {}
    for name, parameter in unwrapped(model).named_parameters():
        state = optimizer.state.get(parameter)
        if state:
            named[name] = {key: whole(value).detach().cpu().clone() for key, value in state.items()}
    return named


def load_optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer, named: dict) -> None:
    """The way back. Raises ValueError when the names are not those of the model."""
    parameters = dict(unwrapped(model).named_parameters())
    if named and set(named) != set(parameters):
        odd = sorted(set(named) ^ set(parameters))
        raise ValueError(f"the optimizer's state is of another model; it differs in {odd[:3]}")
    for name, saved in named.items():
        parameter = parameters[name]
        state = {"step": saved["step"].to(parameter.device)}
        for moment in MOMENTS:
            state[moment] = torch.zeros_like(parameter)
            put(state[moment], saved[moment])
        optimizer.state[parameter] = state


def model_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Name -> whole float32 weight on the CPU. With FSDP every process must ask."""
    return {name: whole(value).detach().cpu().clone()
            for name, value in unwrapped(model).state_dict().items()}


def load_model_state(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """The way back, into a model that may be sliced. Raises ValueError where names do not fit."""
    own = unwrapped(model).state_dict()
    if set(own) != set(weights):
        odd = sorted(set(own) ^ set(weights))
        raise ValueError(f"the weights are of another model; they differ in {odd[:3]}")
    for name, target in own.items():
        if target.shape != weights[name].shape:
            raise ValueError(f"{name} is {tuple(weights[name].shape)} in the file and "
                             f"{tuple(target.shape)} in the model")
        put(target, weights[name])
