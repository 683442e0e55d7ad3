"""A tiny tuned checkpoint and a tiny reward model for the tests of this part: random weights."""

import pytest


@pytest.fixture(scope="session")
def tiny_sft(tmp_path_factory):
    import torch
    from gpt.model import GPT, GPTConfig
    from run.checkpoint import save_checkpoint
    from sft.chat_format import chat_tokenizer
    from text.tokenizer import Tokenizer
    from world.world import World

    tokenizer = chat_tokenizer(Tokenizer.train([text.text for text in World().texts(60)], 400))
    config = GPTConfig(vocab_size=tokenizer.vocab_size, block_size=256, n_layer=2, n_head=2,
                       n_kv_head=1, n_embd=32, qk_norm=True)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("tuned") / "sft.pt"
    save_checkpoint(path, weights=GPT(config).state_dict(), config=config, tokenizer=tokenizer,
                    step=0, settings={}, metrics={})
    return path


@pytest.fixture(scope="session")
def tiny_reward(tiny_sft):
    import torch
    from reward.checkpoint import save_reward
    from reward.model import RewardModel
    from run.checkpoint import load_checkpoint

    model, tokenizer, _ = load_checkpoint(tiny_sft)
    torch.manual_seed(1)
    path = tiny_sft.with_name("reward.pt")
    save_reward(path, RewardModel(model), tokenizer, mean=0.1, std=2.0, settings={}, metrics={})
    return path


@pytest.fixture
def loaded(tiny_sft):
    """(a model, its chat tokenizer)"""
    from run.checkpoint import load_checkpoint

    model, tokenizer, _ = load_checkpoint(tiny_sft)
    return model, tokenizer


@pytest.fixture
def runtime():
    import torch
    from run.runtime import Runtime

    return Runtime(torch.device("cpu"), None, "", "")


@pytest.fixture
def tiny():
    """A GPT of 12 tokens with random weights, its head large enough that the logits differ."""
    import torch
    from gpt.model import GPT, GPTConfig

    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=12, block_size=24, n_layer=2, n_head=2, n_kv_head=1,
                          n_embd=16, embedding_std=0.5, tied=False)).eval()
    with torch.no_grad():
        model.head.weight.mul_(10)
    return model
