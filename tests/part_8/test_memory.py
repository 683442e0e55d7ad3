"""The main job's memory: what PPO and DPO keep at most for the way back, counted in bytes."""

import pytest
import torch
from kept import kept_bytes, main_model
from rl.dpo_pairs import PairTokens, own_pairs, pair_rows
from rl.policy import Policy, frozen_copy, response_logp
from rl.ppo_settings import PRESETS
from rl.rollout import as_rollout
from rl.steps import own_pieces
from run.distributed import Processes
from train_dpo import DPOSettings, learn_from

ALONE = Processes()
MOST = 600e6  # bytes; PyTorch, the models and all else take some 500 MB more
LONGEST = 72  # tokens of a reply


class Marks:
    """What learning needs of a tokenizer."""

    end, pad = 10, 11


def test_a_piece_of_ppo_keeps_little_even_where_no_reply_ends():
    s = PRESETS["tiny"]
    prompts = [[5] * 60 for _ in range(s.minibatch)]
    rows = as_rollout(prompts, [[7] * s.max_new for _ in prompts], [[0.0] * s.max_new] * len(prompts),
                      10, 11, copies=s.copies).rows
    every = own_pieces(torch.arange(s.minibatch), rows, s.micro_rows, ALONE)
    policy = Policy(main_model())
    kept = [kept_bytes(lambda: policy(rows.pick(piece))) for piece, _ in every[:1]]
    assert sum(len(piece) for piece, _ in every) == s.minibatch and max(kept) < MOST


@pytest.mark.parametrize("prompt, replies", [(30, 12), (60, LONGEST), (205, LONGEST)])
def test_a_piece_of_dpo_keeps_little_however_long_the_pairs_are(prompt, replies):
    s, model = DPOSettings(), main_model()
    batch = [PairTokens([5] * prompt, [7] * replies, [8] * replies)] * s.pairs_a_step
    every = own_pairs(batch, s.micro_tokens, ALONE)
    assert sum(len(few) for few, _ in every) == s.pairs_a_step
    largest = pair_rows(max((few for few, _ in every), key=len), 10, 11, "cpu")
    assert kept_bytes(lambda: response_logp(model, largest)) < MOST
    if replies == 12:
        assert len(every) == 1, "short pairs, which most are, are read at once: that is faster"


def gradient_of(model, reference, batch, most, runtime) -> tuple[torch.Tensor, torch.Tensor]:
    model.zero_grad()
    told = sum(learn_from(few, batch, model, reference, runtime.grad_scaler(), Marks, runtime,
                          DPOSettings(gold_weight=0.5), counts)
               for few, counts in own_pairs(batch, most, ALONE))
    return told, torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("most", [1, 25, 60])
def test_the_gradient_of_a_step_in_pieces_is_that_of_all_its_pairs(tiny, runtime, most):
    batch = [PairTokens([1] * (1 + n % 3), [n % 9, 3, 10][n % 2:], [n % 9, *[4] * n, 10])
             for n in range(7)]
    reference = frozen_copy(tiny)
    with torch.no_grad():  # else the first step's loss is log 2, whatever is read
        tiny.blocks[0].mlp.project.weight.mul_(3)
    assert len(own_pairs(batch, most, ALONE)) > 1 == len(own_pairs(batch, 10**6, ALONE))
    for whole, pieces in zip(gradient_of(tiny, reference, batch, 10**6, runtime),
                             gradient_of(tiny, reference, batch, most, runtime)):
        torch.testing.assert_close(pieces, whole, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("many, world", [(32, 1), (7, 2), (5, 4), (3, 4)])
def test_the_processes_read_every_pair_once_and_slices_make_them_read_equally_often(many, world):
    batch = [PairTokens([n], [2] * 10, [3] * 9) for n in range(many)]
    for shards in (False, True):
        found = [own_pairs(batch, 60, Processes(rank=rank, world=world, shards=shards))
                 for rank in range(world)]
        read = [pair.prompt[0] for own in found for few, counts in own for pair in few * counts]
        assert read == list(range(many))
        assert all(len(few) <= 3 for own in found for few, _ in own)
        assert not shards or len({len(own) for own in found}) == 1
