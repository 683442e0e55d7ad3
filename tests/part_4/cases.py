"""Tiny worked cases of part 4 for the practice; tests/worked_cases.py says what a case is."""

import math
from types import SimpleNamespace

import numpy as np
import torch
from worked_cases import case


@case("4.1", "neighbours in the chunks 1 1 1 and 1 2")
def neighbours(load):
    counts = load("text.bpe").count_pairs([[1, 1, 1], [1, 2]])
    return sorted((*pair, count) for pair, count in counts.items() if count)


@case("4.1", "1 1 1 with the pair 1 1 made 9")
def three_ones(load):
    return load("text.bpe").merge_pair([1, 1, 1], (1, 1), 9)


@case("4.1", "1 2 1 2 3 1 with the pair 1 2 made 9")
def twice(load):
    return load("text.bpe").merge_pair([1, 2, 1, 2, 3, 1], (1, 2), 9)


@case("4.1", "three merges of 'abab abab aaa'")
def merges(load):
    return load("text.bpe").train_plain("abab abab aaa", 259)


@case("4.1", "a tie: two merges of 'cd ab cd ab'")
def tie(load):
    return load("text.bpe").train_plain("cd ab cd ab", 258)


@case("4.1", "a text that has no more pairs: ten merges of 'ab'")
def early_end(load):
    return load("text.bpe").train_plain("ab", 266)


@case("4.1", "with a special token: how many merges 260 leaves, and 256")
def room(load):
    bpe = load("text.bpe")
    return [bpe.number_of_merges(260, ("<|x|>",)), bpe.number_of_merges(256)]


@case("4.1", "257 with two special tokens: refused")
def no_room(load):
    return load("text.bpe").number_of_merges(257, ("<|x|>", "<|y|>"))


@case("4.1", "'abc' where bc was learned first, then ab, then a + bc")
def in_order_of_learning(load):
    return load("text.bpe").encode_plain("abc", [(98, 99), (97, 98), (97, 256)])


@case("4.1", "'aaab ab' with the merges aa, ab, aa + ab")
def several_chunks(load):
    return load("text.bpe").encode_plain("aaab ab", [(97, 97), (97, 98), (256, 257)])


def fast(load, text, n):
    module = load("text.bpe_fast")
    return module.train_bpe([text], 256 + n)


@case("4.1b", "three merges of 'abab abab aaa'")
def fast_merges(load):
    return fast(load, "abab abab aaa", 3)


@case("4.1b", "a tie: two merges of 'cd ab cd ab'")
def fast_tie(load):
    return fast(load, "cd ab cd ab", 2)


@case("4.1b", "aaaa: three merges of 'aaaa aaaaa aa'")
def fast_overlap(load):
    return fast(load, "aaaa aaaaa aa", 3)


@case("4.1b", "twelve merges of a longer text")
def fast_longer(load):
    return fast(load, "she sells sea shells, he sells eels; the shells she sells are sea shells "
                "surely so if she sells sea shells on the seashore the shells are seashells", 12)


@case("4.1b", "all merges there are of 'abcabc abc'")
def fast_all(load):
    return fast(load, "abcabc abc", 20)


def replaced(load, symbols, places, a, b, new, size):
    left, right = load("text.bpe_fast").replace_pair(symbols, places, a, b, new, size)
    return [sorted((k, *v) for k, v in side.items()) for side in (left, right)], symbols


@case("4.1b", "x a b y, each one place wide, between borders (-1): a b becomes 9")
def one_place(load):
    return replaced(load, [-1, 5, 1, 2, 6, -1], [2], 1, 2, 9, {1: 1, 2: 1, 5: 1, 6: 1, 9: 2})


@case("4.1b", "a a a: the pair a a becomes 9")
def overlapping(load):
    return replaced(load, [-1, 1, 1, 1, -1], [1, 2], 1, 1, 9, {1: 1, 9: 2})


@case("4.1b", "a b a b where a is two places wide: a b becomes 9")
def wide(load):
    return replaced(load, [-1, 3, 3, 2, 3, 3, 2, -1], [1, 4], 3, 2, 9, {3: 2, 2: 1, 9: 3})


class Toy(torch.nn.Module):
    """Logits w · x + b of a number; the loss is the mean squared error over targets that count."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([2.0, -1.0]))

    def forward(self, x, y, segments=None, loss_only=True):
        counted = y != -100
        inputs = torch.stack([x, torch.ones_like(x)], -1).float()
        error = (inputs @ self.weight - y)[counted]
        return None, error.square().mean() if len(error) else (0 * self.weight).sum()


def toy_step(load, targets, scaler=None, **what):
    loop, runtime = load("run.loop"), load("run.runtime")
    model = Toy()
    optimizer = torch.optim.SGD([{"params": model.parameters(), "scale": 0.5}], lr=9.0)
    settings = {"rate": 0.1, "clip": 1e9} | what
    run = runtime.Runtime(torch.device("cpu"), None, "", "")
    ids = torch.tensor([[0, 1, 2], [3, 1, 0]])
    report = loop.train_step(model, optimizer, ids, torch.tensor(targets), runtime=run,
                             scaler=scaler or run.grad_scaler(), **settings)
    return {"loss": report.loss, "norm": report.gradient_norm, "labels": report.labels,
            "weights": model.weight.detach(), "gradient left": model.weight.grad is not None
            and bool(model.weight.grad.any())}


FULL, UNEVEN = [[1, 1, 1], [1, 1, 1]], [[1, -100, -100], [1, 1, 1]]


@case("4.2", "two rows of three labels at once, rate 0.1, a group with scale 0.5")
def whole_step(load):
    return toy_step(load, FULL)


@case("4.2", "the same, row by row")
def row_by_row(load):
    return toy_step(load, FULL, micro_rows=1)


@case("4.2", "row by row, the first row with one label only, the other with three")
def uneven(load):
    return toy_step(load, UNEVEN, micro_rows=1)


@case("4.2", "the same at once")
def uneven_at_once(load):
    return toy_step(load, UNEVEN)


@case("4.2", "the gradient clipped to 1")
def clipped(load):
    return toy_step(load, FULL, clip=1.0)


class Scaler:
    """A scaler by 8 whose unscale_ must come before clipping."""

    def scale(self, loss):
        return 8 * loss

    def unscale_(self, optimizer):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad /= 8

    def step(self, optimizer):
        optimizer.step()

    def update(self):
        pass

    def is_enabled(self):
        return True


@case("4.2", "the same with a scaler that multiplies the loss by 8")
def with_scaler(load):
    return toy_step(load, FULL, scaler=Scaler(), clip=1.0)


@case("4.2", "a target that makes the loss infinite: refused")
def not_finite(load):
    loop_targets = torch.tensor([[1.0, math.inf, 1.0], [1, 1, 1]]).tolist()
    return toy_step(load, loop_targets)


@case("4.2", "no label at all")
def no_label(load):
    return toy_step(load, [[-100] * 3] * 2)


@case("4.2b", "the tokens 0 5 6 0 7 0 8 9 with begin 0, at most 9: where documents are")
def three_documents(load):
    return load("text.data").find_documents(np.array([0, 5, 6, 0, 7, 0, 8, 9]), 0, 9)


@case("4.2b", "one document of 7 tokens, at most 4")
def long_document(load):
    return load("text.data").find_documents(np.array([0, 1, 2, 3, 4, 5, 6]), 0, 4)


@case("4.2b", "one document of 4 tokens, at most 4; and of 5")
def just_fits(load):
    find = load("text.data").find_documents
    return [find(np.array([0, 1, 2, 3]), 0, 4), find(np.array([0, 1, 2, 3, 4]), 0, 4)]


@case("4.2b", "documents of 5, 4, 3, 2 tokens in rows of 7")
def packed(load):
    return load("text.data").pack([5, 4, 3, 2], [True] * 4, 7)


@case("4.2b", "documents of 3, 5, 1, 2, 2 in rows of 6: best fit")
def best_fit(load):
    return load("text.data").pack([3, 5, 1, 2, 2], [True] * 5, 6)


@case("4.2b", "3, 2, 2 in rows of 6, the second is the rest of a long document")
def rest_of_long(load):
    return load("text.data").pack([3, 2, 2], [True, False, True], 6)


@case("4.2b", "6, 5, 4, 1, 2 in rows of 7 with two rows open at most")
def two_open(load):
    return load("text.data").pack([6, 5, 4, 1, 2], [True] * 5, 7, open_rows=2)


@case("4.2b", "targets 3 0 4 where 0 begins a document")
def masked(load):
    return load("text.data").mask_begin(torch.tensor([[3, 0, 4]]), 0)


@case("4.2b", "two documents, 5 6 7 and 8 9, padded with 9")
def padded(load):
    return load("text.data").pad_documents([[5, 6, 7], [8, 9]], 9)


def token_rows(load, seed=3):
    tokens = np.concatenate([[0, *range(10 * n + 1, 10 * n + 4)] for n in range(1, 9)])
    return load("text.data").TokenRows([SimpleNamespace(tokens=tokens)], 3, begin=0, seed=seed)


@case("4.2b", "eight documents of three words: the batch of step 0, two rows")
def first_batch(load):
    return token_rows(load).batch(0, 2)


@case("4.2b", "the same: step 1 of four rows, for the second of two processes")
def second_process(load):
    return token_rows(load).batch(1, 4, 1, 2)


@case("4.2b", "the order of the rows in epochs 0 and 1, and 0 again")
def orders(load):
    rows = token_rows(load)
    return [list(map(int, rows.order(epoch))) for epoch in (0, 1, 0)]


@case("4.2b", "nine rows where there are eight: refused")
def too_many(load):
    return token_rows(load).batch(0, 9)
