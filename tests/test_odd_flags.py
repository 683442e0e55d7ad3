"""Every script and every flag with odd values ends in an answer or one clear line (odd_flags.py)."""

import re
import subprocess
import sys
from pathlib import Path

import odd_flags
import pytest
from odd_flags import Case, Outcome, judged

ROOT = Path(__file__).resolve().parent.parent
PARTS = sorted(path.name for path in ROOT.glob("part_[0-9]"))

# Cases that still end otherwise: (script, flag) -> why. To be emptied, never to be added to.
STILL_WRONG: dict[tuple[str, str], str] = {}
WHOLE_A_TIME = 8  # of parts 6 to 9, whose runs go to their end, every eighth script is tried


def wrong_cases(*words: str) -> tuple[int, list[str]]:
    """Run odd_flags.py -> (how many cases, the lines of those that ended wrongly)."""
    done = subprocess.run([sys.executable, str(ROOT / "tests/odd_flags.py"), *words],
                          capture_output=True, text=True, check=False, cwd=ROOT)
    count = re.search(r"^(\d+) cases, (\d+) of them wrong$", done.stdout, re.MULTILINE)
    assert count, done.stdout + done.stderr
    return int(count[1]), [line for line in done.stdout.splitlines() if line.startswith("part_")]


def unknown(lines: list[str]) -> list[str]:
    return [line for line in lines
            if tuple(re.match(r"(\S+) ([\w-]+)", line).groups()) not in STILL_WRONG]


def test_one_flag_of_every_script_of_parts_0_to_5_with_an_odd_value():
    """All in one process: to start one costs as much as a part's cases."""
    early = [name for part in PARTS if part not in odd_flags.WHOLE for name in odd_flags.scripts(part)]
    count, wrong = wrong_cases(*early, "--sample", "1", "--seconds", "5")
    assert count == len(early) >= 60 and not unknown(wrong)


def test_a_flag_of_some_later_scripts_with_an_odd_value_to_the_end_of_the_run():
    some = [name for part in odd_flags.WHOLE for name in odd_flags.scripts(part)][::WHOLE_A_TIME]
    count, wrong = wrong_cases(*some, "--sample", "1", "--seconds", "20")
    assert count == len(some) >= 6 and not unknown(wrong)


def test_every_script_with_a_model_has_a_small_one():
    """Else it would refuse that the model is missing, and none of its flags would be tried."""
    for script in (name for part in odd_flags.WHOLE for name in odd_flags.scripts(part)):
        text = (ROOT / script).read_text(encoding="utf-8")
        given = " ".join(odd_flags.beside(script, "--none", "1", Path("m")))
        for flag in ("--checkpoint", "--sft", "--policy", "--model", "--reward-model"):
            assert f'"{flag}"' not in text or f"{flag}=m/" in given, (script, flag)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_every_flag_of_every_script_with_every_odd_value(part):
    count, wrong = wrong_cases(part)
    assert count >= 8 * len(odd_flags.scripts(part)) and not unknown(wrong)


def test_at_least_eight_odd_values_are_tried_of_every_kind():
    assert len(odd_flags.ODD) >= 8
    assert {"0", "1", "-1", "nan", "inf", "", "word"} <= set(odd_flags.ODD)


@pytest.mark.parametrize("value, kind, how, words, says", [
    ("nan", "float", "works", "", "taken for a number"), ("-1", "int", "works", "", "-1 was taken"),
    ("1", "int", "traceback", "KeyError: 'RANK'", "traceback"),
    ("1", "int", "silent", "", "silent"), ("1", "text", "refuses", "something", "no line says"),
    ("1", "text", "refuses", "error: [Errno 2] x", "a message from inside"),
    ("word", "int", "refuses", "error: --n 'word': must be a whole number", ""),
    ("1", "int", "works", "", ""), ("word", "text", "answers", "", "")])
def test_what_is_wrong_is_seen(value, kind, how, words, says):
    found = judged(Case("part_1/demo.py", "--n", value, kind), Outcome(how, words))
    assert (says in found) if says else found == ""


def test_the_command_itself_is_tried(run_script):
    done = run_script("tests/odd_flags.py", "part_4/sample.py", "--flag=--count", "--value=-1",
                      "--sample", 0, "--seconds", 20, fresh=True)
    assert "part_4/sample.py --count='-1': refuses" in done.stdout
    assert "1 cases, 0 of them wrong" in done.stdout
