"""Tiny checkpoints and models for the tests of this part: random weights, a tokenizer of bytes."""

import pytest


@pytest.fixture(scope="session")
def tiny_sft(tmp_path_factory):
    """A chat model's checkpoint that knows nothing."""
    import torch
    from gpt.model import GPT, GPTConfig
    from reasoning.tiny_chat import tiny_tokenizer
    from run.checkpoint import save_checkpoint

    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = GPTConfig(vocab_size=tokenizer.vocab_size, block_size=320, n_layer=1, n_head=2,
                       n_kv_head=1, n_embd=16, qk_norm=True)
    path = tmp_path_factory.mktemp("sft") / "sft.pt"
    save_checkpoint(path, weights=GPT(config).state_dict(), config=config, tokenizer=tokenizer,
                    step=0, settings={}, metrics={})
    return path


@pytest.fixture
def loaded(tiny_sft):
    """(model, tokenizer) of that checkpoint."""
    from run.checkpoint import load_checkpoint

    model, tokenizer, _ = load_checkpoint(tiny_sft)
    return model, tokenizer


@pytest.fixture
def runtime():
    import torch
    from run.runtime import Runtime

    return Runtime(torch.device("cpu"), None, "", "")


@pytest.fixture(scope="module")
def models():
    """What page.py shows: small models of random weights."""
    from page_models import small_models

    return small_models()


@pytest.fixture
def server(models):
    """page.py's server, at a free port of this machine."""
    import threading

    from page import Server

    running = Server("127.0.0.1", 0, models)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()
