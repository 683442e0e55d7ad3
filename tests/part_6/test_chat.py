"""The chat: turns are remembered, trimmed at the context, commands do what they say."""

import pytest
from chat import Chat
from sft.chat_format import Message, encode_prompt, read_conversations


@pytest.fixture
def talk(loaded, runtime):
    model, tokenizer = loaded
    return Chat(model, tokenizer, runtime, longest=6)


def test_question_and_answer_join_the_conversation(talk):
    answer = "".join(talk.ask("Hello, I am Tom."))
    assert talk.turns[0] == Message("user", "Hello, I am Tom.")
    assert not answer.strip() or talk.turns[1] == Message("assistant", answer.strip())


def test_the_model_is_given_all_turns_and_the_system_line(talk):
    talk.system = "Be brief."
    talk.turns = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    assert talk.fit() == encode_prompt([Message("system", "Be brief."), *talk.turns],
                                       talk.tokenizer)


def test_the_oldest_turns_are_forgotten_and_counted_when_there_is_no_room(talk):
    for number in range(12):
        talk.turns += [Message("user", f"question {number} " + "about it " * 3),
                       Message("assistant", f"answer {number}")]
    talk.turns.append(Message("user", "the last one"))
    everything = list(talk.turns)
    ids = talk.fit()
    assert talk.turns == everything[-len(talk.turns):], "the newest turns stay, in their order"
    assert len(ids) + 6 <= talk.model.config.block_size + 1
    assert talk.turns[-1].content == "the last one" and talk.turns[0].role == "user"
    assert talk.forgotten == 25 - len(talk.turns) > 0


def test_a_question_longer_than_the_context_is_refused_and_not_kept(talk):
    with pytest.raises(ValueError, match="context holds 128"):
        list(talk.ask("bell " * 300))
    assert talk.turns == []


def test_an_answer_that_is_broken_off_is_kept_as_far_as_it_went(talk):
    pieces = talk.ask("Tell me a story.")
    next(pieces)
    pieces.close()
    assert [m.role for m in talk.turns] in (["user", "assistant"], [])


def test_commands(talk, tmp_path):
    talk.turns = [Message("user", "a"), Message("assistant", "b")]
    talk.command(f"/save {tmp_path / 'c.jsonl'}")
    assert read_conversations(tmp_path / "c.jsonl")[0] == [talk.turns]
    talk.command("/temperature 0.7")
    assert talk.temperature == 0.7
    assert talk.command("/system Answer in capital letters.") and talk.turns == []
    assert talk.messages() == [Message("system", "Answer in capital letters.")]
    talk.turns = [Message("user", "a"), Message("assistant", "b")]
    talk.command("/reset")
    assert talk.turns == [] and talk.system
    assert "/reset" in talk.command("/help")


@pytest.mark.parametrize("line, message", [
    ("/temperature hot", "give a number"), ("/temperature -1", "must be 0"),
    ("/save", "give a file"), ("/sing", "/help lists the commands")])
def test_bad_commands_are_refused_with_the_way_out(talk, line, message):
    with pytest.raises(ValueError, match=message):
        talk.command(line)


def test_the_same_seed_gives_the_same_answer_at_a_temperature(loaded, runtime):
    answers = ["".join(Chat(*loaded, runtime, temperature=1.0, longest=8, seed=seed).ask("Hello"))
               for seed in (3, 3, 4)]
    assert answers[0] == answers[1] != answers[2]
