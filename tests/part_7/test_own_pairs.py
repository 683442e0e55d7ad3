"""Pairs of one's own file: every usual form, held out by prompt, saved before they are measured."""

import json

import pytest
from reward.checkpoint import load_reward
from reward.data import PairIds, batches_of, encode_pairs
from reward.faults import Reply
from reward.model import encode_reply
from reward.own_pairs import file_data, pair_key
from reward.preferences import Pair, read_pair_file, read_pairs, write_pairs
from sft.chat_format import Message
from train_reward import parse_args, settled

U = Message("user", "Name a fruit.")
ASKED = {"role": "user", "content": "Name a fruit."}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("Plum.", "No."))
HUMAN = "\n\nHuman: Name a fruit.\n\nAssistant:"


def written(path, *records):
    path.write_text("\n".join(map(json.dumps, records)))
    return path


@pytest.mark.parametrize("record, system", [
    ({"prompt": "Name a fruit.", "chosen": " Plum.", "rejected": "No."}, ""),
    ({"system": "Be brief.", "prompt": "Name a fruit.", "chosen": "Plum.", "rejected": "No."},
     "Be brief."),
    ({"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD]}, ""),
    ({"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}, ""),
    ({"prompt": "Name a fruit.", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}, ""),
    ({"chosen": f"{HUMAN} Plum.", "rejected": f"{HUMAN} No."}, ""),
    ({"prompt": HUMAN, "chosen": " Plum.", "rejected": " No."}, ""),
    ({"conversations": [{"from": "human", "value": "Name a fruit."}],
      "chosen": {"from": "gpt", "value": "Plum."}, "rejected": {"from": "gpt", "value": "No."}}, ""),
])
def test_every_form_of_a_pair_is_read(tmp_path, record, system):
    [pair], reading = read_pair_file(written(tmp_path / "p.jsonl", record))
    before = (Message("system", system),) if system else ()
    assert pair == Pair((*before, U), Reply("Plum."), Reply("No."))
    assert not reading.kept[0].unread


@pytest.mark.parametrize("record, message", [
    ({"prompt": "a", "chosen": None, "rejected": "c"}, '"chosen" is null'),
    ({"prompt": "a", "chosen": [], "rejected": "c"}, '"chosen" is a list without messages'),
    ({"prompt": "Other?", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}, "is not what the"),
    ({"chosen": [ASKED], "rejected": [ASKED]}, "a reply is the assistant's"),
])
def test_what_is_no_pair_is_named_with_its_place(tmp_path, record, message):
    with pytest.raises(ValueError, match="p.jsonl, line 1, record 1") as error:
        read_pairs(written(tmp_path / "p.jsonl", record))
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["p.jsonl", "p.json", "p.jsonl.gz"])
def test_pairs_that_are_written_are_read(tmp_path, name):
    pair = Pair((Message("system", "Be brief."), U), Reply("Plum."), Reply(""))
    write_pairs(tmp_path / name, [pair])
    assert read_pairs(tmp_path / name) == ([pair], [])


def test_a_blank_before_a_reply_is_not_another_reply(loaded):
    _, tokenizer = loaded
    assert encode_reply([U], Reply(" Plum."), tokenizer, 128) == \
        encode_reply([U], Reply("Plum."), tokenizer, 128)


def args_of(path, *flags):
    return settled(parse_args(["--data", str(path), *flags]))


def test_held_out_pairs_share_no_prompt_and_those_that_do_not_fit_are_left_out_first(loaded, tmp_path):
    records = [{"prompt": f"What is {n % 8}?", "chosen": f"{n}", "rejected": "x"} for n in range(40)]
    for record in records[3::8]:
        record["chosen"] = "word " * 400
    data = file_data(args_of(written(tmp_path / "p.jsonl", *records)), loaded[1], 128)
    assert data.held_out and len(data.pairs) + len(data.held_out) == 35
    assert not {pair_key(p) for p in data.pairs} & {pair_key(p) for p in data.held_out}
    assert encode_pairs(data.held_out, loaded[1], 128)[2] == {"too long": 0, "the same": 0}


def test_a_margin_is_not_in_a_file(loaded, tmp_path):
    path = written(tmp_path / "p.jsonl", {"prompt": "a", "chosen": "b", "rejected": "c"})
    with pytest.raises(ValueError, match="--loss margin needs the gap"):
        file_data(args_of(path, "--loss", "margin"), loaded[1], 128)


def test_of_a_file_so_many_pairs_are_learnt_from_as_asked_and_as_many_held_out(tmp_path, loaded):
    path = written(tmp_path / "p.jsonl", *(
        {"prompt": f"Name {n}.", "chosen": "Plum.", "rejected": "No."} for n in range(30)))
    every, few = (file_data(args_of(path, *flags), loaded[1], 128) for flags in ((), ("--pairs", "5")))
    assert len(every.pairs) > 20 and few.pairs == every.pairs[:5]
    assert few.held_out == every.held_out
    with pytest.raises(ValueError, match="--pairs -1"):
        settled(parse_args(["--pairs", "-1"]))


def test_many_pairs_of_one_prompt_fill_many_steps():
    pairs = [Pair((U,), Reply(f"{n}"), Reply(f"-{n}")) for n in range(600)]
    encoded = [PairIds((1, n), (2, n)) for n in range(600)]
    batches = batches_of(pairs, encoded, 32, seed=0)
    assert max(len({row for i in batch for row in (encoded[i].chosen, encoded[i].rejected)})
               for batch in batches) < 2 * 32
    assert sorted(i for batch in batches for i in batch) == list(range(600)) and len(batches) > 30


@pytest.mark.parametrize("flags", [("--peak", "0"), ("--peak", "nan"), ("--muon", "-1"),
                                   ("--head-peak", "inf"), ("--margin", "-1"), ("--centring", "-1")])
def test_rates_without_a_meaning_are_refused(flags, capsys):
    with pytest.raises((ValueError, SystemExit)) as refused:  # argparse refuses nan and inf
        settled(parse_args(flags))
    assert flags[0] in str(refused.value) + capsys.readouterr().err


def trained(tmp_path, tiny_base, *records):
    import train_reward

    path = written(tmp_path / "p.jsonl", *records)
    train_reward.main(["--sft", str(tiny_base), "--data", str(path), "--rows", "8", "--amp",
                       "float32", "--no-tensorboard", "--out", str(tmp_path)])
    return load_reward(tmp_path / "reward.pt", "")[2]


def test_a_models_mean_and_deviation_are_those_of_its_file_and_the_last_step_learns(
        run_script, tiny_base, tmp_path):
    records = [{"prompt": f"What is {n}?", "chosen": f"{n}", "rejected": "Go away."} for n in range(20)]
    content = trained(tmp_path, tiny_base, *records)
    assert (content["mean"], content["std"]) != (0.0, 1.0) and content["metrics"]["file"] == "p.jsonl"
    rates = [json.loads(line)["rate"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert all(rate > 0 for rate in rates)
    done = run_script("part_7/score.py", "--checkpoint", tmp_path / "reward.pt", "--prompt", "a",
                      "--reply", "b", "--reply", "  b")
    assert "the replies in p.jsonl" in done.stdout
    scores = [line.split()[0] for line in done.stdout.strip().splitlines()[-2:]]
    assert scores[0] == scores[1]


def test_a_file_of_one_prompt_ends_with_nothing_held_out(tiny_base, tmp_path):
    content = trained(tmp_path, tiny_base, *({"prompt": "a", "chosen": f"{n}", "rejected": "x"}
                                             for n in range(9)))
    assert content["metrics"]["held_out_pairs"] == 0 and content["std"] > 0


def test_what_was_learnt_is_safe_when_measuring_fails(tiny_base, tmp_path, monkeypatch, capsys):
    from reward import report

    def fail(*_, **__):
        raise ZeroDivisionError("division by zero")
    monkeypatch.setattr(report, "measure", fail)
    with pytest.raises(SystemExit) as ended:
        trained(tmp_path, tiny_base, *({"prompt": f"{n}", "chosen": "b", "rejected": "c"}
                                       for n in range(9)))
    assert ended.value.code == 1 and "reward.pt is written" in capsys.readouterr().err
    assert load_reward(tmp_path / "reward.pt", "")[2]["std"] > 0
