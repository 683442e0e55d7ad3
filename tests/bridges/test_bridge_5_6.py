"""From the dense model of parts 4 and 5 to part 6: same weights, same logits; role tokens added."""

import torch

SIZES = {"vocab_size": 50, "block_size": 24, "n_layer": 3, "n_head": 4, "n_kv_head": 2,
         "n_embd": 32}


def test_the_old_weights_give_the_old_logits(modules_of):
    torch.manual_seed(0)
    old = modules_of("part_5", "gpt.model").model
    model = old.GPT(old.GPTConfig(**SIZES)).eval()
    new = modules_of("part_6", "gpt.model").model
    twin = new.GPT(new.GPTConfig(**SIZES)).eval()
    twin.load_state_dict(model.state_dict())
    ids = torch.randint(0, 50, (2, 24))
    for a, b in zip(model(ids, ids.roll(-1, 1)), twin(ids, ids.roll(-1, 1))):
        assert torch.equal(a, b)


def test_role_tokens_leave_the_old_scores_as_they_were(modules_of):
    torch.manual_seed(0)
    old = modules_of("part_4", "gpt.model").model
    model = old.GPT(old.GPTConfig(**SIZES)).eval()
    new = modules_of("part_6", "gpt.model", "sft.chat_format")
    twin = new.model.GPT(new.model.GPTConfig(**SIZES)).eval()
    twin.load_state_dict(model.state_dict())
    grown = new.chat_format.grow_vocabulary(twin, 53)
    ids = torch.randint(0, 50, (2, 24))
    torch.testing.assert_close(grown(ids)[0][..., :50], model(ids)[0])


def test_a_checkpoint_of_part_4_is_read_by_part_6(modules_of, tmp_path):
    old = modules_of("part_4", "gpt.model", "run.checkpoint", "text.tokenizer")
    tokenizer = old.tokenizer.Tokenizer.from_merges([])
    config = old.model.GPTConfig(**{**SIZES, "vocab_size": tokenizer.vocab_size})
    model = old.model.GPT(config).eval()
    old.checkpoint.save_checkpoint(tmp_path / "base.pt", weights=model.state_dict(), config=config,
                                   tokenizer=tokenizer, step=3, settings={}, metrics={})
    new = modules_of("part_6", "run.checkpoint")
    loaded, found, fields = new.checkpoint.load_checkpoint(tmp_path / "base.pt")
    ids = torch.tensor([tokenizer.encode("Once upon a time")])
    assert torch.equal(loaded(ids)[0], model(ids)[0])
    assert found.fingerprint == tokenizer.fingerprint and fields["step"] == 3
