"""Tiny worked cases of part 3 for the practice; tests/worked_cases.py says what a case is."""

from types import SimpleNamespace

import torch
from worked_cases import case, filled, wave


@case("3.1", "x = (3, 4), weight (1, 1), eps 0")
def three_four(load):
    return load("rmsnorm").rms_norm(torch.tensor([3.0, 4.0]), torch.ones(2), 0.0)


@case("3.1", "two tokens, (3, 4) and (0, 10), weight (1, 2), eps 0")
def two_tokens(load):
    x = torch.tensor([[3.0, 4.0], [0.0, 10.0]])
    return load("rmsnorm").rms_norm(x, torch.tensor([1.0, 2.0]), 0.0)


@case("3.1", "a vector of zeros, eps 1e-5")
def zeros(load):
    return load("rmsnorm").rms_norm(torch.zeros(2), torch.ones(2), 1e-5)


@case("3.1", "a small vector, (0.001, -0.001), eps 1e-5: eps counts")
def small_vector(load):
    return load("rmsnorm").rms_norm(torch.tensor([0.001, -0.001]), torch.ones(2), 1e-5)


@case("3.1", "x = (300, 400) in float16: the squares do not fit")
def half_precision(load):
    return load("rmsnorm").rms_norm(torch.tensor([300.0, 400.0]).half(), torch.ones(2).half(), 1e-5)


@case("3.1", "the module RMSNorm(2) with weight (1, 2), x = (3, 4)")
def the_module(load):
    norm = load("rmsnorm").RMSNorm(2)
    norm.weight.data = torch.tensor([1.0, 2.0])
    return norm(torch.tensor([[3.0, 4.0]]))


@case("3.2", "frequencies of a head of width 4, theta 10000")
def frequencies(load):
    return load("rope").rope_frequencies(4)


@case("3.2", "frequencies of a head of width 4, theta 100")
def other_base(load):
    return load("rope").rope_frequencies(4, 100.0)


@case("3.2", "width 6, scaling linear by 2")
def linear(load):
    return load("rope").rope_frequencies(6, scaling="linear", factor=2.0)


@case("3.2", "width 6, scaling ntk by 2")
def ntk(load):
    return load("rope").rope_frequencies(6, scaling="ntk", factor=2.0)


@case("3.2", "width 8, scaling llama3 by 8, trained at 64")
def llama3(load):
    return load("rope").rope_frequencies(8, scaling="llama3", factor=8.0, trained=64)


@case("3.2", "a head of width 3: refused")
def odd_width(load):
    return load("rope").rope_frequencies(3)


@case("3.2", "cosines and sines at the positions 0, 1 and 100000, frequencies 1 and 0.01")
def angles(load):
    rope = load("rope")
    table = rope.RotaryTable(torch.tensor([1.0, 0.01], dtype=torch.float64), 8)
    return table.compute(torch.tensor([0, 1, 100_000]))


@case("3.2", "x = (1, 0) turned by the angle 1")
def one_turn(load):
    angle = torch.tensor([[[[1.0]]]])
    return load("rope").apply_rope(torch.tensor([[[[1.0, 0.0]]]]), angle.cos(), angle.sin())


@case("3.2", "x = (1, 2, 3, 4) turned by the angles 1 and 0.01")
def two_pairs(load):
    angle = torch.tensor([[[[1.0, 0.01]]]])
    x = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    return load("rope").apply_rope(x, angle.cos(), angle.sin())


@case("3.2", "the permutation for head_dim 6")
def permutation(load):
    return load("rope").interleaved_to_halves(6)


@case("3.3", "hidden widths for 128, 512 and 96")
def widths(load):
    return [load("swiglu").hidden_width(n) for n in (128, 512, 96)]


@case("3.3", "hidden width for 12, to a multiple of 4")
def other_multiple(load):
    return load("swiglu").hidden_width(12, 4)


@case("3.3", "C = 2, F = 2, gate rows (1, 0) and (0, 1), up rows (2, 0) and (0, 3), x = (1, -1)")
def one_token(load):
    mlp = load("swiglu").SwiGLU(2, 2)
    mlp.gate_up.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    mlp.project.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    return mlp(torch.tensor([[[1.0, -1.0]]]))


@case("3.3", "the same with three tokens and W_down = ((1, 2), (3, 4))")
def three_tokens(load):
    mlp = load("swiglu").SwiGLU(2, 2)
    mlp.gate_up.weight.data = torch.tensor([[1.0, 0.5], [0.2, 1.0], [2.0, 0.1], [0.4, 3.0]])
    mlp.project.weight.data = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    return mlp(torch.tensor([[[1.0, -1.0], [0.5, 2.0], [-2.0, 0.3]]]))


@case("3.2", "x = (1, 2, 3, 4) turned in the interleaved layout")
def interleaved(load):
    angle = torch.tensor([[[[1.0, 0.01]]]])
    x = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    return load("rope").apply_rope_interleaved(x, angle.cos(), angle.sin())


def gpt(load, **what):
    model = load("model")
    settings = {"vocab_size": 7, "block_size": 12, "n_layer": 2, "n_head": 4, "n_kv_head": 2,
                "n_embd": 16}
    return filled(model.GPT(model.GPTConfig(**settings | what)), 0.4)


IDS = torch.tensor([[1, 4, 2, 6, 3, 5, 0, 2]])


@case("3.4", "two tokens, then one more written: the keys that come back (keys 1, 2, 3)")
def keys_back(load):
    cache = load("plain_cache").PlainCache(1, 1, 1, 4, 1)
    cache.update(0, torch.tensor([[[[1.0], [2.0]]]]), torch.tensor([[[[10.0], [20.0]]]]))
    cache.seen = 2
    return cache.update(0, torch.tensor([[[[3.0]]]]), torch.tensor([[[[30.0]]]]))[0]


@case("3.4", "the same: the values that come back (10, 20, 30)")
def values_back(load):
    cache = load("plain_cache").PlainCache(1, 1, 1, 4, 1)
    cache.update(0, torch.tensor([[[[1.0], [2.0]]]]), torch.tensor([[[[10.0], [20.0]]]]))
    cache.seen = 2
    return cache.update(0, torch.tensor([[[[3.0]]]]), torch.tensor([[[[30.0]]]]))[1]


@case("3.4", "writing to layer 1 of 2: how many tokens `seen` counts, and what layer 0 holds")
def other_layer(load):
    cache = load("plain_cache").PlainCache(2, 1, 1, 3, 1)
    cache.update(1, torch.ones(1, 1, 2, 1), torch.ones(1, 1, 2, 1))
    return cache.seen, cache.keys.flatten()


def plainly(load, parts):
    model = gpt(load)
    plain = load("plain_cache")
    cache = plain.PlainCache(2, 1, 2, 12, 4)
    found = [plain.read(model, part, cache)[0, -1] for part in IDS.split(parts, dim=1)]
    return found[-1], cache.seen


@case("3.4", "eight tokens without a cache: logits of the last one")
def no_cache(load):
    return load("plain_cache").read(gpt(load), IDS)[0, -1]


@case("3.4", "eight tokens at once with a cache: logits of the last one, and what was seen")
def at_once(load):
    return plainly(load, 8)


@case("3.4", "five tokens, then three")
def in_two_chunks(load):
    return plainly(load, [5, 3])


@case("3.4", "token by token")
def one_by_one(load):
    return plainly(load, 1)


@case("3.4", "the first of three tokens in a chunk behind five: its logits")
def first_of_chunk(load):
    model, plain = gpt(load), load("plain_cache")
    cache = plain.PlainCache(2, 1, 2, 12, 4)
    plain.read(model, IDS[:, :5], cache)
    return plain.read(model, IDS[:, 5:], cache)[0, 0]


VALUES = torch.tensor([10.0, 20.0]).view(1, 2, 1, 1).expand(1, 2, 3, 4)


@case("3.4b", "4 query heads, 2 key heads whose values are 10 and 20: what each head reads")
def groups(load):
    module = load("attention")
    return module.attend(wave(1, 4, 3, 4), wave(1, 2, 3, 4), VALUES,
                         module.Plan(is_causal=True))[0, :, 2, 0]


@case("3.4b", "the same in bfloat16, by products, rounded")
def groups_by_products(load):
    module = load("attention")
    q, k, v = (x.bfloat16() for x in (wave(1, 4, 3, 4), wave(1, 2, 3, 4), VALUES))
    return module.attend(q, k, v, module.Plan(is_causal=True))[0, :, 2, 0].float().round()


def attended(load, plan, **what):
    q, k, v = wave(1, 4, 3, 4), wave(1, 2, 3, 4, start=1.0), wave(1, 2, 3, 2, start=2.0)
    return load("attention").attend(3 * q, 3 * k, v, plan, **what)[0, :, :, 0]


@case("3.4b", "by products (values of another width), causal")
def products_causal(load):
    return attended(load, load("attention").Plan(is_causal=True))


@case("3.4b", "by products, with a mask that hides the first key")
def products_masked(load):
    mask = torch.tensor([[[[False, True, True]]]])
    return attended(load, load("attention").Plan(is_visible=mask))


@case("3.4b", "by products, everything visible, scale 1")
def products_scaled(load):
    return attended(load, load("attention").Plan(), scale=1.0)


@case("3.4b", "a sink seen by other queries: key 0 by q_sink")
def products_sink(load):
    plan = load("attention").Plan(sinks=torch.tensor([[0]]))
    return attended(load, plan, q_sink=wave(1, 4, 3, 4, start=4.0))


def layer(load, **what):
    model = gpt(load, **what)
    return model.blocks[0].attention, model


def planned(load, model, T, **what):
    settings = {"window": None, "sink": 0, "table": model.table, "cache": None} | what
    return load("attention").make_plan((1, T), "cpu", **settings)


@case("3.4b", "5 tokens through the layer")
def through_layer(load):
    module, model = layer(load)
    return module(wave(1, 5, 16), planned(load, model, 5))[0, :, 0]


@case("3.4b", "5 tokens through a layer that norms queries and keys")
def through_normed_layer(load):
    module, model = layer(load, qk_norm=True)
    return module(wave(1, 5, 16), planned(load, model, 5))[0, :, 0]


@case("3.4b", "5 tokens through a layer without rotations")
def without_rotation(load):
    module, model = layer(load)
    return module(wave(1, 5, 16), planned(load, model, 5, table=None))[0, :, 0]


@case("3.4b", "6 tokens, window 2, one sink")
def sinks_in_layer(load):
    module, model = layer(load)
    return module(wave(1, 6, 16), planned(load, model, 6, window=2, sink=1))[0, :, 0]


@case("3.4c", "the prompts 5 6 and 7 side by side")
def padded(load):
    return load("generate").pad_left([[5, 6], [7]])


@case("3.4c", "no prompt at all: refused")
def nothing(load):
    return load("generate").pad_left([])


class Counting(torch.nn.Module):
    """A model that counts on from each row's last token, modulo 9; notes what it read."""

    def __init__(self, block_size=64):
        super().__init__()
        self.config = SimpleNamespace(block_size=block_size, endless=False)
        self.weight, self.read, self.kept = torch.nn.Parameter(torch.zeros(1)), [], []

    def make_cache(self, batch, length=None, start=None):
        return SimpleNamespace(seen=0, length=length, rolling=False,
                               keep=lambda rows: self.kept.append(rows.tolist()))

    def forward(self, ids, cache=None, last_only=False):
        self.read.append(ids.tolist())
        cache.seen += ids.size(1)
        return 9 * torch.nn.functional.one_hot((ids[:, -1:] + 1) % 9, 9).float(), None


def streamed(load, prompts, n, block_size=64, **what):
    model = Counting(block_size)
    return list(load("generate").stream(model, prompts, n, **what)), model


@case("3.4c", "a model that counts on, the prompts 1 2 and 6: three steps")
def three_steps(load):
    return streamed(load, [[1, 2], [6]], 3)[0]


@case("3.4c", "the same with the stop token 8: the second row ends first")
def one_ends(load):
    return streamed(load, [[1, 2], [6]], 4, stop=(8,))[0]


@case("3.4c", "the same with rows that end in another order: prompts 5, 2 and 6, stop 8")
def order_of_ends(load):
    return streamed(load, [[5], [2], [6]], 5, stop=(8,))[0]


@case("3.4c", "what the model was given to read, and which rows the cache kept")
def readings(load):
    model = streamed(load, [[5], [2], [6]], 5, stop=(8,))[1]
    return [model.read, model.kept]


@case("3.4c", "block_size 4, six new tokens by restart: what is read")
def restarted(load):
    found, model = streamed(load, [[1, 2, 3]], 6, 4, restart=True)
    return [found, model.read]


def seen_from(load, positions, *settings):
    positions = torch.tensor([positions])
    return load("attention").visibility(positions, positions, *settings)[0].int()


@case("3.5", "4 tokens, no window: who sees whom")
def no_window(load):
    return seen_from(load, [0, 1, 2, 3])


@case("3.5", "5 tokens, window 2")
def window_of_two(load):
    return seen_from(load, [0, 1, 2, 3, 4], 2)


@case("3.5", "5 tokens, window 2, one sink")
def one_sink(load):
    return seen_from(load, [0, 1, 2, 3, 4], 2, 1)


@case("3.5", "two pads, then two tokens, window 4, two sinks")
def with_pads(load):
    return seen_from(load, [-2, -1, 0, 1], 4, 2)


def plan_of(load, T, **what):
    model = gpt(load)
    start = what.pop("start", None)
    settings = {"window": None, "sink": 0, "table": model.table, "cache": None} | what
    plan = load("attention").make_plan((1, T), "cpu", start=start, **settings)
    return {"causal flag": plan.is_causal, "visible": None if plan.is_visible is None
            else plan.is_visible[0, 0].int(), "sinks": plan.sinks,
            "cosines": plan.rotation[0][0, :, 0, 0],
            "of sinks": None if plan.sink_rotation is None else plan.sink_rotation[0][0, :, 0, 0]}


@case("3.5", "the plan for 3 tokens without window and cache")
def simplest_plan(load):
    return plan_of(load, 3)


@case("3.5", "the plan for 3 tokens, the first of which is a pad")
def padded_plan(load):
    return plan_of(load, 3, start=torch.tensor([1]))


@case("3.5", "the plan for 4 tokens, window 2")
def window_plan(load):
    return plan_of(load, 4, window=2)


@case("3.5", "the plan for 5 tokens, window 2, one sink")
def sink_plan(load):
    return plan_of(load, 5, window=2, sink=1)


def cached_plan(load, seen, T, **what):
    cache = load("kv_cache").KVCache(1, 1, 1, 1, 1, 20, **what)
    cache.seen = seen
    return plan_of(load, T, cache=cache, window=what.get("window"), sink=what.get("sink", 0))


@case("3.5", "the plan for 2 tokens behind 3 in a cache")
def chunk_plan(load):
    return cached_plan(load, 3, 2)


@case("3.5", "the plan for 1 token behind 3 in a cache")
def step_plan(load):
    return cached_plan(load, 3, 1)


@case("3.5", "the plan for 1 token behind 6 in a rolling cache, window 3, one sink")
def rolling_plan(load):
    return cached_plan(load, 6, 1, window=3, sink=1)


@case("3.5", "does the next token see all of a rolling cache (window 3, sink 1) after 1 … 5 tokens?")
def all_seen(load):
    found = []
    for seen in range(1, 6):
        cache = load("kv_cache").KVCache(1, 1, 1, 1, 1, 20, window=3, sink=1)
        cache.seen = seen
        found.append(bool(load("attention").all_visible(cache)))
    return found


def ring(load, *chunks, **what):
    """What comes back of each chunk, and its positions; a token's key is its column."""
    cache = load("kv_cache").KVCache(1, what.pop("batch", 1), 1, 1, 1, 99, **what)
    found = []
    for columns in chunks:
        positions = cache.key_positions(len(columns))
        x = torch.tensor(columns, dtype=torch.float32).view(1, 1, -1, 1).expand(cache.batch, 1, -1, 1)
        keys = cache.update(0, x, x)[0][:, 0, :, 0]
        cache.advance(len(columns))
        found.append((keys, positions.clamp(max=99)))
    return found


@case("3.6", "without a window: 2 tokens, then 1; what comes back (99: hidden)")
def no_ring(load):
    return ring(load, [0, 1], [2])


@case("3.6", "window 3: the tokens 0 to 4, one by one")
def ring_of_three(load):
    return ring(load, [0], [1], [2], [3], [4], window=3)


@case("3.6", "window 3: two tokens, then a chunk of three")
def chunk_over_the_end(load):
    return ring(load, [0, 1], [2, 3, 4], [5], window=3)


@case("3.6", "window 3, one sink: 2, 1, 1, then 3 tokens, then 1")
def ring_and_sink(load):
    return ring(load, [0, 1], [2], [3], [4, 5, 6], [7], window=3, sink=1)


@case("3.6", "window 2, two sinks, one pad in front of the second row")
def padded_rows(load):
    return ring(load, [0, 1, 2], [3], [4], window=2, sink=2, batch=2, start=torch.tensor([0, 1]))


@case("3.6", "can chunks of 1, 2, 3 be written before they are read, behind 2 of a ring of 4?")
def in_place(load):
    cache = load("kv_cache").KVCache(1, 1, 1, 1, 1, 99, window=4)
    cache.seen = 2
    return [bool(cache.reads_in_place(n)) for n in (1, 2, 3)]


@case("3.6", "three rows, of which the last and the first are kept")
def kept_rows(load):
    cache = load("kv_cache").KVCache(1, 3, 1, 1, 1, 4, start=torch.tensor([0, 1, 2]))
    x = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1)
    cache.update(0, x, 10 * x)
    cache.keep(torch.tensor([2, 0]))
    return cache.keys[0].flatten(), cache.values[0].flatten(), cache.start


@case("3.6", "the positions -1 … 3 without two sinks (99: hidden)")
def hidden_sinks(load):
    return load("kv_cache").without_sinks(torch.arange(-1, 4), 2).clamp(max=99)


def latent(load, T=5, **what):
    model = gpt(load, attention="mla", kv_rank=6, rope_dim=2, n_kv_head=None)
    absorb = what.pop("absorb", None)
    plan = planned(load, model, T, **what)
    return model.blocks[0].attention(wave(1, T, 16), plan, absorb=absorb)[0, :, 0]


@case("3.7", "5 tokens, the naive form")
def naive(load):
    return latent(load, absorb=False)


@case("3.7", "5 tokens, the absorbed form")
def absorbed(load):
    return latent(load, absorb=True)


@case("3.7", "6 tokens, window 2, one sink, both forms")
def latent_sinks(load):
    return [latent(load, 6, absorb=absorb, window=2, sink=1) for absorb in (False, True)]


@case("3.7", "one token: the form that is chosen by itself")
def one_latent(load):
    return latent(load, 1)


@case("3.7", "what is cached of 2 tokens: the latents, r = 6, and the turned part, width 2")
def cached_latents(load):
    model = gpt(load, attention="mla", kv_rank=6, rope_dim=2, n_kv_head=None)
    cache = model.make_cache(1, 4)
    plan = planned(load, model, 2, cache=cache)
    model.blocks[0].attention(wave(1, 2, 16), plan)
    return cache.keys[0][0, 0, :2]


@case("3.7", "4 tokens by a cache, then 1: the last one")
def latent_step(load):
    model = gpt(load, attention="mla", kv_rank=6, rope_dim=2, n_kv_head=None)
    cache = model.make_cache(1, 12)
    model(IDS[:, :7], cache=cache)
    return model(IDS[:, 7:], cache=cache)[0][0, 0]
