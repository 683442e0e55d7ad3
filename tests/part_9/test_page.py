"""The page's server: what it answers, what it refuses; and each view's numbers against a direct
computation. The page in a browser: test_page_browser.py."""

import gc
import http.client
import json
import math
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import page
import pytest
import torch
from gpt.generate import generate
from gpt.model import GPT, GPTConfig
from moe.hybrid import HybridGPT
from moe.layer import MoEConfig
from page import Server
from reasoning import tool_use
from reasoning.tiny_chat import tiny_tokenizer
from reasoning.tool_use import say, tool_tokenizer
from reward.model import RewardModel, score_rows
from rl.policy import Policy
from run.runtime import Runtime
from seeing import views
from seeing.models import CHAIN, Models
from seeing.truth import Truth
from sft.chat_format import Message, encode_prompt
from world.world import KINDS, World

PART = Path(page.__file__).resolve().parent
CHAT, TOOLS = tiny_tokenizer(), tool_tokenizer(tiny_tokenizer())
RUNTIME = Runtime(torch.device("cpu"), None, "", "")
QUESTION = [{"role": "user", "content": "What is 3 + 4?"}]
STORY = World().tell(4, H="Tom", X="bell").text


def small(tokenizer=CHAT, moe=None, **config) -> GPT:
    """A model of random weights, large enough that heads and layers differ."""
    torch.manual_seed(3)
    config = GPTConfig(**{"vocab_size": tokenizer.vocab_size, "block_size": 320, "n_layer": 2,
                          "n_head": 4, "n_kv_head": 2, "n_embd": 32, "qk_norm": True, **config})
    model = GPT(config) if moe is None else HybridGPT(config, moe)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0 if parameter.dim() > 1 else 1.0, 0.25)
    return model.eval()


@pytest.fixture(scope="module")
def models():
    """As page.py's, put together by hand."""
    found = Models({}, "cpu", "auto")
    found.read()
    experts = MoEConfig(n_expert=4, n_active=2)
    tuned = small()
    other = small()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    found.models = {"sft": (tuned, CHAT, "tuned"), "ppo": (other, CHAT, "by reward"),
                    "tools": (small(TOOLS), TOOLS, "calls tools"),
                    "moe": (small(moe=experts), CHAT, "experts"),
                    "blend": (small(moe=MoEConfig(n_expert=4, layers="db")), CHAT, "some"),
                    "window": (small(window=6, sink=2), CHAT, "sees six and two")}
    reward = RewardModel(small(), reply_token=CHAT.id_of("<|assistant|>")).eval()
    torch.nn.init.normal_(reward.care.weight)
    torch.nn.init.normal_(reward.cost.weight)
    found.reward = reward, CHAT, 0.3, 1.7
    found.values = Policy(small()).eval()
    torch.nn.init.normal_(found.values.value_head.weight)
    return found


@pytest.fixture
def server(models):
    running = Server("127.0.0.1", 0, models)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def asked(server, path, content=None, *, method="POST", headers=None, body=None):
    """-> (status, what was answered: JSON, a list of events, or text)."""
    port = server.server_address[1]
    body = json.dumps(content).encode() if body is None else body
    headers = {"Content-Type": "application/json", "Host": f"127.0.0.1:{port}", **(headers or {})}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as line:
        line.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value is not None:
                line.putheader(name, value)
        line.endheaders(body if method == "POST" else None)
        answer = line.getresponse()
        text = answer.read().decode()
        kind = answer.headers["Content-Type"]
    if kind == "application/x-ndjson":
        return answer.status, [json.loads(row) for row in text.splitlines()]
    return answer.status, json.loads(text) if kind == "application/json" else text


def is_well(server) -> bool:
    """Does it still answer, and is nothing left over from what came before?"""
    until = time.monotonic() + 10
    while server.working._value < page.MOST_AT_ONCE and time.monotonic() < until:
        time.sleep(0.01)
    return asked(server, "/api/story", {"seed": 1})[0] == 200 and \
        server.working._value >= page.MOST_AT_ONCE - 1


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
    """Window and sinks as they are: with the wrong weights the layer's output would be another."""
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
                    hidden = [s for s in range(t + 1) if t - s >= 6 and s >= 2]
                    assert all(row[s] == 0 for s in hidden)
                    assert t < 10 or row[0] > 0, "a sink is seen from afar"
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


# ---- streaming, and stopping

class Slow(GPT):
    """Waits before each token after the first until it is let on."""

    def forward(self, *args, **kwargs):
        if self.steps:
            assert self.gate.wait(10)
            if self.once:
                self.gate.clear()
        self.steps += 1
        return super().forward(*args, **kwargs)


@pytest.fixture
def slow(models, monkeypatch):
    model = small()
    model.__class__ = Slow
    model.steps, model.gate, model.once = 0, threading.Event(), True
    monkeypatch.setitem(models.models, "slow", (model, CHAT, "waits"))
    yield model
    model.once = False
    model.gate.set()


def begin(server, request) -> socket.socket:
    body = json.dumps(request).encode()
    line = socket.create_connection(server.server_address[:2], timeout=10)
    line.sendall(b"POST /api/chat HTTP/1.1\r\nHost: localhost:%d\r\n"
                 b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                 % (server.server_address[1], len(body), body))
    return line


def read_until(line: socket.socket, wanted: bytes) -> bytes:
    found = b""
    while wanted not in found:
        part = line.recv(4096)
        assert part, found
        found += part
    return found


def test_a_token_is_sent_before_the_next_one_is_computed(server, slow):
    with begin(server, {"model": "slow", "messages": QUESTION, "longest": 4,
                        "temperature": 2}) as line:
        assert read_until(line, b'"id"').count(b'"id"') == 1 and slow.steps == 1
        slow.gate.set()
        read_until(line, b'"id"')
        assert slow.steps <= 3


def test_a_closed_tab_stops_its_generation(server, slow):
    with begin(server, {"model": "slow", "messages": QUESTION, "longest": 200,
                        "temperature": 2}) as line:
        read_until(line, b'"id"')
    slow.once = False
    slow.gate.set()
    assert is_well(server)
    steps = slow.steps
    time.sleep(0.1)
    assert slow.steps == steps <= 2, "not one token is computed that nobody can read"


def test_only_so_many_requests_are_worked_on_at_once(server, slow):
    lines = [begin(server, {"model": "slow", "messages": QUESTION, "longest": 3, "temperature": 2})
             for _ in range(page.MOST_AT_ONCE)]
    until = time.monotonic() + 10
    while server.working._value and time.monotonic() < until:
        slow.steps = 0  # each prompt may be read
        time.sleep(0.01)
    status, found = asked(server, "/api/story", {"seed": 1})
    assert status == 503 and "try again" in found["error"]
    slow.once = False
    slow.gate.set()
    for line in lines:
        line.close()
    assert is_well(server)


# ---- thirty that mean no good

LONG = "a" * 300_000
HOSTILE = {  # name: (request of `asked`, the status it gets)
    "another page's origin": ({"headers": {"Origin": "http://evil.example"}}, 403),
    "no origin at all, as in a sandbox": ({"headers": {"Origin": "null"}}, 403),
    "the right name at another port": ({"headers": {"Origin": "http://127.0.0.1:1"}}, 403),
    "a foreign name that leads here": ({"headers": {"Host": "evil.example"}}, 403),
    "a foreign name with the port": ({"headers": {"Host": "evil.example:{port}"}}, 403),
    "its own name at another port": ({"headers": {"Host": "127.0.0.1:1"}}, 403),
    "no host": ({"headers": {"Host": None}}, 403),
    "an address of the network": ({"headers": {"Host": "192.168.1.7:{port}"}}, 403),
    "a request that the browser calls cross-site": (
        {"headers": {"Sec-Fetch-Site": "cross-site"}}, 403),
    "a form of another page": ({"headers": {"Content-Type": "text/plain"}}, 415),
    "an upload": ({"headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 415),
    "a path out of the folder": ({"path": "/../../etc/passwd", "method": "GET"}, 404),
    "a path in per cent": ({"path": "/%2e%2e/%2e%2e/etc/passwd", "method": "GET"}, 404),
    "the source": ({"path": "/page.py", "method": "GET"}, 404),
    "a checkpoint": ({"path": "/out/grpo.pt", "method": "GET"}, 404),
    "a view that is none": ({"path": "/api/../page.py"}, 404),
    "a model that is a path": ({"content": {"model": "../../etc/passwd", "text": "a"}}, 400),
    "a huge body": ({"body": b" " * 300_000}, 413),
    "a body that claims to be huge": ({"body": b"{}", "headers": {
        "Content-Length": "99999999999999999999"}}, 413),
    "a body of less than nothing": ({"body": b"{}", "headers": {"Content-Length": "-5"}}, 411),
    "a body in chunks": ({"body": b"{}", "headers": {"Transfer-Encoding": "chunked"}}, 411),
    "half of a JSON": ({"body": b'{"model": "sft", "messages": [{"role'}, 400),
    "deep brackets": ({"body": b"[" * 200_000}, 400),
    "a list": ({"body": b"[1, 2]"}, 400),
    "no UTF-8": ({"body": b'{"model": "\xff\xfe"}'}, 400),
    "half a character": (
        {"body": b'{"model": "sft", "text": "\\ud800", "reply": ["\\ud800"]}'}, 400),
    "ids that are no tokens": ({"content": {"model": "sft", "text": "a", "reply": [10**9]}}, 400),
    "ids that are no numbers": ({"content": {"model": "sft", "text": "a", "reply": [True]}}, 400),
    "a role that is none": ({"content": {"model": "sft", "messages": [
        {"role": "<|system|>", "content": "x"}]}}, 400),
    "markup in a text": (
        {"content": {"model": "sft", "text": "<img src=x onerror=alert(1)>"}}, 200),
    "markup as a model's name": ({"content": {"model": "<script>", "text": "a"}}, 400),
    "more words than the context": ({"content": {"model": "sft", "text": "a b" * 900}}, 400),
    "a text beyond all measure": ({"content": {"model": "sft", "text": LONG[:30_000]}}, 400),
    "no number": ({"path": "/api/chat", "content": {
        "model": "sft", "messages": QUESTION, "temperature": "hot"}}, 400),
    "an endless temperature": ({"path": "/api/chat", "body":
                                b'{"model": "sft", "messages": [{"role": "user", "content": "a"}],'
                                b' "temperature": 1e999}'}, 400),
    "a layer that is none": ({"path": "/api/inside", "content": {
        "model": "sft", "text": "a", "layer": 9}}, 400),
    "a thousand others": ({"path": "/api/training", "content": {
        "model": "sft", "messages": QUESTION, "reply": "a", "copies": 1000}}, 400),
    "another method": ({"method": "PUT"}, 501),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_request_gets_a_sentence_and_does_no_harm(name, server):
    request, wanted = HOSTILE[name]
    request = {"path": "/api/tokens", "content": {"model": "sft", "text": "a"}, **request}
    port = str(server.server_address[1])
    request["headers"] = {key: value and value.replace("{port}", port)
                          for key, value in request.get("headers", {}).items()}
    status, found = asked(server, **request)
    assert status == wanted, found
    if wanted != 200:
        assert len(found["error"]) > 10 and "Traceback" not in found["error"]
        assert LONG[:200] not in found["error"]
    assert is_well(server)


@pytest.mark.parametrize("sent", [b"", b"GET", b"\x16\x03\x01\x02\x00\x01",
                                  b"POST /api/chat HTTP/1.1\r\nHo",
                                  b"POST /api/chat HTTP/1.1\r\nHost: localhost:{port}\r\n"
                                  b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{",
                                  b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 300 + b"\r\n",
                                  b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"],
                         ids=["nothing", "a word", "another protocol", "half a head", "half a body",
                              "too many headers", "an address without end"])
def test_half_a_request_is_let_go(sent, server, monkeypatch):
    monkeypatch.setattr(page, "PATIENCE", 0.3)
    monkeypatch.setattr(page.Handler, "timeout", 0.3)
    sent = sent.replace(b"{port}", str(server.server_address[1]).encode())
    with socket.create_connection(server.server_address[:2], timeout=10) as line:
        try:
            line.sendall(sent)
            while line.recv(4096):
                pass
        except ConnectionError:
            pass
    assert is_well(server)
    until = time.monotonic() + 10
    while server.open._value < page.MOST_CONNECTIONS and time.monotonic() < until:
        time.sleep(0.01)
    assert server.open._value == page.MOST_CONNECTIONS, "a connection was never let go"


def test_two_hundred_at_once_and_the_server_goes_on(server):
    answers = []

    def one():
        try:
            answers.append(asked(server, "/api/tokens", {"model": "sft", "text": "Tom"})[0])
        except (OSError, http.client.HTTPException):
            answers.append(0)  # not let in
    threads = [threading.Thread(target=one) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 200 and set(answers) <= {200, 503, 0} and answers.count(200) >= 8
    assert is_well(server)


def test_an_error_inside_is_a_sentence_too_and_not_the_end(server, monkeypatch, capfd):
    def broken(request, models):
        raise RuntimeError("out of memory")
    monkeypatch.setitem(page.VIEWS, "/api/tokens", broken)
    status, found = asked(server, "/api/tokens", {})
    assert status == 500 and "RuntimeError" in found["error"]
    assert "out of memory" in capfd.readouterr().err, "the terminal is told what went wrong"
    assert is_well(server)


def test_many_messages_leave_nothing_behind(server):
    request = {"model": "sft", "messages": QUESTION, "longest": 2}

    def things() -> int:
        for _ in range(20):
            asked(server, "/api/chat", request)
        assert is_well(server)
        gc.collect()
        return len(gc.get_objects())
    things()
    before = things()
    assert things() - before < 200, "20 messages"


# ---- the page, and the command

def test_the_page_names_nothing_outside_and_writes_no_markup(server):
    status, text = asked(server, "/", method="GET")
    assert status == 200 and text == (PART / "page.html").read_text(encoding="utf-8")
    for word in ("://", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                 "@import", "src=", "DOMParser", "setHTML"):
        assert word not in text, word
    port = server.server_address[1]
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as line:
        line.request("GET", "/")
        policy = line.getresponse().headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "'unsafe" not in policy
    assert policy.count("'sha256-") == 2 and "frame-ancestors 'none'" in policy


def test_every_view_of_the_page_names_a_lesson_that_is_there(server):
    import re
    text = (PART / "page.html").read_text(encoding="utf-8")
    lessons = re.findall(r'"(part_\d/README\.md), ([\w. ]+)"', text)
    assert len(lessons) == 6 == len(set(re.findall(r'^  (\w+): \["', text, re.MULTILINE)))
    for file, section in lessons:
        lesson = (PART.parent / file).read_text(encoding="utf-8")
        assert f"\n## {section} " in lesson or f"\n## {section}\n" in lesson


def test_on_the_network_only_addresses_and_its_own_name_are_answered(models):
    running = Server("0.0.0.0", 0, models)
    port = running.server_address[1]
    assert running.knows(f"192.168.1.7:{port}") and running.knows(f"{socket.gethostname()}:{port}")
    assert not running.knows(f"evil.example:{port}") and not running.knows("192.168.1.7")
    running.server_close()


def test_what_is_missing_is_left_out_with_the_command_that_makes_it(models, tmp_path, server):
    lacking = Models({name: tmp_path / f"{name}.pt" for name in CHAIN}, "cpu", "auto")
    lacking.read()
    found = lacking.listing()
    assert found["models"] == [] and set(found["missing"]) == set(CHAIN)
    assert found["missing"]["ppo"]["make"] == "python part_8/train_ppo.py"
    with pytest.raises(ValueError, match="train one first"):
        lacking.get("sft")
    with pytest.raises(ValueError, match="train_reward.py"):
        lacking.scorer()


def test_models_of_other_tokens_are_not_compared(models, server):
    request = {"model": "tools", "messages": QUESTION, "reply": "It is 7.", "reference": "sft"}
    status, found = asked(server, "/api/training", request)
    assert status == 400 and "other tokens" in found["error"]


@pytest.mark.scripts
def test_the_command_serves_what_it_is_given_and_ends_with_ctrl_c(tiny_sft, tmp_path):
    import signal
    none = tmp_path / "none.pt"
    flags = {f"--{name}": none for name in ("base", "moe", "ppo", "dpo", "cold", "grpo", "tools",
                                            "reward", "values")}
    command = [sys.executable, str(PART / "page.py"), "--port", "0", "--host", "127.0.0.1",
               "--sft", tiny_sft, "--more", tiny_sft, *(x for pair in flags.items() for x in pair)]
    running = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    try:
        first = running.stdout.readline()
        port = int(first.split("127.0.0.1:")[1].split()[0])
        assert running.stdout.readline().startswith(f"read  sft, {tiny_sft.parent.name}/sft")
        gone = "".join(running.stdout.readline() for _ in flags)
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as line:
            line.request("POST", "/api/models", b"{}", {"Content-Type": "application/json"})
            found = json.loads(line.getresponse().read())
        assert [row["name"] for row in found["models"]] == ["sft", f"{tiny_sft.parent.name}/sft"]
        running.send_signal(signal.SIGINT)
        rest = running.communicate(timeout=20)[0]
    finally:
        running.kill()
    assert running.returncode == 130 and "Traceback" not in rest
    assert gone.count("left out") == 9 and "python part_8/train_ppo.py" in gone


@pytest.mark.scripts
def test_a_port_that_is_taken_is_named(server, run_script):
    port = server.server_address[1]
    done = run_script("part_9/page.py", "--port", port, check=False)
    assert done.returncode == 2 and f"--port {port}" in done.stderr


@pytest.mark.scripts
def test_without_a_browser_no_picture_is_taken(run_script, tmp_path):
    done = run_script("part_9/picture_page.py", "--width", 390, "--dark", "--out", tmp_path,
                      env={"PATH": str(tmp_path)})
    assert "no Chromium" in done.stdout and not list(tmp_path.glob("*.png"))
