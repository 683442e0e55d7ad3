"""The same merges as text/bpe.py's train_plain, some thousand times faster, and from any amount of text.

Math   Each different chunk is merged once and weighs n = how often it occurs (Zipf: 5 MB of Python
       source hold 1.2 million chunks, but only 28,000 different ones).
       Merging (a, b) in  x a b y  changes four counts:  (x,a) and (b,y) lose n, (x,new) and (new,y)
       win n. Nothing else is touched, so nothing is ever counted twice.               (eq. 4.2)
Used   text/tokenizer.py.   See it: python demo_bpe.py; python benchmark_bpe.py
"""

import heapq
import itertools
import multiprocessing
import re
import warnings
from collections import Counter, defaultdict

import numpy as np
import regex

from text.bpe import SPLIT, number_of_merges, special_pattern

# Python's own `re` is twice as fast as `regex` but knows no \p{L}: here is SPLIT for ASCII text.
ASCII_SPLIT = re.compile(
    r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+|[0-9]| ?[^\t-\r 0-9A-Za-z]+"
    r"|[\t-\r ]+(?![^\t-\r ])|[\t-\r ]+"
)

# Text may be cut before a single space between two words, and before a newline after a letter or a
# digit: no rule in tokenizer.CUTTABLE lets a chunk run across there, or looks across. (?r) searches
# from the end.
LAST_CUT = regex.compile(r"(?r)(?<=\S)(?= \S)|(?<=[\p{L}\p{N}])(?=\n\S)")
BLOCK = 1 << 18  # characters held at a time


def cut_blocks(pieces):
    """Pieces of one text, cut anywhere -> the same text cut only where chunks certainly end.

    ["Once up", "on a time"] -> ["Once", " upon a", " time"]
    """
    rest = ""
    for piece in pieces:
        seen = max(0, len(rest) - 2)  # what was searched before holds no cut
        rest += piece
        cut = LAST_CUT.search(rest, seen)
        if cut:
            yield rest[: cut.start()]
            rest = rest[cut.start() :]
    if rest:
        yield rest


def read_blocks(path, block=BLOCK):
    """The text of a UTF-8 file in blocks that are safe to split; only a few are ever in memory."""
    with open(path, encoding="utf-8", newline="") as file:  # newline="": keep \r\n as it is
        try:
            yield from cut_blocks(iter(lambda: file.read(block), ""))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text: {error}") from None


def count_block(block, special=(), pattern=SPLIT):
    """Counter of the chunks in one block; special tokens are left out."""
    parts = regex.split(special_pattern(special), block) if special else [block]
    splitter = ASCII_SPLIT if pattern == SPLIT and block.isascii() else regex.compile(pattern)
    counts = Counter()
    for part in parts:
        counts.update(splitter.findall(part))
    return counts


def count_chunks(texts, special=(), pattern=SPLIT, workers=1):
    """One text or an iterable of texts -> Counter of chunks. Memory grows with *different* chunks.

    Texts are documents: no chunk reaches from one into the next. With `workers` > 1 the blocks are
    split in that many processes, which pays from some 50 MB on.
    """
    texts = [texts] if isinstance(texts, str) else texts
    if pattern == SPLIT:
        texts = (
            block
            for text in texts
            for block in cut_blocks(text[i : i + BLOCK] for i in range(0, len(text), BLOCK))
        )
    total = Counter()
    if workers == 1:
        for block in texts:
            total.update(count_block(block, special, pattern))
        return total
    blocks = ((block, special, pattern) for block in texts)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        while batch := list(itertools.islice(blocks, 8 * workers)):  # a bounded number in flight
            for counts in pool.starmap(count_block, batch):
                total.update(counts)
    return total


def lay_out(chunks):
    """Counter of chunks -> (symbols, weight, counts, where): all chunks in one row, -1 between.

    symbols  the ids in a row; `weight` says how often the chunk at that place occurs
    counts   {pair: n(pair)}, where: {pair: its places, rising}; a pair is the number a << 32 | b
    """
    row = b"\0" + b"".join(chunk.encode("utf-8") + b"\0" for chunk in chunks)
    symbols = np.frombuffer(row, np.uint8).astype(np.int64)
    lengths = np.array([len(chunk.encode("utf-8")) + 1 for chunk in chunks], np.int64)
    symbols[0] = -1
    symbols[np.cumsum(lengths)] = -1
    weight = np.repeat(np.array([0, *chunks.values()]), np.array([1, *lengths]))

    places = np.flatnonzero((symbols[:-1] >= 0) & (symbols[1:] >= 0))
    pairs = (symbols[places] << 32) | symbols[places + 1]
    order = np.argsort(pairs, kind="stable")  # stable: the places of a pair stay in rising order
    places, pairs = places[order], pairs[order]
    kinds, first = np.unique(pairs, return_index=True)
    sums = np.add.reduceat(weight[places], first) if len(first) else []
    counts = dict(zip(kinds.tolist(), (int(n) for n in sums)))
    where = dict(zip(kinds.tolist(), (part.tolist() for part in np.split(places, first[1:]))))
    return symbols.tolist(), weight.tolist(), counts, where


def merge_chunks(chunks, wanted):
    """The first `wanted` merges of the weighted chunks. Fewer, if no pair is left.

    A token occupies as many places as it has bytes and writes its id on its first and its last
    place. So the neighbours of the pair at place p are read off directly: the token that ends at
    p - 1 and the one that begins right after.
    """
    symbols, weight, counts, where = lay_out(chunks)
    size = [1] * 256
    heap = [(-n, pair) for pair, n in counts.items()]  # top: the commonest, then the smallest
    heapq.heapify(heap)
    merges = []
    while heap and len(merges) < wanted:
        minus_n, pair = heapq.heappop(heap)
        n = counts[pair]
        if n == 0:  # all its places were taken by other merges
            continue
        if n != -minus_n:  # out of date: counts fall while pairs wait
            heapq.heappush(heap, (-n, pair))
            continue
        a, b, new = pair >> 32, pair & 0xFFFFFFFF, 256 + len(merges)
        merges.append((a, b))
        size.append(size[a] + size[b])
        left, right = replace_pair(symbols, where.pop(pair), a, b, new, size)
        for y, places in right.items():  # eq. 4.2
            n = sum(map(weight.__getitem__, places))
            counts[b << 32 | y] -= n
            counts[new << 32 | y] = n
            where[new << 32 | y] = places
        for x, places in left.items():
            n = sum(map(weight.__getitem__, places))
            counts[x << 32 | a] -= n  # x may be `new`: in abab, (new, a) lives only until here
            counts[x << 32 | new] = n
            where[x << 32 | new] = [p - size[x] for p in places]
            heapq.heappush(heap, (-n, x << 32 | new))
        for y in right:
            heapq.heappush(heap, (-counts[new << 32 | y], new << 32 | y))
        counts[pair] = 0
    return merges


def replace_pair(symbols, places, a, b, new, size):
    """Write `new` over each a b, from left to right -> the places by left and by right neighbour."""
    left, right = defaultdict(list), defaultdict(list)
    to_b, to_next, to_last = size[a], size[new], size[new] - 1
    for p in places:
        q = p + to_b
        if symbols[p] != a or symbols[q] != b:  # taken by an earlier merge, or by the last a of aaa
            continue
        left[symbols[p - 1]].append(p)
        right[symbols[p + to_next]].append(p)
        symbols[q] = -2  # nothing begins here any more
        symbols[p] = symbols[p + to_last] = new
    left.pop(-1, None)  # -1 is no neighbour but the border of the chunk
    right.pop(-1, None)
    return left, right


def train_bpe(texts, vocab_size, special=(), pattern=SPLIT, workers=1):
    """What train_plain returns, for one text or an iterable of texts (documents).

    Warns when the text runs out of pairs before `vocab_size` is reached.
    """
    wanted = number_of_merges(vocab_size, special)
    if odd := [name for name in special if regex.search(r"^$|\s", name)]:
        raise ValueError(f"special tokens {odd}: must not be empty or hold white space")
    merges = merge_chunks(count_chunks(texts, special, pattern, workers), wanted)
    if len(merges) < wanted:
        warnings.warn(
            f"the text has pairs for {len(merges)} merges only, not for {wanted}: the vocabulary "
            f"has {256 + len(merges) + len(special)} tokens, not {vocab_size}; give it more text",
            stacklevel=2,
        )
    return merges
