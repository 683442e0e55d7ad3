"""From part 4 to part 5: without experts, or with experts that are copies, the logits are the old."""

import torch


def old_model(modules_of):
    old = modules_of("part_4", "gpt.model").model
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "block_size": 24, "n_layer": 3, "n_head": 4, "n_kv_head": 2,
             "n_embd": 32}
    return old.GPT(old.GPTConfig(**sizes)).eval(), sizes


def test_experts_off_and_the_old_weights_give_the_old_logits(modules_of):
    old, sizes = old_model(modules_of)
    new = modules_of("part_5", "gpt.model", "moe.hybrid", moe="moe.layer")
    model = new.hybrid.HybridGPT(new.model.GPTConfig(**sizes), new.moe.MoEConfig(layers="ddd"))
    model.load_state_dict(old.state_dict())
    ids = torch.randint(0, 50, (2, 24))
    expected, expected_loss = old(ids, ids.roll(-1, 1))
    for mode in (model.eval(), model.train()):
        logits, loss = mode(ids, ids.roll(-1, 1))
        assert torch.equal(logits, expected) and torch.equal(loss, expected_loss)


def test_experts_that_are_copies_of_the_old_mlp_give_the_old_logits(modules_of):
    old, sizes = old_model(modules_of)
    new = modules_of("part_5", "gpt.model", "moe.hybrid", moe="moe.layer")
    dense = new.model.GPT(new.model.GPTConfig(**sizes))
    dense.load_state_dict(old.state_dict())
    ids = torch.randint(0, 50, (2, 24))
    for layers in ("every", "dmb"):
        model = new.hybrid.upcycle(dense, new.moe.MoEConfig(layers=layers)).eval()
        torch.testing.assert_close(model(ids)[0], old(ids)[0], rtol=0, atol=1e-5)
