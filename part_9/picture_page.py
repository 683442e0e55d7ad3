"""What does each view of the page look like? Takes a picture of all six, in a browser.

    python part_9/picture_page.py                 out/page_chat.png … of the chain's checkpoints
    python part_9/picture_page.py --width 390     as on a phone

Needs Chromium or Chrome; where there is none, it says so and leaves the pictures as they are. The
browser is driven through its DevTools protocol over two pipes, with the standard library alone.
Flags that it does not know go to page.py:  --ppo runs/ppo.pt
"""

from run.runtime import here, make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import base64
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote
from zlib import compress, crc32

import numpy as np
import page
from matplotlib.image import imread

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ASKED = quote("What is 12 + 9 - 4?")
SOLVED = f"q={ASKED}&reply={quote('12 + 9 = 21. 21 - 4 = 17. The answer is 17.')}"
PICTURES = {  # file: (address, what is pressed, what shows that it is done)
    "page_chat.png": (f"chat?q={quote('Tell me a story about a bell.')}&longest=90",
                      "#view-chat .go", "#view-chat .log button"),
    "page_side.png": (f"side?q={ASKED}&with=base&with=sft&with=ppo&with=grpo",
                      "#view-side .go", "#view-side .status:not(.bad)"),
    "page_tokens.png": (f"tokens?{SOLVED}", "#subject .go", "#subject .under .bars"),
    "page_inside.png": (f"inside?{SOLVED}", "#subject .go", ".lens td"),
    "page_training.png": (f"training?{SOLVED}&model=cold", "#subject .go", ".seen td"),
    "page_truth.png": ("truth?seed=5", "#view-truth .draw", "#view-truth .status"),
}


def find_browser() -> str | None:
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


class Browser:
    """A headless Chromium with one page, used as a context. `run` evaluates JavaScript in it."""

    def __init__(self, program: str, width: int = 900, height: int = 900, dark: bool = False):
        self.folder = tempfile.TemporaryDirectory()
        to_read, self.to = os.pipe()
        self.back, to_write = os.pipe()

        def place():  # in the child: the protocol reads from 3 and writes to 4
            os.dup2(to_read, 103)
            os.dup2(to_write, 104)
            os.dup2(103, 3)
            os.dup2(104, 4)
        self.process = subprocess.Popen(
            [program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
             "--no-first-run", "--disable-extensions", "--hide-scrollbars", "--disable-lcd-text",
             f"--user-data-dir={self.folder.name}", "about:blank"],
            preexec_fn=place, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self.buffer, self.number, self.session = b"", 0, None
        pages = self.send("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        self.send("Page.enable")
        self.resize(width, height)
        self.send("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.to)  # the browser ends with its pipe
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.back)
        shutil.rmtree(self.folder.name, ignore_errors=True)

    def send(self, method: str, **parameters) -> dict:
        """One command of the protocol -> its result. RuntimeError with the browser's word."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.buffer:
                part = os.read(self.back, 2**20)
                if not part:
                    raise OSError("the browser has ended before it answered; it may lack memory")
                self.buffer += part
            line, _, self.buffer = self.buffer.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def resize(self, width: int, height: int) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)

    def run(self, script: str):
        """The value of a JavaScript expression; a promise is awaited."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True,
                           returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description"))
        return answer["result"].get("value")

    def wait(self, condition: str, timeout: float = 30.0) -> None:
        """Until a JavaScript condition holds."""
        until = time.monotonic() + timeout
        while not self.run(f"Boolean({condition})"):
            if time.monotonic() > until:
                raise TimeoutError(f"in {timeout:.0f} s it did not become true: {condition}")
            time.sleep(0.05)

    def open(self, url: str) -> None:
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && "
                  "document.querySelector('nav a[aria-current]')")

    def press(self, key: str, text: str = "") -> None:
        """A key of the keyboard: "Tab", "Enter", "ArrowRight", or a letter with its text."""
        code = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38,
                "ArrowRight": 39, "ArrowDown": 40}.get(key, ord(text[:1] or " "))
        text = "\r" if key == "Enter" else text
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, text=text,
                      windowsVirtualKeyCode=code, **({} if text else {"unmodifiedText": ""}))

    def picture(self, whole: bool = True) -> bytes:
        """The page as PNG; `whole`: also what is below the window."""
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole,
                           optimizeForSpeed=False)
        return base64.b64decode(answer["data"])


class Serving:
    """page.py in a process of its own, at a free port. Used as a context -> its address."""

    def __init__(self, *flags: str):
        self.process = subprocess.Popen(
            [sys.executable, str(here(__file__) / "page.py"), "--port", "0", *flags],
            stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> str:
        line = self.process.stdout.readline()
        match = re.search(r"http://\S+", line)
        if not match:
            self.process.wait()
            raise ValueError("page.py did not start; see above")
        return match[0]

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def fewer_colours(png: bytes) -> bytes:
    """The same picture in its 256 most frequent colours, each other one as the nearest of them: a
    third of the bytes."""
    pixels = (255 * imread(io.BytesIO(png))[..., :3]).round().astype(np.int32)
    packed = pixels @ [65536, 256, 1]
    known, index, count = np.unique(packed, return_inverse=True, return_counts=True)
    every = np.stack([known >> 16, known >> 8 & 255, known & 255], 1)
    colours = every[count.argsort()[::-1][:256]]
    near = [int(((colours - one) ** 2).sum(1).argmin()) for one in every]
    index, colours = np.array(near)[index], colours.astype(np.uint8)
    height, width = pixels.shape[:2]
    lines = np.zeros((height, width + 1), np.uint8)  # each line begins with its filter, 0
    lines[:, 1:] = index.reshape(height, width)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(name + data))
    return (png[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
            + chunk(b"PLTE", colours.tobytes()) + chunk(b"IDAT", compress(lines.tobytes(), 9))
            + chunk(b"IEND", b""))


def shoot(browser: Browser, address: str, file: str) -> bytes:
    """Open a view, press its button, wait for what shows that it is done, take the picture."""
    where, button, done = PICTURES[file]
    browser.open(f"{address}/#{where}")
    idle = "[...document.querySelectorAll('.go')].every(b => b.textContent !== 'Stop')"
    browser.run(f"document.querySelector('{button}').click()")
    browser.wait(f"document.querySelector('{done}') && {idle}", 120)
    if file == "page_truth.png":
        browser.run("document.querySelector('#view-truth .go').click()")
        browser.wait(f"document.querySelector('#view-truth .under .bars') && {idle}", 120)
    if file == "page_chat.png":
        browser.run("document.querySelectorAll('.log .tok')[9].click()")
    return browser.picture()


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--width", type=int, default=900,
                        help="of the window in pixels; 390 is a phone (default: 900)")
    parser.add_argument("--dark", action="store_true", help="the dark colours (default: off)")
    return parser.parse_known_args(argv)


def main(argv=None):
    args, for_page = parse_args(argv)
    page.parse_args(for_page)  # refuses what neither knows
    out, program = out_folder(__file__, args.out), find_browser()
    if program is None:
        print("no Chromium or Chrome is there: no picture is taken")
        return
    rows = []
    with Serving(*for_page) as address, Browser(program, args.width, 900, args.dark) as browser:
        for file in PICTURES:
            start = time.perf_counter()
            Path(out / file).write_bytes(fewer_colours(shoot(browser, address, file)))
            rows.append([file, time.perf_counter() - start, (out / file).stat().st_size // 1000])
    print_table(["picture", "seconds", "kB"], rows)
    for file in PICTURES:
        print(f"picture {out / file}")


if __name__ == "__main__":
    run_main(main)
