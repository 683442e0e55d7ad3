"""See it think: one page in the browser for all models of the chain.

    python part_9/page.py                            then open http://127.0.0.1:8000
    python part_9/page.py --port 8080 --ppo runs/ppo.pt --more part_4/out/medium/base.pt SmolLM2/

Chat, side by side, under every token, inside, what training saw, the truth (lesson: See it think).
A checkpoint that is missing is left out, with the command that makes it. The numbers come from
seeing/views.py, the page is page.html; this file lets one speak to the other, and nobody
else: it answers this machine only (--host), its own page only, and reads no file but those named.
"""

from run.runtime import here, make_parser, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import hashlib
import ipaddress
import json
import select
import socket
import sys
import threading
import time
import traceback
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pretrained.chat_forms import CHOICES
from seeing import views
from seeing.models import CHAIN, Models, named
from world.world import KINDS, World

MOST_BYTES = 2**18  # of a request
MOST_CONNECTIONS, MOST_AT_ONCE = 64, 8  # open, and being worked on
PATIENCE = 15.0  # seconds for a request to arrive, and for a reader to take what is written


def models_view(request: dict, models: Models) -> dict:
    return models.listing()


def story_view(request: dict, models: Models) -> dict:
    """A text of the world, from the share that no model has read in training."""
    kind, seed = views.text_of(request, "kind", "story"), views.number(request, "seed", 0, 0, 2**31)
    if kind not in KINDS:
        raise ValueError(f"kind is {kind[:40]!r}; the world has {', '.join(KINDS)}")
    return {"text": next(World().sample(seed, "test", [kind])).text}


VIEWS = {"/api/models": models_view, "/api/story": story_view, "/api/chat": views.chat_view,
         "/api/tokens": views.tokens_view, "/api/inside": views.inside_view,
         "/api/training": views.training_view, "/api/truth": views.truth_view}


# ---------------------------------------------------------------- the server

class Refused(Exception):
    """A request that is not served: the status, and a sentence that says why."""


def guarded(page: str) -> dict[str, str]:
    """The headers of the page: its own script and style may run, nothing else, in no frame."""
    def sha(tag: str) -> str:
        inner = page.split(f"<{tag}>")[1].split(f"</{tag}>")[0]
        return f"'sha256-{b64encode(hashlib.sha256(inner.encode()).digest()).decode()}'"
    return {"Content-Security-Policy":
            f"default-src 'none'; script-src {sha('script')}; style-src {sha('style')}; "
            "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'", "X-Frame-Options": "DENY"}


class Server(ThreadingHTTPServer):
    """A thread for each connection, but not more than MOST_CONNECTIONS."""

    daemon_threads, request_queue_size = True, 128

    def __init__(self, host: str, port: int, models: Models):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)
        self.models = models
        self.is_local = ipaddress.ip_address(self.server_address[0]).is_loopback
        self.page = (here(__file__) / "page.html").read_text(encoding="utf-8")
        self.headers = guarded(self.page)
        self.open = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self.working = threading.BoundedSemaphore(MOST_AT_ONCE)

    def process_request(self, request, client_address):
        if self.open.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.open.release()

    def handle_error(self, request, client_address):
        """A connection that broke is its own affair; anything else is shown here, not there."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def knows(self, host: str) -> bool:
        """Is `host` a name of this server? A foreign name that leads here is a trick."""
        name, _, port = host.rpartition(":")
        if port != str(self.server_address[1]):
            return False
        name = name.strip("[]").lower()
        try:
            return ipaddress.ip_address(name).is_loopback or not self.is_local
        except ValueError:
            return name == "localhost" or not self.is_local and name == socket.gethostname().lower()


class Handler(BaseHTTPRequestHandler):
    """GET / is the page, POST /api/… a view; every answer but the page is JSON."""

    server_version, sys_version, protocol_version, timeout = "page", "", "HTTP/1.1", PATIENCE

    def do_GET(self):
        self.answered(self.send_page)

    def do_POST(self):
        self.answered(self.send_view)

    def answered(self, work) -> None:
        """Run `work`; what goes wrong becomes a status and a sentence."""
        self.close_connection = True
        try:
            self.check_caller()
            work()
        except Refused as error:
            self.send_json(*error.args)
        except ValueError as error:
            self.send_json(400, str(error))
        except TimeoutError:
            self.send_json(408, f"the request did not arrive within {PATIENCE:.0f} seconds")
        except OSError:
            raise  # the reader has left
        except Exception as error:  # a view that fails is shown in the terminal, not there
            traceback.print_exc()
            self.send_json(500, f"that failed inside ({type(error).__name__}); see the terminal")

    def check_caller(self) -> None:
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or not self.server.knows(hosts[0]):
            raise Refused(403, "this server answers to its own address only")
        if self.headers.get("Origin", f"http://{hosts[0]}") != f"http://{hosts[0]}":
            raise Refused(403, "another page may not drive this one")
        is_page = self.command == "GET"  # a link from elsewhere may lead here
        site = self.headers.get("Sec-Fetch-Site", "none")
        if not is_page and site not in ("same-origin", "none"):
            raise Refused(403, "another page may not drive this one")

    def send_page(self) -> None:
        if self.path.partition("?")[0] != "/":
            raise Refused(404, "there is only one page, /")
        self.send_whole(200, "text/html; charset=utf-8", self.server.page.encode(),
                        self.server.headers)

    def read_request(self) -> dict:
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        length = self.headers.get("Content-Length", "")
        if kind != "application/json":
            raise Refused(415, "a request is application/json")
        if self.headers.get("Transfer-Encoding") or not (length.isascii() and length.isdecimal()):
            raise Refused(411, "a request says its length")
        if len(length) > 9 or int(length) > MOST_BYTES:
            raise Refused(413, f"a request has at most {MOST_BYTES:,} bytes")
        body, until = b"", time.monotonic() + PATIENCE
        while len(body) < int(length):
            part = self.rfile.read1(int(length) - len(body))
            if not part or time.monotonic() > until:
                raise TimeoutError
            body += part
        try:
            request = json.loads(body)
        except (ValueError, RecursionError):
            raise Refused(400, "the request is not JSON") from None
        if not isinstance(request, dict):
            raise Refused(400, "a request is a JSON object")
        return request

    def send_view(self) -> None:
        view = VIEWS.get(self.path)
        if view is None:
            raise Refused(404, f"there is no such view; there are {', '.join(VIEWS)}")
        request = self.read_request()
        if not self.server.working.acquire(blocking=False):
            raise Refused(503, f"{MOST_AT_ONCE} requests are being worked on; try again soon")
        try:
            answer = view(request, self.server.models)
            if isinstance(answer, dict):
                self.send_json(200, answer)
            else:
                self.send_stream(answer)
        finally:
            self.server.working.release()

    def send_stream(self, events) -> None:
        """A line of JSON for each event, as it comes; a reader who leaves stops the generation."""
        first = next(events)  # what is wrong with the request shows here, before the answer begins
        self.send_response(200)
        self.send_common("application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while first is not None and not self.is_left():
                line = json.dumps(first).encode() + b"\n"
                self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
                first = next(events, None)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass  # nobody reads any more
        finally:
            events.close()

    def is_left(self) -> bool:
        """Has the reader closed the connection?"""
        if not select.select([self.connection], [], [], 0)[0]:
            return False
        return not self.connection.recv(1, socket.MSG_PEEK)

    def send_json(self, status: int, content) -> None:
        content = content if isinstance(content, dict) else {"error": content}
        self.send_whole(status, "application/json", json.dumps(content).encode())

    def send_whole(self, status: int, kind: str, body: bytes, headers=()) -> None:
        self.send_response(status)
        self.send_common(kind)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_common(self, kind: str) -> None:
        for name, value in (("Content-Type", kind), ("X-Content-Type-Options", "nosniff"),
                            ("Referrer-Policy", "no-referrer"), ("Cache-Control", "no-store"),
                            ("Cross-Origin-Resource-Policy", "same-origin"),
                            ("Connection", "close")):
            self.send_header(name, value)

    def send_error(self, code, message=None, explain=None):
        self.close_connection = True
        self.send_json(code, message or "this request is not understood")

    def log_message(self, *parts):
        pass


# ---------------------------------------------------------------- the command line

def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--port", type=int, default=8000,
                        help="where it listens; 0: any free port (default: 8000)")
    parser.add_argument("--host", default="127.0.0.1",
                        help="the address it listens on; another than this machine's lets the "
                        "network in, without a password (default: 127.0.0.1)")
    for name, (file, what, _) in CHAIN.items():
        parser.add_argument(f"--{name}", type=Path, default=here(__file__).parent / file,
                            help=f"{what} (default: {file})")
    parser.add_argument("--more", type=Path, nargs="*", default=[],
                        help="more: checkpoints, or released models' folders (default: none)")
    parser.add_argument("--chat", choices=CHOICES, default="auto", help="the form of conversations "
                        "of released models (default: auto, as their folders say)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if not args.host.strip() or not 0 <= args.port < 2**16:  # an empty host is the whole network
        raise ValueError(f"--host {args.host!r} --port {args.port}: give an address, and 0 to 65535")
    paths = named({name: getattr(args, name) for name in CHAIN}, args.more)
    models = Models(paths, args.device, args.amp, args.chat)
    try:
        server = Server(args.host, args.port, models)
    except OSError as error:
        raise OSError(f"--host {args.host} --port {args.port}: {error.strerror or error}; "
                      "take another port") from None
    threading.Thread(target=models.read, daemon=True).start()
    host = f"[{args.host}]" if ":" in args.host else args.host
    print(f"open  http://{host}:{server.server_address[1]}   (Ctrl-C ends it)", flush=True)
    threading.Thread(target=report, args=(models,), daemon=True).start()
    server.serve_forever()


def report(models: Models) -> None:
    """Say what was read, and how to make what was not."""
    models.is_read.wait()
    print(f"read  {', '.join(models.models) or 'no model'}", flush=True)
    for name, row in models.missing.items():
        print(f"left out  {name}: {row['why']}", flush=True)


if __name__ == "__main__":
    run_main(main)
