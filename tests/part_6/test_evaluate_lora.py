"""Scores by hand, replies in batches, LoRA against its definition, and a model that memorises."""

import copy

import pytest
import torch
from run.loop import train_step
from run.optim import make_optimizer
from sft.chat_format import Message, messages_of
from sft.data import encode_example, pad_batch
from sft.evaluation import Reply, answer_items, reply_to, score_items, token_f1, wilson
from sft.lora import LoRALinear, add_lora, merge_lora, trained_parameters
from sft.skills import items


def test_wilsons_interval_by_hand():
    low, high = wilson(8, 10)  # (0.8 + 0.19207 ± 1.96 sqrt(0.016 + 0.009604)) / 1.38416
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 20)[0] == pytest.approx(0, abs=1e-12)
    assert wilson(20, 20)[1] == pytest.approx(1)


def test_token_f1_by_hand():
    assert token_f1("the red bell", "the bell") == pytest.approx(0.8)  # P 2/3, R 1
    assert token_f1("a a", "a") == pytest.approx(2 / 3)  # the second a is one too many
    assert token_f1("bell the", "The bell.") == 1
    assert token_f1("", "x") == 0 and token_f1("", "") == 1


def test_scores_count_right_answers_by_skill_and_ends():
    asked = items(30, "new_items")
    replies = [Reply(item.answer if i % 2 else "banana", i % 3 == 0, ())
               for i, item in enumerate(asked)]
    score = score_items(asked, replies)
    assert score.right == 15 and score.exact_match == 0.5 and score.end_rate == pytest.approx(1 / 3)
    assert sum(n for _, n in score.by_skill.values()) == 30
    assert sum(right for right, _ in score.by_skill.values()) == 15


def test_replies_in_a_batch_are_those_of_one_by_one(loaded, runtime):
    model, tokenizer = loaded
    chats = [messages_of(i) for i in items(60, "train") if len(i.prompt) < 60 and not i.history][:9]
    together = reply_to(model, tokenizer, chats, runtime, longest=10, size=4)
    alone = [reply_to(model, tokenizer, [c], runtime, longest=10)[0] for c in chats]
    assert [r.ids for r in together] == [r.ids for r in alone]


def test_each_reply_has_the_room_it_would_have_alone(loaded, runtime):
    model, tokenizer = loaded
    texts = ["Hello", *("bell " * n for n in (20, 40, 55, 58, 60, 400)), "Name a bird.", "bell " * 59]
    chats = [[Message("user", text)] for text in texts]
    together = reply_to(model, tokenizer, chats, runtime, longest=50, size=5)
    alone = [reply_to(model, tokenizer, [c], runtime, longest=50)[0] for c in chats]
    assert [(r.ids, r.ended) for r in together] == [(r.ids, r.ended) for r in alone]
    assert len({len(r.ids) for r in alone}) >= 4, "some had less room than others"
    assert len(together[0].ids) == 50 and together[6] == Reply("", False, ())


def test_a_prompt_that_fills_the_context_is_counted_as_not_answered(loaded, runtime):
    model, tokenizer = loaded
    full = [Message("user", "bell " * 400)]
    short = [Message("user", "Hello")]
    replies = reply_to(model, tokenizer, [full, short], runtime, longest=5)
    assert replies[0] == Reply("", False, ())
    assert len(replies[1].ids) > 0


def test_a_base_model_is_asked_in_plain_text(tiny_base, runtime):
    from run.checkpoint import load_checkpoint
    model, tokenizer, _ = load_checkpoint(tiny_base)
    asked = [i for i in items(30, "train") if len(i.prompt) < 60 and not i.history][:3]
    assert all("\n" not in r.text for r in answer_items(model, tokenizer, asked, runtime))


def test_a_tiny_model_memorises_its_answers_and_stops_by_itself(loaded, runtime):
    model, tokenizer = loaded
    chats = [[Message("user", q), Message("assistant", a)] for q, a in
             (("What is 2 + 3?", "5"), ("Name a bird.", "owl"), ("Say no.", "no, no and no"),
              ("Hello.", "Good day!"))]
    ids, targets = pad_batch([encode_example(c, tokenizer, 64)[0] for c in chats], tokenizer.pad)
    optimizer = make_optimizer(model, weight_decay=0.0, betas=(0.9, 0.95))
    model.train()
    for _ in range(80):
        report = train_step(model, optimizer, ids, targets, runtime=runtime,
                            scaler=runtime.grad_scaler(), rate=1e-2)
    assert report.loss < 0.1
    replies = reply_to(model, tokenizer, [c[:1] for c in chats], runtime, longest=20)
    assert [r.text for r in replies] == [c[1].content for c in chats]
    assert all(r.ended for r in replies)
    cut = reply_to(model, tokenizer, [chats[2][:1]], runtime, longest=2)
    assert [(r.ended, len(r.ids)) for r in cut] == [(False, 2)], "two tokens of a longer answer"


# ---------------------------------------------------------------- LoRA

def test_lora_changes_nothing_at_the_start(loaded):
    model, _ = loaded
    ids = torch.randint(0, 300, (2, 12))
    before = model(ids)[0]
    torch.testing.assert_close(add_lora(copy.deepcopy(model), 4)(ids)[0], before)


def test_lora_is_its_equation_and_merging_keeps_it():
    torch.manual_seed(0)
    plain = torch.nn.Linear(6, 5)
    layer = LoRALinear(plain, rank=2, alpha=3.0)
    with torch.no_grad():
        layer.b.normal_()
    x = torch.randn(4, 6)
    expected = x @ (plain.weight + 3.0 / 2 * layer.b @ layer.a).T + plain.bias
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.merged()(x), expected)


def test_only_the_detours_and_the_embedding_learn(loaded, runtime):
    model, tokenizer = loaded
    tuned = add_lora(copy.deepcopy(model), 4)
    before = {name: p.detach().clone() for name, p in tuned.named_parameters()}
    example = encode_example([Message("user", "a"), Message("assistant", "b")], tokenizer, 60)[0]
    optimizer = make_optimizer(tuned, weight_decay=0.0, betas=(0.9, 0.95))
    for _ in range(2):  # in the first step a learns nothing: b is zero
        train_step(tuned, optimizer, *pad_batch([example], tokenizer.pad), runtime=runtime,
                   scaler=runtime.grad_scaler(), rate=1e-2)
    moved = {name for name, p in tuned.named_parameters() if not torch.equal(p, before[name])}
    expected = {name for name in before if name.endswith((".a", ".b"))} | {"token_embedding.weight"}
    assert moved == expected
    assert trained_parameters(tuned) == sum(before[name].numel() for name in expected)


def test_a_merged_model_is_a_plain_one_that_says_the_same(loaded):
    model, _ = loaded
    tuned = add_lora(copy.deepcopy(model), 4)
    for name, p in tuned.named_parameters():
        if name.endswith(".b"):
            torch.nn.init.normal_(p, std=0.1)
    ids = torch.randint(0, 300, (2, 12))
    before = tuned(ids)[0]
    merged = merge_lora(tuned)
    torch.testing.assert_close(merged(ids)[0], before, atol=1e-5, rtol=1e-4)
    assert set(merged.state_dict()) == set(model.state_dict())
    assert all(p.requires_grad for p in merged.parameters())
    assert (before - model(ids)[0]).abs().max() > 1e-3


def test_a_rank_that_makes_no_sense_is_refused(loaded):
    with pytest.raises(ValueError, match="--lora 99"):
        add_lora(loaded[0], 99)
    with pytest.raises(ValueError, match="no matrix named"):
        add_lora(torch.nn.Sequential(torch.nn.Linear(3, 3)), 2)
