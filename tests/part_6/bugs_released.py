"""Planted bugs: tuning a released model. For tests/planted_bugs.py."""

from planted import Bug

TEST = "tests/part_6/test_released_sft.py"

BUGS = [
    Bug("an answer of weight 0 is learnt in a released model's form", "part_6/sft/chat_format.py",
        "return ids, labels_learnt(is_label, messages)", "return ids, is_label", TEST),
    Bug("the end token is no label", "part_6/pretrained/chat_forms.py",
        'Part(TEXT, content, said), Part(TOKEN, "<|im_end|>", said)',
        'Part(TEXT, content, said), Part(TOKEN, "<|im_end|>")', TEST),
    Bug("a reply ends where the folder says, not where the template does",
        "part_6/pretrained/released_tokenizer.py",
        'return self.special.get(self.chat.closer, self.ids["end"]) if self.chat else self.ids["end"]',
        'return self.ids["end"]', TEST),
    Bug("a released model is asked in the format of part 6", "part_6/sft/chat_format.py",
        "    check_messages(messages, answered=False)\n    if tokenizer.chat:",
        "    check_messages(messages, answered=False)\n    if False:", TEST),
    Bug("an answer begins with a blank in every form", "part_6/sft/chat_format.py",
        'tokenizer.chat.answer(text) if tokenizer.chat else f" {text}"', 'f" {text}"', TEST),
    Bug("ChatML's rows are packed and cut at every turn", "part_6/sft/chat_format.py",
        "return tokenizer.special[tokenizer.chat.begin] if tokenizer.chat.begin else None",
        "return tokenizer.begin", TEST),
    Bug("an unknown template passes as plain", "part_6/sft/chat_format.py",
        "    if tokenizer.problem:  # a", "    if False:  # a", TEST),
    Bug("rates of a young model for a released one", "part_6/sft/settings.py",
        'if preset == "tiny" and', 'if preset == "no" and', TEST),
    Bug("what LoRA has learnt is not kept", "part_6/sft/lora.py",
        '"weights": lora_state(model)', '"weights": {}', TEST),
    Bug("nothing is computed again", "part_6/gpt/model.py",
        "again = self.recompute and", "again = False and", TEST),
    Bug("peft's B holds the rows of all three matrices", "part_6/pretrained/export.py",
        'weights[f"{ours}.b"][place.begin:place.end]', 'weights[f"{ours}.b"]', TEST),
]
