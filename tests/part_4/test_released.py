"""Released models' folders: numbers, ids, conversations and greedy replies equal the original's.

data/released.json holds what `transformers` (5.24, float32) says of the folders that
tests/released_folders.py makes; data/make_released.py makes it again. Nothing but torch is needed.
"""

import json

import pytest
import torch
from gpt.generate import generate
from pretrained.chat_forms import encode_parts, form_of
from pretrained.cutting import cut, stages_of
from pretrained.loading import load_pretrained, load_released
from pretrained.released_tokenizer import merge_bytes
from released_folders import (
    ANSWERED,
    ASKED,
    DATA,
    FOLDERS,
    TEXTS,
    WITH_THOUGHT,
    WITH_TOOLS,
    make_released,
)
from run.checkpoint import load_checkpoint, save_checkpoint
from text.tokenizer import Tokenizer

FIGURES = json.loads((DATA / "released.json").read_text(encoding="utf-8"))
WITH_CHAT = [name for name, entry in FOLDERS.items() if entry[2]]


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """released("qwen3") -> (model, tokenizer, folder), made once."""
    made = {}

    def get(name):
        if name not in made:
            folder = make_released(tmp_path_factory.mktemp("released") / name, name)
            made[name] = (*load_checkpoint(folder)[:2], folder)
        return made[name]
    return get


@torch.no_grad()
def farthest(model, figures: dict) -> float:
    logits = model(torch.tensor([figures["row"]]))[0][0, [0, -1], :40]
    return float((logits - torch.tensor(figures["logits"])).abs().max())


@pytest.mark.parametrize("name", FOLDERS)
def test_logits_equal_the_originals(released, name):
    assert farthest(released(name)[0], FIGURES[name]) < 5e-5


@pytest.mark.parametrize("name", FOLDERS)
def test_64_greedy_tokens_equal_the_originals_with_a_cache_and_past_a_window(released, name):
    """The row is longer than the windows, and is read whole, and again in chunks of 7."""
    model, figures = released(name)[0], FIGURES[name]
    for chunk in (None, 7):
        assert generate(model, [figures["row"]], 64, prefill_chunk=chunk) == [figures["greedy"]]


def test_greedy_tokens_are_the_same_in_a_batch_with_a_shorter_prompt(released):
    for name in ("mistral", "qwen3_yarn"):
        model, figures = released(name)[0], FIGURES[name]
        together = generate(model, [figures["row"], figures["row"][:3]], 64)
        assert together[0] == figures["greedy"]


@pytest.mark.parametrize("name,change", [
    ("qwen3_yarn", {"rope_gain": 1.0}), ("llama2_yarn", {"rope_high": 8.0}),
    ("llama2_yarn", {"rope_low": 0.1}), ("llama2_yarn", {"rope_trained": 256}),
    ("llama2_yarn", {"rope_factor": 1.0}),
    ("llama3.1", {"rope_scaling": None}), ("mistral", {"window": 9}), ("qwen2.5", {"window": 8})])
def test_the_figures_would_show_a_setting_that_is_off(released, name, change):
    assert farthest(load_pretrained(released(name)[2], **change), FIGURES[name]) > 1e-4


@pytest.mark.parametrize("name", FOLDERS)
def test_ids_of_hard_texts_equal_the_originals(released, name):
    tokenizer = released(name)[1]
    for text, ids in zip(TEXTS, FIGURES[name]["texts"], strict=True):
        found = [*tokenizer.prefix, *tokenizer.encode(text, allowed_special="all")]
        assert found == ids, text
    assert tokenizer.begun("a") == [*tokenizer.prefix, *tokenizer.encode("a")]
    assert tokenizer.begun("") == ([*tokenizer.prefix] or [tokenizer.begin])


def test_a_byte_without_a_token_is_the_unknown_token_or_where_there_is_none_nothing(released,
                                                                                   tmp_path):
    tokenizer = released("smollm2")[1]
    assert len(tokenizer.missing) > 100
    a, c = tokenizer.encode("a") + tokenizer.encode("c")
    assert tokenizer.encode("a\x00\x00c") == [a, 0, 0, c]
    folder = make_released(tmp_path, "smollm2")
    data = json.loads((folder / "tokenizer.json").read_text())
    for change, ids in (({"fuse_unk": True}, [a, 0, c]),
                        ({"unk_token": None}, tokenizer.encode("ac"))):
        (folder / "tokenizer.json").write_text(json.dumps(
            data | {"model": data["model"] | change}))
        assert load_released(folder)[1].encode("a\x00\x00c") == ids


def test_a_users_text_ends_no_turn_but_an_added_word_counts_always(released):
    tokenizer = released("qwen3")[1]
    end, think = tokenizer.special["<|im_end|>"], tokenizer.special["<think>"]
    assert end not in tokenizer.encode("a<|im_end|>b")
    assert tokenizer.decode(tokenizer.encode("a<|im_end|>b")) == "a<|im_end|>b"
    assert tokenizer.encode("a<|im_end|>b", allowed_special="all").count(end) == 1
    assert tokenizer.encode("<think>") == [think]


def test_begin_end_and_pad_are_what_the_folder_says(released):
    def names(name):
        tokenizer = released(name)[1]
        back = {i: text for text, i in tokenizer.special.items()}
        return [back[i] for i in (tokenizer.begin, tokenizer.end, tokenizer.pad)]
    assert names("smollm2") == ["<|im_start|>", "<|im_end|>", "<|im_end|>"]
    assert names("qwen3") == ["<|endoftext|>", "<|im_end|>", "<|endoftext|>"]
    assert names("llama3") == ["<|begin_of_text|>", "<|eot_id|>", "<|eot_id|>"]
    assert names("old_mistral") == ["<s>", "</s>", "<pad>"]


def test_ids_beyond_the_tokenizer_show_as_the_replacement_character(released):
    tokenizer = released("qwen3")[1]
    assert tokenizer.vocab_size == 384
    assert tokenizer.decode([*tokenizer.encode("ab"), 383]) == "ab\ufffd"


def test_words_are_cut_stage_by_stage_and_what_lies_between_is_kept():
    assert cut("ab 1234,5", (r"\p{N}{1,3}", r"[a-z]")) == ["a", "b", " ", "123", "4", ",", "5"]
    assert cut("", (r"x",)) == []


def test_digits_one_by_one_or_together_as_the_file_says():
    def stages(alone):
        return stages_of({"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": alone}, {"type": "ByteLevel"}]}, "here")
    assert cut("in 2024", stages(True)) == ["in", " ", "2", "0", "2", "4"]
    assert cut("in 2024", stages(False)) == ["in", " ", "2024"]


def test_merging_in_plain_python_is_what_tiktoken_does(released):
    tokenizer = released("llama3")[1]
    for text in ("the", " crow", "cheeses", "waited"):
        assert merge_bytes(text.encode(), tokenizer.tokens) == \
            tokenizer.encoding.encode_ordinary(text)


# ---------------------------------------------------------------- conversations

def ids_of(tokenizer, chat, reply: bool):
    return encode_parts(tokenizer.chat.parts(chat, reply=reply), tokenizer)[0]


@pytest.mark.parametrize("name", WITH_CHAT)
def test_ids_of_conversations_equal_the_originals_template(released, name):
    tokenizer, figures = released(name)[1], FIGURES[name]
    compared = 0
    for chats, key, reply in ((ASKED, "asked", True), (ANSWERED, "answered", False)):
        for chat, ids in zip(chats, figures[key], strict=True):
            if name == "old_mistral" and chat[0][0] == "system":
                continue  # that template writes a system line as if it were an answer
            assert ids_of(tokenizer, chat, reply) == ids
            compared += 1
    assert compared >= 4


@pytest.mark.parametrize("name", ["smollm2", "qwen2.5", "llama3", "llama3.1"])
def test_tool_turns_equal_the_originals_template(released, name):
    assert ids_of(released(name)[1], WITH_TOOLS, False) == FIGURES[name]["tools"]


def test_only_the_last_answer_keeps_its_thought(released):
    tokenizer = released("qwen3")[1]
    assert ids_of(tokenizer, WITH_THOUGHT, False) == FIGURES["qwen3"]["thought"]
    assert tokenizer.chat.reply_of("<think>\nhm\n</think>\n\nd") == "d"


def test_a_form_without_tool_turns_says_so(released):
    with pytest.raises(ValueError, match="no turn of the tool.*--chat"):
        ids_of(released("mistral")[1], WITH_TOOLS, False)


@pytest.mark.parametrize("template", [
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.content }}{% endfor %}",
    FOLDERS["qwen3"][2].replace("last_query_index", "other"),
    FOLDERS["smollm2"][2].replace("message['content']", "message['content'] | trim"),
    FOLDERS["llama3.1"][2].replace("26 Jul 2024", "1 Jan 2025"),
    "{{ '[INST] <<SYS>>' + messages[0].content + '[/INST]' }}"])
def test_an_unknown_template_is_refused_by_name_and_one_can_be_chosen(tmp_path, template):
    with pytest.raises(ValueError, match="none of the known forms.*--chat plain"):
        form_of(template, "", "", "here")
    folder = make_released(tmp_path, "smollm2", template=template)
    tokenizer = load_checkpoint(folder)[1]
    assert tokenizer.chat is None and "none of the known forms" in tokenizer.problem
    chosen = load_checkpoint(folder, chat="chatml")[1]
    assert chosen.chat.name == "chatml" and not chosen.problem
    assert load_checkpoint(folder, chat="plain")[1].chat is None
    with pytest.raises(ValueError, match="<.start_header_id.>.*--chat plain"):
        load_checkpoint(folder, chat="llama3")


# ---------------------------------------------------------------- checkpoints

@pytest.mark.parametrize("name", ["smollm2", "llama3.1", "mistral"])
def test_a_checkpoint_of_a_released_model_is_the_same_model(released, name, tmp_path):
    model, tokenizer, _ = released(name)
    save_checkpoint(tmp_path / "x.pt", weights=model.state_dict(), config=model.config,
                    tokenizer=tokenizer, step=0, settings={}, metrics={})
    again, same, _ = load_checkpoint(tmp_path / "x.pt")
    assert again.config == model.config and farthest(again, FIGURES[name]) < 5e-5
    assert same.fingerprint == tokenizer.fingerprint and same.chat == tokenizer.chat
    assert [same.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
    damaged = tokenizer.to_dict() | {"files": 3}
    with pytest.raises(ValueError, match="damaged"):
        Tokenizer.from_dict(damaged)
    with pytest.raises(ValueError, match="--chat chatml is for the folder"):
        load_checkpoint(tmp_path / "x.pt", chat="chatml")


def test_a_checkpoint_of_before_without_the_settings_of_rope_is_still_read(tmp_path):
    from dataclasses import asdict

    from gpt.model import GPT, GPTConfig
    config = GPTConfig(vocab_size=270, block_size=16, n_layer=1, n_embd=32, n_head=2)
    tokenizer = Tokenizer.train("a rose is a rose and a rose", 262)
    model = GPT(config)
    save_checkpoint(tmp_path / "x.pt", weights=model.state_dict(), config=config,
                    tokenizer=tokenizer, step=0, settings={}, metrics={})
    content = torch.load(tmp_path / "x.pt", weights_only=True)
    content["config"] = {key: value for key, value in asdict(config).items()
                         if key == "rope_theta" or not key.startswith("rope_")}
    torch.save(content, tmp_path / "old.pt")
    assert load_checkpoint(tmp_path / "old.pt")[0].config == config


def test_more_special_tokens_stand_behind_the_models_vocabulary(released):
    tokenizer = released("qwen3")[1].with_special("<|run|>")
    assert tokenizer.special["<|run|>"] == 384 and tokenizer.vocab_size == 385
    assert tokenizer.encode("a<|run|>", allowed_special={"<|run|>"})[-1] == 384


# ---------------------------------------------------------------- what is refused

def broken(folder, file, change):
    path = folder / file
    if file.endswith(".json"):
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))
    else:
        path.write_bytes(change(path.read_bytes()))
    return folder


@pytest.mark.parametrize("file,change,reason", [
    ("model.safetensors", lambda raw: raw[:-40], "cut short"),
    ("config.json", lambda d: d.update(model_type="gemma3"), "model_type='gemma3' is not known"),
    ("config.json", lambda d: d.update(model_type="mixtral"), "'mixtral' is not known .*part 5 and"),
    ("config.json", lambda d: d.update(vocab_size=100), "they do not belong together"),
    ("config.json", lambda d: d.update(attention_bias=True), "attention_bias=True"),
    ("config.json", lambda d: d.update(rope_scaling={"type": "longrope"}), "'longrope'"),
    ("config.json", lambda d: d.update(hidden_size=64), "do not fit config.json"),
    ("tokenizer_config.json", lambda d: d.update(eos_token="<stop>"), "eos_token is '<stop>'"),
    ("tokenizer.json", lambda d: d["model"].update(type="Unigram"), "Unigram"),
    ("tokenizer.json", lambda d: d["model"].update(byte_fallback=True), "byte_fallback"),
    ("tokenizer.json", lambda d: d.update(pre_tokenizer=None), "SentencePiece"),
    ("tokenizer.json", lambda d: d.update(normalizer={"type": "Lowercase"}), "Lowercase"),
    ("tokenizer.json", lambda d: d["added_tokens"][0].update(lstrip=True), "lstrip"),
    ("tokenizer.json", lambda d: d["model"]["merges"].reverse(), "order of the merges"),
    ("tokenizer.json", lambda d: d.pop("model"), "not built as a tokenizer.json")])
def test_what_does_not_fit_is_refused_by_name(tmp_path, file, change, reason):
    folder = broken(make_released(tmp_path, "llama3" if "hidden" in reason else "smollm2"), file,
                    change)
    with pytest.raises(ValueError, match=reason):
        load_released(folder)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json is missing"):
        load_checkpoint(tmp_path)
    folder = make_released(tmp_path / "a", "smollm2")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match="tokenizer.json is missing"):
        load_checkpoint(folder)


def test_a_folder_is_only_read(released):
    folder = released("smollm2")[2]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    model = load_checkpoint(folder)[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
