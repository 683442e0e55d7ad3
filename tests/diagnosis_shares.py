"""How often does the practice name the right mistake? Puts bugs into attempts, and asks.

    python tests/diagnosis_shares.py known         120 planted bugs, each put into an attempt
    python tests/diagnosis_shares.py new           bugs that no fingerprint knows: the right kind?
    python tests/diagnosis_shares.py left-out      each known bug without its own fingerprint: its kind

An attempt is the part's code, written anew from its syntax tree (no comments, no line as it was),
with one bug. "known": the right name must come first, and the likeness must be enough to say so.
"new" (tests/part_0/new_mistakes.py): the kind must be right, whether by the mistake that is named or
by the kind alone; "not sure" is a miss. A wrong attempt that passes is an error, whatever the share.
"left-out" reads the fingerprints alone, in seconds; what it says is no measurement of new bugs, as
mistakes in one list resemble each other.
"""

import argparse
import ast
import importlib.util
import random
import sys
import tempfile
from pathlib import Path

import fingerprints
import planted_bugs
import worked_cases
from practice_room import checking, diagnosis
from practice_room.catalogue import all_topics

NEW = Path(__file__).resolve().parent / "part_0" / "new_mistakes.py"
WANTED = {"known": 0.8, "new": 0.5, "left-out": 0.0}


def as_attempt(files: dict[str, str]) -> dict[str, str]:
    """The same code, written out anew."""
    return {name: ast.unparse(ast.parse(text)) + "\n" for name, text in files.items()}


def known_bugs(count: int, seed: int) -> list:
    """(topic, bug), `count` of them at random."""
    bugs, known = planted_bugs.load_bugs("", ""), checking.read_fingerprints()
    pairs = [(topic, bug) for topic in all_topics().values() if topic.name in known
             for bug in fingerprints.bugs_of(topic, bugs)]
    return random.Random(seed).sample(pairs, min(count, len(pairs)))


def new_bugs() -> list:
    """(topic, bug) of the list that no fingerprint was made from, with the kind in bug.test."""
    spec = importlib.util.spec_from_file_location("new_mistakes", NEW)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [(all_topics()[topic], bug) for topic, bug in module.NEW]


def tried(pairs: list):
    """(topic, bug, result, diagnosis) of each, topic by topic."""
    for name in dict.fromkeys(topic.name for topic, _ in pairs):
        topic, known = all_topics()[name], checking.read_fingerprints()[name]
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
            forks = fingerprints.Forks(topic, Path(place))
            for bug in [bug for other, bug in pairs if other is topic]:
                file = fingerprints.span_of(topic, bug)
                assert file, f"{bug.name} is not inside {name}"
                files = as_attempt(fingerprints.with_bug(forks, bug, file))
                result = forks.run(files, known["tests"])
                yield topic, bug, result, diagnosis.diagnose(result, known)


def same(topic, one: str, other: str) -> bool:
    """Are two known mistakes one, to all that can be seen? Then either name is right."""
    bugs = checking.read_fingerprints()[topic.name]["bugs"]
    if one not in bugs or other not in bugs:
        return one == other
    return all(bugs[one][key] == bugs[other][key] for key in ("tests", "cases", "stalled"))


def ask(what: str, pairs: list) -> int:
    right, passed, lines = 0, [], []
    for topic, bug, result, found in tried(pairs):
        if result.passed:
            passed.append(bug.name)
        if what == "known":
            is_right = bool(found.named) and found.named == bug.name
            said = found.named or "not sure"
        else:
            is_right = found.kind == bug.test
            said = f"{found.kind or 'not sure'} ({found.named or 'no name'})"
        right += is_right and not result.passed
        lines.append(f"{'right' if is_right else 'WRONG'} {topic.name:5s} {bug.name}: {said}")
        print(lines[-1], flush=True)
    share = right / len(pairs)
    print(f"\n{right} of {len(pairs)} {what} mistakes ({share:.0%}); "
          f"{len(passed)} passed {passed or ''}")
    return 0 if share >= WANTED[what] and not passed else 1


def changes_like(topic: str, pattern: dict, one: dict) -> list:
    cases = worked_cases.cases_of(all_topics()[topic].part, topic, Path(__file__).parent)
    short = diagnosis.outline(pattern, [case.name for case in cases])
    return diagnosis.alike_changes(short, one["changes"])


def left_out() -> int:
    """The kind of each known mistake, asked of all others of its topic."""
    right = total = sure = 0
    for topic, one in checking.read_fingerprints().items():
        for name, pattern in one["bugs"].items():
            others = {bug: p for bug, p in one["bugs"].items() if bug != name}
            if not others:
                continue
            nearest = diagnosis.likenesses(pattern, {**one, "bugs": others})
            found = diagnosis.decide(pattern, nearest, changes_like(topic, pattern, one))
            total += 1
            sure += bool(found.kind)
            right += found.kind == diagnosis.kind_of(name)
    print(f"{right} of {total} right by kind ({right / total:.0%}), {total - sure} not sure")
    return 0


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(WANTED), help="what to ask")
    parser.add_argument("--count", type=int, default=120, help="known: how many (default: 120)")
    parser.add_argument("--seed", type=int, default=0, help="known: which ones (default: 0)")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    if args.what == "left-out":
        return left_out()
    return ask(args.what, known_bugs(args.count, args.seed) if args.what == "known" else new_bugs())


if __name__ == "__main__":
    sys.exit(main())
