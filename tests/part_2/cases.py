"""Tiny worked cases of part 2 for the practice; tests/worked_cases.py says what a case is."""

import math
from types import SimpleNamespace

import numpy as np
import torch
from worked_cases import case, filled, wave

TEXT = torch.tensor([10, 11, 12, 13, 14, 15], dtype=torch.uint8)


@case("2.1", "the bytes of 'aé!'")
def three_signs(load):
    return load("data").encode("aé!")


@case("2.1", "the text of the bytes 97, 195, 169, and of 255 alone")
def texts(load):
    data = load("data")
    return [data.decode([97, 195, 169]), data.decode([255])]


@case("2.1", "10 bytes split with a share of 0.3")
def split(load):
    return load("data").split_bytes(bytes(range(10)), 0.3)


@case("2.1", "a share of 0, of 1, and of 1.5: refused")
def shares(load):
    found = []
    for share in (0, 1, 1.5):
        try:
            load("data").split_bytes(b"abcdef", share)
        except ValueError:
            found.append(share)
    return found


@case("2.1", "windows of 4 where the text has 4 bytes: one too few")
def too_short(load):
    return load("data").check_enough(TEXT[:4], 4, "given")


@case("2.1", "windows of 4 where the text has 5 bytes: enough")
def just_enough(load):
    return load("data").check_enough(TEXT[:5], 4, "given")


def batch(load, data=TEXT, rows=4, block=2):
    return load("data").get_batch(data, rows, block, torch.Generator().manual_seed(0))


@case("2.2", "the bytes 10 … 15, windows of 2: by how much targets lie behind ids")
def shift(load):
    ids, targets = batch(load)
    return targets - ids


@case("2.2", "the same: the shapes")
def shapes(load):
    return [list(part.shape) for part in batch(load)]


@case("2.2", "the same: the types")
def types(load):
    return [str(part.dtype) for part in batch(load)]


@case("2.2", "3 bytes, windows of 2: there is one window, and its ids are the first two bytes")
def one_window(load):
    return batch(load, TEXT[:3], 3)


@case("2.2", "6 bytes, windows of 2, 200 draws: where windows begin")
def all_starts(load):
    return sorted(set(batch(load, rows=200)[0][:, 0].tolist()))


@case("2.2", "6 bytes, windows of 2, 200 draws: where the last targets are")
def all_ends(load):
    return sorted(set(batch(load, rows=200)[1][:, -1].tolist()))


@case("2.2", "2 bytes, windows of 2: refused")
def refused(load):
    return batch(load, TEXT[:2])


SCORES = np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0], [3.0, -1.0, 0.5]])


@case("2.3", "log-probabilities of the scores (2, 1, 0) and (0, 0, 0)")
def logs(load):
    return load("demo_cross_entropy").log_softmax(SCORES[:2])


@case("2.3", "log-probabilities of the scores (1000, 0)")
def large(load):
    return load("demo_cross_entropy").log_softmax(np.array([[1000.0, 0.0]]))


@case("2.3", "three places whose targets are 0, 2, 1: each loss, and the mean")
def three_places(load):
    return load("demo_cross_entropy").cross_entropy(SCORES, np.array([0, 2, 1]))


@case("2.3", "the same with the target of the last place left out (-100)")
def left_out(load):
    return load("demo_cross_entropy").cross_entropy(SCORES, np.array([0, 2, -100]))


@case("2.3", "the same with the target of the first place left out by ignore=7")
def other_mark(load):
    return load("demo_cross_entropy").cross_entropy(SCORES, np.array([7, 2, 1]), 7)


@case("2.3", "the gradient of the mean loss of the three places")
def slopes(load):
    return load("demo_cross_entropy").gradient(SCORES, np.array([0, 2, 1]))


def rate(load, progress, warmup=0.1, final=0.1, peak=1.0):
    return load("schedule").learning_rate(progress, peak=peak, final=final, warmup=warmup)


@case("2.4", "peak 1, final 0.1, warmup 0.1: the rate at 0, 0.025 and 0.05")
def climbing(load):
    return [rate(load, p) for p in (0.0, 0.025, 0.05)]


@case("2.4", "the same: the rate at 0.1, where the warmup ends")
def top(load):
    return rate(load, 0.1)


@case("2.4", "the same: the rate at 0.3, 0.55 and 0.9")
def falling(load):
    return [rate(load, p) for p in (0.3, 0.55, 0.9)]


@case("2.4", "the same: the rate at the end, 1")
def bottom(load):
    return rate(load, 1.0)


@case("2.4", "the same: the rate at 1.2 and 1.9, where a run goes on")
def beyond(load):
    return [rate(load, p) for p in (1.2, 1.9)]


@case("2.4", "no warmup: the rate at 0 and 0.5")
def no_warmup(load):
    return [rate(load, p, warmup=0.0) for p in (0.0, 0.5)]


@case("2.4", "peak 3, final 1, warmup 0.5: the rate at 0.25 and 0.75")
def other_ends(load):
    return [rate(load, p, warmup=0.5, final=1.0, peak=3.0) for p in (0.25, 0.75)]


@case("2.4", "a warmup of 1: refused")
def all_warmup(load):
    return rate(load, 0.5, warmup=1.0)


class Noted:
    """A scaler that divides gradients by 4, and an optimizer; both note what is asked of them."""

    def __init__(self, weights):
        self.weights, self.calls = weights, []
        self.param_groups = [{"params": [weights], "lr": 1.0}]

    def unscale_(self, optimizer):
        self.calls.append("unscale")
        self.weights.grad /= 4

    def step(self, optimizer=None):
        self.calls.append("step")
        self.weights.data -= self.weights.grad

    def update(self):
        self.calls.append("update the scaler")

    def zero_grad(self, set_to_none=True):
        self.calls.append("zero")
        self.weights.grad = None


def stepped(load, clip):
    model = torch.nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([[1.0, 1.0]])
    model.weight.grad = torch.tensor([[12.0, 16.0]])  # scaled by 4: really (3, 4), norm 5
    noted = Noted(model.weight)
    norm = load("train_gpt").update(model, noted, noted, clip)
    return {"norm": float(norm), "weights": model.weight.data,
            "gradient is forgotten": model.weight.grad is None
            or not model.weight.grad.any().item()}


@case("2.4b", "weights (1, 1), gradient (3, 4) scaled by 4, clip 1, rate 1")
def clipped(load):
    return stepped(load, 1.0)


@case("2.4b", "the same with clip 100: nothing is cut")
def not_clipped(load):
    return stepped(load, 100.0)


def progress(load, step, seconds, **settings):
    made = SimpleNamespace(**{"steps": None, "minutes": None} | settings)
    return load("train_gpt").progress_of(step, seconds, made)


@case("2.4b", "step 5 of 20, no minutes")
def by_steps(load):
    return progress(load, 5, 100.0, steps=20)


@case("2.4b", "90 seconds of 3 minutes, no steps")
def by_minutes(load):
    return progress(load, 5, 90.0, minutes=3)


@case("2.4b", "step 5 of 20 and 90 seconds of 3 minutes")
def by_both(load):
    return progress(load, 5, 90.0, steps=20, minutes=3)


@case("2.4c", "3 tokens, one head of width 2: what each gathers")
def gathered(load):
    q, k, v = 2 * wave(1, 3, 2), 2 * wave(1, 3, 2, start=1.0), wave(1, 3, 2, start=2.0)
    return load("model").causal_attention(q, k, v)


@case("2.4c", "3 tokens that all ask and answer alike, values 1, 2, 3: means of what is seen")
def means(load):
    same = torch.ones(1, 3, 1)
    return load("model").causal_attention(same, same, torch.tensor([[[1.0], [2.0], [3.0]]]))


def attention_of(load, **what):
    model = load("model")
    config = model.GPTConfig(n_head=2, n_embd=4, bias=True, **what)
    return filled(model.CausalSelfAttention(config), 0.9), model


@case("2.4c", "3 tokens through 2 heads, by the fused kernel")
def fused(load):
    return attention_of(load)[0](wave(2, 3, 4))


@case("2.4c", "3 tokens through 2 heads, by products")
def products(load):
    module, model = attention_of(load)
    before, model.by_products = model.by_products, lambda x: True
    try:
        return module(wave(2, 3, 4))
    finally:
        model.by_products = before


@case("2.4c", "dropout 0.5 in evaluation: two passes agree")
def no_dropout(load):
    module = attention_of(load, dropout=0.5)[0]
    return float((module(wave(1, 3, 4)) - module(wave(1, 3, 4))).abs().max())


@case("2.4c", "dropout 0.5 in training: two passes differ")
def with_dropout(load):
    module = attention_of(load, dropout=0.5)[0].train()
    return bool((module(wave(1, 8, 4)) != module(wave(1, 8, 4))).any())


LOGITS = torch.tensor([0.5, 0.3, 0.2]).log()[None]
SHUFFLED = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.25, 0.25, 0.1, 0.4]]).log()


@case("2.5", "scores 1, 3, 2, 3: the best two")
def best_two(load):
    return load("sampling").keep_top_k(torch.tensor([[1.0, 3.0, 2.0, 3.0]]), 2)


@case("2.5", "scores 1, 3, 3, 3: the best two; of equal ones the first stay")
def ties(load):
    return load("sampling").keep_top_k(torch.tensor([[1.0, 3.0, 3.0, 3.0]]), 2)


@case("2.5", "chances 0.5, 0.3, 0.2: what stays for p = 0.4, 0.5, 0.6 and 0.9")
def four_sums(load):
    return [load("sampling").keep_top_p(LOGITS, p).isfinite().int() for p in (0.4, 0.5, 0.6, 0.9)]


@case("2.5", "chances in no order, p = 0.6: what stays")
def no_order(load):
    return load("sampling").keep_top_p(SHUFFLED, 0.6).isfinite().int()


@case("2.5", "chances 0.1, 0.4, 0.2, 0.3 at temperature 0.5")
def cold(load):
    return load("sampling").next_probabilities(SHUFFLED[:1], 0.5)


@case("2.5", "the same at temperature 0")
def frozen(load):
    return load("sampling").next_probabilities(SHUFFLED[:1], 0)


@case("2.5", "the same at temperature 2 with top-p 0.6: temperature comes first")
def hot_and_cut(load):
    return load("sampling").next_probabilities(SHUFFLED, 2.0, top_p=0.6)


@case("2.5", "top-k 2 and top-p 0.5 together")
def both(load):
    return load("sampling").next_probabilities(SHUFFLED, 1.0, top_k=2, top_p=0.5)


@case("2.5", "a temperature of -1: refused")
def negative(load):
    return load("sampling").next_probabilities(LOGITS, -1.0)


class Counting(torch.nn.Module):
    """Says that the next token is the last one plus 1; notes what it read, and in which mode."""

    def __init__(self):
        super().__init__()
        self.config, self.read = SimpleNamespace(block_size=3), []
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.train()

    def forward(self, ids):
        self.read.append([*ids[0].tolist(), "training" if self.training else "evaluation"])
        wanted = (ids + 1) % 9
        return 50 * torch.nn.functional.one_hot(wanted, 9).float(), None


def counted(load, prompt, n, **what):
    model = Counting()
    return list(load("sampling").generate(model, prompt, n, **what)), model.read


@case("2.5b", "a model that counts on, the prompt 1, 2: four tokens")
def counting(load):
    return counted(load, [1, 2], 4, temperature=0)[0]


@case("2.5b", "what that model was given to read (block_size 3)")
def readings(load):
    return counted(load, [1, 2], 4, temperature=0)[1]


@case("2.5b", "an empty prompt: refused")
def nothing(load):
    return counted(load, [], 2)


@case("2.5b", "how often each of the chances 0.5, 0.3, 0.2 is drawn in 600 draws, in tenths")
def frequencies(load):
    generator = torch.Generator().manual_seed(3)
    drawn = load("sampling").sample_next(LOGITS.expand(600, -1), generator=generator)
    return [round(10 * float((drawn == i).float().mean())) for i in range(3)]


@case("2.5b", "three rows drawn at temperature 0")
def likeliest(load):
    return load("sampling").sample_next(torch.tensor([[1.0, 2.0], [3.0, 1.0], [0.0, 5.0]]), 0)


@case("2.6", "ln 2 nats a byte, and 3 nats")
def bits(load):
    return [load("evaluation").bits_per_byte(x) for x in (math.log(2), 3.0)]


@case("2.6", "the windows of 11 bytes, block 4, stride 4")
def side_by_side(load):
    return load("evaluation").windows(11, 4, 4)


@case("2.6", "the windows of 9 bytes, block 4, stride 2")
def overlapping(load):
    return load("evaluation").windows(9, 4, 2)


@case("2.6", "a stride of 5 for a block of 4: refused")
def too_far(load):
    return load("evaluation").windows(9, 4, 5)


class Costly(torch.nn.Module):
    """A byte costs its value in nats; notes how many labels it was asked for, and the mode."""

    def __init__(self):
        super().__init__()
        self.config, self.asked = SimpleNamespace(block_size=4), []
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, ids, targets):
        is_counted = targets != -100
        self.asked.append([int(is_counted.sum()), self.training])
        return None, targets[is_counted].float().mean() + (9.0 if self.training else 0.0)


def costs(load, n=11, **what):
    model = Costly().train()
    data = (torch.arange(n) % 7).to(torch.uint8)
    loss = load("evaluation").evaluate(model, data, **what)
    return loss, model


@case("2.6", "a model for which a byte costs its value, the bytes 0 … 6, 0 … 3, block 4: the mean")
def mean_cost(load):
    return costs(load)[0]


@case("2.6", "the same with a stride of 2")
def mean_cost_overlapping(load):
    return costs(load, stride=2)[0]


@case("2.6", "the same in batches of one window; and 9 bytes")
def one_by_one(load):
    return [costs(load, batch_size=1)[0], costs(load, 9)[0]]


@case("2.6", "30 bytes, every second window")
def every_second(load):
    return costs(load, 30, every=2)[0]


@case("2.6", "how many labels are asked for in all; is the model in training afterwards?")
def labels(load):
    model = costs(load)[1]
    return [sum(n for n, _ in model.asked), model.training]


@case("2.6", "a stride of 0: refused")
def no_stride(load):
    return costs(load, stride=0)[0]
