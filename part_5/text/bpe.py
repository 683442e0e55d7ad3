"""Byte pair encoding, plain: start from 256 bytes, merge the commonest neighbours, and repeat.

Math   merge k:  (a, b) = argmax over pairs of  n(a, b),   new id = 256 + k          (eq. 4.1)
       n(a, b) counts neighbours inside the chunks of the text, never across a chunk's border
Used   text/bpe_fast.py makes the same merges quickly; text/tokenizer.py encodes with them.
See it python demo_bpe.py
Source Gage 1994, "A new algorithm for data compression"; Sennrich et al. 2016, "Neural machine
       translation of rare words with subword units"; Radford et al. 2019 (GPT-2): the splitting
"""

import re
from collections import Counter
from itertools import pairwise

import regex  # a part of tiktoken; Python's own `re` does not know \p{L}, "any letter"

# Where a merge may never reach across: words, digits, punctuation and white space come apart first.
# A word takes the one space before it along. GPT-2's rule, but every digit stands alone, without
# its space: "2026" is always 2 0 2 6, so a model meets the same ten tokens wherever it has to count.
SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def special_pattern(special):
    """A pattern that finds special tokens, the longest first: `<|end|>x` before `<|end|>`."""
    return "|".join(re.escape(token) for token in sorted(special, key=len, reverse=True))


def split_chunks(text, special=(), pattern=SPLIT):
    """"I'm 12" -> ["I", "'m", " ", "1", "2"]. Special tokens are left out: no merge sees them."""
    parts = regex.split(special_pattern(special), text) if special else [text]
    return [chunk for part in parts for chunk in regex.findall(pattern, part)]


def count_pairs(chunks):
    """[[1, 1, 1], [1, 2]] -> {(1, 1): 2, (1, 2): 1}: how often each two ids are neighbours."""
    return Counter(pair for ids in chunks for pair in pairwise(ids))


def merge_pair(ids, pair, new):
    """Replace the pair from left to right: ([1, 1, 1], (1, 1), 9) -> [9, 1], never [1, 9]."""
    merged, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def train_plain(text, vocab_size, special=(), pattern=SPLIT):
    """The merges [(a, b), ...] that BPE learns from `text`; merge k makes the token 256 + k.

    `vocab_size` counts the 256 bytes, the merges and the special tokens. Ties go to the smallest
    pair (a, then b), so the answer depends on nothing but the text. Stops early when no pair is left.
    """
    chunks = [list(chunk.encode("utf-8")) for chunk in split_chunks(text, special, pattern)]
    merges = []
    while len(merges) < number_of_merges(vocab_size, special):
        counts = count_pairs(chunks)
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))  # eq. 4.1
        chunks = [merge_pair(ids, best, 256 + len(merges)) for ids in chunks]
        merges.append(best)
    return merges


def number_of_merges(vocab_size, special=()):
    smallest = 256 + len(special)
    if vocab_size < smallest:
        raise ValueError(
            f"vocab_size={vocab_size} is too small: 256 bytes and {len(special)} special tokens "
            f"need at least {smallest}"
        )
    return vocab_size - smallest


def encode_plain(text, merges, pattern=SPLIT):
    """The ids of a text without special tokens: in each chunk, the merge learned first goes first."""
    rank = {tuple(pair): k for k, pair in enumerate(merges)}
    out = []
    for chunk in split_chunks(text, pattern=pattern):
        ids = list(chunk.encode("utf-8"))
        while pairs := [pair for pair in pairwise(ids) if pair in rank]:
            best = min(pairs, key=rank.get)
            ids = merge_pair(ids, best, 256 + rank[best])
        out += ids
    return out


def token_bytes(merges):
    """The bytes of every ordinary token: 256 single bytes, then each merge's two parts joined."""
    tokens = [bytes([i]) for i in range(256)]
    for a, b in merges:
        tokens.append(tokens[a] + tokens[b])
    return tokens
