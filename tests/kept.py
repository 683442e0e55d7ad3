"""What autograd holds for the way back, counted in bytes; and a model of the main job's size."""

from collections.abc import Callable

import torch


def kept_bytes(read: Callable[[], object]) -> int:
    """Bytes of all that is kept while `read()` runs, each tensor once, however often it is used."""
    kept = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x  # held, so that its place is not given away again
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        result = read()  # held too: what belongs to it alone would be gone
    assert result is not None
    return sum(x.untyped_storage().nbytes() for x in kept.values())


def main_model():
    """Twice as wide as the main job's, untrained."""
    from gpt.model import GPT, GPTConfig

    return GPT(GPTConfig(vocab_size=2565, block_size=288, n_layer=4, n_head=4, n_embd=256,
                         qk_norm=True)).eval()
