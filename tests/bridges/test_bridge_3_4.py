"""From part 3 to part 4: the finished architecture in part 4 gives part 3's logits."""

import dataclasses
import json

import pytest
import torch
from released_folders import TEXTS, VOCAB, make_released

SETTINGS = [{}, {"n_kv_head": 1}, {"window": 7}, {"qk_norm": True},
            {"qkv_bias": True, "tied": False}, {"head_dim": 20, "n_hidden": 96}]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_part_4_with_part_3s_weights_gives_part_3s_logits_and_loss(modules_of, settings):
    old, new = modules_of("part_3", "model").model, modules_of("part_4", "gpt.model").model
    common = {"vocab_size": 50, "block_size": 32, "n_layer": 2, "n_head": 4, "n_embd": 48, **settings}
    torch.manual_seed(0)
    before, after = old.GPT(old.GPTConfig(**common)), new.GPT(new.GPTConfig(**common))
    for parameter in before.parameters():  # biases and scales too, or they would prove nothing
        torch.nn.init.normal_(parameter, std=0.2)
    after.load_state_dict(before.state_dict())
    ids, targets = torch.randint(50, (2, 32)), torch.randint(50, (2, 32))
    targets[:, :9] = -100
    logits, loss = before(ids, targets)
    same_logits, same_loss = after(ids, targets)
    torch.testing.assert_close(same_logits, logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(same_loss, loss)
    torch.testing.assert_close(after(ids, targets, loss_only=True)[1], loss)


def test_the_same_seed_makes_the_same_first_weights(modules_of):
    old, new = modules_of("part_3", "model").model, modules_of("part_4", "gpt.model").model
    torch.manual_seed(5)
    before = old.GPT(old.GPTConfig())
    torch.manual_seed(5)
    after = new.GPT(new.GPTConfig())
    assert all(torch.equal(value, after.state_dict()[name])
               for name, value in before.state_dict().items())


def test_every_setting_of_part_4_has_part_3s_default(modules_of):
    old, new = modules_of("part_3", "model").model, modules_of("part_4", "gpt.model").model
    defaults = {f.name: f.default for f in dataclasses.fields(old.GPTConfig)}
    for field in dataclasses.fields(new.GPTConfig):
        # part 4 alone has YaRN's gain, which by default does nothing
        assert defaults.get(field.name, 1.0 if field.name == "rope_gain" else None) == field.default


def test_generation_says_the_same_with_the_new_way_of_dropping_rows(modules_of):
    sizes = {"vocab_size": 50, "block_size": 32, "n_layer": 2, "n_head": 4, "n_embd": 48}
    old, new = modules_of("part_3", "model", "generate"), modules_of("part_4", "gpt.model",
                                                                     "gpt.generate")
    torch.manual_seed(0)
    model = old.model.GPT(old.model.GPTConfig(**sizes)).eval()
    twin = new.model.GPT(new.model.GPTConfig(**sizes)).eval()
    twin.load_state_dict(model.state_dict())
    prompts, stop = [[1, 2], [3], [4, 5, 6], [7]], tuple(range(0, 50, 3))
    assert new.generate.generate(twin, prompts, 12, stop=stop) \
        == old.generate.generate(model, prompts, 12, stop=stop)


@pytest.mark.parametrize("name", ["qwen2.5", "qwen3", "llama3", "llama3.1", "smollm2", "mistral"])
def test_the_two_readers_of_a_released_tokenizer_give_the_same_ids(modules_of, tmp_path, name):
    """Part 3's knows tiktoken alone, part 4's cuts by itself: the same ids of every text, with special
    tokens and without; what part 3 cannot read it refuses when it opens the file."""
    short = modules_of("part_3", "pretrained.tokenizer").tokenizer
    whole = modules_of("part_4", "pretrained.loading").loading
    folder = make_released(tmp_path, name)
    config = json.loads((folder / "config.json").read_text())
    new = whole.load_released_tokenizer(folder, config, VOCAB)
    beyond = {"smollm2": "196 of the 256 bytes have no token", "mistral": "must be one Split and ByteLevel"}
    if name in beyond:
        assert new.decode(new.encode("the fox")) == "the fox"
        with pytest.raises(ValueError, match=beyond[name]):
            short.load_hf_tokenizer(folder)
        return
    old = short.load_hf_tokenizer(folder)
    for text in TEXTS:
        assert old.encode(text) == new.encode(text), text
        assert old.encode(text, special=True) == new.encode(text, new.special), text
