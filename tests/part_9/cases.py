"""Tiny worked cases of part 9 for the practice; tests/worked_cases.py says what a case is."""

from types import SimpleNamespace

import torch
from worked_cases import case, wave

IS = torch.tensor([[True, True, True, False], [True, True, False, False]])
LOGP = torch.tensor([[-1.0, -2.0, -0.5, -9.0], [-0.3, -1.2, -4.0, -4.0]])
OLD = torch.tensor([[-1.5, -1.9, -0.5, -1.0], [-0.9, -1.0, -7.0, -7.0]])
REF = torch.tensor([[-1.2, -2.5, -0.1, -1.0], [-0.5, -0.7, -7.0, -7.0]])


def grpo(load, name, *args, **what):
    return getattr(load("reasoning.grpo"), name)(*args, **what)


REWARDS = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.5, 0.5, 0.5, 0.5, 3.0, 1.0, 2.0, 2.0])


@case("9.2", "three groups of four: 1 0 0 1, all 0.5, and 3 1 2 2")
def three_groups(load):
    return grpo(load, "group_advantages", REWARDS, 4)


@case("9.2", "the same without dividing by the deviation")
def not_scaled(load):
    return grpo(load, "group_advantages", REWARDS, 4, scale=False)


@case("9.2", "two answers to a prompt, 1 and 0")
def two_answers(load):
    return grpo(load, "group_advantages", torch.tensor([1.0, 0.0]), 2)


@case("9.2", "rewards of 0.1, six times the same: exactly 0")
def rounding(load):
    found = grpo(load, "group_advantages", torch.full((6,), 0.1), 6)
    return bool((found == 0).all())


@case("9.2", "groups of one, five rewards in twos, a NaN: refused")
def refused(load):
    found = []
    for rewards, size in ((torch.ones(2), 1), (torch.ones(5), 2),
                          (torch.tensor([1.0, float("nan")]), 2)):
        try:
            grpo(load, "group_advantages", rewards, size)
            found.append("fine")
        except ValueError:
            found.append("refused")
    return found


@case("9.2", "which answers of the three groups have a signal")
def signal(load):
    return grpo(load, "has_signal", REWARDS, 4).int()


@case("9.2", "lengths 3, 6, 8, 10, 14 with a limit of 10, soft from 6 on")
def penalty(load):
    return grpo(load, "length_penalty", torch.tensor([3, 6, 8, 10, 14]), 10, 4)


@case("9.2", "soft 0: refused")
def no_soft(load):
    return grpo(load, "length_penalty", torch.tensor([3]), 10, 0)


ADVANTAGES = torch.tensor([1.0, -2.0])


def loss_of(load, ratio, advantage, **what):
    logp = torch.tensor([[ratio]]).log()
    settings = {"beta": 0.0, "clip_low": 0.2, "clip_high": 0.4} | what
    return grpo(load, "grpo_loss", logp, torch.zeros(1, 1), None, torch.tensor([advantage]),
                torch.ones(1, 1, dtype=torch.bool), **settings).loss


@case("9.3", "ratio 3, advantage 2, clip 0.2 below and 0.4 above")
def far_up(load):
    return loss_of(load, 3.0, 2.0)


@case("9.3", "ratio 0.25, advantage -2")
def far_down(load):
    return loss_of(load, 0.25, -2.0)


@case("9.3", "ratios 0.25 with advantage 2, 3 with advantage -2: not clipped")
def not_clipped(load):
    return [loss_of(load, 0.25, 2.0), loss_of(load, 3.0, -2.0)]


@case("9.3", "ratio 1.1, advantage 2: inside")
def inside(load):
    return loss_of(load, 1.1, 2.0)


@case("9.3", "answers of 3 and 2 tokens, no KL")
def no_kl(load):
    return grpo(load, "grpo_loss", LOGP, OLD, None, ADVANTAGES, IS, beta=0.0).loss


@case("9.3", "the same with the KL, beta 0.5")
def with_kl(load):
    return grpo(load, "grpo_loss", LOGP, OLD, REF, ADVANTAGES, IS, beta=0.5).loss


@case("9.3", "no advantage: the KL alone, beta 1, mean over all tokens")
def kl_alone(load):
    return grpo(load, "grpo_loss", LOGP, LOGP, REF, torch.zeros(2), IS, beta=1.0,
                normaliser="token").loss


@case("9.3", "the figures: KL, share clipped, mean ratio")
def figures(load):
    found = grpo(load, "grpo_loss", LOGP, OLD, REF, ADVANTAGES, IS, beta=0.5)
    return [found.kl, found.clip_fraction, found.ratio]


@case("9.3", "the gradient by the log-probabilities, beta 0.5")
def slopes(load):
    logp = LOGP.clone().requires_grad_()
    grpo(load, "grpo_loss", logp, OLD, REF, ADVANTAGES, IS, beta=0.5).loss.backward()
    return logp.grad


@case("9.3", "a reference that is -2000 on padding: the gradient there")
def overflow(load):
    logp = LOGP.clone().requires_grad_()
    ref = torch.where(IS, REF, 2000.0)
    grpo(load, "grpo_loss", logp, OLD, ref, ADVANTAGES, IS, beta=0.5).loss.backward()
    return logp.grad


@case("9.3", "beta 0.1 without a reference: refused")
def no_reference(load):
    return grpo(load, "grpo_loss", LOGP, OLD, None, ADVANTAGES, IS, beta=0.1)


VALUES = torch.tensor([[1.0, 2.0, 6.0, 50.0], [1.0, 2.0, 50.0, 50.0]])


@case("9.3b", "answers worth 1 2 6 and 1 2: the mean by answers")
def by_sequence(load):
    return grpo(load, "aggregate", VALUES, IS, "sequence")


@case("9.3b", "the mean by tokens")
def by_token(load):
    return grpo(load, "aggregate", VALUES, IS, "token")


@case("9.3b", "by a constant length of 10")
def by_constant(load):
    return grpo(load, "aggregate", VALUES, IS, "constant", 10)


@case("9.3b", "a constant without a length, an unknown name, an answer without a token: refused")
def odd_averages(load):
    found = []
    for args in ((VALUES, IS, "constant"), (VALUES, IS, "median"),
                 (VALUES, torch.zeros_like(IS), "sequence")):
        try:
            grpo(load, "aggregate", *args)
            found.append("fine")
        except ValueError:
            found.append("refused")
    return found


@case("9.3b", "NaN on padding")
def nan_on_padding(load):
    values = torch.where(IS, VALUES, float("nan"))
    return [grpo(load, "aggregate", values, IS, "sequence"),
            grpo(load, "aggregate", values, IS, "token")]


@case("9.4", "log π = -1 against log π_ref = -2: k1")
def k1(load):
    return grpo(load, "kl_estimate", torch.tensor([-1.0]), torch.tensor([-2.0]), "k1")


@case("9.4", "the same: k2")
def k2(load):
    return grpo(load, "kl_estimate", torch.tensor([-1.0]), torch.tensor([-2.0]), "k2")


@case("9.4", "the same: k3")
def k3(load):
    return grpo(load, "kl_estimate", torch.tensor([-1.0]), torch.tensor([-2.0]))


@case("9.4", "k3 where both agree, and where π_ref is the likelier one")
def more_k3(load):
    return grpo(load, "kl_estimate", torch.tensor([-1.0, -3.0]), torch.tensor([-1.0, -1.0]), "k3")


@case("9.4", "k4: refused")
def k4(load):
    return grpo(load, "kl_estimate", torch.tensor([-1.0]), torch.tensor([-2.0]), "k4")


SETTINGS = SimpleNamespace(clip_low=0.2, clip_high=0.4, beta=0.5, epochs=2, max_norm=0.5, group=2)


class Table(torch.nn.Module):
    """A model whose next token depends on the last one alone."""

    def __init__(self, size=3.0):
        super().__init__()
        self.table = torch.nn.Parameter(size * wave(6, 6))

    def forward(self, ids):
        return self.table[ids], None


def plain(load, name, *args):
    return getattr(load("reasoning.grpo_plain"), name)(*args)


@case("9.5", "log-probabilities of the row 1 4 2 5")
def plain_logp(load):
    return plain(load, "logp_of", Table(), torch.tensor([[1, 4, 2, 5]]))


@case("9.5", "advantages of two groups, 1 0 0 1 and 3 1 2 2")
def plain_advantages(load):
    return plain(load, "group_advantages", torch.tensor([1.0, 0, 0, 1, 3, 1, 2, 2]), 4)


@case("9.5", "the loss of answers of 3 and 2 tokens")
def plain_loss(load):
    return plain(load, "grpo_loss", LOGP, OLD, REF, ADVANTAGES, IS, SETTINGS)


@case("9.5", "the loss where only the KL counts")
def plain_kl(load):
    return plain(load, "grpo_loss", LOGP, LOGP, REF, torch.zeros(2), IS, SETTINGS)


@case("9.5", "the gradient of the loss by the log-probabilities")
def plain_slopes(load):
    logp = LOGP.clone().requires_grad_()
    plain(load, "grpo_loss", logp, OLD, REF, ADVANTAGES, IS, SETTINGS).backward()
    return logp.grad


@case("9.5", "a model that always says 3 after 1, 5 after 3, and 5 ends: what is sampled of 1 and 3")
def plain_sample(load):
    model = Table()
    rules = torch.full((6, 6), -40.0)
    rules[1, 3] = rules[3, 5] = rules[5, 1] = rules[0, 0] = 40.0
    model.forward = lambda ids: (rules[ids], None)
    return load("reasoning.grpo_plain").sample(model, torch.tensor([[2, 1], [2, 3]]), 4, end=5,
                                               pad=0)


@case("9.5", "chances 1/2 each: how often 3 is drawn in 400 rows, in tenths")
def plain_chances(load):
    model = Table()
    model.forward = lambda ids: (torch.tensor([-40.0, -40, 0, 0, -40, -40]).expand(
        *ids.shape, 6), None)
    ids, _ = load("reasoning.grpo_plain").sample(model, torch.ones(400, 1).long(), 1, end=5, pad=0)
    return round(10 * float((ids[:, 1] == 3).float().mean()))


@case("9.5", "two passes of learning: what is told, and the weights afterwards")
def plain_learning(load):
    model, reference = Table(), Table(2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    ids = torch.tensor([[2, 1, 4, 3, 5], [2, 3, 5, 0, 0]])
    is_response = torch.tensor([[False, True, True, True], [False, True, False, False]])
    told = plain(load, "learn", model, reference, optimizer, ids, is_response,
                 torch.tensor([1.0, 0.2]), SETTINGS)
    return [told, model.table.detach()]
