"""A chat whose answers pause for tools."""

import chat
import pytest
from chat import MOST_CALLS, Chat
from reasoning.tiny_chat import tiny_tokenizer
from reasoning.tool_use import tool_tokenizer

TOKENIZER = tool_tokenizer(tiny_tokenizer())


def scripted(monkeypatch, *texts):
    """`stream` says these texts, one a call, and keeps what it was given."""
    rounds, seen = list(texts), []

    def stream(model, prompts, room, **settings):
        seen.append(TOKENIZER.decode(prompts[0]))
        ids = TOKENIZER.encode(rounds.pop(0), allowed_special="all")[:room]
        return iter([[(0, token)] for token in ids])

    monkeypatch.setattr(chat, "stream", stream)
    return seen


@pytest.fixture
def talk(loaded, runtime):
    return Chat(loaded[0], TOKENIZER, runtime)


def test_an_answer_goes_on_from_the_tools_result_and_the_turn_keeps_the_words(monkeypatch, talk):
    seen = scripted(monkeypatch, " <|calc|> 3 + 4<|run|>", " The answer is 7.<|end|>")
    said = "".join(talk.ask("What is 3 + 4?"))
    assert said == "<|calc|> 3 + 4<|run|> 7<|done|> The answer is 7."
    assert seen[1].endswith("<|assistant|> <|calc|> 3 + 4<|run|> 7<|done|>")
    assert [turn.content for turn in talk.turns] == ["What is 3 + 4?", "The answer is 7."]


def test_calls_without_end_are_stopped(monkeypatch, talk):
    seen = scripted(monkeypatch, *["<|calc|> 1<|run|>"] * 9)
    list(talk.ask("Count."))
    assert len(seen) == MOST_CALLS + 1
    assert talk.turns == [], "nothing was said, so nothing is kept"


def test_a_model_without_tools_answers_as_before(monkeypatch, loaded, runtime):
    scripted(monkeypatch, " Seven.<|end|>")
    plain = Chat(loaded[0], tiny_tokenizer(), runtime)
    assert "".join(plain.ask("What is 3 + 4?")) == "Seven."
    assert plain.turns[-1].content == "Seven."
