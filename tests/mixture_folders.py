"""Folders of released mixtures, small and random, and mixtures made here: test material.

As tests/released_folders.py and tests/exported_models.py, for models with experts. Used by tests of
parts 5 to 9 and by tests/part_5/data/make_released.py, which asks `transformers` for the figures.
"""

from pathlib import Path

from released_folders import (
    MISTRAL,
    OLD_MISTRAL,
    SMALL,
    THINKS,
    TOOLS,
    make_released,
    write_released,
)

FEW = SMALL | {"moe_intermediate_size": 24, "num_experts": 6}
# name -> (config.json, tokenizer in part_4/data, template, begin, end, pad)
MIXTURES = {
    "mixtral": (SMALL | {"model_type": "mixtral", "rms_norm_eps": 1e-5, "rope_theta": 1e4,
                         "sliding_window": 8, "head_dim": 12, "num_local_experts": 4,
                         "num_experts_per_tok": 2},
                "mistral", MISTRAL, "<s>", "</s>", None),
    "mixtral_silent": (SMALL | {"model_type": "mixtral", "num_local_experts": 3,
                                "num_experts_per_tok": 1},  # a weight of 1, and no RoPE's base
                       "mistral", OLD_MISTRAL, "<s>", "</s>", "<pad>"),
    "qwen2_moe": (FEW | {"model_type": "qwen2_moe", "rms_norm_eps": 1e-6, "rope_theta": 1e6,
                         "num_experts_per_tok": 3, "norm_topk_prob": False,
                         "shared_expert_intermediate_size": 48, "mlp_only_layers": [0],
                         "num_hidden_layers": 3, "use_sliding_window": False},
                  "qwen", TOOLS, None, "<|im_end|>", "<|endoftext|>"),
    "qwen3_moe": (FEW | {"model_type": "qwen3_moe", "rms_norm_eps": 0.02, "rope_theta": 1e6,
                         "head_dim": 16, "num_experts_per_tok": 2, "norm_topk_prob": True,
                         "decoder_sparse_step": 2, "num_hidden_layers": 4, "mlp_only_layers": [],
                         "tie_word_embeddings": True},
                  "qwen", THINKS, None, "<|im_end|>", "<|endoftext|>"),
    "qwen3_moe_window": (FEW | {"model_type": "qwen3_moe", "rms_norm_eps": 1e-6, "rope_theta": 1e4,
                                "num_experts_per_tok": 3, "norm_topk_prob": False,
                                "use_sliding_window": True, "sliding_window": 8,
                                "max_window_layers": 2},
                         "qwen", None, None, "<|endoftext|>", "<|endoftext|>"),
}


def make_mixture(folder: Path, name: str, **changes) -> Path:
    """Write the folder of MIXTURES[name]; `changes` go into config.json."""
    return write_released(Path(folder), MIXTURES[name], changes=changes)


def make_any(folder: Path, name: str) -> Path:
    """A released model's folder, dense or with experts."""
    return (make_mixture if name in MIXTURES else make_released)(folder, name)


def own_mixtures() -> dict:
    """name -> (model, tokenizer): as train_moe.py makes them, and in the other forms that can leave.
    The part under test must be on the path."""
    from exported_models import put_random
    from gpt.model import GPTConfig
    from moe.hybrid import HybridGPT
    from moe.layer import MoEConfig
    from text.tokenizer import Tokenizer

    text = "The fox said: I'll wait. The crow has the cheese, and the fox has 12 or 345 words. " * 3
    plain = Tokenizer.train(text, 300)
    roles = plain.with_special("<|system|>", "<|user|>", "<|assistant|>")
    found = {}
    for name, tokenizer, dense, experts in (
            ("as_trained", plain, {"qk_norm": True}, {"n_expert": 8, "scale": 2.0}),
            ("as_they_are_roles", roles, {"qk_norm": True, "window": 8},
             {"n_expert": 4, "renormalize": False, "layers": "alternate", "n_hidden": 24}),
            ("mixtral_roles", roles, {"tied": False, "window": 8}, {"n_expert": 4, "n_active": 3})):
        model = HybridGPT(GPTConfig(vocab_size=tokenizer.vocab_size, block_size=256, n_layer=2,
                                    n_head=2, n_embd=32, **dense), MoEConfig(**experts)).eval()
        put_random(model)
        found[name] = (model, tokenizer)
    return found
