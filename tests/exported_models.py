"""Models made here whose export `transformers` has read: test material of parts 4 and 6.

Every number comes from a seed, so that tests/part_4/data/released.json can hold the checksums of
the files that were read. The part under test must be on the path.
"""

import numpy as np
import torch


def own_models() -> dict:
    """name -> (model, tokenizer): this repository's own tokenizer, with and without role tokens."""
    from gpt.model import GPT, GPTConfig
    from text.tokenizer import Tokenizer

    text = "The fox said: I'll wait. The crow has the cheese, and the fox has 12 or 345 words. " * 3
    plain = Tokenizer.train(text, 300)
    roles = plain.with_special("<|system|>", "<|user|>", "<|assistant|>")
    found = {}
    for name, tokenizer, changes in (
            ("base", plain, {"qk_norm": True}), ("roles", roles, {"qk_norm": True}),
            ("window_roles", roles, {"window": 8, "tied": False}), ("scaled", plain, {"rope_scaling": "yarn", "rope_factor": 2.0, "rope_high": 32.0,
                               "rope_trained": 64, "rope_gain": 1.1, "n_kv_head": 1})):
        model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, block_size=256, n_layer=2, n_head=2,
                              n_embd=32, **changes)).eval()
        put_random(model)
        found[name] = (model, tokenizer)
    return found


@torch.no_grad()
def put_random(model) -> None:
    random = np.random.RandomState(3)
    for name, parameter in sorted(model.named_parameters()):
        values = random.standard_normal(tuple(parameter.shape))
        values = 1 + 0.3 * values if "norm" in name else 0.27 * values
        parameter.copy_(torch.from_numpy(values.astype(np.float32)))


def tuned_by_lora(folder):
    """A released folder -> (the base, the model with LoRA, what a checkpoint keeps of it)."""
    from run.checkpoint import load_checkpoint
    from sft.lora import add_lora, lora_state

    base, _, _ = load_checkpoint(folder)
    model, _, _ = load_checkpoint(folder)
    model = add_lora(model, 2, train_embedding=False)
    random = np.random.RandomState(5)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if name.endswith((".a", ".b")):
                values = 0.2 * random.standard_normal(tuple(parameter.shape))
                parameter.copy_(torch.from_numpy(values.astype(np.float32)))
    return base, model.eval(), {"lora": {"rank": 2, "alpha": 4, "weights": lora_state(model),
                                         "embedding": False, "base": str(folder)}}
