"""Make the figures in this folder again. Run by hand; the tests only read what it wrote.

    pip install transformers
    python tests/part_3/data/make_reference.py

logits.npz      for each folder of tests/pretrained_folders.py: what `transformers` says at a few
                positions of one row of 24 ids, float32, with its plainest ("eager") attention
tokenizer.json  a byte-level BPE of 400 tokens, trained by `tokenizers` on the fables of part 2, with
                Qwen's pattern and normal form and two added tokens
texts.json      texts and the ids that `tokenizers` gives them: for that file; for the same without
                a pattern of its own (GPT-2's)
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parent
TESTS = DATA.parent.parent
QWEN_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
                r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEXTS = ["The fox said: \"I'll wait.\"", "the crow and THE CROW'S cheese", "", " ", "  two  gaps ",
         "12345 and 6.78", "line\n\n  line\r\n\ttab", "naïve cafe\u0301 — déjà vu", "狐狸说 🦊!",
         "<|end|> and <think>", "a<|end|>b", "e\u0301\u200b\x00",
         "He said.\nThen: \"Yes.\"\n"]


def make_logits() -> None:
    import torch
    import transformers
    from pretrained_folders import CONFIGS, IDS, POSITIONS, make_folder

    found = {}
    for name in CONFIGS:
        with tempfile.TemporaryDirectory() as folder:
            make_folder(folder, name)
            model, told = transformers.AutoModelForCausalLM.from_pretrained(
                folder, attn_implementation="eager", dtype=torch.float32,
                output_loading_info=True)
        left = {key: value for key, value in told.items() if value}
        assert not left, f"{name}: {left}"
        with torch.no_grad():
            logits = model.eval()(torch.tensor([IDS])).logits[0]
        found[name] = logits[POSITIONS].numpy()
        print(f"{name:16s} {type(model).__name__:22s} largest {logits.abs().max():.2f}, "
              f"spread {logits.std():.3f}")
    np.savez_compressed(DATA / "logits.npz", **found)


def make_tokenizer() -> None:
    import tokenizers
    from tokenizers import pre_tokenizers

    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.normalizer = tokenizers.normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(tokenizers.Regex(QWEN_PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train([str(TESTS.parent / "part_2" / "fables.txt")], trainer)
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.add_tokens(["<think>"])
    end = tokenizer.token_to_id("<|end|>")
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|end|> $A", special_tokens=[("<|end|>", end)])
    (DATA / "tokenizer.json").write_text(tokenizer.to_str(pretty=False), encoding="utf-8")
    expected = {"TEXTS": TEXTS}
    for key in ("split", "byte_level"):
        if key == "byte_level":
            tokenizer.normalizer = None
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        expected[key] = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    expected["prefix"] = tokenizer.encode("").ids
    (DATA / "texts.json").write_text(json.dumps(expected, ensure_ascii=True), encoding="utf-8")
    print(f"tokenizer: {tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    make_logits()
    make_tokenizer()
