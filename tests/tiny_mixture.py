"""A dense checkpoint's twin with experts, random weights, for the tests of parts 6 to 9."""

from pathlib import Path

SETTINGS = {"n_expert": 4, "n_active": 2, "balance": "bias", "bias_rate": 0.0625, "z_weight": 0.0,
            "scale": 2.0}


def mixture_of(dense: Path, folder: Path, **settings) -> Path:
    """folder/moe.pt: as large as `dense`, with its tokenizer, but with experts in every layer."""
    import torch
    from moe.hybrid import HybridGPT
    from moe.layer import MoEConfig
    from run.checkpoint import load_checkpoint, save_checkpoint

    model, tokenizer, _ = load_checkpoint(dense)
    torch.manual_seed(0)
    model = HybridGPT(model.config, MoEConfig(**SETTINGS | settings))
    for moe in model.moes:  # routers that are sure, so that a choice changes what is said
        torch.nn.init.normal_(moe.router.weight, std=0.3)
        torch.nn.init.normal_(moe.experts.down, std=0.1)
    save_checkpoint(folder / "moe.pt", weights=model.state_dict(), config=model.config,
                    tokenizer=tokenizer, step=0, settings={}, metrics={})
    return folder / "moe.pt"


def loaded(path: Path):
    """-> (the model, with experts as they were made; its tokenizer)."""
    from moe.hybrid import HybridGPT
    from run.checkpoint import load_checkpoint

    model, tokenizer, _ = load_checkpoint(path)
    assert isinstance(model, HybridGPT) and model.moe_config.n_expert == 4
    return model, tokenizer


def biases(path: Path):
    """(L, E): the routers' biases, counted in steps of eq. 5.6."""
    import torch
    return torch.stack([moe.router.bias for moe in loaded(path)[0].moes]) / SETTINGS["bias_rate"]


def check_cached_equals_whole(model) -> None:
    """Token by token through the cache, two rows of unequal length, and all at once."""
    import torch
    ids = torch.randint(0, 260, (2, 20), generator=torch.Generator().manual_seed(1))
    start = torch.tensor([0, 3])
    with torch.no_grad():
        whole = model(ids, start=start)[0]
        cache = model.make_cache(2, 20, start=start)
        parts = [model(ids[:, :9], cache=cache)[0]]
        parts += [model(ids[:, t:t + 1], cache=cache)[0] for t in range(9, 20)]
    parts = torch.cat(parts, 1)
    for row, first in enumerate(start.tolist()):
        torch.testing.assert_close(parts[row, first:], whole[row, first:], rtol=1e-4, atol=1e-5)
