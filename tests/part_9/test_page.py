"""The page's server: what it streams, what it refuses, and the command that starts it.

Numbers: test_page_views.py; released models: test_page_released.py; style: test_page_style.py;
in a browser: test_page_browser.py."""

import gc
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing

import page
import pytest
from gpt.model import GPT
from page import Server
from page_models import CHAT, PART, QUESTION, asked, is_well, small
from seeing.models import CHAIN, Models

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
    "ids of a text that are no tokens": ({"content": {"model": "sft", "prompt": [-1]}}, 400),
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


# ---- the command

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


@pytest.mark.scripts
def test_the_command_serves_what_it_is_given_and_ends_with_ctrl_c(tiny_sft, tmp_path):
    import signal
    none = tmp_path / "none.pt"
    flags = {f"--{name}": none for name in ("base", "moe", "ppo", "dpo", "cold", "grpo", "tools",
                                            "reward", "values")}
    command = [sys.executable, str(PART / "page.py"), "--port", "0", "--host", "127.0.0.1",
               "--sft", tiny_sft, "--chat", "plain", "--more", tiny_sft,
               *(x for pair in flags.items() for x in pair)]
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
