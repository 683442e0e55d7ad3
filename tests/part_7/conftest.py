"""A tiny tuned checkpoint for the tests of this part: random weights, a tokenizer of 403 tokens."""

import pytest


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory):
    import torch
    from gpt.model import GPT, GPTConfig
    from run.checkpoint import save_checkpoint
    from sft.chat_format import chat_tokenizer
    from text.tokenizer import Tokenizer
    from world.world import World

    tokenizer = chat_tokenizer(Tokenizer.train([text.text for text in World().texts(60)], 400))
    config = GPTConfig(vocab_size=tokenizer.vocab_size, block_size=512, n_layer=2, n_head=2,
                       n_kv_head=1, n_embd=32, qk_norm=True)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("tuned") / "sft.pt"
    save_checkpoint(path, weights=GPT(config).state_dict(), config=config, tokenizer=tokenizer,
                    step=0, settings={}, metrics={})
    return path


@pytest.fixture
def loaded(tiny_base):
    """(the model, its chat tokenizer)"""
    from run.checkpoint import load_checkpoint

    return load_checkpoint(tiny_base)[:2]


@pytest.fixture
def runtime():
    import torch
    from run.runtime import Runtime

    return Runtime(torch.device("cpu"), None, "", "")
