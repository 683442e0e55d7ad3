"""Less memory, or less time, for the same numbers: two flags of training, one help for reading.

Idea   --recompute: of a block only its input is kept for the way back; the rest is computed again
       when its gradient is asked for. Dropout draws the same numbers again, so the gradient is the
       same to the last bit; a step takes about a quarter longer.
       --compile: a block's operations become few kernels. Sums are then taken in another order, so
       the loss agrees to rounding. Decoding with a cache stays as it is: each token would bring
       another length, and another compilation.
       `rounded_once`: a model that is only read keeps its weights in the short number format.
Used   train.py and the training scripts after it; sample.py, eval.py, chat.py and evaluate.py (lesson 4.2)
"""

import os
import shutil
import sys
from importlib.util import find_spec
from types import MethodType

import torch
from torch import nn


def add_thrift_flags(parser, recompute: bool = True) -> None:
    """`recompute`: False where the script's settings have that flag already."""
    if recompute:
        parser.add_argument("--recompute", action="store_true",
                            help="keep little for the backward pass, compute the rest again "
                                 "(default: off)")
    parser.add_argument("--compile", action="store_true",
                        help="torch.compile for the blocks; needs a compiler (default: off)")


def check_compiler(device: torch.device) -> None:
    """Raise ValueError where torch.compile has nothing to compile with."""
    if device.type == "cpu":
        name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
        if shutil.which(name) is None:
            raise ValueError(f"--compile: torch.compile needs a C++ compiler, and {name} is not "
                             "there; install one, name one in the variable CXX, or leave --compile "
                             "out")
    elif device.type == "cuda" and find_spec("triton") is None:
        raise ValueError("--compile: torch.compile needs Triton on a GPU, and it is not there; "
                         "install the package triton, or leave --compile out")


def spend_less(model: nn.Module, recompute: bool, compiled: bool) -> nn.Module:
    """The same model, whose blocks are recomputed and compiled as asked; the GPTs inside of it too."""
    if compiled:
        check_compiler(next(model.parameters()).device)
    for part in model.modules():
        if hasattr(part, "recompute"):
            part.recompute = recompute
            if compiled:
                compile_blocks(part.blocks)
    return model


def compile_blocks(blocks: nn.ModuleList) -> None:
    """All blocks share what is compiled. A bound method, so that a copy of the model, as the reference
    is one, runs its own weights; the weights keep their names."""
    plain = type(blocks[0]).forward
    fast = torch.compile(plain)

    def forward(self, x: torch.Tensor, plan) -> torch.Tensor:
        return (fast if plan.cache is None else plain)(self, x, plan)

    for block in blocks:
        block.forward = MethodType(forward, block)


def rounded_once(model: nn.Module, runtime) -> nn.Module:
    """A GPT on the runtime's device, to be read only, always under autocast, and never trained.

    In inference mode autocast rounds the weights of a product anew for each token. On a CPU with a
    short number format they are rounded here, once: the same logits to the bit, half of the memory
    to read. Norms and routers (part 5) stay as they are.
    """
    model.to(runtime.device)
    if runtime.device.type == "cpu" and runtime.amp_dtype is not None:
        for module in model.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                module.to(runtime.amp_dtype)
        for parameter in model.parameters():
            if parameter.dim() == 3:  # experts, one after the other (part 5)
                parameter.data = parameter.data.to(runtime.amp_dtype)
    return model
