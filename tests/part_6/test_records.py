"""Records in files: what is read is what was written, and any other file is refused by name."""

import gzip
import json

import pytest
from files.records import placed_records, read_records
from sft.chat_format import Message, read_conversations, write_conversations

GOOD = {"instruction": "Say a.", "output": "a"}
LINE = json.dumps(GOOD).encode()
CHAT = b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}'


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
@pytest.mark.parametrize("content", [LINE + b"\n\n" + LINE, LINE + b"\r\n \r\n" + LINE + b"\r\n",
                                     b"\xef\xbb\xbf" + LINE + b"\n\n" + LINE])
def test_one_record_a_line_is_numbered_by_its_line(tmp_path, name, content):
    assert read_records(written(tmp_path, name, content)) == [(1, GOOD), (3, GOOD)]


@pytest.mark.parametrize("name", ["r.json", "r.json.gz"])
def test_a_list_of_records_is_numbered_by_its_place(tmp_path, name):
    content = json.dumps([GOOD, 3, GOOD], indent=1).encode()
    assert read_records(written(tmp_path, name, content)) == [(1, GOOD), (2, 3), (3, GOOD)]


@pytest.mark.parametrize("between", ["\u2028", "\x85", "\x0b", "\x1c", "\n", "\r", '"', "\\", "\0"])
def test_a_text_may_hold_every_sign_that_some_take_for_the_end_of_a_line(tmp_path, between):
    said = [[Message("user", "q"), Message("assistant", f"one{between}two")]]
    write_conversations(tmp_path / "c.jsonl", said)
    assert read_conversations(tmp_path / "c.jsonl") == (said, [])


HOSTILE = {
    "not UTF-8": b'{"instruction": "\xff"}', "UTF-16": LINE.decode().encode("utf-16"),
    "nested without end": b"[" * 200_000, "nested": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a number of thousands of digits": b'{"instruction": ' + b"9" * 9000 + b', "output": "b"}',
    "cut short": LINE[:-4], "half a surrogate": b'{"instruction": "q", "output": "\\ud800"}',
    "no record": b"3", "nothing": b"", "blank lines": b"\n\n \n", "null": b"null", "NaN": b"NaN",
    "bytes": bytes(range(256)), "a list": b"[1, 2]", "a text": b'"instruction"',
    "fields of other types": b'{"instruction": 1, "output": [2]}',
    "input is a list": b'{"instruction": "q", "input": [1], "output": "a"}',
    "a role is a list": CHAT.replace(b'"user"', b'["user"]'),
    "a role is a table": CHAT.replace(b'"user"', b'{"a": 1}'),
    "content is a number": CHAT.replace(b'"q"', b"7"),
    "content is null": CHAT.replace(b'"a"', b"null"),
    "messages are a text": b'{"messages": "hello"}', "messages are a table": b'{"messages": {}}',
    "no message": b'{"messages": []}', "a message is null": b'{"messages": [null]}',
}


@pytest.mark.parametrize("name", ["r.jsonl", "r.json", "r.jsonl.gz"])
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_by_name(tmp_path, name, what):
    content = HOSTILE[what]
    if name == "r.json" and not what.startswith(("nested", "not", "UTF", "bytes", "blank")):
        content = b"[" + content + b"]"
    with pytest.raises(ValueError, match=name):
        read_conversations(written(tmp_path, name, content))


@pytest.mark.parametrize("content", [b"", b"hello", gzip.compress(LINE * 50)[:-9],
                                     gzip.compress(LINE)[:12] + b"\xff" * 30])
def test_a_damaged_gz_is_refused_by_name(tmp_path, content):
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="r.jsonl.gz"):
        read_conversations(path)


@pytest.mark.parametrize("record, says", [
    ('{"a": 1, "b": {"c": 1, "c": 2}}', 'the field "c" stands there twice'),
    ('{"a": ' + "9" * 5000 + "}", "a number of 5,000 digits")])
def test_a_field_that_comes_twice_and_an_endless_number_are_refused_with_their_line(
        tmp_path, record, says):
    path = tmp_path / "r.jsonl"
    path.write_text('{"a": 1}\n' + record)
    with pytest.raises(ValueError, match="r.jsonl, line 2: ") as refused:
        placed_records(path)
    assert says in str(refused.value)


def test_the_line_is_named(tmp_path):
    path = written(tmp_path, "r.jsonl", LINE + b"\n" + LINE + b"\n{]")
    with pytest.raises(ValueError, match="r.jsonl, line 3: not JSON"):
        read_records(path)


def test_a_file_that_is_not_there_and_a_folder(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no such file"):
            read_records(path)
