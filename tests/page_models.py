"""What the tests of the page share: small models put together by hand, and asking a server."""

import http.client
import json
import time
from contextlib import closing
from pathlib import Path

import page
import torch
from gpt.model import GPT, GPTConfig
from moe.hybrid import HybridGPT
from moe.layer import MoEConfig
from reasoning.tiny_chat import tiny_tokenizer
from reasoning.tool_use import tool_tokenizer
from reward.model import RewardModel
from rl.policy import Policy
from seeing.models import Models

PART = Path(page.__file__).resolve().parent
CHAT, TOOLS = tiny_tokenizer(), tool_tokenizer(tiny_tokenizer())
QUESTION = [{"role": "user", "content": "What is 3 + 4?"}]


def small(tokenizer=CHAT, moe=None, **config) -> GPT:
    """A model of random weights, large enough that heads and layers differ."""
    torch.manual_seed(3)
    config = GPTConfig(**{"vocab_size": tokenizer.vocab_size, "block_size": 320, "n_layer": 2,
                          "n_head": 4, "n_kv_head": 2, "n_embd": 32, "qk_norm": True, **config})
    model = GPT(config) if moe is None else HybridGPT(config, moe)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0 if parameter.dim() > 1 else 1.0, 0.25)
    return model.eval()


def small_models() -> Models:
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
                    "window": (small(window=6), CHAT, "sees six")}
    reward = RewardModel(small(), reply_token=CHAT.id_of("<|assistant|>")).eval()
    torch.nn.init.normal_(reward.care.weight)
    torch.nn.init.normal_(reward.cost.weight)
    found.reward = reward, CHAT, 0.3, 1.7
    found.values = Policy(small()).eval()
    torch.nn.init.normal_(found.values.value_head.weight)
    return found


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
