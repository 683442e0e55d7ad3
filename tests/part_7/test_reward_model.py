"""The reward model: where the score is read, what it may depend on, what evidence adds."""

import pytest
import torch
import torch.nn.functional as F
from reward.checkpoint import load_reward, save_reward
from reward.faults import Reply
from reward.model import PlainRewardModel, RewardModel, encode_reply, score_rows
from run.checkpoint import load_checkpoint
from sft.chat_format import ROLE_TOKENS, Message, chat_tokenizer, encode_prompt, grow_vocabulary
from text.rows import pad_rows

ASK = (Message("user", "What is 3 + 4?"),)


@pytest.fixture
def scorer(loaded):
    body, tokenizer = loaded
    torch.manual_seed(1)
    return RewardModel(body).eval(), tokenizer


@pytest.fixture
def reader(loaded):
    """A model whose `care` and `cost` are not all zero, and whose body has left its witness."""
    body, tokenizer = loaded
    torch.manual_seed(1)
    model = RewardModel(body, reply_token=tokenizer.id_of(ROLE_TOKENS["assistant"])).eval()
    for layer in (model.care, model.cost):
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    with torch.no_grad():
        for parameter in model.body.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model, tokenizer


def random_rows(tokenizer, lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(5, 300, (n,), generator=generator).tolist() for n in lengths]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_score_is_that_of_the_last_real_token_whatever_is_padded(loaded, runtime,
                                                                     bidirectional):
    body, tokenizer = loaded
    torch.manual_seed(1)
    model = RewardModel(body, bidirectional).eval()
    rows = random_rows(tokenizer, [3, 9, 1, 20])
    alone = torch.cat([model(torch.tensor([row]), torch.tensor([len(row) - 1]))
                       for row in rows])
    last = torch.tensor([len(row) - 1 for row in rows])
    for pad in (tokenizer.pad, 7):
        for width in (20, 33):
            torch.testing.assert_close(model(pad_rows(rows, pad, width), last), alone,
                                       rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(score_rows(model, rows, tokenizer.pad, runtime, size=2), alone,
                               rtol=1e-4, atol=1e-5)


def test_a_score_with_evidence_is_the_same_whatever_is_padded(reader, runtime):
    model, tokenizer = reader
    rows = [encode_reply(ASK, Reply(text), tokenizer, 128) for text in ("7", "It is seven, sir.")]
    alone = torch.cat([model(torch.tensor([row]), torch.tensor([len(row) - 1])) for row in rows])
    last = torch.tensor([len(row) - 1 for row in rows])
    for pad in (tokenizer.pad, 7):
        torch.testing.assert_close(model(pad_rows(rows, pad, 60), last), alone, rtol=1e-4,
                                   atol=1e-5)
    torch.testing.assert_close(score_rows(model, rows, tokenizer.pad, runtime), alone, rtol=1e-4,
                               atol=1e-5)


def test_replies_to_one_prompt_read_together_score_as_each_alone(reader, runtime, monkeypatch):
    model, tokenizer = reader
    asks = [(Message("user", text),) for text in ("What is 3 + 4?", "Say hello.", "Who is it?")]
    rows = [encode_reply(ask, Reply(text), tokenizer, 64)
            for text in ("7", "seven of them", "I do not know") for ask in asks]
    alone = torch.cat([model(torch.tensor([row]), torch.tensor([len(row) - 1])) for row in rows])
    read = []
    monkeypatch.setattr(model.body, "features", lambda ids, plan=None, inner=model.body.features: (
        read.append(ids.shape), inner(ids, plan=plan))[1])
    torch.testing.assert_close(score_rows(model, rows, tokenizer.pad, runtime), alone, rtol=1e-4,
                               atol=1e-5)
    assert [shape[0] for shape in read] == [3], "nine replies to three prompts are three rows"
    together = score_rows(model, rows, tokenizer.pad, runtime, size=2)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_prompt_ends_with_the_last_role_before_the_reply(reader, scorer):
    model, tokenizer = reader
    mark = tokenizer.id_of(ROLE_TOKENS["assistant"])
    assert model.prompt_length([5, mark, 6, mark, 7, 8]) == 4
    assert model.prompt_length([5, 6, 7]) == 1 and model.prompt_length([5, mark]) == 1
    assert model.can_share and not scorer[0].can_share


def test_evidence_by_hand(reader):
    """Eq. 7.4 from the witness's probabilities and the body's stream, token by token."""
    model, tokenizer = reader
    row = encode_reply(ASK, Reply("It is 7"), tokenizer, 128)
    ids, first = torch.tensor([row]), len(encode_prompt(list(ASK), tokenizer))
    h = model.body.features(ids)[0]
    p = F.softmax(model.witness(ids)[0][0], dim=-1)
    expected = h[-1] @ model.head.weight[0]
    for t in range(first, len(row)):
        doubt = 1 - p[t - 1, row[t]] / p[t - 1].max()
        care = F.softplus(h[t] @ model.care.weight[0] + model.care.bias[0])
        cost = F.softplus(h[t] @ model.cost.weight[0] + model.cost.bias[0])
        expected = expected - cost - care * doubt
    torch.testing.assert_close(model(ids, torch.tensor([len(row) - 1]))[0], expected)


def test_what_the_witness_would_have_said_leaves_no_doubt(reader):
    model, tokenizer = reader
    row = encode_prompt(list(ASK), tokenizer)
    for _ in range(5):
        row.append(int(model.witness(torch.tensor([row]))[0][0, -1].argmax()))
    ids, last = torch.tensor([row]), torch.tensor([len(row) - 1])
    before = model(ids, last)
    with torch.no_grad():
        model.care.bias += 3  # to care more changes nothing
    torch.testing.assert_close(model(ids, last), before)


def test_only_the_last_reply_is_evidence(reader):
    model, tokenizer = reader
    talk = (*ASK, Message("assistant", "7"), Message("user", "And 4 + 4?"))
    row = encode_reply(talk, Reply("8"), tokenizer, 128)
    rows, columns = model.reply_places(torch.tensor([row, row]),
                                       torch.tensor([len(row) - 1, len(row) - 2]))
    first = len(encode_prompt(list(talk), tokenizer))
    places = list(range(first, len(row)))
    assert rows.tolist() == [0] * len(places) + [1] * (len(places) - 1)
    assert columns.tolist() == places + places[:-1]


def test_a_row_without_a_reply_has_no_evidence(reader):
    model, tokenizer = reader
    row = encode_prompt(list(ASK), tokenizer)
    ids, last = torch.tensor([row]), torch.tensor([len(row) - 1])
    assert len(model.reply_places(ids, last)[0]) == 0
    torch.testing.assert_close(model(ids, last)[0],
                               model.body.features(ids)[0, -1] @ model.head.weight[0])


def test_a_token_can_cost_and_never_earns(reader):
    model, tokenizer = reader
    row = encode_reply(ASK, Reply("banana banana banana"), tokenizer, 128)
    ids, last = torch.tensor([row]), torch.tensor([len(row) - 1])
    with torch.no_grad():
        plain = model.head(model.body.features(ids)).squeeze(-1)
        taken = (plain - model.token_scores(ids, last))[0]
    assert (taken.diff() >= -1e-5).all() and taken[-1] > 0
    assert taken[:model.prompt_length(row)].abs().max() < 1e-6, "the prompt is free"
    before = float(model(ids, last))
    with torch.no_grad():
        model.cost.bias += 2
    assert float(model(ids, last)) < before


def test_at_the_start_tokens_cost_little(loaded):
    model = RewardModel(loaded[0], reply_token=5)
    assert F.softplus(model.cost.bias).item() == pytest.approx(0.0486, abs=1e-4)
    assert not model.cost.weight.any() and not model.care.weight.any()


def test_more_care_lowers_the_score_of_what_was_not_expected(reader):
    model, tokenizer = reader
    row = encode_reply(ASK, Reply("banana banana"), tokenizer, 128)
    ids, last = torch.tensor([row]), torch.tensor([len(row) - 1])
    before = float(model(ids, last).detach())
    with torch.no_grad():
        model.care.bias += 2
    assert float(model(ids, last).detach()) < before


def test_the_score_is_the_head_times_the_normed_stream_at_the_end(scorer):
    model, _ = scorer
    ids = torch.tensor([[5, 6, 7, 8]])
    h = model.body.features(ids)
    torch.testing.assert_close(model(ids, torch.tensor([2])), h[:, 2] @ model.head.weight[0])
    with torch.no_grad():
        model.head.weight.zero_()
    assert float(model(ids, torch.tensor([3])).detach()) == 0


def test_a_causal_score_does_not_depend_on_later_tokens_and_an_encoder_s_does(loaded):
    body, _ = loaded
    one, two = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[5, 6, 7, 9]])
    last = torch.tensor([3])
    causal, encoder = RewardModel(body).eval(), RewardModel(body, True).eval()
    reader = RewardModel(body, reply_token=5).eval()
    for model in (causal, reader):
        torch.testing.assert_close(model.token_scores(one, last)[:, :3],
                                   model.token_scores(two, last)[:, :3])
    assert (encoder.token_scores(one, last)[:, 0] - encoder.token_scores(two, last)[:, 0]).abs() > 0


def test_the_body_s_own_logits_are_unchanged_by_the_head(loaded):
    body, _ = loaded
    ids = torch.tensor([[5, 6, 7, 8]])
    logits, _ = body(ids)
    torch.testing.assert_close(body.features(ids) @ body.head.weight.T, logits)


def test_the_head_starts_with_the_spread_that_gives_scores_of_size_one(loaded):
    body, _ = loaded
    stds = [RewardModel(body).head.weight.std().item() for _ in range(40)]
    assert sum(stds) / 40 == pytest.approx((body.config.n_embd + 1) ** -0.5, rel=0.05)
    assert RewardModel(body).head.bias is None


def test_gradients_reach_the_whole_body(scorer):
    model, _ = scorer
    model.train()
    model(torch.tensor([[5, 6, 7]]), torch.tensor([2])).sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == [] and float(model.head.weight.grad.abs().sum()) > 0


def test_gradients_reach_the_care_for_doubts_and_the_costs(reader):
    model, tokenizer = reader
    row = encode_reply(ASK, Reply("banana"), tokenizer, 128)
    model(torch.tensor([row]), torch.tensor([len(row) - 1])).sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without and all(name.startswith("witness.") for name in without), "it is frozen"
    for layer in (model.care, model.cost):
        assert float(layer.weight.grad.abs().sum()) > 0


def test_the_witness_is_the_body_as_it_was_and_never_in_training_mode(loaded):
    body, _ = loaded
    model = RewardModel(body, reply_token=5).train()
    assert model.body.training and not model.witness.training
    assert not any(p.requires_grad for p in model.witness.parameters())
    for (name, mine), other in zip(model.body.named_parameters(), model.witness.parameters()):
        assert torch.equal(mine, other) and mine is not other, name
    with torch.no_grad():
        body.norm.weight.add_(1)
    assert not torch.equal(model.body.norm.weight, model.witness.norm.weight)


def test_a_witness_needs_a_causal_body(loaded):
    body, _ = loaded
    with pytest.raises(ValueError, match="eq. 7.3 alone"):
        RewardModel(body, bidirectional=True, reply_token=5)


def test_a_reply_is_encoded_as_it_was_said(scorer):
    _, tokenizer = scorer
    ended = encode_reply(ASK, Reply("7"), tokenizer, 128)
    cut = encode_reply(ASK, Reply("7", ended=False), tokenizer, 128)
    assert ended == [*cut, tokenizer.end]
    assert encode_reply(ASK, Reply(""), tokenizer, 128)[-1] == tokenizer.end
    assert encode_reply(ASK, Reply(""), tokenizer, 128)[:-1] == encode_prompt(list(ASK), tokenizer)
    other = encode_reply((Message("user", "What is 3 + 5?"),), Reply("7"), tokenizer, 128)
    assert other != ended, "the prompt is read as well"


@pytest.mark.parametrize("bidirectional, evidence", [(False, True), (False, False),
                                                     (True, False)])
def test_a_reward_model_comes_back_as_it_was_saved(loaded, tmp_path, bidirectional, evidence):
    body, tokenizer = loaded
    opens = tokenizer.id_of(ROLE_TOKENS["assistant"]) if evidence else None
    model = RewardModel(body, bidirectional, opens).eval()
    save_reward(tmp_path / "reward.pt", model, tokenizer, mean=1.5, std=2.0, settings={},
                metrics={"accuracy": 0.9})
    again, same, content = load_reward(tmp_path / "reward.pt", "make it")
    row = encode_reply(ASK, Reply("7"), tokenizer, 128)
    ids, last = torch.tensor([row]), torch.tensor([len(row) - 1])
    assert torch.equal(again(ids, last), model(ids, last))
    assert same.fingerprint == tokenizer.fingerprint
    assert (content["mean"], content["std"]) == (1.5, 2.0)


def test_what_is_no_reward_model_is_refused_with_the_way_out(tiny_base, tmp_path):
    with pytest.raises(FileNotFoundError, match="train it so"):
        load_reward(tmp_path / "none.pt", "train it so")
    with pytest.raises(ValueError, match="train it so"):
        load_reward(tiny_base, "train it so")
    broken = tmp_path / "cut.pt"
    broken.write_bytes(tiny_base.read_bytes()[:500])
    with pytest.raises(ValueError, match="cut short"):
        load_reward(broken, "train it so")


def test_the_base_s_weights_are_not_touched(tiny_base):
    model, tokenizer, _ = load_checkpoint(tiny_base)
    before = model.token_embedding.weight.clone()
    tokenizer = chat_tokenizer(tokenizer)
    reward = RewardModel(grow_vocabulary(model, tokenizer.vocab_size))
    reward(torch.tensor([[5, 6]]), torch.tensor([1])).sum().backward()
    assert torch.equal(before, model.token_embedding.weight)


def test_without_a_witness_it_is_the_plain_form_scores_and_gradients(loaded):
    body, tokenizer = loaded
    found = []
    for form in (PlainRewardModel, RewardModel):
        torch.manual_seed(1)
        model = form(body).train()
        model.zero_grad(set_to_none=True)
        rows = random_rows(tokenizer, [3, 9, 20])
        scores = model(pad_rows(rows, tokenizer.pad), torch.tensor([2, 8, 19]))
        (scores * torch.tensor([1.0, -2.0, 0.5])).sum().backward()
        found.append((scores.detach(), [p.grad.clone() for p in model.parameters()]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-6)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_the_plain_form_reads_the_last_real_token(loaded):
    body, tokenizer = loaded
    model = PlainRewardModel(body).eval()
    rows = random_rows(tokenizer, [3, 9])
    padded = model(pad_rows(rows, tokenizer.pad, 30), torch.tensor([2, 8]))
    for row, score in zip(rows, padded):
        h = body.features(torch.tensor([row]))[0, -1]
        torch.testing.assert_close(score, model.head.weight[0] @ h, rtol=1e-4, atol=1e-5)
