"""The page with folders of released models: chat in their own form, tokens, inside; and names."""

import pytest
import torch
from page import parse_args
from page_models import CHAT, QUESTION, asked, small
from released_folders import make_released
from rl.policy import Policy
from run.checkpoint import Checkpoints
from seeing import views
from seeing.models import Models, named
from sft.chat_format import Message, encode_conversation, encode_prompt
from sft.evaluation import reply_to
from sft.lora import LoRALinear, with_reference

FORMS = ("smollm2", "qwen2.5", "qwen3", "llama3", "mistral")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Five released models and one whose template nobody knows; read as page.py reads them."""
    folder = tmp_path_factory.mktemp("released")
    paths = [make_released(folder / name, name) for name in FORMS]
    paths.append(make_released(folder / "odd", "smollm2", template="{{ other }}"))
    found = Models(named({}, paths), "cpu", "auto")
    found.read()
    found.models = {name.split("/")[1]: row for name, row in found.models.items()}
    assert not found.missing
    return found


@pytest.mark.parametrize("name", FORMS)
def test_a_released_model_replies_in_its_own_form(name, models, server):
    model, tokenizer = models.get(name)
    status, events = asked(server, "/api/chat", {"model": name, "messages": QUESTION, "longest": 6})
    prompt = [Message("user", "What is 3 + 4?")]
    [reply] = reply_to(model, tokenizer, [prompt], models.runtime, longest=6)
    assert status == 200 and events[-1]["said"] == reply.text
    found = asked(server, "/api/tokens", {"model": name, "messages": QUESTION,
                                          "reply": "It is 7."})[1]
    whole = encode_conversation([*prompt, Message("assistant", "It is 7.")], tokenizer)[0]
    end = whole.index(tokenizer.end, found["first"])
    assert found["ids"] == whole[:end + 1], "a reply stands as its template writes it"
    assert found["first"] == len(encode_prompt(prompt, tokenizer))


def test_a_thought_is_no_part_of_the_reply_that_the_next_turn_reads(models, server, monkeypatch):
    tokenizer = models.get("qwen3")[1]
    ids = tokenizer.encode("<think>\nso\n</think>\n\nIt is 7.")

    def say(model, its, runtime, prompt, said, **settings):
        said += ids
        return ((token, True) for token in ids)
    monkeypatch.setattr(views, "say", say)
    events = asked(server, "/api/chat", {"model": "qwen3", "messages": QUESTION})[1]
    assert [event["id"] for event in events[:-1]] == ids and events[-1]["said"] == "It is 7."


@pytest.mark.parametrize("name", [*FORMS, "odd"])
def test_a_plain_text_begins_as_the_model_was_trained_to_begin(name, models, server):
    model, tokenizer = models.get(name)
    found = asked(server, "/api/tokens", {"model": name, "text": "The fox said"})[1]
    assert found["ids"] == tokenizer.begun("The fox said")
    with torch.no_grad():
        p = model(torch.tensor([found["ids"]]))[0][0].softmax(-1)
    said = [p[t, i].item() for t, i in enumerate(found["ids"][1:])]
    assert found["p"][1:-1] == pytest.approx(said, rel=1e-4)
    seen = asked(server, "/api/inside", {"model": name, "text": "The fox said", "layer": 1})[1]
    for t, top in enumerate(seen["lens"][-1]):  # after the last layer: the model itself
        assert top[0][1] == pytest.approx(p[t].max().item(), rel=1e-4)
    assert len(seen["attention"]) == model.config.n_head
    changed = [*found["ids"][:2], 65]
    events = asked(server, "/api/chat", {"model": name, "prompt": changed, "longest": 1})[1]
    with torch.no_grad():
        first = model(torch.tensor([changed]))[0][0, -1].argmax().item()
    assert events[0]["id"] == first, "another token was chosen: the text goes on from its ids"


def test_what_only_the_chain_has_says_so(models, server):
    for name in FORMS:
        rows = [row for row in models.listing()["models"] if row["name"] == name]
        assert [(row["is_chat"], row["is_of_the_world"]) for row in rows] == [(True, False)]
        status, found = asked(server, "/api/truth", {"model": name, "text": "One cold morning"})
        assert status == 400 and f"{name} reads other tokens" in found["error"]
    models.models["tuned"] = small(), CHAT, "tuned"
    models.reward = small(), CHAT, 0.0, 1.0
    request = {"messages": QUESTION, "reply": "7", "reference": "tuned"}
    status, found = asked(server, "/api/training", {"model": "smollm2", **request})
    assert status == 400 and "choose a model of the chain" in found["error"]
    del models.models["tuned"]


def test_a_template_that_nobody_knows_leaves_the_page_and_the_plain_text(models, server, tmp_path):
    row = next(row for row in models.listing()["models"] if row["name"] == "odd")
    assert not row["is_chat"]
    status, found = asked(server, "/api/chat", {"model": "odd", "messages": QUESTION})
    assert status == 400 and "--chat" in found["error"]
    args = parse_args(["--chat", "chatml", "--more", str(make_released(
        tmp_path / "odd", "smollm2", template="{{ other }}"))])
    told = Models(named({}, args.more), "cpu", "auto", args.chat)
    told.read()
    [(name, (_, tokenizer, title))] = told.models.items()
    assert tokenizer.chat.name == "chatml" and title == "a released model"
    assert told.listing()["models"][0]["is_chat"] and name == f"{tmp_path.name}/odd"


def test_two_of_one_name_are_both_there_and_one_given_twice_is_read_once(tmp_path):
    files = [tmp_path / "a" / "out" / "sft.pt", tmp_path / "b" / "out" / "sft.pt"]
    again = tmp_path / "b" / "x" / ".." / "out" / "sft.pt"
    found = named({"sft": files[0]}, [*files, files[1], again])
    assert found == {"sft": files[0], "out/sft": files[0], "b/out/sft": files[1]}
    folders = [tmp_path / "Smol-1.7B", tmp_path / "c" / tmp_path.name / "Smol-1.7B"]
    for folder in folders:
        folder.mkdir(parents=True)
    assert named({}, folders) == {f"{tmp_path.name}/Smol-1.7B": folders[0],
                                  f"c/{tmp_path.name}/Smol-1.7B": folders[1]}
    twins = [tmp_path / "t" / "m.pt", tmp_path / "t" / "m.bin"]
    assert sorted(named({}, twins).values()) == sorted(twins)


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_the_value_head_of_a_run_by_lora_is_read_with_what_its_detours_have_learnt(tmp_path, weights):
    policy = Policy(small())
    torch.nn.init.normal_(policy.value_head.weight)
    reference = with_reference(policy.body, 2, weights)
    for name, parameter in policy.named_parameters():
        if name.endswith(".b"):
            torch.nn.init.normal_(parameter, std=0.2)
    Checkpoints(tmp_path).save(3, None, weights=policy.state_dict(), config=policy.config,
                               tokenizer=CHAT, settings={"lora": 2}, metrics={})
    found = Models({"values": tmp_path}, "cpu", "auto")
    found.read()
    assert not found.missing
    ids = torch.tensor([CHAT.encode("What is 3 + 4?")])
    with torch.no_grad():
        wanted, before = (policy.value_head(body.features(ids).float())
                          for body in (policy.body, reference))
        seen = found.values.value_head(found.values.body.features(ids))
    torch.testing.assert_close(seen, wanted, atol=1e-4 if weights == "float32" else 0.3, rtol=0)
    assert (wanted - before).abs().max() > 1
    assert not any(isinstance(module, LoRALinear) for module in found.values.modules())


def test_a_value_head_with_odd_settings_is_named_and_the_page_goes_on(tmp_path):
    policy = Policy(small())
    for number, odd in enumerate(("two", 10**6, [2])):
        Checkpoints(tmp_path).save(number, None, weights=policy.state_dict(), config=policy.config,
                                   tokenizer=CHAT, settings={"lora": odd}, metrics={})
        found = Models({"values": tmp_path}, "cpu", "auto")
        found.read()
        assert "do not fit its settings" in found.missing["values"]["why"] and not found.values
