"""The start at which heads look back: where they look, whatever the tokens are, and what is refused."""

import sys
from pathlib import Path

import pytest
import torch
import train
from base.looking_back import look_back
from gpt.layers import apply_rope, make_plan
from gpt.model import GPT, GPTConfig
from run.checkpoint import load_checkpoint

sys.path.insert(0, str(Path(__file__).parent))
from runs import arguments

SIZE = {"vocab_size": 500, "block_size": 64, "n_layer": 3, "n_head": 2, "n_embd": 64, "qk_norm": True,
        "embedding_std": 0.16}


def started(heads: int, seed: int = 0, **changes) -> GPT:
    torch.manual_seed(seed)
    model = GPT(GPTConfig(**{**SIZE, **changes}))
    look_back(model, heads)
    return model


@torch.no_grad()
def looks(model: GPT) -> torch.Tensor:
    """(heads, T, T): how much each token looks at each in the first layer, written out."""
    ids = torch.randint(0, model.config.vocab_size, (1, 24))
    plan = make_plan(ids.shape, ids.device, window=None, table=model.table, cache=None, start=None,
                     segments=None)
    x = model.token_embedding(ids)
    block = model.blocks[0]
    attention = block.attention
    H, K, D = attention.H, attention.K, attention.D
    parts = attention.qkv(block.norm_1(x)).view(1, 24, H + 2 * K, D)
    q = apply_rope(attention.q_norm(parts[:, :, :H]), *plan.rotation).transpose(1, 2)
    k = apply_rope(attention.k_norm(parts[:, :, H:H + K]), *plan.rotation).transpose(1, 2)
    k = k.repeat_interleave(H // K, dim=1)
    later = torch.ones(24, 24, dtype=torch.bool).triu(1)
    return (q @ k.mT / D ** 0.5).masked_fill(later, -torch.inf).softmax(-1)[0]


@pytest.mark.parametrize("shape, heads", [
    ({}, 2), ({"n_head": 4, "n_kv_head": 2, "n_embd": 128}, 3), ({"n_head": 4, "n_embd": 128}, 1)])
def test_each_of_these_heads_looks_at_one_earlier_token(shape, heads):
    weights = looks(started(heads, **shape))
    for head in range(heads):
        seen = weights[head].diagonal(-head - 1)
        assert seen.min() > 0.6, f"head {head}"
        assert seen.mean() > 0.75, f"head {head}"


def test_the_other_heads_begin_as_they_did():
    weights = looks(started(1, n_head=4, n_embd=128))
    assert weights[1:, -1].max() < 0.5


def test_the_other_layers_begin_as_they_did():
    torch.manual_seed(0)
    plain = GPT(GPTConfig(**SIZE)).state_dict()
    for name, weight in started(2).state_dict().items():
        if name.startswith(("blocks.1", "blocks.2")):
            assert torch.equal(weight, plain[name]), name


def test_embeddings_have_a_common_part_as_long_as_the_rest():
    embeddings = started(2).token_embedding.weight.detach()
    common = embeddings.mean(0)
    rest = (embeddings - common).norm(dim=1).mean()
    assert 0.85 < float(common.norm() / rest) < 1.15
    assert float(common.norm()) == pytest.approx(0.16 * 64 ** 0.5, rel=0.1)


def test_no_heads_changes_nothing():
    torch.manual_seed(0)
    plain = GPT(GPTConfig(**SIZE)).state_dict()
    for name, weight in started(0).state_dict().items():
        assert torch.equal(weight, plain[name]), name


def test_the_same_seed_makes_the_same_start():
    first, second = (started(2, seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("heads, changes, named", [
    (3, {}, "look-back 3"), (-1, {}, "look-back -1"), (2, {"qk_norm": False}, "qk_norm=False"),
    (2, {"n_head": 16}, "head_dim=4")])
def test_what_cannot_be_is_refused(heads, changes, named):
    with pytest.raises(ValueError, match=named):
        started(heads, **changes)


def test_training_begins_with_the_look_back_and_refuses_a_bad_one_before_any_work(tmp_path):
    shares = {}
    for heads in (0, 2):
        train.main(arguments(tmp_path / str(heads), "--steps", 1, "--look-back", heads))
        embeddings = load_checkpoint(tmp_path / str(heads) / "base.pt")[0].token_embedding.weight.detach()
        shares[heads] = float(embeddings.mean(0).norm() / embeddings.norm(dim=1).mean())
    assert shares[0] < 0.2 and 0.6 < shares[2] < 0.85
    with pytest.raises(ValueError, match="--look-back 5: from 0 to the 2 heads"):
        train.main(arguments(tmp_path / "refused", "--look-back", 5))
    assert not (tmp_path / "refused" / "data").exists()
