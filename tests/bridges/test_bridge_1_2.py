"""From part 1 to part 2: new features off and part 1's weights give part 1's logits."""

import torch


def translate(old: dict, n_layer: int) -> dict:
    """Part 1's weights under part 2's names; its three products q, k, v stacked into one."""
    new = {"token_embedding.weight": old["token_embedding.weight"],
           "position_embedding.weight": old["positions.table"], "head.weight": old["head.weight"]}
    for kind in ("weight", "bias"):
        new[f"norm.{kind}"] = old[f"norm.{kind}"]
        for i in range(n_layer):
            block = f"blocks.{i}."
            new[f"{block}attention.qkv.{kind}"] = torch.cat(
                [old[f"{block}attention.{name}.{kind}"] for name in ("query", "key", "value")])
            for name in ("attention.project", "norm_1", "norm_2", "mlp.widen", "mlp.project"):
                new[f"{block}{name}.{kind}"] = old[f"{block}{name}.{kind}"]
    return new


def test_part_2_with_new_features_off_gives_the_logits_and_gradients_of_part_1(modules_of):
    one, two = modules_of("part_1", "model").model, modules_of("part_2", "model").model
    sizes = {"vocab_size": 19, "block_size": 12, "n_layer": 3, "n_head": 2, "n_embd": 16}
    torch.manual_seed(0)
    old = one.GPT(one.GPTConfig(**sizes))
    with torch.no_grad():  # away from the start, where scales are 1 and biases 0
        for parameter in old.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    new = two.GPT(two.GPTConfig(**sizes, dropout=0.0, bias=True, gelu="exact", tied=False))
    new.load_state_dict(translate(old.state_dict(), sizes["n_layer"]))

    ids, targets = torch.randint(19, (2, 4, 12))
    targets[:, :3] = -100
    (old_logits, old_loss), (new_logits, new_loss) = old(ids, targets), new(ids, targets)
    torch.testing.assert_close(new_logits, old_logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(new_loss, old_loss, rtol=1e-6, atol=1e-6)

    old_loss.backward()
    new_loss.backward()
    expected = translate({name: p.grad for name, p in old.named_parameters()}, sizes["n_layer"])
    for name, parameter in new.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)


def test_the_bridge_is_not_empty_a_new_feature_changes_the_logits(modules_of):
    two = modules_of("part_2", "model").model
    sizes = {"vocab_size": 19, "block_size": 12, "n_layer": 2, "n_head": 2, "n_embd": 16}
    logits = []
    for gelu in ("exact", "tanh"):
        torch.manual_seed(0)
        model = two.GPT(two.GPTConfig(**sizes, gelu=gelu))
        for parameter in model.parameters():
            parameter.data.mul_(10)
        logits.append(model(torch.arange(12)[None])[0])
    assert not torch.equal(*logits)
