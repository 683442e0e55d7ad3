"""Generation with a cache: many prompts at once, of different lengths, token by token.

Idea   Read all prompts in one pass (prefill), then feed only the newest token of each row: one
       step costs the same however long the text is. Prompts are padded on the left, so that the
       newest tokens of all rows stand in one column. Rows that have ended leave the batch.
Used   sample.py, benchmark_upgrades.py.   See it: python demo_kv_cache.py
Shapes B rows, T time, V vocabulary

Beyond block_size: a model with a window and RoPE reads on for ever, others are refused, unless
`restart` allows them to forget all but the last block_size/2 tokens and read those again.
"""

from collections.abc import Iterator

import torch

from gpt.sampling import check_sampling, sample_next


def pad_left(prompts: list[list[int]], pad: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """[[5, 6], [7]] -> ids [[5, 6], [pad, 7]] and start [0, 1], the pads in front of each row."""
    if not prompts:
        raise ValueError("the batch is empty: give at least one prompt")
    for row, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {row} is empty: the model needs a token to follow")
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts])
    return ids, torch.tensor([longest - len(p) for p in prompts])


# NEW in part 4
AT_ONCE = 2**13  # tokens of prompts in one pass: in a small model each takes 16 kB meanwhile


# CHANGED in part 4: many long prompts are not read all at once
def prefill(model, ids: torch.Tensor, cache, chunk: int | None = None) -> torch.Tensor:
    """Read the prompts (B, T), `chunk` tokens a row at a time (AT_ONCE in all) -> last logits (B, V)."""
    for part in ids.split(chunk or max(1, AT_ONCE // len(ids)), dim=1):
        logits, _ = model(part, cache=cache, last_only=True)
    return logits[:, -1]


def begin(model, texts: list[list[int]], room: int, chunk: int | None):
    """A new cache that has read `texts`, with room for `room` more tokens -> cache, (B, V)."""
    device = next(model.parameters()).device
    ids, start = pad_left(texts)
    length = ids.size(1) + room
    if not model.config.endless:
        length = min(length, model.config.block_size)
    cache = model.make_cache(len(texts), length, start=start)
    return cache, prefill(model, ids.to(device), cache, chunk)


def check_request(model, prompts: list[list[int]], max_new: int, restart: bool,
                  chunk: int | None) -> None:
    """Raise ValueError for what cannot be generated."""
    if max_new < 1:
        raise ValueError(f"max_new={max_new} must be at least 1")
    if chunk is not None and chunk < 1:
        raise ValueError(f"prefill_chunk={chunk} must be at least 1")
    longest, limit = pad_left(prompts)[0].size(1), model.config.block_size
    if model.config.endless:
        return
    if longest > limit:
        raise ValueError(f"a prompt of {longest} tokens does not fit in block_size={limit}: "
                         "shorten it, or use a model with a window")
    if not restart and longest + max_new > limit + 1:  # the last token need not be read
        raise ValueError(f"{longest} prompt + {max_new} new tokens do not fit in "
                         f"block_size={limit}: ask for fewer, use a model with a window, or "
                         "set restart=True")


# CHANGED in part 4: when rows end, as few of the others as possible move
@torch.inference_mode()
def stream(model, prompts: list[list[int]], max_new: int, *, temperature: float = 0.0,
           top_k: int | None = None, top_p: float | None = None, stop: tuple[int, ...] = (),
           generator: torch.Generator | None = None, prefill_chunk: int | None = None,
           restart: bool = False) -> Iterator[list[tuple[int, int]]]:
    """Yield, step by step, a list of (row, token) for all rows that have not ended.

    temperature 0 takes the likeliest token. A row ends with a token of `stop` (which is yielded),
    or after `max_new` tokens.
    """
    check_sampling(temperature, top_k, top_p)
    check_request(model, prompts, max_new, restart, prefill_chunk)
    model.eval()
    texts = [list(prompt) for prompt in prompts]
    rows = list(range(len(prompts)))  # rows[i]: the prompt that row i of the batch belongs to
    cache, logits = begin(model, texts, max_new - 1, prefill_chunk)
    for step in range(1, max_new + 1):
        if temperature == 0:
            drawn = logits.argmax(-1)
        else:
            drawn = sample_next(logits, temperature, top_k, top_p, generator)
        tokens = drawn.tolist()
        yield list(zip(rows, tokens))
        if restart:
            for row, token in zip(rows, tokens):
                texts[row].append(token)
        going = [i for i, token in enumerate(tokens) if token not in stop]
        if not going or step == max_new:
            return
        if len(going) < len(rows):  # rows that have ended leave: they cost nothing any more
            kept = torch.tensor(filled(going), device=drawn.device)
            cache.keep(kept)
            drawn, rows = drawn[kept], [rows[i] for i in kept.tolist()]
        if not cache.rolling and cache.seen == cache.length:  # only with restart
            half = max(model.config.block_size // 2, 1)
            cache, logits = begin(model, [texts[row][-half:] for row in rows], max_new - step - 1,
                                  prefill_chunk)
        else:
            logits = model(drawn[:, None], cache=cache, last_only=True)[0][:, -1]


# NEW in part 4
def filled(going: list[int]) -> list[int]:
    """The rows that go on, in an order in which as few as possible move: the last ones fill the
    gaps.   [0, 2, 5, 6] -> [0, 6, 2, 5]: rows 0 and 2 stay where they are."""
    count = len(going)
    late = [i for i in going if i >= count]
    stay = set(going)
    return [i if i in stay else late.pop() for i in range(count)]


def generate(model, prompts: list[list[int]], max_new: int, **settings) -> list[list[int]]:
    """The new tokens of each prompt, stop token included. `settings` are those of `stream`.

    generate(model, [[5, 6], [7]], 3) -> [[8, 9, 1], [2, 2, 4]]
    """
    texts: list[list[int]] = [[] for _ in prompts]
    for step in stream(model, prompts, max_new, **settings):
        for row, token in step:
            texts[row].append(token)
    return texts
