"""A released model's folder in this part: GRPO from it, the chat, and out again."""

import json

import pytest
import torch
from mixture_folders import make_any
from released_folders import make_released
from run.checkpoint import load_checkpoint
from sft.chat_format import Message, encode_prompt
from sft.evaluation import reply_to


@pytest.mark.scripts
@pytest.mark.parametrize("name", ["smollm2", "qwen2_moe"])
def test_grpo_from_a_released_folder_and_out_again(tmp_path, run_script, name):
    folder = make_any(tmp_path / "a", name)
    problems = tmp_path / "p.jsonl"
    problems.write_text("".join(json.dumps({"question": f"What is {i} and 1?",
                                            "answer": f"so\n#### {i + 1}"}) + "\n" for i in range(12)))
    run_script("part_9/train_grpo.py", "--model", folder, "--data", problems, "--out", tmp_path / "o",
               "--steps", 1, "--prompts", 2, "--group", 2, "--max-new", 6, "--keep-rows", 0,
               "--eval-problems", 2, "--eval-exact", 0, "--look-every", 0, "--no-tensorboard",
               "--device", "cpu", "--amp", "float32")
    model, tokenizer, _ = load_checkpoint(tmp_path / "o" / "grpo.pt")
    run_script("part_9/export_weights.py", tmp_path / "o" / "grpo.pt", tmp_path / "b", "--dtype",
               "float32")
    again, same, _ = load_checkpoint(tmp_path / "b")
    row = torch.tensor([encode_prompt([Message("user", "the fox")], tokenizer)])
    with torch.no_grad():
        torch.testing.assert_close(again(row)[0], model(row)[0], rtol=0, atol=0)
    assert same.chat == tokenizer.chat
    refused = run_script("part_9/export_weights.py", tmp_path / "o" / "grpo.pt", tmp_path / "c",
                         "--adapter", check=False)
    assert refused.returncode == 2 and "no LoRA" in refused.stderr


@pytest.mark.scripts
def test_chat_talks_with_a_released_model(tmp_path, run_script):
    from run.runtime import Runtime
    folder = make_released(tmp_path / "a", "llama3", template="{{ other }}")
    model, tokenizer, _ = load_checkpoint(folder, chat="llama3")
    [reply] = reply_to(model, tokenizer, [[Message("user", "the fox")]],
                       Runtime(torch.device("cpu"), None, "", ""), longest=8)
    done = run_script("part_9/chat.py", "--checkpoint", folder, "--prompt", "the fox", "--longest", 8,
                      "--chat", "llama3")
    assert done.stdout.strip() == reply.text
    refused = run_script("part_9/chat.py", "--checkpoint", folder, "--prompt", "a", check=False)
    assert refused.returncode == 2 and "choose one with --chat" in refused.stderr
