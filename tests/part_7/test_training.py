"""Training: the losses by name, what is learnt from, a run that learns, what stays frozen."""

import math

import pytest
import torch
from reward.data import encode_pairs
from reward.faults import Reply
from reward.model import RewardModel, score_rows
from reward.own_pairs import file_data
from reward.preferences import Pair, asked_items
from reward.sources import draw_replies, shuffled_labels, world_data
from sft.chat_format import ROLE_TOKENS, Message
from train_reward import loss_of, optimizer_of, parse_args, settled, train

ASK = (Message("user", "What is 3 + 4?"),)


@pytest.mark.parametrize("name", ["bradley-terry", "ranking", "margin"])
def test_every_loss_by_name_falls_when_chosen_rises(name):
    args = parse_args(["--loss", name])
    low = loss_of(name, torch.zeros(3), torch.zeros(3), torch.ones(3), args)
    high = loss_of(name, torch.ones(3) * 0.5, torch.zeros(3), torch.ones(3), args)
    assert float(high) < float(low)


def test_the_margin_is_the_gap_in_quality_and_bradley_terry_has_none():
    args = parse_args(["--margin", "2", "--centring", "0"])
    zeros, gaps = torch.zeros(2), torch.tensor([0.0, 1.0])
    assert float(loss_of("margin", zeros, zeros, gaps, args)) == pytest.approx(
        (math.log(2) + math.log1p(math.exp(2))) / 2)
    assert float(loss_of("bradley-terry", zeros, zeros, gaps, args)) == pytest.approx(math.log(2))


def test_centring_is_added_with_its_weight():
    args = parse_args(["--centring", "0.5"])
    ones, gaps = torch.ones(2), torch.zeros(2)
    assert float(loss_of("bradley-terry", ones, ones, gaps, args)) == pytest.approx(
        math.log(2) + 0.5 * 4)


def test_shuffled_labels_turn_half_of_the_pairs_round():
    pairs = [Pair(ASK, Reply("a"), Reply(str(i)), gap=1.0) for i in range(400)]
    found = shuffled_labels(pairs, 0)
    turned = [i for i, pair in enumerate(found) if pair.gap < 0]
    assert 150 < len(turned) < 250
    assert all(found[i].chosen == pairs[i].rejected for i in turned)


def test_drawn_replies_belong_to_their_items(loaded, runtime, monkeypatch):
    from reward import sources as reward_sources

    def echo(model, tokenizer, conversations, runtime, *, temperature, seed):
        return [Reply(messages[-1].content) for messages in conversations]

    monkeypatch.setattr(reward_sources, "reply_to", echo)
    asked = asked_items(3, "train", 0)
    drawn = draw_replies(None, None, asked, runtime, each=2, seed=0)
    assert drawn == [[Reply(item.prompt)] * 2 for item in asked]


def test_no_held_out_prompt_is_learnt_from_and_a_share_was_kept_from_tuning(loaded, runtime):
    model, tokenizer = loaded
    args = parse_args(["--items", "12", "--held-out-items", "8", "--unseen", "0.5"])
    data = world_data(args, model, tokenizer, runtime)
    learnt = {(pair.item.skill, pair.item.key) for pair in data.pairs}
    held_out = {(pair.item.skill, pair.item.key) for pair in data.held_out + data.new_faults}
    assert not learnt & held_out and len(data.asked) == len(data.replies) == 8
    unseen = {(item.skill, item.key) for item in asked_items(6, "validation", 0)}
    assert 0 < len(learnt & unseen) <= 6 < len(learnt)


def test_a_tenth_of_a_file_is_held_out(loaded, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(f'{{"prompt": "{i}", "chosen": "a", "rejected": "b"}}\n'
                            for i in range(40)))
    data = file_data(parse_args(["--data", str(path)]), loaded[1], 256)
    assert len(data.held_out) == 4 and len(data.pairs) == 36
    assert not {pair.prompt for pair in data.pairs} & {pair.prompt for pair in data.held_out}


@pytest.mark.parametrize("flags", [[], ["--no-witness"], ["--bidirectional"],
                                   ["--muon", "0.01"], ["--loss", "ranking"]])
def test_a_run_learns_that_a_polite_reply_is_better(loaded, runtime, flags):
    body, tokenizer = loaded
    args = settled(parse_args(["--rows", "16", "--peak", "3e-3", *flags]))
    pairs = [Pair((Message("user", f"What is {i}?"),), Reply(f"{i}"), Reply(f"{i}. Go away."))
             for i in range(300)]
    encoded, pairs, _ = encode_pairs(pairs, tokenizer, 128)
    torch.manual_seed(0)
    opens = tokenizer.id_of(ROLE_TOKENS["assistant"]) if args.witness else None
    model = RewardModel(body, args.bidirectional, opens)
    frozen = {k: v.clone() for k, v in model.state_dict().items() if k.startswith("witness.")}
    log = train(model, pairs[:240], encoded[:240], tokenizer, runtime, args)
    assert len(log) == 30
    assert bool(frozen) == args.witness
    state = model.state_dict()
    assert all(torch.equal(state[name], before) for name, before in frozen.items())
    if args.witness:
        assert not torch.equal(state["body.norm.weight"], state["witness.norm.weight"])
    scores = [score_rows(model, [list(getattr(p, side)) for p in encoded[240:]], tokenizer.pad,
                         runtime) for side in ("chosen", "rejected")]
    assert float((scores[0] > scores[1]).float().mean()) > 0.9


@pytest.mark.parametrize("muon", ["0", "0.01"])
def test_every_parameter_is_in_one_group_and_the_new_ones_learn_faster(loaded, runtime, muon):
    args = parse_args(["--muon", muon, "--peak", "1e-3", "--head-peak", "4e-3"])
    model = RewardModel(loaded[0], reply_token=5)
    optimizer = optimizer_of(model, runtime, args)
    grouped = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for name, p in model.named_parameters()
                                     if not name.startswith("witness."))
    scales = {id(p): group["scale"] for group in optimizer.param_groups for p in group["params"]}
    assert scales[id(model.head.weight)] == scales[id(model.care.weight)] == 4
    assert scales[id(model.body.token_embedding.weight)] == 1


@pytest.mark.parametrize("flags, message", [
    (["--rows", "0"], "--rows 0"), (["--unseen", "1.5"], "--unseen 1.5"),
    (["--pairs-an-item", "0"], "--pairs-an-item 0")])
def test_settings_that_make_no_sense_are_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        settled(parse_args(flags))


def test_an_encoder_has_no_witness():
    assert settled(parse_args([])).witness
    assert not settled(parse_args(["--bidirectional"])).witness
