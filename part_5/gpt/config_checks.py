"""What a model refuses: settings that do not fit together, ids that are none, texts too long.

Used    model.py. Nothing here is needed to understand it: read this when an error brings you here.
"""

import torch


# CHANGED in part 4: only what the finished model has
def check_config(config) -> None:
    """Raise ValueError for settings of which no model can be made."""
    for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd", "n_kv_head",
                 "head_dim", "n_hidden"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name}={getattr(config, name)} must be at least 1")
    if config.n_head % config.n_kv_head:
        raise ValueError(f"n_head={config.n_head} must be a multiple of "
                         f"n_kv_head={config.n_kv_head}: each serves equally many query heads")
    if not 0 <= config.dropout < 1:
        raise ValueError(f"dropout={config.dropout} must be at least 0 and below 1")
    for name in ("norm_eps", "rope_theta", "rope_factor", "rope_trained", "rope_gain",
                 "embedding_std"):
        if not getattr(config, name) > 0:
            raise ValueError(f"{name}={getattr(config, name)} must be above 0")
    config.frequencies()  # refuses an odd head_dim
    check_window(config)


# CHANGED in part 4: no attention sinks
def check_window(config) -> None:
    """Raise ValueError for a window that cannot be."""
    if config.window is not None and config.window < 1:
        raise ValueError(f"window={config.window} must be at least 1: a token sees itself; "
                         "use None for full attention")
    if config.window is not None and config.window > config.block_size:
        raise ValueError(f"window={config.window} must be at most block_size={config.block_size}; "
                         "use window=None for full attention")


def check_ids(ids: torch.Tensor, vocab_size: int, name: str = "ids") -> None:
    """Raise ValueError unless `ids` is (B, T), of integers from 0 to vocab_size - 1."""
    if ids.dim() != 2 or ids.numel() == 0 or ids.dtype != torch.int64:
        raise ValueError(f"{name} must be (B, T) of type int64 and not empty, "
                         f"not {tuple(ids.shape)} of {ids.dtype}")
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocab_size:
        bad = low if low < 0 else high
        raise ValueError(f"{name} holds the token {bad}; the vocabulary has tokens "
                         f"0 … {vocab_size - 1} (vocab_size={vocab_size})")


def check_length(length: int, block_size: int) -> None:
    """Raise ValueError when there are more tokens than positions."""
    if length > block_size:
        raise ValueError(f"{length} tokens do not fit in block_size={block_size}; "
                         "shorten the input or make the model with a larger block_size")
