"""Each view of the page: its numbers against a direct computation, and what is said.

The server: test_page.py. The page in a browser: test_page_browser.py."""

import json
import math

import pytest
import torch
from gpt.generate import generate
from moe.layer import MoEConfig
from page_models import CHAT, QUESTION, TOOLS, asked, small
from reasoning import tool_use
from reasoning.tool_use import say
from reward.model import score_rows
from run.runtime import Runtime
from seeing import views
from seeing.truth import Truth
from sft.chat_format import Message, encode_prompt
from world.world import KINDS, World

RUNTIME = Runtime(torch.device("cpu"), None, "", "")
STORY = World().tell(4, H="Tom", X="bell").text


# ---- the numbers

def test_a_token_s_probability_entropy_and_others_are_those_of_the_text_before_it(models, server):
    status, found = asked(server, "/api/tokens", {"model": "sft", "messages": QUESTION,
                                                  "reply": "It is 7."})
    model, ids = models.get("sft")[0], found["ids"]
    assert status == 200
    assert ids == [*encode_prompt([Message("user", "What is 3 + 4?")], CHAT),
                   *CHAT.encode(" It is 7."), CHAT.end]
    assert found["first"] == ids.index(CHAT.id_of("<|assistant|>")) + 1
    for t in range(1, len(ids) + 1):
        with torch.no_grad():
            p = model(torch.tensor([ids[:t]]))[0][0, -1].double().softmax(-1)
        if t < len(ids):
            assert found["p"][t] == pytest.approx(p[ids[t]].item(), rel=1e-4)
            assert found["entropy"][t] == pytest.approx(-(p * p.log()).sum().item(), rel=1e-4)
        order = p.argsort(descending=True)[:10].tolist()
        assert [i for i, _, _ in found["others"][t]] == order
        assert found["others"][t][3] == [order[3], CHAT.decode([order[3]]),
                                         pytest.approx(p[order[3]].item(), rel=1e-4)]


@pytest.mark.parametrize("name", ["sft", "window", "moe"])
def test_attention_weights_times_values_are_what_the_layer_gives(name, models):
    """The window as it is: with the wrong weights the layer's output would be another."""
    model, tokenizer = models.get(name)
    ids = [tokenizer.begin, *tokenizer.encode("Tom has the bell now.")]
    found = views.inside(model, tokenizer, ids, 1)
    taken = {}
    attention = model.blocks[1].attention
    hook = attention.register_forward_hook(lambda _, x, out: taken.update(x=x[0], out=out))
    with torch.no_grad():
        model(torch.tensor([ids]))
        hook.remove()
        T, H, K, D = len(ids), attention.H, attention.K, attention.D
        v = attention.qkv(taken["x"]).view(T, H + 2 * K, D)[:, H + K:]  # (T, K, D)
        weights = torch.zeros(H, T, T)
        for h, head in enumerate(found["attention"]):
            for t, row in enumerate(head):
                assert len(row) == t + 1 and sum(row) == pytest.approx(1, abs=1e-3)
                weights[h, t, :t + 1] = torch.tensor(row)
                if name == "window":
                    hidden = [s for s in range(t + 1) if t - s >= 6]
                    assert all(row[s] == 0 for s in hidden)
        out = torch.einsum("hts,shd->thd", weights, v.repeat_interleave(H // K, 1))
        torch.testing.assert_close(attention.project(out.reshape(T, H * D)), taken["out"][0],
                                   atol=3e-3, rtol=1e-2)


def test_the_lens_after_a_layer_is_the_model_cut_off_behind_it(models):
    model, tokenizer = models.get("moe")
    ids = [tokenizer.begin, *tokenizer.encode("Tom has it.")]
    found = views.inside(model, tokenizer, ids, 0)
    for layers in (1, 2):
        cut = small(moe=MoEConfig(n_expert=4, n_active=2))
        cut.load_state_dict(model.state_dict())
        cut.blocks = cut.blocks[:layers]
        with torch.no_grad():
            p = cut(torch.tensor([ids]))[0][0].softmax(-1)
        for t, top in enumerate(found["lens"][layers - 1]):
            order = p[t].argsort(descending=True)[:3].tolist()
            assert [text for text, _ in top] == [tokenizer.decode([i]) for i in order]
            assert top[0][1] == pytest.approx(p[t, order[0]].item(), rel=1e-4)


@pytest.mark.parametrize("name", ["moe", "blend", "sft"])
def test_the_experts_shown_are_those_that_were_asked(name, models):
    model, tokenizer = models.get(name)
    ids = [tokenizer.begin, *tokenizer.encode("Tom has it.")]
    found = views.inside(model, tokenizer, ids, 0)["experts"]
    with torch.no_grad():
        model(torch.tensor([ids]))
    routings = [moe.routing for moe in getattr(model, "moes", [])]
    assert [x is not None for x in found] == {"moe": [1, 1], "blend": [0, 1], "sft": [0, 0]}[name]
    for asked_here, routing in zip([x for x in found if x is not None], routings):
        for t, pairs in enumerate(asked_here):
            assert [e for e, _ in pairs] == routing.experts[t].tolist()
            assert [w for _, w in pairs] == pytest.approx(routing.weights[t].tolist(), rel=1e-4)


def test_what_training_saw_is_what_parts_7_to_9_compute(models, server):
    status, found = asked(server, "/api/training", {"model": "ppo", "messages": QUESTION,
                                                    "reply": "It is 7.", "copies": 4, "seed": 5})
    assert status == 200 and found["reference"] == "sft"
    prompt = encode_prompt([Message("user", "What is 3 + 4?")], CHAT)
    reply = [*CHAT.encode(" It is 7."), CHAT.end]
    reward, _, mean, std = models.reward
    cut = [prompt + reply[:n] for n in range(1, len(reply) + 1)]
    scores = ((score_rows(reward, cut, CHAT.pad, RUNTIME) - mean) / std).tolist()
    assert found["score"] == pytest.approx(scores, abs=1e-4)
    ids, first = torch.tensor([prompt + reply]), len(prompt)
    with torch.no_grad():
        own, other = (models.get(name)[0](ids)[0][0].double().log_softmax(-1)
                      for name in ("ppo", "sft"))
        h = models.values.body.features(ids)[0]
        values = models.values.value_head(h)[first - 1:-1, 0].tolist()
    rows = range(first - 1, first - 1 + len(reply))
    kl = [sum(own[t, v].exp().item() * (own[t, v] - other[t, v]).item()
              for v in range(CHAT.vocab_size)) for t in rows]
    logp, ref_logp = ([table[t, token].item() for t, token in zip(rows, reply)]
                      for table in (own, other))
    assert found["kl"] == pytest.approx(kl, rel=1e-3, abs=1e-6)
    assert found["logp"] == pytest.approx(logp, rel=1e-4)
    assert found["ref_logp"] == pytest.approx(ref_logp, rel=1e-4)
    assert found["value"] == pytest.approx(values, rel=1e-4, abs=1e-5)
    group = [score for _, score in found["group"]]
    assert len(group) == 4 and group[0] == pytest.approx(scores[-1], abs=1e-4)
    centre = sum(group) / 4
    spread = math.sqrt(sum((g - centre) ** 2 for g in group) / 3)
    assert found["grpo"] == pytest.approx((group[0] - centre) / (spread + 1e-4), rel=1e-3)
    following, advantages = 0.0, []  # eq. 8.6, 8.12 and 8.7, from the last token to the first
    for t in reversed(range(len(reply))):
        r = -0.05 * (logp[t] - ref_logp[t])
        if t == len(reply) - 1:
            r += group[0] - sum(group[1:]) / 3
        delta = r + (values[t + 1] if t + 1 < len(reply) else 0.0) - values[t]
        following = delta + 0.95 * following
        advantages.insert(0, following)
    assert found["ppo"] == pytest.approx(advantages, rel=1e-3, abs=1e-4)


def test_without_a_value_head_the_advantage_is_that_of_values_of_0(models, monkeypatch):
    request = {"model": "ppo", "messages": QUESTION, "reply": "It is 7.", "copies": 3}
    monkeypatch.setattr(models, "values", None)
    found = views.training_view(request, models)
    group = [score for _, score in found["group"]]
    last = group[0] - sum(group[1:]) / 2 - 0.05 * (found["logp"][-1] - found["ref_logp"][-1])
    assert found["value"] is None and found["ppo"][-1] == pytest.approx(last, rel=1e-4)


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_truth_s_tokens_multiply_to_the_text_s_own_probability(kind):
    world = World()
    text = next(world.sample(8, "test", [kind])).text
    told = Truth(text, CHAT)
    logs, kept = 0.0, None
    for t, token in enumerate([*told.ids, CHAT.end]):
        following = told.following(t)
        assert sum(following.values()) == pytest.approx(1)
        logs += math.log(following[token])
        if t == 5:
            kept = following
    assert logs == pytest.approx(world.logprob(text), rel=1e-9)
    assert told.following(5) == kept, "places may be asked for in any order"


def test_what_follows_is_as_often_as_the_world_says_it():
    """Counted over drawn texts: the first token of all kinds together."""
    texts = [text.text for text in World().texts(3000, seed=2)]
    count = {}
    for text in texts:
        first = CHAT.encode(text[:1])[0]
        count[first] = count.get(first, 0) + 1
    following = Truth("T", CHAT).following(0)
    for token, p in following.items():
        assert abs(count.get(token, 0) / 3000 - p) < 5 * math.sqrt(p / 3000) + 2e-3


def test_a_word_that_the_world_would_not_say_has_probability_0_and_ends_its_count(models):
    spoilt = STORY.replace("bell", "bank", 1)
    found = views.truth_view({"model": "sft", "text": spoilt}, models)
    never = found["p_world"].index(0.0)
    assert "".join(found["texts"][1:never + 1]).endswith(" ba") or \
        spoilt.startswith("".join(found["texts"][1:never]))
    assert all(p > 0 for p in found["p_world"][1:never])
    assert not any(found["p_world"][never:]) and found["world"][-1] == []
    assert len(found["p"]) == len(found["p_world"]) + 1


def test_who_has_what_is_the_state_of_the_story_and_changes_with_it():
    told = World().tell(4, H="Tom", X="bell")
    body = Truth(told.story, CHAT)
    last = body.holdings(len(body.ids))
    bind = told.walk.bind
    for thing, who in told.walk.has.items():
        expected = bind[who] if isinstance(who, str) else \
            f"nobody: it lies {bind[who[1]]}, {bind[who[0]]}"
        assert [bind[thing], expected] in last["has"]
    assert {a: p for a, p in last["at"]}["Tom"] == bind[told.walk.at["H"]]
    assert body.holdings(0) is None or body.holdings(0)["has"] == []
    seen = [body.holdings(t) for t in range(len(body.ids) + 1)]
    assert sum(a != b for a, b in zip(seen, seen[1:])) >= 3


def test_a_text_beyond_the_context_is_looked_at_as_far_as_it_goes(models):
    found = views.truth_view({"model": "sft", "text": "\n".join([STORY, STORY])}, models)
    assert len(found["ids"]) == 320 == len(found["p_world"]) and not found["is_whole"]


def test_every_view_answers_the_numbers_of_its_function(models, server):
    about = {"model": "sft", "messages": QUESTION, "reply": "It is 7."}
    for path, view, request in (("/api/tokens", views.tokens_view, about),
                                ("/api/inside", views.inside_view, {**about, "layer": 1}),
                                ("/api/truth", views.truth_view,
                                 {"model": "sft", "text": STORY[:60]})):
        assert asked(server, path, request) == (200, json.loads(json.dumps(view(request, models))))


def test_a_drawn_text_is_one_that_no_training_reads(server):
    text = asked(server, "/api/story", {"kind": "facts", "seed": 3})[1]["text"]
    assert text == next(World().sample(3, "test", ["facts"])).text


# ---- what is said

def test_a_reply_is_what_generate_says_token_by_token(models, server):
    status, events = asked(server, "/api/chat", {"model": "sft", "messages": QUESTION,
                                                 "system": "Be kind.", "longest": 9})
    model = models.get("sft")[0]
    prompt = encode_prompt([Message("system", "Be kind."), Message("user", "What is 3 + 4?")], CHAT)
    ids = generate(model, [prompt], 9, stop=(CHAT.end,))[0]
    assert status == 200 and [event["id"] for event in events[:-1]] == ids
    assert events[-1]["said"] == CHAT.decode([i for i in ids if i != CHAT.end]).strip()


def test_temperature_top_k_top_p_and_the_seed_act(models, server):
    def ids(**settings):
        request = {"model": "sft", "messages": QUESTION, "longest": 12, **settings}
        return [event.get("id") for event in asked(server, "/api/chat", request)[1][:-1]]
    greedy, hot = ids(), ids(temperature=1.5, seed=1)
    assert ids(temperature=1.5, seed=1) == hot != ids(temperature=1.5, seed=2)
    assert ids(temperature=1.5, top_k=1, seed=1) == greedy == ids(temperature=1.5, top_p=1e-9)


def test_a_reply_goes_on_from_the_token_that_was_chosen(models, server):
    request = {"model": "sft", "messages": QUESTION, "longest": 6}
    first = [event["id"] for event in asked(server, "/api/chat", request)[1][:-1]]
    other = next(i for i in range(100, 200) if i != first[2])
    chosen = [*first[:2], other]
    events = asked(server, "/api/chat", {**request, "reply": chosen})[1]
    prompt = encode_prompt([Message("user", "What is 3 + 4?")], CHAT)
    expected = generate(models.get("sft")[0], [prompt + chosen], 6, stop=(CHAT.end,))[0]
    assert [event["id"] for event in events[:-1]] == expected


def test_a_base_model_goes_on_with_the_text_itself(models, server):
    events = asked(server, "/api/chat", {"model": "moe", "text": "Tom has", "longest": 5})[1]
    ids = generate(models.get("moe")[0], [[CHAT.begin, *CHAT.encode("Tom has")]], 5,
                   stop=(CHAT.end,))[0]
    assert [event["id"] for event in events[:-1]] == ids


def test_a_call_is_run_and_what_the_program_wrote_is_marked_as_not_the_model_s(monkeypatch):
    texts, seen = [" <|calc|> 3 + 4<|run|>", " It is 7.<|end|>"], []

    def stream(model, prompts, room, **settings):
        seen.append(TOOLS.decode(prompts[0]))
        ids = TOOLS.encode(texts.pop(0), allowed_special="all")
        return iter([[(0, token)] for token in ids])
    monkeypatch.setattr(tool_use, "stream", stream)
    said = []
    found = list(say(small(TOOLS), TOOLS, RUNTIME, [TOOLS.begin], said, longest=50, temperature=0,
                     top_k=None, top_p=None, seed=0))
    assert TOOLS.decode([i for i, own in found if not own]) == " 7<|done|>"
    assert TOOLS.decode(said) == " <|calc|> 3 + 4<|run|> 7<|done|> It is 7.<|end|>"
    assert [i for i, _ in found] == said and seen[1].endswith("<|run|> 7<|done|>")


def test_the_oldest_turns_are_forgotten_where_the_context_is_full(server):
    turns = [{"role": role, "content": "so it is " * 9} for role in ("user", "assistant") * 4]
    events = asked(server, "/api/chat", {"model": "sft", "messages": [*turns, *QUESTION],
                                         "longest": 3})[1]
    assert events[0]["forgotten"] in (4, 6) and "id" in events[1]


def test_models_of_other_tokens_are_not_compared(models, server):
    request = {"model": "tools", "messages": QUESTION, "reply": "It is 7.", "reference": "sft"}
    status, found = asked(server, "/api/training", request)
    assert status == 400 and "other tokens" in found["error"]
