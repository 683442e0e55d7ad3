"""Sampling: from the scores of all next tokens to one token, and so to a text.

Math   p_i = exp(z_i / tau) / sum_j exp(z_j / tau)                         (eq. 2.8)
       top-k: only the k likeliest; top-p: the fewest likeliest whose sum is at least p  (eq. 2.9)
Used   sample.py, train_gpt.py.   See it: python demo_sampling.py
Shapes B batch, T time, V vocabulary
Source Fan et al. 2018 (top-k); Holtzman et al. 2020, "The Curious Case of Neural Text
       Degeneration" (top-p)
"""

import math
from collections.abc import Iterator

import torch


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise ValueError for a setting that means nothing, with its value and its limits."""
    if not (math.isfinite(temperature) and temperature >= 0):
        raise ValueError(f"--temperature {temperature}: must be 0 (always the likeliest) or above; "
                         "0.8 is a good start")
    if top_k is not None and top_k < 1:
        raise ValueError(f"--top-k {top_k}: must be at least 1; leave it out to keep all tokens")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"--top-p {top_p}: must be above 0 and at most 1 (1 keeps all tokens)")


def keep_top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """(B, V) -> (B, V): all but exactly k scores become -inf. Of equal scores the first stay."""
    order = logits.argsort(dim=-1, descending=True, stable=True)
    return logits.scatter(-1, order[:, k:], -math.inf)


def keep_top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """(B, V) -> (B, V): keeps the fewest likeliest tokens whose probabilities sum to p or more.

    Probabilities 0.5, 0.3, 0.2: p = 0.5 keeps one token, p = 0.6 two, p = 0.9 three.
    """
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.double().softmax(-1)
    sum_before = probabilities.cumsum(-1) - probabilities  # of the likelier ones alone
    is_left_out = sum_before >= p - 1e-12  # they were enough already; the first always stays
    is_left_out[:, 0] = False
    return logits.masked_fill(torch.zeros_like(is_left_out).scatter(-1, order, is_left_out),
                              -math.inf)


def next_probabilities(logits: torch.Tensor, temperature: float = 1.0, top_k: int | None = None,
                       top_p: float | None = None) -> torch.Tensor:
    """(B, V) scores -> (B, V) probabilities: temperature first, then top-k, then top-p."""
    check_sampling(temperature, top_k, top_p)
    logits = logits.float()
    if temperature == 0:  # the limit: all the weight on the likeliest token
        return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
    logits = logits / temperature  # eq. 2.8
    if top_k is not None and top_k < logits.size(-1):
        logits = keep_top_k(logits, top_k)
    if top_p is not None and top_p < 1:
        logits = keep_top_p(logits, top_p)
    return logits.softmax(-1)


def sample_next(logits: torch.Tensor, temperature: float = 1.0, top_k: int | None = None,
                top_p: float | None = None,
                generator: torch.Generator | None = None) -> torch.Tensor:
    """(B, V) scores -> (B,) tokens, one drawn for each row. The generator lives on the CPU."""
    probabilities = next_probabilities(logits, temperature, top_k, top_p)
    drawn = torch.multinomial(probabilities.cpu(), 1, generator=generator)
    return drawn[:, 0].to(logits.device)


@torch.inference_mode()
def generate(model, ids: list[int], n_new: int, temperature: float = 1.0,
             top_k: int | None = None, top_p: float | None = None,
             generator: torch.Generator | None = None) -> Iterator[int]:
    """Yield n_new tokens that follow the prompt `ids`, each as soon as it is drawn.

    The model looks at the last block_size tokens. It is put into eval mode: no dropout.
    """
    check_sampling(temperature, top_k, top_p)
    if not ids:
        raise ValueError("the prompt is empty: the model needs at least one token to follow")
    model.eval()
    device = next(model.parameters()).device
    context = list(ids)
    for _ in range(n_new):
        window = torch.tensor([context[-model.config.block_size:]], device=device)  # (1, T)
        logits, _ = model(window)
        token = sample_next(logits[:, -1], temperature, top_k, top_p, generator).item()
        context.append(token)
        yield token
