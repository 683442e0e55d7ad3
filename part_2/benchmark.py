"""How many tokens a second does training do here, and what would a plainer loop do?

    python benchmark.py                        our model and a plain textbook one, shapes a and b
    python benchmark.py --shapes a --peer /path/to/model.py      and a peer's GPT and GPTConfig

All rows take turns in the same run, one step each, in an order drawn anew each round, so that a
noisy machine is noisy for all; each figure is the median over the rounds. --peer is a file with
nanoGPT's classes, `GPT(GPTConfig(...))`.
Writes benchmark.json and benchmark.png. Lesson 2.4.
"""

from runtime import (
    Runtime,
    choose_device,
    formats_to_time,
    keep_memory,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
    seed_everything,
    synchronize,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import importlib.util
import math
import random
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from model import GPT, GPTConfig
from plotting import BLUE, GREY, ORANGE, SKY, figure, save
from presets import PRESETS, Settings
from torch import nn
from train_gpt import make_optimizer, update

SHAPES = {"a": (4, 4, 128, 64, 12), "b": (6, 6, 384, 256, 16)}  # layers, heads, width, T, B


class TextbookBlock(nn.Module):
    """As textbooks write it: every head by itself, every formula in full."""

    def __init__(self, n_embd: int, n_head: int, block_size: int):
        super().__init__()
        D = n_embd // n_head
        self.heads = nn.ModuleList(nn.ModuleDict({name: nn.Linear(n_embd, D, bias=False)
                                                  for name in ("q", "k", "v")})
                                   for _ in range(n_head))
        self.project = nn.Linear(n_embd, n_embd)
        self.norm_1, self.norm_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.mlp = nn.Sequential(nn.Linear(n_embd, 4 * n_embd), nn.GELU(),
                                 nn.Linear(4 * n_embd, n_embd))
        self.register_buffer("is_visible", torch.ones(block_size, block_size).tril().bool())

    def forward(self, x):
        normed, outs = self.norm_1(x), []
        for head in self.heads:
            q, k, v = head["q"](normed), head["k"](normed), head["v"](normed)
            scores = q @ k.transpose(1, 2) / math.sqrt(q.size(-1))
            scores = scores.masked_fill(~self.is_visible[:x.size(1), :x.size(1)], -math.inf)
            outs.append(scores.softmax(-1) @ v)
        x = x + self.project(torch.cat(outs, dim=-1))
        return x + self.mlp(self.norm_2(x))


class TextbookGPT(nn.Module):
    """The same sizes as `GPT`, in the plainest form."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        C, V = config.n_embd, config.vocab_size
        self.token, self.position = nn.Embedding(V, C), nn.Embedding(config.block_size, C)
        self.blocks = nn.ModuleList(TextbookBlock(C, config.n_head, config.block_size)
                                    for _ in range(config.n_layer))
        self.norm, self.head = nn.LayerNorm(C), nn.Linear(C, V)

    def forward(self, ids, targets):
        x = self.token(ids) + self.position(torch.arange(ids.size(1), device=ids.device))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def load_peer(path: str, config: GPTConfig) -> nn.Module:
    """The model of a file with nanoGPT's `GPT` and `GPTConfig`, in the same size."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"--peer {path}: there is no such file")
    spec = importlib.util.spec_from_file_location("peer_model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names = ("block_size", "vocab_size", "n_layer", "n_head", "n_embd", "dropout", "bias")
    return module.GPT(module.GPTConfig(**{name: getattr(config, name) for name in names}))


class Contestant:
    """A model with its optimizer, ready to take one training step on given batches."""

    def __init__(self, name: str, model: nn.Module, runtime: Runtime, settings: Settings,
                 compiled: bool = False):
        self.name, self.model, self.runtime, self.settings = name, model, runtime, settings
        self.forward = torch.compile(model) if compiled else model
        if isinstance(model, GPT):
            self.optimizer = make_optimizer(model, settings)
        else:  # every contestant gets the fused optimizer
            self.optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, fused=True)
        self.scaler = runtime.grad_scaler()
        self.times: list[float] = []

    def step(self, ids, targets) -> None:
        synchronize(self.runtime.device)
        start = time.perf_counter()
        with self.runtime.autocast():
            _, loss = self.forward(ids, targets)
        self.scaler.scale(loss).backward()
        update(self.model, self.optimizer, self.scaler, self.settings.clip)
        synchronize(self.runtime.device)
        self.times.append(time.perf_counter() - start)


def race(shape: str, device: torch.device, peer: str | None, seconds: float,
         compiled: bool) -> dict[str, float]:
    """Name -> tokens a second, the median over rounds in which everyone takes one step."""
    n_layer, n_head, n_embd, block_size, batch_size = SHAPES[shape]
    config = GPTConfig(n_layer=n_layer, n_head=n_head, n_embd=n_embd, block_size=block_size)
    contestants = []
    for amp, dtype in formats_to_time(device).items():
        runtime = Runtime(device, dtype, "", "")
        models = {"ours": GPT(config), "textbook": TextbookGPT(config)}
        if compiled:
            models["ours compiled"] = GPT(config)
        if peer:
            models["peer"] = load_peer(peer, config)
        contestants += [Contestant(f"{name}, {amp}", model.to(device), runtime,
                                   PRESETS["nanogpt_cpu"], name.endswith("compiled"))
                        for name, model in models.items()]
    ids, targets = torch.randint(256, (2, batch_size, block_size), device=device)
    start, rounds = time.perf_counter(), 0
    while rounds < 4 or time.perf_counter() - start < seconds:
        for contestant in random.sample(contestants, len(contestants)):  # no fixed neighbours
            contestant.step(ids, targets)
        rounds += 1
    return {c.name: batch_size * block_size / statistics.median(c.times[1:])  # 0 is warm-up
            for c in contestants}


def draw(results: dict[str, dict[str, float]], setup: str, path: Path) -> None:
    """Bars of tokens a second, one panel a shape."""
    gains = []
    for shape, rates in results.items():
        gain = {amp: rates[f"ours, {amp}"] / rates[f"textbook, {amp}"]
                for amp in ("float32", "bfloat16") if f"ours, {amp}" in rates}
        gains.append(f"{gain['float32']:.1f} times as fast in float32" + (
            f", {gain['bfloat16']:.1f} in bfloat16" if "bfloat16" in gain else "") + f" (shape {shape})")
    title = "Ours beside the textbook's step: " + "; ".join(gains)
    fig, axes = figure(title, setup, panels=len(results))
    colors = {"ours": BLUE, "ours compiled": SKY, "peer": ORANGE, "textbook": GREY}
    for (shape, rates), ax in zip(results.items(), axes if len(results) > 1 else [axes]):
        names = list(rates)[::-1]
        ax.barh(names, list(rates.values())[::-1],
                color=[colors[name.split(",")[0]] for name in names])
        for y, name in enumerate(names):
            ax.text(rates[name], y, f" {rates[name]:,.0f}", va="center", fontsize=8)
        n_layer, _, n_embd, block_size, _ = SHAPES[shape]
        ax.set_title(f"{shape}: {n_layer} layers, width {n_embd}, context {block_size}",
                     loc="left", fontsize=9)
        ax.set(xlabel="tokens a second",
               xlim=(0, 1.3 * max(rates.values())))
        ax.grid(False)
        ax.locator_params(axis="x", nbins=4)
    save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--shapes", default="ab", help="which of the shapes a and b (default: ab)")
    add("--peer", default=None, help="a model.py with nanoGPT's classes (default: none)")
    add("--seconds", type=float, default=20, help="time for each shape (default: 20)")
    add("--compile", action="store_true", help="also ours under torch.compile (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if not args.shapes or set(args.shapes) - set(SHAPES):
        raise ValueError(f"--shapes {args.shapes}: choose from {''.join(SHAPES)}")
    if not args.seconds > 0:
        raise ValueError(f"--seconds {args.seconds}: must be above 0")
    out = out_folder(__file__, args.out)
    device, reason = choose_device(args.device)
    if device.type == "cpu":
        keep_memory()  # for every row alike, as in training
    print(f"device  {device} ({reason}), {torch.get_num_threads()} threads")
    seed_everything(args.seed)
    results = {shape: race(shape, device, args.peer, args.seconds, args.compile)
               for shape in args.shapes}
    names = list(next(iter(results.values())))
    print_table(["tokens a second", *(f"shape {shape}" for shape in results)],
                [[name, *(rates[name] for rates in results.values())] for name in names])
    save_json(out / "benchmark.json", results)
    draw(results, f"training step on {device}, {torch.get_num_threads()} threads, torch "
         f"{torch.__version__}, medians of interleaved steps", out / "benchmark.png")


if __name__ == "__main__":
    run_main(main)
