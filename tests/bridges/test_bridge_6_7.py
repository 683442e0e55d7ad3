"""From the tuned model of part 6 to part 7: same weights, same logits, with a head for scores beside."""

import torch

SIZES = {"vocab_size": 50, "block_size": 24, "n_layer": 3, "n_head": 4, "n_kv_head": 2,
         "n_embd": 32, "qk_norm": True}


def twins(modules_of):
    """A model of part 6 and one of part 7 with the same weights."""
    torch.manual_seed(0)
    old = modules_of("part_6", "gpt.model").model
    model = old.GPT(old.GPTConfig(**SIZES)).eval()
    new = modules_of("part_7", "gpt.model").model
    twin = new.GPT(new.GPTConfig(**SIZES)).eval()
    twin.load_state_dict(model.state_dict())
    return model, twin


def test_the_old_weights_give_the_old_logits_and_loss(modules_of):
    model, twin = twins(modules_of)
    ids = torch.randint(0, 50, (2, 24))
    for a, b in zip(model(ids, ids.roll(-1, 1)), twin(ids, ids.roll(-1, 1))):
        assert torch.equal(a, b)
    assert torch.equal(model(ids, last_only=True)[0], twin(ids, last_only=True)[0])
    assert torch.equal(model(ids, ids.roll(-1, 1), loss_only=True)[1],
                       twin(ids, ids.roll(-1, 1), loss_only=True)[1])


def test_cached_decoding_is_the_old_one(modules_of):
    model, twin = twins(modules_of)
    ids, start = torch.randint(0, 50, (2, 20)), torch.tensor([0, 3])
    caches = [m.make_cache(2, start=start) for m in (model, twin)]
    for part in ids.split((12, 1, 7), dim=1):
        old, new = (m(part, cache=cache)[0] for m, cache in zip((model, twin), caches))
        assert torch.equal(old, new)


def test_a_reward_model_leaves_the_body_s_logits_as_they_were(modules_of):
    model, twin = twins(modules_of)
    reward = modules_of("part_7", reward_model="reward.model").reward_model.RewardModel(twin, reply_token=5)
    ids = torch.randint(6, 50, (2, 24))
    ids[:, 10] = 5
    reward(ids, torch.tensor([23, 15]))
    assert torch.equal(reward.body(ids)[0], model(ids)[0])


def test_a_checkpoint_of_part_6_is_read_by_part_7(modules_of, tmp_path):
    old = modules_of("part_6", "gpt.model", "run.checkpoint", "text.tokenizer", "sft.chat_format")
    tokenizer = old.chat_format.chat_tokenizer(old.tokenizer.Tokenizer.from_merges([]))
    config = old.model.GPTConfig(**{**SIZES, "vocab_size": tokenizer.vocab_size})
    model = old.model.GPT(config).eval()
    old.checkpoint.save_checkpoint(tmp_path / "sft.pt", weights=model.state_dict(), config=config,
                                   tokenizer=tokenizer, step=3, settings={}, metrics={})
    new = modules_of("part_7", "run.checkpoint")
    loaded, found, fields = new.checkpoint.load_checkpoint(tmp_path / "sft.pt")
    ids = torch.tensor([tokenizer.encode("Once upon a time")])
    assert torch.equal(loaded(ids)[0], model(ids)[0])
    assert found.fingerprint == tokenizer.fingerprint and fields["step"] == 3
