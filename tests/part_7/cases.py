"""Tiny worked cases of part 7 for the practice; tests/worked_cases.py says what a case is."""

from types import SimpleNamespace

import numpy as np
import torch
from worked_cases import case, filled


def judged(load, one, other, flip=False, texts=("first", "second")):
    """A pair whose replies are worth `one` and `other` -> who was chosen, and the gap."""
    module = load("reward.preferences")
    worth = dict(zip(texts, (one, other)))
    before = module.judge_reply, module.messages_of
    module.judge_reply = lambda item, text, ended=True: SimpleNamespace(value=worth[text])
    module.messages_of = lambda item: []
    try:
        pair = module.make_pair(None, module.Reply(texts[0]), module.Reply(texts[1]), "a fault", flip)
    finally:
        module.judge_reply, module.messages_of = before
    return None if pair is None else [pair.chosen.text, pair.rejected.text, pair.gap, pair.kind]


@case("7.1", "replies worth 0.9 and 0.2")
def first_better(load):
    return judged(load, 0.9, 0.2)


@case("7.1", "replies worth 0.1 and 0.7")
def second_better(load):
    return judged(load, 0.1, 0.7)


@case("7.1", "replies worth 0.9 and 0.2, the label flipped")
def flipped(load):
    return judged(load, 0.9, 0.2, True)


@case("7.1", "replies worth 0.1 and 0.7, the label flipped")
def second_flipped(load):
    return judged(load, 0.1, 0.7, True)


@case("7.1", "replies worth 0.5 and 0.45: too close to call")
def close(load):
    return judged(load, 0.5, 0.45)


@case("7.1", "replies worth 0.45 and 0.5: too close to call")
def close_below(load):
    return judged(load, 0.45, 0.5)


@case("7.1", "a reply beside one with the same text")
def same_text(load):
    module = load("reward.preferences")
    before = module.judge_reply, module.messages_of
    module.judge_reply = lambda item, text, ended=True: SimpleNamespace(value=float(ended))
    module.messages_of = lambda item: []
    try:
        return module.make_pair(None, module.Reply("x"), module.Reply("x", False), "", False)
    finally:
        module.judge_reply, module.messages_of = before


def ids(load, *pairs):
    return [load("reward.data").PairIds(tuple(a), tuple(b)) for a, b in pairs]


A, B, C, D = (1, 2), (1, 3, 4), (1, 5), (1, 6, 7, 8)


@case("7.1b", "the pairs (A, B) and (C, B): rows, last tokens, and where each side is")
def one_batch(load):
    batch = load("reward.data").pair_batch(ids(load, (A, B), (C, B)), 0)
    return [list(map(list, batch.rows)), batch.ids, batch.last, batch.chosen, batch.rejected]


@case("7.1b", "pairs AB, AC, BC, DA of one prompt in pieces of three different replies")
def pieces(load):
    encoded = ids(load, (A, B), (A, C), (B, C), (D, A))
    return load("reward.data").pieces_of([0, 1, 2, 3], encoded, 3)


def batched(load, prompts, pairs, rows, seed=0):
    made = [SimpleNamespace(prompt=p) for p in prompts]
    return load("reward.data").batches_of(made, ids(load, *pairs), rows, seed)


@case("7.1b", "five pairs of three prompts, at least two replies a batch: sorted batches")
def small_batches(load):
    pairs = [(A, B), (C, D), (B, A), (D, C), (A, C)]
    return sorted(sorted(b) for b in batched(load, "xyxyz", pairs, 2))


@case("7.1b", "the same, at least nine replies a batch: all in one")
def one_large(load):
    pairs = [(A, B), (C, D), (B, A), (D, C), (A, C)]
    return sorted(sorted(b) for b in batched(load, "xyxyz", pairs, 9))


LENGTHS = [((1,) * n, (2,) * n) for n in (9, 2, 8, 3, 7, 1, 6, 4)]


@case("7.1b", "eight prompts of different length, four replies a batch: who stands together")
def like_lengths(load):
    return sorted(sorted(b) for b in batched(load, "abcdefgh", LENGTHS, 4))


@case("7.1b", "in which order those batches come, for two seeds")
def random_order(load):
    return [[min(b) for b in batched(load, "abcdefgh", LENGTHS, 4, seed)] for seed in (1, 2)]


@case("7.1b", "an odd batch at the end is left out: how many pairs of three prompts, 4 replies a batch")
def rest(load):
    return sum(len(b) for b in batched(load, "abc", LENGTHS[:3], 4))


@case("7.1b", "pairs that fit, that are the same, and that do not fit: what is kept and counted")
def left_out(load):
    module = load("reward.data")
    before = module.encode_reply

    def encode(prompt, reply, tokenizer, context):
        if reply == "long":
            raise ValueError("too long")
        return [len(reply), 2]
    module.encode_reply = encode
    try:
        pairs = [SimpleNamespace(prompt=(), chosen=a, rejected=b, name=f"{a} {b}")
                 for a, b in (("a", "bb"), ("a", "c"), ("long", "a"), ("ccc", "a"))]
        found, kept, counts = module.encode_pairs(pairs, None, 9)
    finally:
        module.encode_reply = before
    return [[[list(p.chosen), list(p.rejected)] for p in found], [p.name for p in kept], counts]


IDS = torch.tensor([[1, 5, 3, 6, 2, 4], [1, 3, 4, 2, 0, 0]])
LAST = torch.tensor([5, 3])


def body(load, **what):
    model = load("gpt.model")
    return filled(model.GPT(model.GPTConfig(**{"vocab_size": 8, "block_size": 8, "n_layer": 2,
                                               "n_head": 2, "n_embd": 4} | what)), 0.6)


def reward(load, **what):
    module = load("reward.model")
    made = filled(module.RewardModel(body(load, dropout=what.pop("dropout", 0.0)), **what), 0.6)
    if made.witness is not None:  # another model than the body, so that the two can be told apart
        with torch.no_grad():
            for p in made.witness.parameters():
                p.mul_(1.5)
    return made


@case("7.2", "the plain model: two rows, the second padded from column 4 on")
def plain_scores(load):
    made = filled(load("reward.model").PlainRewardModel(body(load)), 0.6)
    return made(IDS, LAST)


@case("7.2", "the plain model: the score if the reply ended at each token")
def plain_by_token(load):
    made = filled(load("reward.model").PlainRewardModel(body(load)), 0.6)
    return made.token_scores(IDS)


@case("7.2", "without a witness, causal: two rows")
def causal_scores(load):
    return reward(load)(IDS, LAST)


@case("7.2", "bidirectional: two rows")
def both_ways(load):
    return reward(load, bidirectional=True)(IDS, LAST)


@case("7.2", "bidirectional: does the padding change the score?")
def padding_unseen(load):
    made = reward(load, bidirectional=True)
    other = IDS.clone()
    other[1, 4:] = 7
    return (made(IDS, LAST) - made(other, LAST)).abs().max()


@case("7.2", "the features of the witness: the first channel")
def witness_features(load):
    made = reward(load, reply_token=3)
    return made.features(IDS, LAST, body=made.witness)[:, :, 0]


@case("7.2", "after train(): is the model in training, and the witness?")
def modes(load):
    made = reward(load, reply_token=3).train()
    return [made.training, made.body.training, made.witness.training]


@case("7.2", "after train(False)")
def modes_off(load):
    made = reward(load, reply_token=3).train().train(False)
    return [made.training, made.body.training, made.witness.training]


@case("7.2b", "which tokens belong to the replies, where 3 opens a reply")
def places(load):
    return reward(load, reply_token=3).reply_places(IDS, LAST)


@case("7.2b", "a row with two replies, 1 3 4 2 5 3 6 2: only the last one counts")
def last_reply(load):
    rows = torch.tensor([[1, 3, 4, 2, 5, 3, 6, 2]])
    return reward(load, reply_token=3).reply_places(rows, torch.tensor([7]))


@case("7.2b", "a row that no token opens, 1 5 6 2 0: all but column 0 and padding")
def no_opening(load):
    rows = torch.tensor([[1, 5, 6, 2, 0]])
    return reward(load, reply_token=3).reply_places(rows, torch.tensor([3]))


@case("7.2b", "the doubts of the tokens in columns 3, 4 of row 0 and 2 of row 1")
def doubts(load):
    rows, columns = torch.tensor([0, 0, 1]), torch.tensor([3, 4, 2])
    return reward(load, reply_token=3).doubts(IDS, LAST, rows, columns)


@case("7.2b", "the scores by token, with a witness")
def witnessed(load):
    return reward(load, reply_token=3).token_scores(IDS, LAST)


@case("7.2b", "the scores by token where doubt does not count (care is near 0)")
def without_care(load):
    made = reward(load, reply_token=3)
    torch.nn.init.zeros_(made.care.weight)
    torch.nn.init.constant_(made.care.bias, -60.0)
    return made.token_scores(IDS, LAST)


@case("7.2b", "the scores by token where tokens cost nothing by themselves")
def without_cost(load):
    made = reward(load, reply_token=3)
    torch.nn.init.zeros_(made.cost.weight)
    torch.nn.init.constant_(made.cost.bias, -60.0)
    return made.token_scores(IDS, LAST)


@case("7.2b", "the scores by token without a witness")
def without_witness(load):
    return reward(load).token_scores(IDS, LAST)


GOOD, BAD = torch.tensor([2.0, 0.0, -1.0]), torch.tensor([1.0, 0.5, -3.0])


def loss(load, name, *scores, **what):
    return getattr(load("reward.losses"), name)(*scores, **what)


@case("7.3", "scores 2, 0, -1 against 1, 0.5, -3")
def three_pairs(load):
    return loss(load, "bradley_terry", GOOD, BAD)


@case("7.3", "one pair, 2 against 1")
def one_pair(load):
    return loss(load, "bradley_terry", GOOD[:1], BAD[:1])


@case("7.3", "one pair with a margin of 0.5")
def margin(load):
    return loss(load, "bradley_terry", GOOD[:1], BAD[:1], margin=0.5)


@case("7.3", "three pairs with margins 0, 1, 2")
def margins(load):
    return loss(load, "bradley_terry", GOOD, BAD, margin=torch.tensor([0.0, 1.0, 2.0]))


@case("7.3", "one pair with a smoothing of 0.1")
def smoothed(load):
    return loss(load, "bradley_terry", GOOD[:1], BAD[:1], smoothing=0.1)


@case("7.3", "a smoothing of 0.5, and an odd number of scores: refused")
def refused(load):
    found = []
    for scores, what in (((GOOD, BAD), {"smoothing": 0.5}), ((GOOD, BAD[:2]), {})):
        try:
            loss(load, "bradley_terry", *scores, **what)
            found.append("fine")
        except ValueError:
            found.append("refused")
    return found


@case("7.3", "margin ranking of the three pairs, margin 1")
def ranking(load):
    return loss(load, "margin_ranking", GOOD, BAD)


@case("7.3", "margin ranking, margin 0.25")
def small_margin(load):
    return loss(load, "margin_ranking", GOOD, BAD, margin=0.25)


@case("7.3", "margin ranking, margin 0: refused")
def no_margin(load):
    return loss(load, "margin_ranking", GOOD, BAD, margin=0.0)


@case("7.3", "centring of the three pairs")
def centred(load):
    return loss(load, "centring", GOOD, BAD)


@case("7.3", "the chances that chosen beats rejected")
def chances(load):
    return loss(load, "win_rate", GOOD, BAD)


@case("7.3b", "two players, 3 wins against 1")
def two_players(load):
    return load("reward.losses").fit_strengths(torch.tensor([[0.0, 3.0], [1.0, 0.0]]))


@case("7.3b", "three players")
def three_players(load):
    wins = torch.tensor([[0.0, 6.0, 8.0], [2.0, 0.0, 5.0], [1.0, 3.0, 0.0]])
    return load("reward.losses").fit_strengths(wins)


@case("7.3b", "the same with games against oneself, which do not count")
def against_oneself(load):
    wins = torch.tensor([[9.0, 6.0, 8.0], [2.0, 4.0, 5.0], [1.0, 3.0, 7.0]])
    return load("reward.losses").fit_strengths(wins)


@case("7.3b", "three players after one round")
def one_round(load):
    wins = torch.tensor([[0.0, 6.0, 8.0], [2.0, 0.0, 5.0], [1.0, 3.0, 0.0]])
    return load("reward.losses").fit_strengths(wins, steps=1)


@case("7.3b", "somebody who never won; somebody who never lost; a table that is no square: refused")
def extremes(load):
    found = []
    for wins in ([[0.0, 3.0], [0.0, 0.0]], [[0.0, 1.0, 1], [0, 0, 2], [0, 1, 0]], [[1.0, 2.0]]):
        try:
            load("reward.losses").fit_strengths(torch.tensor(wins))
            found.append("fine")
        except ValueError:
            found.append("refused")
    return found


@case("7.4", "2, 0, 1, 1 against 1, 1, 1, 0: the accuracy")
def accuracy(load):
    return load("reward.scores").accuracy([2, 0, 1, 1], [1, 1, 1, 0])


@case("7.4", "all equal: the accuracy")
def all_equal(load):
    return load("reward.scores").accuracy([1, 1], [1, 1])


@case("7.4", "six pairs in three bins: the points")
def points(load):
    chosen = np.array([0.1, -0.2, 1.0, 2.0, -1.5, 3.0])
    return load("reward.scores").calibration(chosen, np.zeros(6), 3)[1]


@case("7.4", "the same: the error")
def error(load):
    chosen = np.array([0.1, -0.2, 1.0, 2.0, -1.5, 3.0])
    return load("reward.scores").calibration(chosen, np.zeros(6), 3)[0]


@case("7.4", "seven pairs in three bins, one a tie: the error")
def uneven_bins(load):
    chosen = np.array([0.1, 0.0, 1.0, 2.0, -1.5, 3.0, 0.3])
    return load("reward.scores").calibration(chosen, np.zeros(7), 3)[0]


@case("7.4", "the ranks of 3, 1, 2, and of 5, 1, 1, 1, 9")
def ranks(load):
    return [load("reward.scores").ranks(x) for x in ([3, 1, 2], [5, 1, 1, 1, 9])]


@case("7.4", "the correlation of 1, 2, 4 with 2, 3, 9")
def pearson(load):
    return load("reward.scores").pearson([1, 2, 4], [2, 3, 9])


@case("7.4", "the correlation with what never changes; and of 1, 2, 3 with 3, 2, 1")
def extremes_of_pearson(load):
    return [load("reward.scores").pearson([1, 2, 3], x) for x in ([5, 5, 5], [3, 2, 1])]
