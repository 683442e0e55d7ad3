"""Files of one's own: each shape is read, nothing vanishes, what is held out is of that file."""

import json
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from files.reading import divide, prompt_keys
from files.records import fingerprint, placed_records
from run.checkpoint import load_checkpoint
from sft.chat_format import (
    Message,
    encode_conversation,
    read_chats,
    read_conversations,
    write_alpaca,
    write_conversations,
)

SMALL = ("--steps", 2, "--rows", 2, "--amp", "float32", "--no-tensorboard")
ASKED = {"role": "user", "content": "Name a fruit."}
SAID = {"role": "assistant", "content": "Plum."}
U, A = Message("user", "Name a fruit."), Message("assistant", "Plum.")
CALL = {"role": "assistant", "content": None,
        "tool_calls": [{"function": {"name": "add", "arguments": '{"a": 1}'}}]}


def written(path, *records):
    path.write_text("\n".join(map(json.dumps, records)))
    return path


@pytest.mark.parametrize("record, turns, told", [
    ({"instruction": "Name", "input": "a fruit.", "output": " Plum."},
     [Message("user", "Name\na fruit."), A], "1 Alpaca"),
    ({"instruction": "Name a fruit.", "output": "Plum.", "system": "Be brief.",
      "history": [["Hi", "Hello"]]},
     [Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Hello"), U, A],
     "1 with a system line, 1 with history"),
    ({"conversations": [{"from": "system", "value": "Be brief."},
                        {"from": "human", "value": "Name a fruit."},
                        {"from": "gpt", "value": "Plum."}], "id": 3},
     [Message("system", "Be brief."), U, A], "not read: id (1)"),
    ({"conversations": [{"from": "gpt", "value": "Hm."}, {"from": "human", "value": ASKED["content"]},
                        {"from": "gpt", "value": "Plum."}, {"from": "human", "value": "Ah."}]},
     [U, A], "nobody answers, left out"),
    ({"prompt": "Name a fruit.", "completion": "Plum."}, [U, A], "prompt/completion"),
    ({"prompt": [ASKED], "completion": [SAID]}, [U, A], "prompt/completion"),
    ({"messages": [ASKED, {**SAID, "weight": 0}, ASKED, SAID]},
     [U, Message("assistant", "Plum.", False), U, A], "weight 0"),
    ({"messages": [ASKED, CALL, {"role": "tool", "content": "2"}, SAID]},
     [U, Message("assistant", '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'),
      Message("user", "<tool_response>\n2\n</tool_response>"), A], "tool turns"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Name a fruit."}]}, SAID]},
     [U, A], "1 messages"),
])
def test_every_shape_is_read_and_told(tmp_path, record, turns, told):
    reading = read_chats(written(tmp_path / "r.jsonl", record))
    assert [Message(*turn) for turn in reading.kept[0].turns] == turns
    assert told in "\n".join(reading.lines())


@pytest.mark.parametrize("record, message", [
    ({"prompt": "a", "chosen": "b", "rejected": "c"}, "a pair of replies"),
    ({"question": "a", "answer": "#### 3"}, "train_grpo.py"),
    ({"text": "a"}, "part_4/train.py"), ({"prompt": "a"}, "without a completion"),
    ({"messages": [ASKED, {**SAID, "weight": 0.5}]}, '"messages", turn 2: "weight" is 0.5'),
    ({"messages": [ASKED, {**SAID, "content": None}]}, 'turn 2: "content" is null'),
    ({"messages": [ASKED, {**SAID, "content": [{"type": "image_url"}]}]}, "image_url"),
    ({"instruction": "a", "output": "b", "history": ["x"]}, '"history" is a list'),
    ({"system": "One.", "messages": [{"role": "system", "content": "Two."}, ASKED, SAID]},
     '"system" is another'), ([1], "record is a list"),
])
def test_what_cannot_be_read_is_named_with_its_place(tmp_path, record, message):
    good = {"instruction": "a", "output": "b"}
    with pytest.raises(ValueError, match="r.jsonl, line 2, record 2: ") as error:
        read_chats(written(tmp_path / "r.jsonl", good, record))
    assert message in str(error.value)


def test_what_is_inside_decides_and_not_the_name(tmp_path):
    records = [{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d"}]
    written(tmp_path / "lines.json", *records)
    (tmp_path / "list.jsonl").write_text(json.dumps(records, indent=1))
    (tmp_path / "one.json").write_text(json.dumps(records[0], indent=1))
    assert [r.value for r in placed_records(tmp_path / "lines.json")] == records
    assert [r.value for r in placed_records(tmp_path / "list.jsonl")] == records
    assert [r.value for r in placed_records(tmp_path / "one.json")] == records[:1]


@pytest.mark.parametrize("name", ["c.jsonl", "c.json", "c.jsonl.gz"])
def test_what_is_written_is_read(tmp_path, name):
    said = [[Message("system", "Be brief."), U, Message("assistant", "No.", False), U, A]]
    write_conversations(tmp_path / name, said)
    assert read_conversations(tmp_path / name) == (said, [])
    write_alpaca(tmp_path / name, [[U, A]])
    assert read_conversations(tmp_path / name) == ([[U, A]], [])


def test_an_answer_of_weight_0_is_read_and_not_learnt(loaded):
    _, tokenizer = loaded
    ids, is_label = encode_conversation([U, Message("assistant", "WRONG", False), U, A], tokenizer)
    learnt = tokenizer.decode([i for i, label in zip(ids, is_label) if label])
    assert "Plum" in learnt and "WRONG" not in learnt and "WRONG" in tokenizer.decode(ids)


# ---------------------------------------------------------------- what is held out

def chat(*words):
    return [Message("user" if i % 2 == 0 else "assistant", word) for i, word in enumerate(words)]


def divided(chats):
    return divide([prompt_keys(c) for c in chats], [tuple(c) for c in chats])


def test_prompts_are_divided_and_not_records():
    chats = [chat(f"  What  is {n % 20}?" if n % 2 else f"what is {n % 20}?", f"{n}")
             for n in range(60)]
    found = divided(chats)
    assert found.prompts == 20 and len(found.held_out) == 6 and len(found.learnt) == 54
    learnt, held = ({prompt_keys(chats[i])[-1] for i in part}
                    for part in (found.learnt, found.held_out))
    assert not learnt & held


def test_a_prompt_in_the_course_of_a_longer_conversation_is_the_same_prompt():
    chats = [chat(f"q{n}", "a") for n in range(20)] + [chat("q1", "a", f"more {n}", "b")
                                                       for n in range(3)]
    found = divided(chats)
    together = {1, 20, 21, 22}
    assert together <= set(found.learnt) or together <= set(found.held_out)
    assert found.prompts == 20


def test_what_stands_there_twice_is_read_once_and_counted():
    found = divided([chat("a", "b"), chat("c", "d"), chat("a", "b"), chat("a", "b")])
    assert sorted(found.learnt + found.held_out) == [0, 1] and found.twice == 2
    assert "2 stood there more than once" in found.line()
    alone = divided([chat("a", "b"), chat("a", "c")])
    assert alone.held_out == [] and "none held out" in alone.line()


def test_a_prompt_with_most_of_the_records_is_learnt_from():
    found = divided([chat("often", str(n)) for n in range(50)] + [chat("once", "x")])
    assert found.held_out == [50]


def test_a_fingerprint_is_of_what_a_file_holds(tmp_path):
    written(tmp_path / "a.jsonl", {"x": 1})
    written(tmp_path / "b.jsonl", {"x": 1})
    assert fingerprint(tmp_path / "a.jsonl") == fingerprint(tmp_path / "b.jsonl")
    written(tmp_path / "b.jsonl", {"x": 2})
    assert fingerprint(tmp_path / "a.jsonl") != fingerprint(tmp_path / "b.jsonl")
    assert fingerprint(None) == "None"


# ---------------------------------------------------------------- the scripts

def sums(n):
    return [{"instruction": f"{a} + 1?", "output": f"{a + 1}"} for a in range(n)]


@pytest.mark.scripts
def test_a_run_goes_on_only_with_the_same_records(run_script, tiny_base, tmp_path):
    common = ("part_6/train_sft.py", *SMALL, "--base", tiny_base, "--out", tmp_path / "o", "--data",
              tmp_path / "a.jsonl")
    written(tmp_path / "a.jsonl", *sums(12))
    run_script(*common, "--stop-at", 1)
    written(tmp_path / "a.jsonl", *sums(13))
    refused = run_script(*common, "--resume", check=False)
    assert refused.returncode == 2 and "data: was" in refused.stderr
    written(tmp_path / "a.jsonl", *sums(12))
    run_script(*common, "--resume", "--longest", 3)
    metrics = json.loads((tmp_path / "o" / "sft.json").read_text())["metrics"]
    assert metrics["longest"] == 3 and metrics["file"] == "a.jsonl"
    done = run_script("part_6/evaluate.py", "--checkpoint", tmp_path / "o" / "sft.pt", "--data",
                      tmp_path / "a.jsonl", "--longest", 2, "--amp", "float32")
    assert "12 Alpaca records" in done.stdout


@pytest.mark.scripts
def test_a_lora_run_goes_on_to_the_very_same_weights(run_script, tiny_base, tmp_path):
    common = ("part_6/train_sft.py", "--examples", 40, "--lora", 4, "--base", tiny_base,
              "--eval-items", 0, *SMALL)
    run_script(*common, "--out", tmp_path / "a")
    run_script(*common, "--out", tmp_path / "b", "--stop-at", 1)
    run_script(*common, "--out", tmp_path / "b", "--resume")
    one, other = (load_checkpoint(tmp_path / n / "sft.pt")[0].state_dict() for n in "ab")
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), ZeroDivisionError("division by zero")])
def test_what_was_learnt_is_safe_when_measuring_fails(tiny_base, tmp_path, monkeypatch, capsys, fault):
    import train_sft
    from sft import report

    def fail(*_, **__):
        raise fault
    monkeypatch.setattr(report, "evaluate_split", fail)
    with pytest.raises(SystemExit) as ended:
        train_sft.main(["--examples", "40", *map(str, SMALL), "--base", str(tiny_base), "--out",
                        str(tmp_path)])
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "sft.pt is written; measuring it was stopped by" in said
    assert load_checkpoint(tmp_path / "sft.pt")[2]["step"] == 2 and (tmp_path / "sft.json").exists()


def test_a_file_of_one_prompt_is_learnt_with_nothing_held_out(tiny_base, tmp_path, capsys):
    import train_sft

    written(tmp_path / "one.jsonl", *[{"messages": [ASKED, SAID]}] * 3)
    train_sft.main([*map(str, SMALL), "--base", str(tiny_base), "--data",
                    str(tmp_path / "one.jsonl"), "--out", str(tmp_path)])
    assert "none held out" in capsys.readouterr().out
    assert json.loads((tmp_path / "sft.json").read_text())["metrics"]["held_out"] == 0


@pytest.mark.scripts
def test_a_chat_ends_when_nobody_reads_its_answers(tiny_base, loaded, tmp_path):
    from run.checkpoint import save_checkpoint

    model, tokenizer = loaded
    save_checkpoint(tmp_path / "c.pt", weights=model.state_dict(), config=model.config,
                    tokenizer=tokenizer, step=0, settings={}, metrics={})
    process = subprocess.Popen([sys.executable, str(ROOT / "part_6/chat.py"), "--checkpoint",
                                str(tmp_path / "c.pt"), "--longest", "4"], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    process.stdout.close()
    process.stdin.write("hi\n" * 400)
    process.stdin.flush()  # and stays open, as `yes` does
    try:
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.stdin.close() if process.poll() is None else None
    assert "error:" not in process.stderr.read()
