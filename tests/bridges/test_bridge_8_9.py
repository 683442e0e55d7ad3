"""From PPO of part 8 to GRPO of part 9: same weights, same logits; and where the losses are one."""

import torch

SIZES = {"vocab_size": 50, "block_size": 24, "n_layer": 2, "n_head": 4, "n_kv_head": 2,
         "n_embd": 32}


def test_the_old_weights_give_the_old_logits(modules_of):
    torch.manual_seed(0)
    old = modules_of("part_8", "gpt.model").model
    model = old.GPT(old.GPTConfig(**SIZES)).eval()
    new = modules_of("part_9", "gpt.model").model
    twin = new.GPT(new.GPTConfig(**SIZES)).eval()
    twin.load_state_dict(model.state_dict())
    ids = torch.randint(0, 50, (2, 24))
    for a, b in zip(model(ids, ids.roll(-1, 1)), twin(ids, ids.roll(-1, 1))):
        assert torch.equal(a, b)


def test_grpo_without_kl_and_with_the_token_mean_is_ppos_policy_loss(modules_of):
    """One advantage for a whole reply, in place of one a token: the rest is the same."""
    torch.manual_seed(1)
    ppo, grpo = modules_of("part_8", "rl.ppo").ppo, modules_of("part_9", "reasoning.grpo").grpo
    logp = (-torch.rand(6, 5)).requires_grad_()
    old_logp, advantages = -torch.rand(6, 5), torch.randn(6)
    is_response = torch.arange(5) < torch.tensor([5, 1, 3, 4, 2, 5])[:, None]
    before = ppo.policy_loss(logp, old_logp, advantages[:, None].expand(6, 5), is_response,
                             clip=0.2)
    now = grpo.grpo_loss(logp, old_logp, None, advantages, is_response, clip_low=0.2,
                         clip_high=0.2, beta=0.0, normaliser="token")
    torch.testing.assert_close(now.loss, before.loss)
    torch.testing.assert_close(torch.autograd.grad(now.loss, logp),
                               torch.autograd.grad(before.loss, logp))
    assert abs(now.clip_fraction - before.clip_fraction) < 1e-6


def test_the_same_seed_draws_the_same_replies(modules_of):
    torch.manual_seed(2)
    found = []
    for part in ("part_8", "part_9"):
        m = modules_of(part, "gpt.model", "rl.rollout")
        torch.manual_seed(3)
        model = m.model.GPT(m.model.GPTConfig(**SIZES)).eval()
        found.append(m.rollout.roll_out(model, [[1, 2, 3], [4]], 6, end=5, pad=0, copies=3,
                                        generator=torch.Generator().manual_seed(0)))
    assert found[0].replies() == found[1].replies()
    assert torch.equal(found[0].logp, found[1].logp)


def test_a_checkpoint_of_part_6_is_what_part_9_begins_with(modules_of, tmp_path):
    old = modules_of("part_6", "gpt.model", "run.checkpoint", "text.tokenizer", "sft.chat_format")
    tokenizer = old.chat_format.chat_tokenizer(old.tokenizer.Tokenizer.from_merges([]))
    config = old.model.GPTConfig(**{**SIZES, "vocab_size": tokenizer.vocab_size})
    model = old.model.GPT(config).eval()
    old.checkpoint.save_checkpoint(tmp_path / "sft.pt", weights=model.state_dict(), config=config,
                                   tokenizer=tokenizer, step=3, settings={}, metrics={})
    new = modules_of("part_9", "run.checkpoint", "reasoning.tool_use", "sft.chat_format")
    loaded, found, _ = new.checkpoint.load_checkpoint(tmp_path / "sft.pt")
    ids = torch.tensor([found.encode("How many?")])
    assert torch.equal(loaded(ids)[0], model(ids)[0])
    more = new.tool_use.tool_tokenizer(found)
    grown = new.chat_format.grow_vocabulary(loaded, more.vocab_size)
    assert more.vocab_size == found.vocab_size + 4
    torch.testing.assert_close(grown(ids)[0][..., :found.vocab_size], model(ids)[0])
