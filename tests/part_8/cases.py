"""Tiny worked cases of part 8 for the practice; tests/worked_cases.py says what a case is."""

from types import SimpleNamespace

import torch
from worked_cases import case, filled, wave

IS = torch.tensor([[True, True, True, False], [True, True, False, False]])


def rows_of(load, prompt=None):
    """Prompts 1 2 and 4, replies 5 6 7 and 5 3, padded with 0."""
    ids = torch.tensor([[1, 2, 5, 6, 7], [4, 5, 3, 0, 0]])
    return load("rl.policy").Rows(ids, torch.tensor([2, 1]), IS[:, :3],
                                  None if prompt is None else torch.tensor(prompt))


def body(load, **what):
    model = load("gpt.model")
    return filled(model.GPT(model.GPTConfig(**{"vocab_size": 8, "block_size": 8, "n_layer": 2,
                                               "n_head": 2, "n_embd": 4} | what)), 0.6)


@case("8.1", "two replies: the features each token was drawn from, first channel")
def features(load):
    return load("rl.policy").response_features(body(load), rows_of(load))[:, 0]


@case("8.1", "two replies to one prompt, read together: first channel")
def shared_features(load):
    module = load("rl.policy")
    rows = module.Rows(torch.tensor([[1, 2, 5, 6], [1, 2, 7, 0]]), torch.tensor([2, 2]),
                       torch.tensor([[True, True], [True, False]]), torch.tensor([0, 0]))
    return module.response_features(body(load), rows)[:, 0]


@case("8.1", "log-probability and entropy of tokens 3 and 0 for given features")
def logp(load):
    return load("rl.policy").token_logp(body(load), 3 * wave(2, 4), torch.tensor([3, 0]))


@case("8.1", "the same at temperature 2")
def warm_logp(load):
    return load("rl.policy").token_logp(body(load), 3 * wave(2, 4), torch.tensor([3, 0]),
                                        temperature=2.0)


def policy(load):
    made = load("rl.policy").Policy(body(load))
    made.value_head.weight.data, made.value_head.bias.data = wave(1, 4), torch.tensor([0.5])
    return made


@case("8.1", "a policy on two replies: log-probabilities")
def policy_logp(load):
    return policy(load)(rows_of(load))[0]


@case("8.1", "the same: entropies")
def policy_entropy(load):
    return policy(load)(rows_of(load), temperature=0.5)[1]


@case("8.1", "the same: values")
def policy_values(load):
    return policy(load)(rows_of(load))[2]


@case("8.1", "a frozen copy of a model in training: mode, does it learn, is it another object?")
def frozen(load):
    model = body(load).train()
    made = load("rl.policy").frozen_copy(model)
    return [made.training, any(p.requires_grad for p in made.parameters()), made is not model,
            model.training, all(p.requires_grad for p in model.parameters())]


@case("8.1b", "prompts of 2 and 1 tokens, replies of 3 and 2: how many real tokens")
def lengths(load):
    return rows_of(load).lengths


@case("8.1b", "the same: the columns of the replies")
def columns(load):
    return rows_of(load).columns


@case("8.1b", "the same: the tokens of the replies, where they are replies")
def responses(load):
    rows = rows_of(load)
    return rows.responses[rows.is_response]


@case("8.1b", "the second row picked: ids, first, is_response, prompt")
def picked(load):
    rows = rows_of(load, [7, 9]).pick(torch.tensor([1]))
    return [rows.ids, rows.first, rows.is_response.int(), rows.prompt]


@case("8.1b", "both rows picked in the other order")
def turned(load):
    rows = rows_of(load).pick(torch.tensor([1, 0]))
    return [rows.ids, rows.first, rows.is_response.int(), rows.prompt]


@case("8.1b", "1 2 3 4 5 spread over replies of 3 and 2")
def spread(load):
    return load("rl.policy").spread(torch.arange(1.0, 6.0), IS[:, :3])


def ppo(load, name, *args, **what):
    return getattr(load("rl.ppo"), name)(*args, **what)


GAPS = torch.tensor([[True, True, False], [False, True, True]])
NONE = torch.tensor([[True, False], [False, False]])


@case("8.2", "rows of 3 and 2 response tokens: their last columns")
def last(load):
    return ppo(load, "last_position", IS)


@case("8.2", "responses that end in columns 1 and 2")
def later(load):
    return ppo(load, "last_position", GAPS)


@case("8.2", "a row without any: refused")
def none(load):
    return ppo(load, "last_position", NONE)


@case("8.2", "scores 1, 3, 5 for one prompt and 2, 2, 8 for another")
def siblings(load):
    return ppo(load, "leave_one_out", torch.tensor([1.0, 3, 5, 2, 2, 8]), 3)


@case("8.2", "one reply to each prompt")
def alone(load):
    return ppo(load, "leave_one_out", torch.tensor([1.0, 3.0]), 1)


LOGP = torch.tensor([[-1.0, -2.0, -0.5, -9.0], [-0.3, -1.2, -4.0, -4.0]])
REF = torch.tensor([[-1.5, -1.0, -0.5, -1.0], [-0.9, -1.0, -7.0, -7.0]])
A = torch.tensor([[1.0, -2.0, 0.5, 7.0], [-1.0, 3.0, 9.0, 9.0]])


@case("8.2", "scores 10 and 20, beta 0.1, KL as given: the rewards")
def rewards(load):
    return ppo(load, "token_rewards", torch.tensor([10.0, 20.0]), LOGP, REF, IS, 0.1)


@case("8.2", "score 0, beta 1: the penalty alone")
def penalty(load):
    return ppo(load, "token_rewards", torch.zeros(2), LOGP, REF, IS, 1.0)


def policy_of(load, ratio, advantage, clip=0.2):
    logp = torch.tensor([ratio]).log()
    return ppo(load, "policy_loss", logp, torch.zeros_like(logp), torch.tensor([advantage]),
               torch.ones(1, len(ratio), dtype=torch.bool), clip=clip)


@case("8.3", "ratios 0.5, 1, 1.5, advantage 1, clip 0.2: the loss")
def better(load):
    return policy_of(load, [0.5, 1.0, 1.5], [1.0, 1.0, 1.0]).loss


@case("8.3", "the same with advantage -1")
def worse(load):
    return policy_of(load, [0.5, 1.0, 1.5], [-1.0, -1.0, -1.0]).loss


@case("8.3", "ratio 3, advantage 2: the loss")
def far_up(load):
    return policy_of(load, [3.0], [2.0]).loss


@case("8.3", "ratio 0.25, advantage -2: the loss")
def far_down(load):
    return policy_of(load, [0.25], [-2.0]).loss


@case("8.3", "ratio 1.1, advantage 2: inside the clip")
def inside(load):
    return policy_of(load, [1.1], [2.0]).loss


@case("8.3", "replies of 3 and 2 tokens: the loss")
def masked(load):
    return ppo(load, "policy_loss", LOGP, REF, A, IS).loss


@case("8.3", "the same: share clipped, KL, mean ratio")
def figures(load):
    found = ppo(load, "policy_loss", LOGP, REF, A, IS)
    return [found.clip_fraction, found.approx_kl, found.ratio]


@case("8.3", "the gradient of the loss by the log-probabilities")
def slopes(load):
    logp = LOGP.clone().requires_grad_()
    ppo(load, "policy_loss", logp, REF, A, IS).loss.backward()
    return logp.grad


@case("8.3b", "value 2, old value 0, return 1, clip 0.2")
def clipped_value(load):
    one = torch.ones(1, 1)
    return ppo(load, "value_loss", 2 * one, 0 * one, one, one.bool())


@case("8.3b", "value 0.9, old value 0, return 1, clip 0.2: the larger error counts")
def larger_error(load):
    one = torch.ones(1, 1)
    return ppo(load, "value_loss", 0.9 * one, 0 * one, one, one.bool())


@case("8.3b", "value 2, return 1, no clip")
def no_clip(load):
    one = torch.ones(1, 1)
    return ppo(load, "value_loss", 2 * one, 0 * one, one, one.bool(), clip=None)


@case("8.3b", "replies of 3 and 2 tokens")
def masked_values(load):
    return ppo(load, "value_loss", LOGP, REF, A, IS)


@case("8.3b", "how much of the returns is explained; and of constant ones")
def explained(load):
    return [ppo(load, "explained_variance", A + 0.3 * LOGP, A, IS),
            ppo(load, "explained_variance", A, torch.ones(2, 4), IS)]


REWARDS = torch.tensor([[0.1, -0.2, 1.0, 5.0], [0.3, 2.0, 5.0, 5.0]])
VALUES = torch.tensor([[0.5, 0.4, 0.8, 7.0], [0.2, 1.0, 7.0, 7.0]])


@case("8.4", "one token, reward 2, value 0.5: advantage and return")
def one_token(load):
    one = torch.ones(1, 1)
    return ppo(load, "gae", 2 * one, 0.5 * one, one.bool())


@case("8.4", "two tokens, rewards 0 and 1, values 0.5 and 0.25, gamma 1, lambda 0.5")
def two_tokens(load):
    return ppo(load, "gae", torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.25]]),
               torch.ones(1, 2, dtype=torch.bool), lam=0.5)


@case("8.4", "replies of 3 and 2 tokens, gamma 0.9, lambda 0.8: advantages")
def advantages(load):
    return ppo(load, "gae", REWARDS, VALUES, IS, gamma=0.9, lam=0.8)[0]


@case("8.4", "the same: returns")
def returns(load):
    return ppo(load, "gae", REWARDS, VALUES, IS, gamma=0.9, lam=0.8)[1]


@case("8.4", "lambda 0: one step ahead")
def one_step(load):
    return ppo(load, "gae", REWARDS, VALUES, IS, lam=0.0)[0]


@case("8.4", "lambda 1, gamma 1: all that comes, minus the value")
def all_ahead(load):
    return ppo(load, "gae", REWARDS, VALUES, IS, lam=1.0)[0]


@case("8.5", "the mean of A over replies of 3 and 2 tokens")
def mean(load):
    return ppo(load, "masked_mean", A, IS)


@case("8.5", "the mean over nothing: refused")
def mean_of_nothing(load):
    return ppo(load, "masked_mean", A, torch.zeros_like(IS))


@case("8.5", "the variance of 1, 3, and of one number alone")
def variance(load):
    x = torch.tensor([[1.0, 3.0, 9.0]])
    return [ppo(load, "masked_variance", x, torch.tensor([[True, True, False]])),
            ppo(load, "masked_variance", x, torch.tensor([[True, False, False]]))]


@case("8.5", "the variance of A over replies of 3 and 2 tokens")
def variance_of_replies(load):
    return ppo(load, "masked_variance", A, IS)


@case("8.5", "A whitened")
def whitened(load):
    return ppo(load, "whiten", A, IS)


@case("8.5", "A scaled, its mean kept")
def scaled(load):
    return ppo(load, "whiten", A, IS, shift_mean=False)


@case("8.5b", "beta 1, target 2, horizon 100: after a KL of 2.2 over 10 episodes")
def a_little_more(load):
    leash = load("rl.ppo").AdaptiveKL(1.0, 2.0, 100)
    leash.update(2.2, 10)
    return leash.beta


@case("8.5b", "after a KL of 9, and then of 0.1")
def far_off(load):
    leash = load("rl.ppo").AdaptiveKL(1.0, 2.0, 100)
    found = []
    for kl in (9.0, 0.1):
        leash.update(kl, 10)
        found.append(leash.beta)
    return found


@case("8.5b", "lengths of at most 50, target 1: after KLs of 2, 2, 1.5, 0.1, 0.1")
def shorter(load):
    control = load("rl.ppo").LengthControl(50, 1.0)
    found = []
    for kl in (2.0, 2.0, 1.5, 0.1, 0.1):
        control.update(kl)
        found.append(control.length)
    return found


@case("8.5b", "lengths from 4 to 6, target 1: after KLs of 9, 9, 9, 9")
def shortest(load):
    control = load("rl.ppo").LengthControl(6, 1.0)
    found = []
    for _ in range(4):
        control.update(9.0)
        found.append(control.length)
    return found


def dpo(load, beta=0.5, **what):
    chosen, rejected = torch.tensor([-3.0, -5.0, -2.0]), torch.tensor([-4.0, -4.5, -2.0])
    ref = torch.tensor([-3.5, -4.0, -2.0]), torch.tensor([-3.0, -5.0, -2.0])
    return load("rl.dpo").dpo_loss(chosen, rejected, *ref, beta=beta, **what)


@case("8.6", "log-probabilities -3 against a reference's -3.5, beta 0.2")
def implicit(load):
    return load("rl.dpo").implicit_reward(torch.tensor([-3.0]), torch.tensor([-3.5]), 0.2)


@case("8.6", "three pairs, beta 0.5: the loss")
def three_pairs(load):
    return dpo(load).loss


@case("8.6", "three pairs, beta 2: the loss")
def large_beta(load):
    return dpo(load, 2.0).loss


@case("8.6", "three pairs, smoothing 0.1: the loss")
def smoothed(load):
    return dpo(load, smoothing=0.1).loss


@case("8.6", "the accuracy (one tie), and the mean rewards")
def dpo_figures(load):
    found = dpo(load)
    return [found.accuracy, found.chosen, found.rejected]


@case("8.6", "beta 0, smoothing 0.5, no pair: refused")
def refused(load):
    found, none = [], torch.zeros(0)
    for run in (lambda: dpo(load, 0.0), lambda: dpo(load, smoothing=0.5),
                lambda: load("rl.dpo").dpo_loss(none, none, none, none, beta=1.0)):
        try:
            run()
            found.append("fine")
        except ValueError:
            found.append("refused")
    return found


@case("8.4c", "8 rows in minibatches of 4: sizes, and is every row there once?")
def all_rows(load):
    made = load("rl.steps").minibatches(8, 4, torch.Generator().manual_seed(0))
    return [[len(x) for x in made], sorted(torch.cat(made).tolist())]


@case("8.4c", "8 rows, two copies of each prompt, minibatches of 4: are copies together?")
def copies_together(load):
    made = load("rl.steps").minibatches(8, 4, torch.Generator().manual_seed(0), 2)
    return [sorted(torch.cat(made).tolist()),
            [all(int(i) ^ 1 in part.tolist() for i in part) for part in made]]


@case("8.4c", "9 rows, three copies, minibatches of 2: where copies do not divide the size")
def copies_apart(load):
    made = load("rl.steps").minibatches(6, 2, torch.Generator().manual_seed(0), 3)
    return [[len(x) for x in made], sorted(torch.cat(made).tolist())]


@case("8.4c", "64 rows twice: are the orders different, and not the plain one?")
def random_orders(load):
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.cat(load("rl.steps").minibatches(64, 8, generator)).tolist()
                for _ in range(2))
    return [one != two, one != list(range(64))]


class Lengths:
    """Rows that are nothing but long."""

    def __init__(self, lengths, prompt=None):
        self.lengths = torch.tensor(lengths)
        self.prompt = None if prompt is None else torch.tensor(prompt)


@case("8.4c", "rows of 5, 2, 9, 3 tokens in pieces of two")
def by_length(load):
    return load("rl.steps").pieces(torch.arange(4), Lengths([5, 2, 9, 3]), 2)


@case("8.4c", "rows of 5, 2, 5, 3 tokens, of prompts 0, 1, 1, 0, in pieces of two")
def by_prompt(load):
    return load("rl.steps").pieces(torch.arange(4), Lengths([5, 2, 5, 3], [0, 1, 1, 0]), 2)


@case("8.4c", "the rows 3, 1, 2 of them")
def some_rows(load):
    return load("rl.steps").pieces(torch.tensor([3, 1, 2]), Lengths([5, 2, 9, 3]), 2)


class Scaler:
    """Divides gradients by 4 when asked to; notes the order of what is asked."""

    def __init__(self, weight):
        self.weight, self.calls = weight, []

    def unscale_(self, optimizer):
        self.weight.grad /= 4

    def step(self, optimizer):
        self.weight.data -= self.weight.grad

    def update(self):
        pass

    def zero_grad(self, set_to_none=True):
        self.weight.grad = None


@case("8.4c", "weights (1, 1), gradient (3, 4) scaled by 4: limits 1 and 0")
def step(load):
    found = []
    for limit in (1.0, 0.0):
        weight = torch.nn.Parameter(torch.ones(2))
        weight.grad = torch.tensor([12.0, 16.0])
        noted = Scaler(weight)
        norm = load("rl.steps").take_step(noted, noted, [weight], limit)
        found.append([norm, weight.detach(), weight.grad is None])
    return found


SETTINGS = SimpleNamespace(clip=0.2, value_clip=0.3, value_weight=0.5, beta=0.1, gamma=0.9,
                           lam=0.8, epochs=2, max_norm=0.5)


def plain(load, name, *args):
    return getattr(load("rl.ppo_plain"), name)(*args)


class Table(torch.nn.Module):
    """A model whose next token depends on the last one alone; (B, T, 4) features are a table."""

    def __init__(self, sharp=3.0):
        super().__init__()
        self.table = torch.nn.Parameter(sharp * wave(6, 4))
        self.head = torch.nn.Linear(4, 6, bias=False)
        self.head.weight.data = wave(6, 4, start=1.0)

    def features(self, ids):
        return self.table[ids]

    def forward(self, ids):
        return self.head(self.features(ids)), None


@case("8.4b", "log-probabilities and values of the row 1 4 2 5")
def plain_values(load):
    head = filled(torch.nn.Linear(4, 1), 1.0)
    return plain(load, "logp_and_values", Table(), head, torch.tensor([[1, 4, 2, 5]]))


@case("8.4b", "rewards: scores 10 and 20, beta 0.1")
def plain_rewards(load):
    return plain(load, "token_rewards", torch.tensor([10.0, 20.0]), LOGP, REF, IS, 0.1)


@case("8.4b", "advantages and returns of replies of 3 and 2 tokens, gamma 0.9, lambda 0.8")
def plain_gae(load):
    rewards = torch.where(IS, REWARDS, 0.0)
    found = plain(load, "gae", rewards, VALUES, IS, 0.9, 0.8)
    return [torch.where(IS, part, 0.0) for part in found]


@case("8.4b", "A whitened, where it counts")
def plain_whiten(load):
    return plain(load, "whiten", A, IS)[IS]


@case("8.4b", "the loss: policy and value")
def plain_loss(load):
    return plain(load, "ppo_loss", LOGP, VALUES, REF, VALUES - 0.5, A, REWARDS, IS, SETTINGS)


@case("8.4b", "the gradients of the loss by log-probabilities and values")
def plain_slopes(load):
    logp, values = LOGP.clone().requires_grad_(), VALUES.clone().requires_grad_()
    plain(load, "ppo_loss", logp, values, REF, VALUES - 0.5, A, REWARDS, IS, SETTINGS).backward()
    return logp.grad, values.grad


@case("8.4b", "a model that always says 3 after 1, 5 after 3, and 5 ends: what is sampled of 1 and 3")
def plain_sample(load):
    model = Table()
    rules = torch.full((6, 6), -40.0)
    rules[1, 3] = rules[3, 5] = rules[5, 1] = rules[0, 0] = 40.0
    model.forward = lambda ids: (rules[ids], None)
    return load("rl.ppo_plain").sample(model, torch.tensor([[2, 1], [2, 3]]), 4, end=5, pad=0)


@case("8.4b", "chances 1/2 each: how often 3 is drawn in 400 rows, in tenths")
def plain_chances(load):
    model = Table()
    model.forward = lambda ids: (torch.tensor([-40.0, -40, 0, 0, -40, -40]).expand(
        *ids.shape, 6), None)
    ids, _ = load("rl.ppo_plain").sample(model, torch.ones(400, 1).long(), 1, end=5, pad=0)
    return round(10 * float((ids[:, 1] == 3).float().mean()))


@case("8.4b", "two passes of learning: what is told, and the weights afterwards")
def plain_learning(load):
    model, head, reference = Table(), filled(torch.nn.Linear(4, 1), 0.5), Table(2.0)
    optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], lr=0.5)
    ids = torch.tensor([[2, 1, 4, 3, 5], [2, 3, 5, 0, 0]])
    is_response = torch.tensor([[False, True, True, True], [False, True, False, False]])
    told = load("rl.ppo_plain").learn(model, head, reference, optimizer, ids, is_response,
                                      torch.tensor([1.0, -0.5]), SETTINGS)
    return [told, model.table.detach(), head.weight.detach()]
