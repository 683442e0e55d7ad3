"""How sure the whole model is: one number, the log of a factor on all logits, that is learnt too.

Math   π(a_t | s_t) = softmax(e^z E h_t).  e^z is kept inside the gain g of the last norm, where a
       factor on g is a factor on every logit:  ∂L/∂z = Σ g ∂L/∂g,  and Δz multiplies g by e^Δz
                                                                                       (eq. 8.17)
Idea   All replies together know little about each of 3.9 million weights, but every one of them
       knows something about this number: a fifth of the gradient of the last norm's gain is signal,
       of the other weights' about a thirtieth. Left to the 256 gains it would be 256 noisy ones.
       The model itself stays as it is: any part can read it.
Used   rl/policy.py, train_dpo.py, and part 9's grpo_loop.py
Source Radford et al. 2021 (a learnt factor on the logits, as its log)
"""

import torch
from gpt.model import GPT
from torch import nn


class Sharpness(nn.Module):
    """z, trained beside the weights. After `backward`: `gather()`; after the optimizer's step:
    `apply()`."""

    def __init__(self, body: GPT):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("applied", torch.zeros(()))  # how much of z the gain holds already
        self.gain = (body.norm.weight,)  # in a tuple: it is the body's, to be saved once

    def gather(self) -> None:
        """The gradient of z, from the gain's."""
        gain, = self.gain
        self.log_scale.grad = (gain.detach() * gain.grad).sum().to(self.log_scale)

    @torch.no_grad()
    def apply(self) -> None:
        """What z has moved goes into the gain."""
        gain, = self.gain
        gain.mul_((self.log_scale - self.applied).exp())
        self.applied.copy_(self.log_scale)

    @property
    def factor(self) -> float:
        """On the logits, against where training began: 2 is what temperature 0.5 would do."""
        return float(self.log_scale.detach().exp())
