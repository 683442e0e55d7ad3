"""The main job's memory: what GRPO keeps at most for the way back, counted in bytes."""

import torch
from kept import kept_bytes, main_model
from reasoning.grpo_settings import PRESETS
from rl.policy import response_logp
from rl.rollout import as_rollout
from rl.steps import own_pieces
from run.distributed import Processes

MOST = 600e6  # bytes; PyTorch, the models and all else take some 500 MB more


def test_a_piece_of_grpo_keeps_little_even_where_no_reply_ends():
    s = PRESETS["tiny"]
    prompts = [[5] * 70 for _ in range(s.group * 12)]
    rows = as_rollout(prompts, [[7] * s.max_new for _ in prompts], [[0.0] * s.max_new] * len(prompts),
                      10, 11, copies=s.group).rows
    every = own_pieces(torch.arange(len(rows)), rows, s.micro_rows, Processes())
    model = main_model()
    assert sum(len(piece) for piece, _ in every) == len(rows)
    assert kept_bytes(lambda: response_logp(model, rows.pick(every[0][0]))) < MOST
