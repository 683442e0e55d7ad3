"""The practice: topics that hold together, attempts that are dealt with, right ones that pass."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from practice_room import attempt, checking, diagnosis, screens
from practice_room.catalogue import all_topics, topic_of
from practice_room.topics import functions_of, section_title

ROOT = Path(__file__).resolve().parent.parent.parent
TOPICS = all_topics()


def load(name: str, path: Path):
    import importlib.util
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


STYLES = (load("styles", ROOT / "tests/part_0/styles.py").STYLES
          | load("more_styles", ROOT / "tests/part_0/styles_of_later_parts.py").MORE_STYLES)


def source_of(topic, name: str) -> str:
    return (ROOT / topic.part / name).read_text(encoding="utf-8")


def written(topic, bodies: dict[str, str]) -> dict[str, str]:
    """The topic's files, emptied, with these bodies; functions not named keep the part's own."""
    files = {}
    for name, hints in topic.hints.items():
        source = source_of(topic, name)
        lines, nodes = source.splitlines(), functions_of(source)
        for function in sorted(set(hints) & set(bodies), key=lambda f: -nodes[f].lineno):
            first, last = attempt.body_lines(source, nodes[function])
            lines[first - 1:last] = bodies[function].strip("\n").splitlines()
        files[name] = "\n".join(lines) + "\n"
    return files


# ---------------------------------------------------------------- the topics

def test_there_are_enough_topics_in_every_part():
    assert len(TOPICS) >= 45
    for number in range(1, 10):
        assert sum(topic.number == number for topic in TOPICS.values()) >= 4
    sections = [(t.number, t.section, t.name) for t in TOPICS.values()]
    assert sections == sorted(sections), "in the order of the lessons"


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_a_topic_names_what_is_there(topic):
    assert len(topic.title) <= 48 and 5 <= topic.minutes <= 60
    assert section_title(topic) != topic.section, "the lesson has no such section"
    for name, hints in topic.hints.items():
        nodes = functions_of(source_of(topic, name))
        assert hints and set(hints) <= set(nodes)
        assert all(lines for lines in hints.values()), "a function without a hint"
    for name in topic.tests:
        assert (ROOT / "tests" / topic.part / name).is_file()
    script, *flags = topic.demo
    text = source_of(topic, script)
    assert flags == (["--quick"] if '"--quick"' in text else [])


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_an_emptied_function_keeps_its_signature_its_docstring_and_at_most_three_hints(topic):
    for name, hints in topic.hints.items():
        source = source_of(topic, name)
        empty = attempt.emptied(source, topic, hints, steps=False)
        before, after = functions_of(source), functions_of(empty)
        assert list(before) == list(after)
        assert empty.count("# hint: ") <= attempt.SHOWN
        for function, node in after.items():
            ours = before[function]
            if function not in hints:
                assert ast.dump(node) == ast.dump(ours)
                continue
            assert ast.dump(node.args) == ast.dump(ours.args)
            assert ast.get_docstring(node) == ast.get_docstring(ours)
            assert ast.unparse(node.body[-1]).startswith("raise NotImplementedError(")
            assert len(node.body) == 1 + (ast.get_docstring(node) is not None)


def test_steps_leave_every_hint_as_a_comment():
    topic = topic_of("3.2")
    text = attempt.emptied(source_of(topic, "rope.py"), topic, topic.hints["rope.py"], steps=True)
    assert text.count("# step ") == len(topic.hint_lines)


def test_comments_of_the_solution_do_not_stay_behind():
    topic = topic_of("2.4")
    text = attempt.emptied(source_of(topic, "schedule.py"), topic, topic.hints["schedule.py"], False)
    assert "eq. 2.4\n" not in text.split("def learning_rate")[1]
    assert "a cosine would climb again" not in text.split("raise NotImplementedError")[1]


# ---------------------------------------------------------------- fingerprints

def test_the_fingerprints_are_up_to_date():
    fingerprints = load("fingerprints", ROOT / "tests/fingerprints.py")
    bugs = load("planted_bugs", ROOT / "tests/planted_bugs.py").load_bugs("", "")
    stale = fingerprints.stale_topics(bugs)
    assert not stale, f"make them with: python tests/planted_bugs.py --fingerprints ({stale})"


def test_every_fingerprint_has_quick_tests_and_shows_something():
    for name, one in checking.read_fingerprints().items():
        assert one["tests"] and one["bugs"], name
        for bug, pattern in one["bugs"].items():
            assert pattern["tests"] or pattern["cases"] or pattern["stalled"], f"{name}: {bug}"


def test_every_known_mistake_has_a_kind():
    known = {bug for one in checking.read_fingerprints().values() for bug in one["bugs"]}
    assert known <= set(diagnosis.mistakes()), known - set(diagnosis.mistakes())
    assert {kind for kind, _ in diagnosis.mistakes().values()} <= set(diagnosis.KINDS)


FAKE = {"tests": ["t::a", "t::b", "t::c"], "bugs": {
    "mask inverted": {"tests": [0, 1], "stalled": False,
                      "cases": {"one": ["differs", [1.0, 2.0, 3.0, 4.0]]}},
    "scores not divided by sqrt(D)": {"tests": [1, 2], "stalled": False,
                                      "cases": {"one": ["scaled", [1.0, 9.0, 9.0, 9.0]]}},
    "softmax over the queries": {"tests": [2], "stalled": True, "cases": {}}}}


def result_of(tests, cases, **what):
    return checking.Result(
        cases=[{"name": n, "status": s, "signature": sign} for n, (s, sign) in cases.items()],
        tests=[{"id": t, "outcome": "failed"} for t in tests], ended=True, **what)


def test_the_same_pattern_is_named():
    found = diagnosis.diagnose(result_of(["t::a", "t::b"],
                                         {"one": ("differs", [1.0, 2.0, 3.0, 4.0])}), FAKE)
    assert found.named == "mask inverted" and found.nearest[0].score == 1
    assert found.kind == "sight"


def test_a_pattern_that_nobody_knows_is_not_named_and_the_two_nearest_are():
    found = diagnosis.diagnose(result_of(["t::c"], {"two": ("shape", [])}), FAKE)
    assert not found.named and len(found.nearest) == 3


def test_the_way_in_which_a_case_is_wrong_tells_the_kind():
    found = diagnosis.diagnose(result_of([], {"two": ("negated", [5.0]), "three": ("negated", [6.0])}),
                               FAKE)
    assert not found.named and found.kind == "sign"


def test_a_small_change_that_gives_the_same_values_tells_what_was_done():
    wrong = {"two": ("differs", [5.0, 1.0, 2.0, 3.0])}
    code = diagnosis.code_of(*wrong["two"])
    fake = {**FAKE, "changes": [f"factor 0:{code}", "sign 0:000", "step 1:111"]}
    found = diagnosis.diagnose(result_of([], wrong), fake)
    assert (found.change, found.kind) == ("factor", "size")
    other = diagnosis.diagnose(result_of([], {"two": ("differs", [5.0, 1.0, 2.0, 4.0])}), fake)
    assert not other.change


def test_what_hangs_is_like_what_hung():
    found = diagnosis.diagnose(result_of([], {}, stalled=True), FAKE)
    assert found.nearest[0].name == "softmax over the queries"


# ---------------------------------------------------------------- values

def test_values_are_compared_by_what_they_are():
    torch = pytest.importorskip("torch")
    cases = load("worked_cases", ROOT / "tests/worked_cases.py")
    one = torch.tensor([1.0, 2.0, 4.0])
    assert cases.relation(one, one + 1e-6) == "same"
    assert cases.relation(one, -one) == "negated"
    assert cases.relation(one, 3 * one) == "scaled"
    assert cases.relation(one, one.flip(0)) == "reordered"
    assert cases.relation(one, one[:2]) == "shape"
    assert cases.relation(one, one + torch.tensor([0, 0, 1.0])) == "differs"
    assert cases.relation(one, one * float("nan")) == "nan"
    assert cases.relation([1, "a"], [1, "b"]) == "differs"
    assert cases.relation(cases.Raised(ValueError("x")), cases.Raised(ValueError("y"))) == "same"
    assert cases.relation(one, cases.Raised(ValueError("x"))) == "raises ValueError"
    assert cases.relation(cases.Raised(ValueError("x")), one) == "passes"


def test_a_value_is_shown_with_few_digits():
    torch = pytest.importorskip("torch")
    cases = load("worked_cases", ROOT / "tests/worked_cases.py")
    assert cases.shown([torch.tensor([[0.54030, 2.0]]), None, "a"]) == "[[[0.5403, 2]], None, 'a']"
    assert "shape (3, 9)" in cases.shown(torch.zeros(3, 9))


# ---------------------------------------------------------------- the command

def practice(*args, cwd=ROOT, input=None):
    done = subprocess.run([sys.executable, str(ROOT / "part_0/practice.py"), *map(str, args)],
                          cwd=cwd, capture_output=True, text=True, input=input, check=False,
                          timeout=300)
    assert "Traceback" not in done.stderr, done.stderr
    assert args[0] == "solution" or all(  # code, and names that cannot be folded, may be longer
        len(line) <= 80 or "test_" in line or "/" in line for line in done.stdout.splitlines())
    assert "\033" not in done.stdout, "colour where there is no terminal"
    return done


def test_the_list_shows_every_topic_of_a_part():
    text = practice("list", "3").stdout
    assert all(name in text for name in TOPICS if name[0] == "3") and "  4.1 " not in text
    assert practice("list", "99").returncode == 2


def test_what_cannot_be_done_is_said_with_the_way_out(tmp_path):
    assert "there is no topic '3.99'" in practice("start", "3.99").stderr
    assert "start one with" in practice("check", "3.3", "--to", tmp_path / "none").stderr
    assert practice("start").returncode == 2


def in_repository() -> dict:
    """Every file below the parts and tests with its time, without what a run of tests leaves."""
    return {str(path): path.stat().st_mtime_ns for folder in [*ROOT.glob("part_[0-9]"), ROOT / "tests"]
            for path in folder.rglob("*") if path.is_file() and "out" not in path.parts}


def test_an_attempt_from_start_to_solution(tmp_path):
    """From another folder, on a path with a blank; nothing else changes."""
    before, folder = in_repository(), tmp_path / "my practice"
    to = ("--to", folder)
    text = practice("start", "3.3", *to, cwd=tmp_path).stdout
    assert "SwiGLU.forward" in text and f'check 3.3 --to "{folder}"' in text
    assert "is there already" in practice("start", "3.3", *to).stderr
    assert "1 of 3" in practice("hint", "3.3", *to).stdout
    assert "2 of 3" in practice("hint", "3.3", *to, cwd=tmp_path).stdout
    empty = practice("check", "3.3", "--stalled", 60, *to)
    assert empty.returncode == 1 and "to write  SwiGLU.forward, hidden_width" in empty.stdout
    assert "not shown" in practice("solution", "3.3", *to, input="\n").stdout
    shown = practice("solution", "3.3", *to, input="y\n").stdout
    assert "+        return self.project(F.silu(gate) * up)" in shown
    path = folder / "part_3" / "swiglu.py"
    right = (ROOT / "part_3/swiglu.py").read_text(encoding="utf-8")
    path.write_text(right, encoding="utf-8")
    good = practice("check", "3.3", *to, cwd=tmp_path)
    assert good.returncode == 0 and "passed" in good.stdout
    assert json.loads((folder / attempt.STATE).read_text())["verdict"] == "passed"
    path.write_text(right.replace("F.silu(gate) * up", "F.silu(up) * gate"), encoding="utf-8")
    wrong = practice("check", "3.3", *to, cwd=tmp_path)
    assert wrong.returncode == 1 and "a known mistake: gate and value swapped" in wrong.stdout
    assert "expected" in wrong.stdout and "section 3.3 SwiGLU" in wrong.stdout
    assert "letter" not in practice("solution", "3.3", "--yes", *to).stdout
    assert in_repository() == before


@pytest.mark.slow
def test_the_demo_runs_on_the_attempt(tmp_path):
    to = ("--to", tmp_path / "mine")
    practice("start", "1.6", "--steps", *to)
    path = tmp_path / "mine/part_1/norm.py"
    assert practice("demo", "1.6", *to).returncode != 0, "an empty function cannot run"
    path.write_text((ROOT / "part_1/norm.py").read_text(encoding="utf-8"), encoding="utf-8")
    assert practice("demo", "1.6", *to).returncode == 0
    assert list((tmp_path / "mine/out").glob("*.png"))


# ---------------------------------------------------------------- attempts that misbehave

def checked(name: str, bodies: dict[str, str], tests=(), **what):
    topic = topic_of(name)
    return checking.check(topic, written(topic, bodies), list(tests), **what)


def test_what_is_no_python_is_shown_with_its_line():
    result = checked("3.3", {"hidden_width": "    return (8 *"})
    assert not result.passed and "swiglu.py, line" in result.syntax


def test_an_attempt_that_hangs_prints_and_ends_the_process_is_dealt_with(capsys):
    topic = topic_of("3.3")
    hangs = checked("3.3", {"hidden_width": "    while True:\n        pass"}, stalled=2)
    assert hangs.stalled and not hangs.passed and "128, 512" in hangs.doing
    screens.show_result(topic, hangs, None)
    assert "hangs" in capsys.readouterr().out
    ends = checked("3.3", {"hidden_width": "    import os\n    print('here')\n    os._exit(0)"})
    assert not ends.ended and not ends.passed
    screens.show_result(topic, ends, None)
    assert "ended the whole process" in capsys.readouterr().out


@pytest.mark.slow
def test_an_attempt_that_prints_or_leaves_is_told_so(capsys):
    topic = topic_of("3.3")
    prints = checked("3.3", {"hidden_width": "    print('n is', n_embd)\n    return n_embd"})
    screens.show_result(topic, prints, None)
    assert "printed   n is 128" in capsys.readouterr().out
    leaves = checked("3.3", {"hidden_width": "    raise SystemExit(0)"})
    assert leaves.ended and leaves.wrong_cases[0]["raised"] == "SystemExit"


CHEATS = ("""
    import importlib.util
    spec = importlib.util.spec_from_file_location("x", "{ROOT}/part_3/swiglu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.hidden_width(n_embd, multiple)""", """
    import pathlib
    text = pathlib.Path("{ROOT}/part_3/swiglu.py").read_text()
    return -(-8 * n_embd // (3 * multiple)) * multiple""", """
    import sys
    from pathlib import Path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "part_4"))
    import gpt.layers
    return -(-8 * n_embd // (3 * multiple)) * multiple""")


@pytest.mark.parametrize("cheat", [CHEATS[0], *(pytest.param(c, marks=pytest.mark.slow)
                                               for c in CHEATS[1:])])
def test_an_attempt_that_takes_the_solution_from_a_part_does_not_pass(cheat, capsys):
    result = checked("3.3", {"hidden_width": cheat.replace("{ROOT}", str(ROOT))})
    assert result.cheats and not result.passed
    screens.show_result(topic_of("3.3"), result, None)
    assert "does not count" in capsys.readouterr().out


# ---------------------------------------------------------------- right attempts, and how long

QUICK = {("8.4", 0)}


def test_ten_topics_have_three_styles_each():
    assert len(STYLES) == 10 and all(len(styles) == 3 for styles in STYLES.values())
    for name, styles in STYLES.items():
        for bodies in styles:
            assert set(bodies) == set(topic_of(name).functions)


@pytest.mark.parametrize("name, number", [
    pytest.param(name, number, marks=[] if (name, number) in QUICK else [pytest.mark.slow])
    for name in STYLES for number in range(3)])
def test_a_right_attempt_in_another_style_passes(name, number):
    topic = topic_of(name)
    result = checking.check(topic, written(topic, STYLES[name][number]), checking.tests_of(topic))
    assert result.passed, (result.wrong_cases, result.failed, result.errors)


@pytest.mark.slow
@pytest.mark.parametrize("name", TOPICS)
def test_the_parts_own_code_passes_and_empty_functions_do_not(name):
    topic = topic_of(name)
    own = {file: source_of(topic, file) for file in topic.hints}
    result = checking.check(topic, own, checking.tests_of(topic))
    assert result.passed, (result.wrong_cases, result.failed, result.errors)
    assert not checking.check(topic, {file: attempt.emptied(text, topic, topic.hints[file], False)
                                      for file, text in own.items()}, []).passed
