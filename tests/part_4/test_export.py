"""Checkpoints leave: `transformers` has read these very files and computed the same from them.

data/released.json holds, for each model of tests/exported_models.py, the checksums of the files that
our export wrote, and what `transformers` made of them: logits, ids, conversations, 64 greedy tokens.
"""

import hashlib
import json

import pytest
import torch
from exported_models import own_models
from gpt.generate import generate
from gpt.model import GPT, GPTConfig
from pretrained.config import from_config, to_config
from pretrained.export import export_model
from pretrained.tokenizer_json import jinja_of, merges_of
from released_folders import ASKED, DATA, FOLDERS, TEXTS, make_released
from run.checkpoint import load_checkpoint, save_checkpoint

FIGURES = json.loads((DATA / "released.json").read_text(encoding="utf-8"))
MODELS = own_models()
REMAKE = "the export writes other files than `transformers` has read; run data/make_released.py"


@torch.no_grad()
def farthest(model, figures: dict) -> float:
    logits = model(torch.tensor([figures["row"]]))[0][0, [0, -1], :40]
    return float((logits - torch.tensor(figures["logits"])).abs().max())


@pytest.mark.parametrize("name", MODELS)
def test_the_files_are_those_that_transformers_has_read_and_the_numbers_are_equal(tmp_path, name):
    model, tokenizer = MODELS[name]
    figures = FIGURES[f"own_{name}"]
    export_model(model, tokenizer, tmp_path / "x")
    written = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
               for path in (tmp_path / "x").iterdir()}
    assert written == figures["files"], REMAKE
    assert farthest(model, figures) < 5e-5
    assert generate(model, [figures["row"]], 64) == [figures["greedy"]]
    for text, ids in zip(TEXTS, figures["texts"], strict=True):
        assert tokenizer.begun(text) == ids


@pytest.mark.parametrize("name", MODELS)
def test_what_was_written_comes_back_as_the_same_model_and_tokenizer(tmp_path, name):
    model, tokenizer = MODELS[name]
    export_model(model, tokenizer, tmp_path / "x", max_shard_bytes=20_000)
    assert len(list((tmp_path / "x").glob("*.safetensors"))) > 1
    again, same, _ = load_checkpoint(tmp_path / "x")
    ids = torch.tensor([FIGURES[f"own_{name}"]["row"]])
    with torch.no_grad():
        torch.testing.assert_close(again(ids)[0], model(ids)[0], rtol=0, atol=0)
    assert (same.begin, same.end, same.pad) == (tokenizer.begin, tokenizer.end, tokenizer.pad)
    assert [same.encode(t) for t in TEXTS] == [tokenizer.encode(t) for t in TEXTS]
    assert same.chat is None and not same.problem  # the template is part 6's own: roles as tokens


@pytest.mark.parametrize("name", ["smollm2", "qwen3", "llama3.1", "mistral", "llama2_yarn"])
def test_a_released_model_leaves_as_it_came(tmp_path, name):
    folder = make_released(tmp_path / "a", name)
    model, tokenizer, _ = load_checkpoint(folder)
    export_model(model, tokenizer, tmp_path / "b")
    for file in ("model.safetensors", "tokenizer.json"):
        if file == "tokenizer.json":
            assert (tmp_path / "b" / file).read_bytes() == (folder / file).read_bytes()
    again, same, _ = load_checkpoint(tmp_path / "b")
    assert again.config == model.config and farthest(again, FIGURES[name]) < 5e-5
    assert same.chat == tokenizer.chat and same.ids == tokenizer.ids
    told = json.loads((tmp_path / "b" / "config.json").read_text())
    assert told["model_type"] == FOLDERS[name][0]["model_type"]
    assert told["eos_token_id"] == tokenizer.end


def test_the_end_of_a_reply_is_among_the_ends_that_generation_stops_at(tmp_path):
    folder = make_released(tmp_path / "a", "llama3")
    (folder / "generation_config.json").write_text('{"eos_token_id": [1, 2], "temperature": 0.6}')
    model, tokenizer, _ = load_checkpoint(folder)
    export_model(model, tokenizer, tmp_path / "b")
    told = json.loads((tmp_path / "b" / "generation_config.json").read_text())
    assert told["eos_token_id"] == [tokenizer.end, 1, 2] and told["temperature"] == 0.6


@pytest.mark.parametrize("form", ["chatml", "mistral"])
def test_a_chosen_form_leaves_as_a_template_that_is_read_again(tmp_path, form):
    name = "smollm2" if form == "chatml" else "mistral"
    folder = make_released(tmp_path / "a", name, template="{{ unknown }}")
    model, tokenizer, _ = load_checkpoint(folder, chat=form)
    export_model(model, tokenizer, tmp_path / "b")
    assert load_checkpoint(tmp_path / "b")[1].chat == tokenizer.chat
    template = (tmp_path / "b" / "chat_template.jinja").read_text()
    assert template == jinja_of(tokenizer.chat, "<s>", "</s>")


def test_templates_say_what_the_chat_forms_say(tmp_path):
    """By a reader of templates of the machine, where there is one: tensorboard brings jinja2."""
    jinja2 = pytest.importorskip("jinja2")
    from pretrained.chat_forms import ChatForm
    for form in (ChatForm("chatml"), ChatForm("llama3", begin="<s>"),
                 ChatForm("mistral", begin="<s>", close="</s>")):
        for chat in ASKED:
            messages = [{"role": role, "content": text} for role, text in chat]
            found = jinja2.Template(jinja_of(form, "<s>", "</s>"), keep_trailing_newline=True).render(
                messages=messages, add_generation_prompt=True)
            assert found == "".join(part.text for part in form.parts(chat, reply=True))


def test_every_pair_that_makes_a_token_is_a_merge_in_the_order_of_the_ids():
    tokens = {b"a": 0, b"b": 1, b"c": 2, b"ab": 3, b"bc": 4, b"abc": 5}
    assert merges_of(tokens) == [[b"a", b"b"], [b"b", b"c"], [b"a", b"bc"], [b"ab", b"c"]]


@pytest.mark.parametrize("change,reason", [
    ({"qkv_bias": True}, "ids would differ"), ({"qk_norm": True, "qkv_bias": True}, "qk_norm together")])
def test_what_no_released_architecture_has_is_not_written(tmp_path, change, reason):
    config = GPTConfig(vocab_size=300, block_size=32, n_layer=1, n_head=2, n_embd=32, **change)
    with pytest.raises(ValueError, match=reason):
        export_model(GPT(config), MODELS["base"][1], tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_settings_of_rope_come_back():
    for changes in ({"rope_scaling": "linear", "rope_factor": 2.0},
                    {"rope_scaling": "llama3", "rope_factor": 8.0, "rope_low": 1.0, "rope_high": 4.0},
                    {"rope_scaling": "yarn", "rope_factor": 4.0, "rope_high": 32.0,
                     "rope_gain": 1.2}):
        config = GPTConfig(**changes)
        assert to_config(from_config(config)) == config
    with pytest.raises(ValueError, match="rope_scaling='ntk'"):
        GPTConfig(rope_scaling="ntk")
    with pytest.raises(ValueError, match="rope_low=4.0"):
        GPTConfig(rope_scaling="yarn", rope_low=4.0)


def test_a_folder_with_a_model_in_it_is_left_alone(tmp_path):
    folder = make_released(tmp_path, "smollm2")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match="holds a model already"):
        export_model(*MODELS["base"], folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# ---------------------------------------------------------------- the commands

@pytest.mark.scripts
def test_import_and_export_by_command(tmp_path, run_script):
    folder = make_released(tmp_path / "a", "smollm2", template="{{ unknown }}")
    refused = run_script("part_4/import_weights.py", folder, "--out", tmp_path / "x.pt", check=False)
    assert refused.returncode == 2 and "choose one with --chat" in refused.stderr
    assert not (tmp_path / "x.pt").exists()
    done = run_script("part_4/import_weights.py", folder, "--out", tmp_path / "x.pt", "--chat",
                      "chatml", "--context", 64)
    assert "conversations: chatml" in done.stdout
    model, tokenizer, _ = load_checkpoint(tmp_path / "x.pt")
    assert model.config.block_size == 64 and tokenizer.chat.name == "chatml"
    run_script("part_4/export_weights.py", tmp_path / "x.pt", tmp_path / "b", "--dtype", "bfloat16")
    told = json.loads((tmp_path / "b" / "config.json").read_text())
    assert told["torch_dtype"] == "bfloat16"
    sizes = [(tmp_path / x / "model.safetensors").stat().st_size for x in "ab"]
    assert sizes[1] < 0.6 * sizes[0]
    bad = run_script("part_4/export_weights.py", tmp_path / "x.pt", tmp_path / "c", "--adapter",
                     check=False)
    assert bad.returncode == 2 and "no LoRA" in bad.stderr and not (tmp_path / "c").exists()
    for context in (0, 999):
        bad = run_script("part_4/import_weights.py", folder, "--out", tmp_path / "y.pt",
                         "--chat", "plain", "--context", context, check=False)
        assert f"--context {context}" in bad.stderr


@pytest.mark.scripts
def test_a_released_folder_writes_on_and_is_measured_like_a_checkpoint(tmp_path, run_script):
    folder = make_released(tmp_path / "a", "llama3")
    done = run_script("part_4/sample.py", "--checkpoint", folder, "--prompt", "the fox", "--count", 8,
                      "--samples", 1, "--temperature", 0, "--device", "cpu", "--amp", "float32")
    model, tokenizer, _ = load_checkpoint(folder)
    text = tokenizer.decode(generate(model, [tokenizer.begun("the fox")], 8,
                                     stop=(tokenizer.end,))[0])
    assert f"the fox{text}" in done.stdout
    (tmp_path / "t.txt").write_text("the crow and the fox. " * 20)
    done = run_script("part_4/eval.py", "--checkpoint", folder, "--data", tmp_path / "t.txt")
    assert "bits/byte" in done.stdout


def test_a_checkpoint_that_is_no_model_of_this_kind_is_refused(tmp_path):
    tokenizer = MODELS["base"][1]
    save_checkpoint(tmp_path / "x.pt", weights={}, config=MODELS["base"][0].config,
                    tokenizer=tokenizer, step=0, settings={}, metrics={})
    with pytest.raises(ValueError, match="do not fit its settings"):
        load_checkpoint(tmp_path / "x.pt")
