"""Calls: what is a label, when generation pauses, what comes back, and what is cut off."""

import random

import pytest
from cold_start import cold_examples
from reasoning import tool_use
from reasoning.tasks import is_held_out
from reasoning.tiny_chat import tiny_tokenizer
from reasoning.tool_use import (
    Call,
    draw_look,
    draw_sum,
    encode_call,
    pending_call,
    reply_with_tools,
    spoken,
    tool_tokenizer,
)
from reasoning.tools import CALC, DONE, LOOK, RUN, look_up
from sft.chat_format import encode_prompt
from train_tools import tool_examples

TOKENIZER = tool_tokenizer(tiny_tokenizer())
CALL = Call("Use the calculator: What is 3 + 4?", CALC, "3 + 4", "7")


def ids_of(text):
    return TOKENIZER.encode(text, allowed_special="all")


def test_the_tools_result_is_read_and_never_a_label():
    example = encode_call(CALL, TOKENIZER)
    said = [token for token, label in zip(example.ids, example.is_label) if label]
    read = [token for token, label in zip(example.ids, example.is_label) if not label]
    assert TOKENIZER.decode(said) == "<|calc|> 3 + 4<|run|> The answer is 7.<|end|>"
    prompt = encode_prompt(CALL.messages, TOKENIZER)
    assert read == prompt + ids_of(" 7<|done|>")
    whole = TOKENIZER.decode(list(example.ids))
    assert whole.endswith("<|calc|> 3 + 4<|run|> 7<|done|> The answer is 7.<|end|>")


def test_marks_that_a_user_types_are_text():
    ids = encode_prompt([tool_use.Message("user", "<|calc|> 9^9 <|run|>")], TOKENIZER)
    assert not {TOKENIZER.id_of(CALC), TOKENIZER.id_of(RUN)} & set(ids)


def test_a_tokenizer_with_the_marks_is_left_alone():
    assert tool_tokenizer(TOKENIZER) is TOKENIZER


@pytest.mark.parametrize("text, call", [
    ("<|calc|> 3 + 4<|run|>", (CALC, "3 + 4")), ("a<|look|> capital Peru<|run|>",
                                                 (LOOK, "capital Peru")),
    ("<|run|>", None), ("3 + 4<|run|>", None), ("<|calc|> 1<|run|> 1<|done|> 2<|run|>", None),
    ("<|calc|> 1<|calc|> 2<|run|>", (CALC, "2"))])
def test_a_call_is_what_stands_between_a_mark_and_run(text, call):
    assert pending_call(ids_of(text), TOKENIZER) == call


def test_what_is_said_is_what_stands_outside_the_calls():
    text = "So <|calc|> 3 + 4<|run|> 7<|done|> it is 7.<|end|>"
    assert spoken(ids_of(text), TOKENIZER) == "So  it is 7."
    assert spoken(ids_of("So <|calc|> 3 +"), TOKENIZER) == "So"


class Scripted:
    """Stands in for `generate`: says fixed texts, and keeps what it was given."""

    def __init__(self, *rounds):
        self.rounds, self.seen = list(rounds), []

    def __call__(self, model, prompts, room, **settings):
        self.seen.append((prompts, room))
        return [ids_of(text)[:room] for text in self.rounds.pop(0)]


def run(monkeypatch, loaded, runtime, prompts, *rounds, **options):
    script = Scripted(*rounds)
    monkeypatch.setattr(tool_use, "generate", script)
    replies = reply_with_tools(loaded[0], TOKENIZER, [ids_of(p) for p in prompts], runtime,
                               **options)
    return replies, script


def test_generation_pauses_runs_the_tool_and_goes_on(monkeypatch, loaded, runtime):
    replies, script = run(
        monkeypatch, loaded, runtime, ["one", "two"],
        ["<|calc|> 3 + 4<|run|>", " I think 5.<|end|>"], [" The answer is 7.<|end|>"])
    assert replies[0].calls == ((CALC, "3 + 4", "7"),) and replies[0].text == "The answer is 7."
    assert replies[1].calls == () and replies[1].text == "I think 5."
    assert all(reply.ended for reply in replies)
    assert TOKENIZER.decode(script.seen[1][0][0]) == "one<|calc|> 3 + 4<|run|> 7<|done|>"
    assert len(script.seen[1][0]) == 1, "the row that had ended was not asked again"
    own = [t for t, mine in zip(replies[0].ids, replies[0].is_own) if mine]
    assert TOKENIZER.decode(own) == "<|calc|> 3 + 4<|run|> The answer is 7.<|end|>"


def test_a_harmful_call_gives_an_error_and_the_model_goes_on(monkeypatch, loaded, runtime):
    [reply], _ = run(monkeypatch, loaded, runtime, ["x"],
                          ["<|calc|> __import__('os')<|run|>"], [" Sorry.<|end|>"])
    assert reply.calls[0][2] == "error" and reply.text == "Sorry." and reply.ended


def test_a_call_that_is_cut_off_is_not_run(monkeypatch, loaded, runtime):
    [reply], _ = run(monkeypatch, loaded, runtime, ["x"], ["<|calc|> 3 + 4<|run|>"],
                          longest=4)
    assert reply.calls == () and not reply.ended and reply.text == ""


def test_calls_without_end_are_stopped(monkeypatch, loaded, runtime):
    again = ["<|calc|> 1<|run|>"]
    [reply], script = run(monkeypatch, loaded, runtime, ["x"], *[again] * 9, most_calls=3)
    assert len(reply.calls) == 3 and not reply.ended and len(script.seen) == 4


def test_run_without_a_call_ends_the_reply_unended(monkeypatch, loaded, runtime):
    [reply], _ = run(monkeypatch, loaded, runtime, ["x"], [" well<|run|>"])
    assert not reply.ended and reply.calls == ()


def test_rows_with_less_room_do_not_cut_the_others(monkeypatch, loaded, runtime):
    first = "<|calc|> 1234 + 4321 + 1111<|run|>"
    replies, script = run(monkeypatch, loaded, runtime, ["a", "b"], [first, first],
                          [" 1.<|end|>", " 2.<|end|>"], longest=40)
    room = 40 - len(ids_of(first))
    assert script.seen[1][1] == room and all(reply.ended for reply in replies)


def test_a_real_model_with_random_weights_comes_to_an_end(loaded, runtime):
    from sft.chat_format import grow_vocabulary
    model = grow_vocabulary(loaded[0], TOKENIZER.vocab_size)
    prompts = [encode_prompt(CALL.messages, TOKENIZER)] * 2
    for reply in reply_with_tools(model, TOKENIZER, prompts, runtime, longest=12):
        assert sum(reply.is_own) <= 12 and len(reply.ids) == len(reply.is_own)


def test_each_reply_has_the_room_it_would_have_alone(loaded, runtime):
    from sft.chat_format import grow_vocabulary
    model = grow_vocabulary(loaded[0], TOKENIZER.vocab_size)
    limit, texts = model.config.block_size, ("Hi.", "bell " * 40, "bell " * 54, "Good day!", "bell " * 99)
    prompts = [encode_prompt([tool_use.Message("user", text)], TOKENIZER) for text in texts]
    together = reply_with_tools(model, TOKENIZER, prompts, runtime, longest=70)
    alone = [reply_with_tools(model, TOKENIZER, [p], runtime, longest=70)[0] for p in prompts]
    assert together == alone
    rooms = [max(0, min(70, limit + 1 - len(p))) for p in prompts]
    assert len(set(rooms)) == 3 and rooms[-1] == 0, "the test has long and short ones"
    assert all(len(r.ids) == room or r.ended or r.ids[-1] == TOKENIZER.id_of(RUN)
               for r, room in zip(alone, rooms))


# ---- examples

def test_held_out_sums_and_names_are_never_trained_on():
    rng = random.Random(0)
    trained = [draw_look(rng) for _ in range(400)]
    kept = [draw_look(rng, held_out=True) for _ in range(100)]
    assert not {c.text for c in trained} & {c.text for c in kept}
    assert all(look_up(c.text) == c.result for c in trained + kept)
    for call in (draw_sum(rng, 3, held_out=True) for _ in range(50)):
        numbers = tuple(int(n) for n in call.text.split()[::2])
        assert is_held_out("chain", numbers) and len(numbers) == 4
        assert call.text in call.question


def test_half_of_the_examples_are_calls_and_the_marks_are_labels():
    found = tool_examples(40, 0, TOKENIZER, 448)
    run_id, done = TOKENIZER.id_of(RUN), TOKENIZER.id_of(DONE)
    with_call = [e for e in found if run_id in e.ids]
    assert 18 <= len(with_call) <= 20
    for example in with_call:
        assert example.is_label[example.ids.index(run_id)]
        assert not example.is_label[example.ids.index(done)]


def test_a_cold_start_shows_steps_direct_answers_and_old_skills():
    tokenizer = tiny_tokenizer()
    texts = [tokenizer.decode([t for t, label in zip(e.ids, e.is_label) if label])
             for e in cold_examples(100, 0, tokenizer, 448)]
    worked = [t for t in texts if "= " in t and "The answer is" in t]
    at_once = [t for t in texts if len(t) < 24 and "=" not in t]
    assert 15 <= len(worked) <= 45 and len(at_once) >= 40 and len(texts) >= 95
    assert cold_examples(30, 1, tokenizer, 448) == cold_examples(30, 1, tokenizer, 448)
