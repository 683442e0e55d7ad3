"""The KV cache: keys and values of tokens already read, so that a new token costs one step.

Idea   Memory is taken once and written in place. A chunk of tokens in column n, n + 1, … goes to
       slot  n mod R  of a ring of R slots. R = length: the ring never wraps, a plain cache.
       R = window: what falls out of the window is overwritten, memory is constant (lesson 3.6).
Used   attention.py, mla.py, gpt/model.py.   See it: python demo_kv_cache.py, demo_streaming.py
Shapes B batch, K key/value heads, T tokens of a chunk, N visible slots, D key or value width
       keys, values (B, K, R, D) for each layer

Rows of different lengths are padded on the LEFT. A column counts the pads, a position does not:
position = column - start[row]. So all rows write the same slot.
"""

import torch

NOWHERE = 2**30  # the position of an empty slot: later than any query, hence never visible


def check_start(start, batch: int, device=None) -> torch.Tensor | None:
    """Pads in front of each row -> (B,) int64, or None when there are none."""
    if start is None:
        return None
    start = torch.as_tensor(start, dtype=torch.int64, device=device)
    if start.shape != (batch,) or int(start.min()) < 0:
        raise ValueError(f"start must hold {batch} counts of pads, each >= 0, not {start.tolist()}")
    return start if int(start.max()) > 0 else None


# CHANGED in part 4: no attention sinks; rows that stay are not copied when others leave
class KVCache:
    """What attention has to remember of all tokens so far, for all layers.

    `rolling` (default: when there is a window) keeps `window` slots; without it there is one for
    each of `length` tokens. `value_width` is 0 where keys and values are the same (MLA).
    """

    def __init__(self, n_layer: int, batch: int, n_kv_head: int, key_width: int, value_width: int,
                 length: int, *, window: int | None = None, rolling: bool | None = None,
                 start=None, dtype=torch.float32, device=None):
        if batch < 1 or length < 1:
            raise ValueError(f"a cache for batch={batch} rows of length={length} tokens: both "
                             "must be at least 1")
        self.rolling = (window is not None) if rolling is None else rolling
        if self.rolling and window is None:
            raise ValueError("rolling=True needs a window: set window in the model's config")
        self.length, self.window = length, window
        self.ring = window if self.rolling else length  # R
        self.start = check_start(start, batch, device)
        self.seen = 0  # columns written so far, pads included
        shape = (batch, n_kv_head, self.ring)
        self.keys = [torch.zeros(*shape, key_width, dtype=dtype, device=device)
                     for _ in range(n_layer)]
        self.values = [torch.zeros(*shape, value_width, dtype=dtype, device=device)
                       for _ in range(n_layer)]

    @property
    def batch(self) -> int:
        return self.keys[0].size(0)

    @property
    def entries(self) -> int:
        """Slots in use, per row, layer and head: never more than R."""
        return min(self.seen, self.ring)

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))

    def check_room(self, count: int) -> None:
        if not self.rolling and self.seen + count > self.length:
            raise ValueError(f"{self.seen} + {count} tokens do not fit in a cache of "
                             f"length={self.length}; make a longer one, or set a window")

    def reads_in_place(self, count: int) -> bool:
        """Can the chunk be written before it is read? Not where a write would evict a token
        that an earlier query of the same chunk still sees."""
        return count == 1 or self.seen + count <= self.ring

    def key_positions(self, count: int) -> torch.Tensor:
        """(B or 1, N): where the entries stand that `update` returns for the next `count` tokens"""
        device, end = self.keys[0].device, self.seen + count
        if self.reads_in_place(count):  # slot r holds the last column before `end` that maps to r
            slots = torch.arange(min(end, self.ring), device=device)
            columns = end - 1 - (end - 1 - slots) % self.ring
        else:
            slots = torch.arange(min(self.seen, self.ring), device=device)
            old = self.seen - 1 - (self.seen - 1 - slots) % self.ring
            columns = torch.cat([old, torch.arange(self.seen, end, device=device)])
        return columns[None] if self.start is None else columns - self.start[:, None]

    def update(self, layer: int, k: torch.Tensor, v: torch.Tensor):
        """Write a chunk (B, K, T, D) -> keys and values that its queries may see (B, K, N, D).

        The order of the N entries is that of `key_positions`. Call `advance` after the last layer.
        """
        return (self.write(self.keys[layer], k), self.write(self.values[layer], v))

    def write(self, slots: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        T, R = x.size(2), self.ring
        if self.reads_in_place(T):
            first = self.seen % R
            slots[:, :, first:first + T] = x
            return slots[:, :, :min(self.seen + T, R)]
        visible = torch.cat([slots[:, :, :self.entries], x.to(slots.dtype)], dim=2)  # read first
        last = min(T, R)
        columns = torch.arange(self.seen + T - last, self.seen + T, device=x.device)
        slots[:, :, columns % R] = x[:, :, T - last:].to(slots.dtype)
        return visible

    def advance(self, count: int) -> None:
        self.seen += count

    def keep(self, rows: torch.Tensor) -> None:
        """Forget all rows but these: those that have ended cost nothing any more.

        A row that stays in its place is not copied.
        """
        count = len(rows)
        moved = (rows != torch.arange(count, device=rows.device)).nonzero().squeeze(1)
        used = slice(0, self.entries)
        for slots in (*self.keys, *self.values):
            slots[moved, :, used] = slots[rows[moved], :, used]
        self.keys = [keys[:count] for keys in self.keys]
        self.values = [values[:count] for values in self.values]
        if self.start is not None:
            self.start = self.start[rows]
