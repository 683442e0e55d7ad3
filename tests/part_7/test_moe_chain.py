"""A reward model whose body has experts: it learns, is saved, read again, and scores as it did."""

import json

import evaluate_reward
import pytest
import score
import torch
import train_reward
from moe.hybrid import HybridGPT
from reward.checkpoint import load_reward
from reward.model import RewardModel, score_rows
from stop_and_go import goes_on_to_the_same_bytes
from tiny_mixture import loaded, mixture_of


@pytest.fixture(scope="module")
def moe(tiny_base, tmp_path_factory):
    return mixture_of(tiny_base, tmp_path_factory.mktemp("moe"))


@pytest.fixture
def flags(moe, tmp_path):
    pairs = [{"prompt": f"What is {n // 2} + 1?", "chosen": str(n), "rejected": f"{n}, I think"}
             for n in range(25)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    return ("--sft", moe, "--data", tmp_path / "pairs.jsonl", "--rows", 8, "--amp", "float32",
            "--no-tensorboard")


def test_it_is_trained_stopped_saved_and_scores_again(moe, flags, tmp_path, capsys):
    goes_on_to_the_same_bytes(train_reward.main, flags, tmp_path, "reward.pt")
    path = tmp_path / "a" / "reward.pt"
    model, _, content = load_reward(path, "make it again")
    for body in (model.body, model.witness):
        assert isinstance(body, HybridGPT) and body.moe_config == loaded(moe)[0].moe_config
    old = loaded(moe)[0].moes[0]
    assert torch.equal(model.witness.moes[0].experts.down, old.experts.down), "the witness is frozen"
    assert not torch.equal(model.body.moes[0].experts.down, old.experts.down)
    assert not torch.equal(model.body.moes[0].router.weight, old.router.weight)
    score.main(["--checkpoint", str(path), "--prompt", "What is 3 + 4?", "--reply", "7"])
    evaluate_reward.main(["--checkpoint", str(path), "--sft", str(moe), "--items", "3", "--out",
                          str(tmp_path)])
    assert "score" in capsys.readouterr().out


def test_from_scratch_its_body_has_experts_too(moe, flags):
    sft, tokenizer = loaded(moe)
    args = train_reward.parse_args([*map(str, flags), "--start", "scratch"])
    model = train_reward.make_model(args, sft, tokenizer)
    assert isinstance(model.body, HybridGPT) and model.body.moe_config == sft.moe_config
    assert model.body.moes[0].router.weight.std() < 0.1, "the trained router's is 0.3"


def test_replies_read_together_score_as_replies_read_alone(moe, runtime):
    model, tokenizer = loaded(moe)
    model = RewardModel(model, reply_token=tokenizer.id_of("<|assistant|>")).eval()
    torch.nn.init.normal_(model.care.weight)
    opened = [tokenizer.begin, 70, 71, tokenizer.id_of("<|assistant|>")]
    rows = [opened + reply for reply in ([80, 81], [90], [80, 99, 98])]
    together = score_rows(model, rows, tokenizer.pad, runtime)
    alone = torch.cat([score_rows(model, [row], tokenizer.pad, runtime) for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
