"""Tuning a released model: its own form of conversations, labels, LoRA kept apart, memory.

tests/part_4/data/released.json holds what `transformers` and `peft` say of the same folders.
"""

import json

import pytest
import torch
from exported_models import own_models, tuned_by_lora
from mixture_folders import make_any
from pretrained.export import adapter_tensors, export_adapter
from pretrained.released_tokenizer import ReleasedTokenizer
from pretrained.safetensors_io import open_safetensors
from released_folders import ANSWERED, ASKED, DATA, make_released
from run.checkpoint import load_checkpoint
from sft.chat_format import (
    Message,
    chat_tokenizer,
    conversation_token,
    decode_reply,
    encode_answer,
    encode_conversation,
    encode_prompt,
    grow_vocabulary,
    reply_token,
)
from sft.evaluation import is_chat_model, reply_to
from sft.lora import add_lora, merge_lora

FIGURES = json.loads((DATA / "released.json").read_text(encoding="utf-8"))


def messages(chat):
    return [Message(role, text) for role, text in chat]


@pytest.fixture(scope="module")
def loads(tmp_path_factory):
    made = {}

    def get(name, **changes):
        if (name, *changes) not in made:
            folder = make_released(tmp_path_factory.mktemp("r") / name, name, **changes)
            made[name, *changes] = (*load_checkpoint(folder)[:2], folder)
        return made[name, *changes]
    return get


@pytest.mark.parametrize("name", ["smollm2", "qwen2.5", "qwen3", "llama3", "llama3.1", "mistral"])
def test_prompts_and_conversations_have_the_ids_of_the_models_own_template(loads, name):
    tokenizer = chat_tokenizer(loads(name)[1])
    assert is_chat_model(tokenizer)
    for chat, ids in zip(ASKED, FIGURES[name]["asked"], strict=True):
        assert encode_prompt(messages(chat), tokenizer) == ids
    for chat, ids in zip(ANSWERED, FIGURES[name]["answered"], strict=True):
        assert encode_conversation(messages(chat), tokenizer)[0] == ids


@pytest.mark.parametrize("name", ["roles", "window_roles"])
def test_the_template_of_our_own_format_gives_our_ids_in_transformers(name):
    tokenizer = own_models()[name][1]
    for chat, ids in zip(ASKED, FIGURES[f"own_{name}"]["asked"], strict=True):
        assert encode_prompt(messages(chat), tokenizer) == ids
    for chat, ids in zip(ANSWERED, FIGURES[f"own_{name}"]["answered"], strict=True):
        assert encode_conversation(messages(chat), tokenizer)[0] == ids


@pytest.mark.parametrize("name,end", [("smollm2", "<|im_end|>"), ("llama3", "<|eot_id|>"),
                                      ("mistral", "</s>"), ("qwen3", "<|im_end|>")])
def test_the_labels_are_the_answers_and_their_end_tokens_and_nothing_else(loads, name, end):
    tokenizer = loads(name)[1]
    ids, is_label = encode_conversation(messages(ANSWERED[1]), tokenizer)
    said = [i for i, counts in zip(ids, is_label) if counts]
    first, last = tokenizer.encode("Hello."), encode_answer("4", tokenizer)
    stop = tokenizer.special[end]
    assert said == [*first, stop, *last, stop] and stop == tokenizer.end
    prompt = encode_prompt(messages(ASKED[1]), tokenizer)  # what is read before the last answer …
    begin = len(ids) - ids[::-1].index(stop) - 1 - len(last)
    assert ids[:begin] == prompt  # … is what it will be asked with
    assert not is_label[begin - 1] and is_label[begin]


def test_a_reply_ends_where_the_template_says_whatever_the_folder_calls_its_end(tmp_path):
    """As in the folder of a base model, whose eos_token ends texts, not turns."""
    folder = make_released(tmp_path, "qwen2.5")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token": "<|endoftext|>"}))
    tokenizer = load_checkpoint(folder)[1]
    ids, is_label = encode_conversation(messages(ANSWERED[0]), tokenizer)
    assert tokenizer.ids["end"] == tokenizer.special["<|endoftext|>"] != tokenizer.end
    assert [i for i, counts in zip(ids, is_label) if counts][-1] == tokenizer.end
    assert decode_reply([*encode_answer("4", tokenizer), tokenizer.end, 5], tokenizer) == "4"


@pytest.mark.parametrize("name", ["smollm2", "llama3", "mistral", "qwen3"])
def test_an_answer_that_is_only_read_is_no_label_and_has_the_same_tokens(loads, name):
    tokenizer = loads(name)[1]
    said = messages(ANSWERED[1])
    ids, is_label = encode_conversation(said, tokenizer)
    first = next(i for i, message in enumerate(said) if message.role == "assistant")
    said[first] = Message("assistant", said[first].content, learn=False)
    again, kept = encode_conversation(said, tokenizer)
    last = encode_answer(said[-1].content, tokenizer)
    assert again == ids and sum(kept) < sum(is_label)
    assert [i for i, counts in zip(again, kept) if counts] == [*last, tokenizer.end]


def test_a_reply_ends_at_the_end_token_and_leaves_the_thought_out(loads):
    tokenizer = loads("qwen3")[1]
    said = tokenizer.encode("<think>\nso\n</think>\n\nA crow.")
    assert decode_reply([*said, tokenizer.end, *said], tokenizer) == "A crow."
    assert tokenizer.decode(encode_answer("A", tokenizer)) == "<think>\n\n</think>\n\nA"
    other = loads("smollm2")[1]
    assert encode_answer("A", other) == other.encode("A")


def test_which_token_keeps_packed_conversations_apart(loads):
    for name, token in (("llama3", "<|begin_of_text|>"), ("mistral", "<s>"), ("smollm2", None),
                        ("qwen3", None)):
        tokenizer = loads(name)[1]
        assert conversation_token(tokenizer) == (tokenizer.special[token] if token else None)
    assert reply_token(loads("smollm2")[1]) == 1
    assert reply_token(loads("mistral")[1]) == loads("mistral")[1].special["[/INST]"]


def test_a_model_without_a_template_gets_the_roles_of_this_part(loads):
    model, tokenizer, _ = loads("qwen3_yarn")
    assert not is_chat_model(tokenizer)
    grown = chat_tokenizer(tokenizer)
    assert isinstance(grown, ReleasedTokenizer) and grown.vocab_size == 387
    assert grow_vocabulary(model, 387).config.vocab_size == 387
    ids = encode_prompt(messages(ASKED[0]), grown)
    assert ids[-1] == grown.special["<|assistant|>"] == 386


def test_an_unknown_template_is_refused_before_any_training(loads):
    tokenizer = loads("smollm2", template="{{ other }}")[1]
    for ask in (is_chat_model, chat_tokenizer):
        with pytest.raises(ValueError, match="none of the known forms.*--chat"):
            ask(tokenizer)


# ---------------------------------------------------------------- LoRA, memory

def test_lora_as_an_adapter_is_what_peft_reads(tmp_path):
    base, model, training = tuned_by_lora(make_released(tmp_path / "a", "smollm2"))
    row = torch.tensor([FIGURES["smollm2"]["row"]])
    wanted = torch.tensor(FIGURES["adapter"]["logits"])
    with torch.no_grad():
        assert (model(row)[0][0, [0, -1], :40] - wanted).abs().max() < 5e-5
        assert (base(row)[0][0, [0, -1], :40] - wanted).abs().max() > 0.1
        assert (merge_lora(model)(row)[0][0, [0, -1], :40] - wanted).abs().max() < 5e-5
    export_adapter(base.config, training, tmp_path / "b")
    written = open_safetensors(tmp_path / "b" / "adapter_model.safetensors")
    told = json.loads((tmp_path / "b" / "adapter_config.json").read_text())
    assert set(written) == set(adapter_tensors(base.config, training["lora"]["weights"]))
    assert len(written) == 2 * 7 * 2 and (told["r"], told["lora_alpha"]) == (2, 4)
    assert told["target_modules"] == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj",
                                      "up_proj", "v_proj"]
    at = "base_model.model.model.layers.0.self_attn."
    rows = [written[f"{at}{letter}_proj.lora_B.weight"].size(0) for letter in "qkv"]
    assert rows == [32, 16, 16]
    together = torch.cat([written[f"{at}{letter}_proj.lora_B.weight"] for letter in "qkv"])
    assert torch.equal(together, training["lora"]["weights"]["blocks.0.attention.qkv.b"])
    with pytest.raises(ValueError, match="embedding was trained"):
        export_adapter(base.config, {"lora": training["lora"] | {"embedding": True}}, tmp_path / "c")


def gradients(model, rows):
    for parameter in model.parameters():
        parameter.grad = None
    _, loss = model(rows[:, :-1], rows[:, 1:].contiguous(), loss_only=True)
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters()
                         if p.grad is not None}


def test_recomputation_runs_the_blocks_again_and_gives_the_same_gradients(loads):
    model, rows, runs, found = loads("qwen3")[0].train(), torch.randint(0, 300, (2, 40)), [], []
    hook = model.blocks[0].register_forward_pre_hook(lambda *_: runs.append(1))
    for model.recompute, wanted in ((False, 1), (True, 2)):
        runs.clear()
        found.append(gradients(model, rows))
        assert len(runs) == wanted
    hook.remove()
    model.recompute = False
    (loss, plain), (again, same) = found
    assert loss == again and set(plain) == set(same)
    for name, gradient in plain.items():
        torch.testing.assert_close(same[name], gradient, rtol=1e-5, atol=1e-7)


def test_a_frozen_output_layer_costs_no_gradient(loads):
    from gpt.head_loss import HeadLoss
    x = torch.randn(6, 8, requires_grad=True)
    weight, targets = torch.randn(20, 8), torch.randint(0, 20, (6,))
    HeadLoss.apply(x, weight, targets, torch.float32).backward()
    mine, x.grad = x.grad.clone(), None
    torch.nn.functional.cross_entropy(x @ weight.T, targets).backward()
    torch.testing.assert_close(mine, x.grad)


def test_lora_beside_weights_in_bfloat16_learns_in_float32(loads):
    model = grow_vocabulary(loads("llama3")[0], 384)
    model = add_lora(model.to(torch.bfloat16), 2, train_embedding=False)
    learns = {p.dtype for p in model.parameters() if p.requires_grad}
    frozen = {p.dtype for p in model.parameters() if not p.requires_grad}
    assert (learns, frozen) == ({torch.float32}, {torch.bfloat16})
    _, found = gradients(model, torch.randint(0, 300, (1, 12)))
    assert found and all(name.endswith((".a", ".b")) for name in found)


# ---------------------------------------------------------------- the commands

@pytest.fixture
def chats(tmp_path):
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps({"messages": [
        {"role": "user", "content": f"the fox {i}"},
        {"role": "assistant", "content": "the crow waits"}]}) + "\n" for i in range(12)))
    return path


@pytest.mark.scripts
@pytest.mark.parametrize("name,more", [
    ("smollm2", ["--lora", 2, "--weights", "bfloat16", "--recompute"]),
    ("llama3", ["--lora", 0, "--context", 64]),
    ("qwen3_moe", ["--lora", 2, "--weights", "bfloat16"])])
def test_a_released_model_is_tuned_and_leaves_again(tmp_path, run_script, chats, name, more):
    folder = make_any(tmp_path / "a", name)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = run_script("part_6/train_sft.py", "--base", folder, "--data", chats, "--steps", 8, "--rows",
                      4, "--peak", 0.01, "--chat", "auto", "--eval-every", 4, "--out", tmp_path / "o",
                      "--no-tensorboard", "--device", "cpu", "--amp", "float32", *more)
    assert "preset  released" in done.stdout
    assert ("one conversation a row" in done.stdout) == (name != "llama3")
    metrics = json.loads((tmp_path / "o" / "sft.json").read_text())["metrics"]
    assert metrics["val_loss"] < metrics["val_loss_before"] - 0.2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    model, tokenizer, _ = load_checkpoint(tmp_path / "o" / "sft.pt")
    assert tokenizer.chat and {p.dtype for p in model.parameters()} == {torch.float32}
    run_script("part_6/export_weights.py", tmp_path / "o" / "sft.pt", tmp_path / "b", "--dtype",
               "float32")
    again, same, _ = load_checkpoint(tmp_path / "b")
    row = torch.tensor([FIGURES["smollm2"]["row"]])
    with torch.no_grad():
        torch.testing.assert_close(again(row)[0], model(row)[0], rtol=0, atol=0)
    assert same.chat == tokenizer.chat
    adapter = run_script("part_6/export_weights.py", tmp_path / "o" / "sft.pt", tmp_path / "c",
                         "--adapter", check=False)
    assert (adapter.returncode == 0) == (name != "llama3")
    if name != "llama3":  # of a mixture: attention everywhere, and the MLPs of its dense layers
        tensors = open_safetensors(tmp_path / "c" / "adapter_model.safetensors")
        assert len(tensors) == {"smollm2": 28, "qwen3_moe": 44}[name]
        assert json.loads((tmp_path / "c" / "adapter_config.json").read_text())[
            "base_model_name_or_path"] == str(folder)


@pytest.mark.scripts
def test_chat_talks_with_a_released_model(tmp_path, run_script, runtime):
    folder = make_released(tmp_path / "a", "smollm2")
    model, tokenizer, _ = load_checkpoint(folder)
    [reply] = reply_to(model, tokenizer, [[Message("user", "the fox")]], runtime, longest=8)
    done = run_script("part_6/chat.py", "--checkpoint", folder, "--prompt", "the fox", "--longest", 8)
    assert done.stdout.strip() == reply.text
    other = make_released(tmp_path / "b", "smollm2", template="{{ other }}")
    refused = run_script("part_6/chat.py", "--checkpoint", other, "--prompt", "a", check=False)
    assert refused.returncode == 2 and "choose one with --chat" in refused.stderr
    run_script("part_6/chat.py", "--checkpoint", other, "--prompt", "a", "--longest", 2, "--chat",
               "chatml")


def test_settings_that_would_spoil_a_run_are_refused():
    from sft.settings import SFTSettings, context_of
    with pytest.raises(ValueError, match="give --lora too"):
        SFTSettings(weights="bfloat16")
    with pytest.raises(ValueError, match="--weights int4"):
        SFTSettings(weights="int4", lora=2)
    assert context_of(0, 8192) == 1024 and context_of(0, 288) == 288 and context_of(64, 288) == 64
    with pytest.raises(ValueError, match="at most 288"):
        context_of(289, 288)
