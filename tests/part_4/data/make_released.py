"""Make the figures of released models again. Run by hand; the tests only read what it wrote.

    pip install torch transformers peft tiktoken
    python tests/part_4/data/make_released.py

smollm2.json, qwen.json, llama3.json, mistral.json   small tokenizers, trained by `tokenizers` on part
               2's fables: an alphabet with gaps and an unknown token; NFC and digits one by one;
               digits in threes and a begin token; two splittings, one after the other
released.json  for each folder of tests/released_folders.py what `transformers` says: ids of texts
               and conversations, some logits, 64 greedy tokens; and the same of folders that our
               export has written, with checksums of their files; and of an adapter, by `peft`
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

DATA = Path(__file__).resolve().parent
TESTS = DATA.parent.parent
FABLES = TESTS.parent / "part_2" / "fables.txt"
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"


def make_tokenizers() -> None:
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )

    def trained(name, stages, first, *, alphabet=True, size=340, unknown=None, added=()):
        tokenizer = Tokenizer(models.BPE(unk_token=unknown))
        use_regex = not any(type(stage).__name__ == "Split" for stage in stages)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [*stages, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)])
        tokenizer.decoder = decoders.ByteLevel()
        whole = pre_tokenizers.ByteLevel.alphabet() if alphabet else []
        tokenizer.train([str(FABLES)], trainers.BpeTrainer(
            vocab_size=size, show_progress=False, special_tokens=first, initial_alphabet=whole))
        plain = ("<th", "</th", "<to")  # "</tool_response>" is special here, to see both
        tokenizer.add_special_tokens([t for t in added if not t.startswith(plain)])
        tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in added
                              if t.startswith(plain)])
        if name == "llama3":
            tokenizer.post_processor = processors.Sequence([
                processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
                    single="<|begin_of_text|> $A", special_tokens=[
                        ("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>"))])])
        if name == "qwen":
            tokenizer.normalizer = normalizers.NFC()
        data = json.loads(tokenizer.to_str())
        if name == "llama3":
            data["model"]["ignore_merges"] = True
        (DATA / f"{name}.json").write_text(json.dumps(data, separators=(",", ":")), encoding="utf-8")

    def split(pattern):
        return pre_tokenizers.Split(Regex(pattern), "isolated")

    trained("smollm2", [pre_tokenizers.Digits(individual_digits=True)],
            ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], alphabet=False, size=190,
            unknown="<|endoftext|>")
    trained("qwen", [split(ENDINGS + WORDS % r"\p{N}")], [], added=[
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_response>",
        "</tool_response>"])
    trained("llama3", [split(ENDINGS + WORDS % r"\p{N}{1,3}")], [], added=[
        "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
        "<|eot_id|>"])
    trained("mistral", [split(r"\p{N}{1,3}"), split(r" ?\p{Lu}?\p{Ll}+|\s+(?!\S)")],
            ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "<pad>"])


def figures(folder: Path, chats: bool) -> dict:
    """What `transformers` says of a folder."""
    import torch
    import transformers
    from released_folders import ANSWERED, ASKED, TEXTS, WITH_THOUGHT, WITH_TOOLS

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model, told = transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True)
    left = {key: value for key, value in told.items() if value}
    assert not left, left
    found = {"texts": [tokenizer(text).input_ids for text in TEXTS]}

    def template(chat, ask):
        try:
            ids = tokenizer.apply_chat_template(
                [{"role": role, "content": text} for role, text in chat], date_string="26 Jul 2024",
                add_generation_prompt=ask)
        except Exception as error:  # the template refuses such a conversation
            return type(error).__name__
        return ids if isinstance(ids, list) else ids["input_ids"]

    if chats:
        found["asked"] = [template(chat, True) for chat in ASKED]
        found["answered"] = [template(chat, False) for chat in ANSWERED]
        found["tools"] = template(WITH_TOOLS, False)
        found["thought"] = template(WITH_THOUGHT, False)
    row = torch.tensor([found["asked"][0] if chats else found["texts"][1] or found["texts"][0]])
    model.generation_config.eos_token_id = None  # all 64 tokens, whatever they are
    with torch.no_grad():
        logits = model.eval()(row).logits[0]
        reply = model.generate(row, max_new_tokens=64, do_sample=False)[0, row.size(1):]
    assert len(reply) == 64
    found |= {"row": row[0].tolist(), "greedy": reply.tolist(),
              "logits": [[round(x, 6) for x in line] for line in logits[[0, -1], :40].tolist()]}
    return found


def checksums(folder: Path) -> dict:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            for path in sorted(Path(folder).iterdir())}


def make_figures() -> dict:
    import torch
    from released_folders import FOLDERS, make_released

    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        for name, entry in FOLDERS.items():
            found[name] = figures(make_released(scratch / name, name), chats=entry[2] is not None)
        sys.path.insert(0, str(TESTS.parent / "part_6"))
        from exported_models import own_models, tuned_by_lora
        from pretrained.export import export_adapter, export_model

        for name, (model, tokenizer) in own_models().items():
            export_model(model, tokenizer, scratch / f"own_{name}")
            found[f"own_{name}"] = figures(scratch / f"own_{name}", chats="roles" in name) | {
                "files": checksums(scratch / f"own_{name}")}
        base, _, training = tuned_by_lora(scratch / "smollm2")
        export_adapter(base.config, training, scratch / "adapter")
        import peft
        import transformers

        model = peft.PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained(
            scratch / "smollm2", dtype=torch.float32), scratch / "adapter")
        row = torch.tensor([found["smollm2"]["row"]])
        with torch.no_grad():
            logits = model.eval()(row).logits[0]
        found["adapter"] = {"logits": [[round(x, 6) for x in line]
                                       for line in logits[[0, -1], :40].tolist()]}
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    make_tokenizers()
    (DATA / "released.json").write_text(json.dumps(make_figures(), separators=(",", ":")) + "\n",
                                        encoding="utf-8")
    print({path.name: path.stat().st_size for path in DATA.glob("*.json")})
