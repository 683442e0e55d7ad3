"""Labels, packing, truncation, order: by hand, and against the plain way of doing it."""

import copy
from dataclasses import replace

import pytest
import torch
from run.loop import train_step
from sft.chat_format import Message, chat_tokenizer
from sft.curriculum import ORDERS, ordered
from sft.data import (
    Example,
    ExampleRows,
    encode_all,
    encode_example,
    pack,
    pad_batch,
    replay_examples,
    to_tensors,
    world_examples,
)
from text.rows import IGNORED, pad_rows, segments
from text.tokenizer import Tokenizer

BYTES = chat_tokenizer(Tokenizer.from_merges([]))
PAD, BEGIN, END, SYSTEM, USER, ASSISTANT = range(256, 262)


def chat(question, answer):
    return [Message("user", question), Message("assistant", answer)]


def test_labels_of_three_records_by_hand():
    for question, answer in (("Mend the word.\nfreind", "friend"), ("2 + 3 =", "5"),
                             ("Say yes.", "Yes, of course.")):
        example, what = encode_example(chat(question, answer), BYTES, 100)
        ids, targets = pad_batch([example], PAD)
        labels = targets[targets != IGNORED].tolist()
        assert what == "whole"
        assert BYTES.decode(labels[:-1]) == f" {answer}" and labels[-1] == END
        first = ids[0].tolist().index(ASSISTANT)
        assert targets[0, first] == ord(" "), "<|assistant|> predicts the blank, then the answer"
        assert (targets[0, :first] == IGNORED).all()


def test_targets_are_the_ids_shifted_by_one_and_pads_count_for_nothing():
    examples = [encode_example(chat("ab", "c"), BYTES, 50)[0],
                encode_example(chat("d", "efgh"), BYTES, 50)[0]]
    ids, targets = pad_batch(examples, PAD)
    assert ids.tolist() == [[BEGIN, USER, 97, 98, END, ASSISTANT, 32, 99, PAD, PAD],
                            [BEGIN, USER, 100, END, ASSISTANT, 32, 101, 102, 103, 104]]
    assert targets.tolist() == [[IGNORED] * 5 + [32, 99, END, IGNORED, IGNORED],
                                [IGNORED] * 4 + [32, 101, 102, 103, 104, END]]


def test_pad_rows_fills_on_the_right():
    assert pad_rows([[1], [2, 3]], 9).tolist() == [[1, 9], [2, 3]]
    assert pad_rows([[1]], 9, width=3).tolist() == [[1, 9, 9]]


def test_a_long_prompt_is_shortened_and_the_answer_kept():
    example, what = encode_example(chat("x" * 100 + "END?", "yes"), BYTES, 20)
    text = BYTES.decode([i for i in example.ids if i < 256])
    assert what == "shortened" and example.read <= 20
    assert text.endswith("END? yes"), "the end of the question is what matters"
    assert sum(example.is_label) == 5


def test_the_oldest_turns_go_first_and_the_system_line_stays():
    turns = [Message("system", "S"), *chat("old", "older"), *chat("new", "newer")]
    example, what = encode_example(turns, BYTES, 19)
    assert what == "shortened"
    assert BYTES.decode([i for i in example.ids if i < 256]) == "Snew newer"


def test_an_answer_that_cannot_fit_is_skipped_and_counted():
    examples, counts = encode_all([chat("a", "b"), chat("a", "b" * 60), chat("c" * 60, "d")],
                                  BYTES, 20)
    assert len(examples) == 2, counts
    assert counts == {"whole": 1, "shortened": 1, "skipped": 1}


def test_a_row_without_labels_gives_no_nan(loaded):
    model, tokenizer = loaded
    ids = torch.full((1, 8), tokenizer.begin)
    _, loss = model(ids, torch.full((1, 8), IGNORED), loss_only=True)
    assert loss.item() == 0.0


def test_packing_keeps_every_example_whole_and_once():
    examples, _ = world_examples(120, 0, BYTES, 900)
    rows = pack(examples, 900, chunk=40)
    flat = [e for row in rows for e in row]
    assert sorted(e.ids for e in flat) == sorted(e.ids for e in examples)
    assert all(sum(e.read for e in row) <= 900 for row in rows)
    first = {e.ids for row in rows[:len(pack(examples[:40], 900))] for e in row}
    assert first == {e.ids for e in examples[:40]}, "chunks keep their order"
    assert len(rows) < 0.7 * len(examples)
    with pytest.raises(ValueError, match="does not fit"):
        pack([Example(tuple(range(30)), (True,) * 30)], 20)


def tiny_examples(tokenizer, n=24, context=128):
    return world_examples(n, 1, tokenizer, context)[0]


def gradient(model, batches, begin):
    """The gradient of the sum of the losses of all labels, and that sum."""
    model.zero_grad()
    total = 0.0
    for ids, targets, parts in batches:
        _, loss = model(ids, targets, segments=parts, loss_only=True)
        nats = loss * (targets != IGNORED).sum()
        nats.backward()
        total += float(nats)
    return total, [p.grad.clone() for p in model.parameters()]


def test_packed_equals_one_by_one_in_loss_and_gradient(loaded):
    model, tokenizer = loaded
    examples = tiny_examples(tokenizer)
    ids, targets = to_tensors(pack(examples, 128), tokenizer.pad, 128)
    packed, g1 = gradient(model, [(ids, targets, segments(ids, tokenizer.begin))], None)
    single, g2 = gradient(model, [(*pad_batch([e], tokenizer.pad), None) for e in examples], None)
    labels = sum(sum(e.is_label) for e in examples)
    assert abs(packed - single) / labels < 1e-5
    for a, b in zip(g1, g2):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)


def test_a_conversation_does_not_see_the_one_before_it(loaded):
    model, tokenizer = loaded
    first, second = short_two(tokenizer)
    ids, _ = to_tensors([[first, second]], tokenizer.pad, 128)
    other = ids.clone()
    other[0, 1:first.read] = (other[0, 1:first.read] + 7) % 300
    other[0][other[0] == tokenizer.begin] = 5
    other[0, 0] = other[0, first.read] = tokenizer.begin
    place = slice(first.read, first.read + second.read)
    a, b = (model(x, segments=segments(x, tokenizer.begin))[0][0, place] for x in (ids, other))
    torch.testing.assert_close(a, b)
    leaking = model(other)[0][0, place]
    assert (leaking - model(ids)[0][0, place]).abs().max() > 1e-4, "without segments it does"


def short_two(tokenizer):
    return [encode_example(chat(q, a), tokenizer, 60)[0]
            for q, a in (("What is 2 + 3?", "5"), ("Name a bird.", "owl"))]


def test_the_step_is_the_mean_over_all_labels_however_it_is_cut(loaded, runtime):
    model, tokenizer = loaded
    long = encode_example(chat("Count.", "one two three four five six"), tokenizer, 60)[0]
    short = encode_example(chat("Say no.", "no"), tokenizer, 60)[0]
    ids, targets = pad_batch([long, short, short, short], tokenizer.pad)
    moved = []
    for micro in (4, 1):
        twin = copy.deepcopy(model)
        optimizer = torch.optim.SGD(twin.parameters(), lr=1.0)
        report = train_step(twin, optimizer, ids, targets, runtime=runtime,
                            scaler=runtime.grad_scaler(), rate=1.0, clip=1e9, micro_rows=micro)
        moved.append((report, [p.detach() for p in twin.parameters()]))
    assert moved[0][0].labels == sum(sum(e.is_label) for e in (long, short, short, short))
    assert abs(moved[0][0].loss - moved[1][0].loss) < 1e-5
    for a, b in zip(moved[0][1], moved[1][1]):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_batch_is_a_function_of_its_number_and_an_epoch_has_every_row_once():
    examples, _ = world_examples(60, 0, BYTES, 900)
    rows = ExampleRows(examples, 900, pad=PAD, packed=False, seed=4)
    again = ExampleRows(examples, 900, pad=PAD, packed=False, seed=4)
    again.batch(9, 4)
    for a, b in zip(rows.batch(1, 4), again.batch(1, 4)):
        assert torch.equal(a, b)
    assert sorted(rows.order(0)) == sorted(rows.order(1)) == list(range(60))
    assert rows.order(0) != rows.order(1)
    assert ExampleRows(examples, 900, pad=PAD, packed=False, shuffled=False).order(3) == \
        list(range(60))
    with pytest.raises(ValueError, match="no examples"):
        ExampleRows([], 900, pad=PAD)


def test_joined_conversations_have_two_questions_and_both_answers_as_labels():
    examples, _ = world_examples(80, 0, BYTES, 4000, joined=1.0)
    plain, _ = world_examples(80, 0, BYTES, 4000, joined=0.0)
    turns = [e.ids.count(ASSISTANT) for e in examples]
    assert sum(t >= 2 for t in turns) > sum(e.ids.count(ASSISTANT) >= 2 for e in plain) + 30
    for e in examples:
        said = sum(label for token, label in zip(e.ids, e.is_label) if token == END)
        assert said == e.ids.count(ASSISTANT), "each answer's end is a label"


def examples_of(difficulties, lengths):
    return [Example(tuple(range(n)), (True,) * n, d) for d, n in zip(difficulties, lengths)]


def test_replayed_texts_are_labels_from_the_first_token_to_the_end():
    tokenizer = chat_tokenizer(Tokenizer.from_merges([]))
    found = replay_examples(12, 3, tokenizer, 4000)
    assert len(found) == 12
    for example in found:
        assert example.ids[0] == BEGIN and example.ids[-1] == END
        assert example.is_label == (False, *[True] * (len(example.ids) - 1))
        assert ASSISTANT not in example.ids, "no roles: it is read as the base model read it"
    kept = replay_examples(12, 3, tokenizer, 150)
    assert all(example.read <= 150 for example in kept) and len(kept) < 12


def test_every_order_has_the_same_examples():
    examples = examples_of([3, 1, 2, 1, 3, 2], [9, 4, 7, 5, 6, 8])
    for order in ORDERS:
        found = ordered(examples, order, 0)
        assert sorted(len(e.ids) for e in found) == [4, 5, 6, 7, 8, 9], order


def test_orders_put_first_what_they_say():
    examples = examples_of([3, 1, 2, 1, 3, 2], [9, 4, 7, 5, 6, 8])
    assert [e.difficulty for e in ordered(examples, "by_difficulty", 0)] == [1, 1, 2, 2, 3, 3]
    assert [e.difficulty for e in ordered(examples, "anti", 0)] == [3, 3, 2, 2, 1, 1]
    assert [len(e.ids) for e in ordered(examples, "by_length", 0)] == [4, 5, 6, 7, 8, 9]
    with pytest.raises(ValueError, match="by_difficulty"):
        ordered(examples, "random", 0)


def test_ties_are_broken_at_random_and_the_seed_decides():
    examples = [replace(e, ids=(i,)) for i, e in enumerate(examples_of([1] * 20, [1] * 20))]
    names = [[e.ids[0] for e in ordered(examples, "by_difficulty", seed)] for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
    assert names[0] != sorted(names[0])
