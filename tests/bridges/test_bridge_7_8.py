"""From part 7 to part 8: same weights, same logits; the reward model's file is read; a new policy
with its value head at zero says what the tuned model says."""

import torch

SIZES = {"vocab_size": 50, "block_size": 24, "n_layer": 3, "n_head": 4, "n_kv_head": 2,
         "n_embd": 32}


def twins(modules_of):
    torch.manual_seed(0)
    old = modules_of("part_7", "gpt.model").model
    model = old.GPT(old.GPTConfig(**SIZES)).eval()
    new = modules_of("part_8", "gpt.model", "rl.policy", "rl.rollout")
    twin = new.model.GPT(new.model.GPTConfig(**SIZES)).eval()
    twin.load_state_dict(model.state_dict())
    return model, twin, new


def test_the_old_weights_give_the_old_logits(modules_of):
    model, twin, _ = twins(modules_of)
    ids = torch.randint(0, 50, (2, 24))
    for a, b in zip(model(ids, ids.roll(-1, 1)), twin(ids, ids.roll(-1, 1))):
        assert torch.equal(a, b)


def test_a_new_policy_has_the_log_probabilities_of_the_tuned_model(modules_of):
    model, twin, new = twins(modules_of)
    rows = new.rollout.as_rollout([[1, 2, 3]], [[4, 5, 6]], [[0.0] * 3], 49, 0).rows
    logp, _, values = new.policy.Policy(twin)(rows)
    expected = model(torch.tensor([[1, 2, 3, 4, 5]]))[0][0, 2:].log_softmax(-1)
    torch.testing.assert_close(logp[0], expected.gather(1, torch.tensor([[4], [5], [6]]))[:, 0])
    assert (values == 0).all()


def test_a_reward_model_of_part_7_is_read_by_part_8(modules_of, tmp_path):
    old = modules_of("part_7", "gpt.model", "text.tokenizer", reward_model="reward.model",
                     reward_checkpoint="reward.checkpoint")
    tokenizer = old.tokenizer.Tokenizer.from_merges([])
    config = old.model.GPTConfig(**{**SIZES, "vocab_size": tokenizer.vocab_size})
    torch.manual_seed(0)
    model = old.reward_model.RewardModel(old.model.GPT(config)).eval()
    old.reward_checkpoint.save_reward(tmp_path / "r.pt", model, tokenizer, mean=0.5, std=2.0,
                                      settings={}, metrics={})
    new = modules_of("part_8", reward_checkpoint="reward.checkpoint").reward_checkpoint
    loaded, found, content = new.load_reward(tmp_path / "r.pt", "x")
    ids, last = torch.tensor([tokenizer.encode("Once upon")]), torch.tensor([8])
    assert torch.equal(loaded(ids, last), model(ids, last))
    assert found.fingerprint == tokenizer.fingerprint and content["std"] == 2.0
