"""A released model's folder in this part: DPO from it, its replies in its own form, and out again."""

import json

import pytest
import torch
from mixture_folders import make_any
from released_folders import make_released
from reward.faults import Reply
from reward.model import RewardModel, encode_reply
from run.checkpoint import load_checkpoint
from sft.chat_format import Message, encode_prompt, reply_token


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"the fox {i}", "chosen": "the crow waits",
                                        "rejected": "no cheese"}) + "\n" for i in range(24)))
    return path


def test_a_reply_to_score_is_the_models_own_conversation(tmp_path):
    model, tokenizer, _ = load_checkpoint(make_released(tmp_path, "llama3"))
    prompt = [Message("user", "the fox")]
    ids = encode_reply(prompt, Reply("the crow"), tokenizer, 256)
    assert ids == [*encode_prompt(prompt, tokenizer), *tokenizer.encode("the crow"), tokenizer.end]
    scorer = RewardModel(model, reply_token=reply_token(tokenizer))
    rows, columns = scorer.reply_places(torch.tensor([ids]), torch.tensor([len(ids) - 1]))
    read = [ids[i] for i in columns.tolist()]  # from the last header on: "\n\n", the reply, the end
    assert tokenizer.decode(read) == "\n\nthe crow<|eot_id|>"


@pytest.mark.scripts
@pytest.mark.parametrize("name, form, lora", [("smollm2", "chatml", 0), ("mixtral", "mistral", 2)])
def test_dpo_from_a_released_folder_and_out_again(tmp_path, run_script, pairs, name, form, lora):
    folder = make_any(tmp_path / "a", name)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    run_script("part_8/train_dpo.py", "--sft", folder, "--data", pairs, "--eval-prompts", 0, "--out",
               tmp_path / "o", "--device", "cpu", "--amp", "float32", "--lora", lora)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    model, tokenizer, _ = load_checkpoint(tmp_path / "o" / "dpo.pt")
    assert tokenizer.chat.name == form
    run_script("part_8/export_weights.py", tmp_path / "o" / "dpo.pt", tmp_path / "b", "--dtype",
               "float32")
    row = torch.tensor([encode_prompt([Message("user", "the fox")], tokenizer)])
    with torch.no_grad():
        torch.testing.assert_close(load_checkpoint(tmp_path / "b")[0](row)[0], model(row)[0], rtol=0,
                                   atol=0)
    refused = run_script("part_8/export_weights.py", tmp_path / "o" / "dpo.pt", tmp_path / "c",
                         "--adapter", check=False)
    if lora:
        assert refused.returncode == 0 and (tmp_path / "c" / "adapter_model.safetensors").is_file()
        return
    assert refused.returncode == 2 and "no LoRA" in refused.stderr
