"""Which mistake is it? Compare what fails with what fails for each of the known mistakes.

A fingerprint holds, for one planted bug: the tests that fail, and for each worked case how its
value differs (negated, scaled, not a number …) with a few numbers that tell it from other values.

Math   likeness = 0.65 cases + 0.35 tests.  cases: mean over the cases that are wrong in one of the
       two, 1 for the same wrong value, 1/3 for wrong in the same way.  tests: the share of failing
       tests that both have, each weighing more the fewer mistakes it fails for
Used   practice.py, tests/diagnosis_shares.py (how often it is right)
"""

import math
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from practice_room.checking import Result

MISTAKES = Path(__file__).resolve().parent / "mistakes.txt"
SURE = 0.6        # a likeness from which on a mistake is named
APART = 0.02      # likenesses closer than this are one
KIND_SURE = 0.35  # the share of the vote from which on a kind is named
NEIGHBOURS = 5    # mistakes and changes that vote
EXACT, WAY_WEIGHT, POWER = 1.5, 0.5, 4  # of the vote: see kind_by_vote

KINDS = {
    "sight": "something is seen, or counts, that must not (or the other way round): look at masks,"
             " padding, and labels that are left out",
    "place": "the right thing at the wrong place: off by one, another row or axis, another layout,"
             " one thing read for another",
    "size": "right but for its size: a factor, divisor, root or power, or a sum where a mean is"
            " meant",
    "sign": "turned round: a sign, a comparison, the largest for the smallest, two things that"
            " changed places",
    "step": "a step or a term is left out, or comes at the wrong moment, or is not kept",
    "edge": "the special case: limits, ties, rounding, the first and the last, nonsense let through",
}
CHANGES = {  # small changes that tests/mutants.py tries: code -> (kind, what to say)
    "term": ("step", "a term of a sum is left out"),
    "step": ("step", "a step is left out"),
    "kept": ("step", "adding up is forgotten: only the last one stays"),
    "setting": ("step", "a setting is not handed on"),
    "turned": ("sign", "two things are taken in the other order"),
    "sign": ("sign", "plus and minus are exchanged"),
    "smallest": ("sign", "largest and smallest are exchanged, or sine and cosine"),
    "swapped": ("sign", "two things have changed places"),
    "opposite": ("sign", "a condition is turned round"),
    "factor": ("size", "a factor is left out"),
    "divisor": ("size", "a divisor is left out"),
    "upside": ("size", "multiplied in place of divided"),
    "power": ("size", "a power is left out"),
    "scaling": ("size", "a root, square, exponential or logarithm is left out"),
    "mean": ("size", "sum and mean are exchanged"),
    "number": ("size", "a number has another value"),
    "place": ("place", "something is taken one place too early or too late"),
    "axis": ("place", "over another axis, or shifted by one"),
    "shape": ("place", "an axis, or the order of things, is not turned"),
    "cut": ("place", "what should be cut off stays"),
    "wrapped": ("place", "counting does not begin again at the end"),
    "other": ("place", "one thing is read in the place of another"),
    "allowed": ("sight", "a mask lets through what it should hide, or hides what is allowed"),
    "counts": ("sight", "what should be left out counts, or the other way round"),
    "rounding": ("edge", "rounded the other way"),
    "limit": ("edge", "a limit is left out"),
    "border": ("edge", "the border falls on the wrong side"),
    "condition": ("edge", "one of two conditions is not asked"),
    "case": ("edge", "one of two cases is treated as the other"),
    "one": ("edge", "one is enough where all are meant"),
    "every": ("edge", "all are wanted where one is enough"),
    "refused": ("edge", "nonsense is let through"),
    "special": ("edge", "a special case is not treated, or all are treated as it is"),
    "early": ("edge", "it does not stop where it should"),
}
HINTED = {"negated": "sign", "scaled": "size", "reordered": "place", "passes": "edge"}


@dataclass(frozen=True)
class Likeness:
    name: str
    score: float


@dataclass(frozen=True)
class Diagnosis:
    """The known mistakes by likeness; which is named, if one is; and the kind, if one is."""

    nearest: list[Likeness]
    named: str = ""
    kind: str = ""
    change: str = ""  # the code of a small change that gives the very same wrong values


@cache
def mistakes() -> dict[str, tuple[str, str]]:
    """Name of a planted bug -> its kind, and what to say about it beyond its name ("" if nothing)."""
    found = {}
    for line in MISTAKES.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            kind, name, *more = (part.strip() for part in line.split(" | "))
            found[name] = (kind, " | ".join(more))
    return found


def kind_of(name: str) -> str:
    return mistakes().get(name, ("", ""))[0]


def pattern_of(result: Result, tests: list[str]) -> dict:
    """What fails, in the form in which fingerprints are kept: places of tests, and wrong cases."""
    place = {test: i for i, test in enumerate(tests)}
    failed = {test["id"] for test in result.failed}
    if result.broken:  # a test file that cannot be read: all its tests fail
        ran = {test["id"] for test in result.tests}
        failed |= set(tests) - ran
    return {"tests": sorted(place[test] for test in failed if test in place),
            "cases": {case["name"]: [case["status"], case["signature"]]
                      for case in result.wrong_cases},
            "stalled": result.stalled}


def is_alike(one: list[float], other: list[float]) -> bool:
    """Are two signatures those of one value?"""
    return len(one) == len(other) and all(
        math.isclose(a, b, rel_tol=2e-3, abs_tol=1e-4) for a, b in zip(one, other))


def likeness_of_cases(mine: dict, known: dict) -> float | None:
    """0 … 1, or None where no case is wrong in either."""
    wrong = set(mine) | set(known)
    if not wrong:
        return None
    points = 0.0
    for name in set(mine) & set(known):
        (status, sign), (other, its) = mine[name], known[name]
        same_value = sign and its and is_alike(sign, its)
        points += 1.0 if same_value or (status == other and status.startswith("raises")) else (
            1 / 3 if status == other else 0.2)
    return points / len(wrong)


def likeness_of_tests(mine: list[int], known: list[int], weight: dict[int, float]) -> float | None:
    both, either = set(mine) & set(known), set(mine) | set(known)
    if not either:
        return None
    return sum(weight[i] for i in both) / sum(weight[i] for i in either)


def likenesses(pattern: dict, fingerprints: dict) -> list[Likeness]:
    """The known mistakes of a topic, the likest first."""
    bugs = fingerprints["bugs"]
    often = Counter(i for known in bugs.values() for i in known["tests"])
    weight = {i: math.log((len(bugs) + 2) / (often[i] + 1)) + 0.1
              for i in range(len(fingerprints["tests"]))}
    found = []
    for name, known in bugs.items():
        cases = likeness_of_cases(pattern["cases"], known["cases"])
        tests = likeness_of_tests(pattern["tests"], known["tests"], weight)
        parts = [(share, value) for share, value in ((0.65, cases), (0.35, tests))
                 if value is not None]
        score = sum(share * value for share, value in parts) / max(
            1e-9, sum(share for share, _ in parts))
        if pattern["stalled"] or known["stalled"]:
            score = 0.8 + 0.2 * score if pattern["stalled"] and known["stalled"] else 0.3 * score
        found.append(Likeness(name, round(score, 4)))
    return sorted(found, key=lambda one: -one.score)


def code_of(status: str, signature: list[float]) -> str:
    """A wrong value in three letters: what it looks like, and its numbers to three digits."""
    numbers = [f"{x:.2e}" if abs(x) > 1e-4 else "0" for x in signature]
    return f"{zlib.crc32(' '.join([status, *numbers]).encode()) % 0xfff:03x}"


def outline(pattern: dict, cases: list[str]) -> str:
    """The wrong cases of a pattern in short: "0:3fa,4:b02", by their places among all cases."""
    return ",".join(f"{cases.index(name)}:{code_of(*pattern['cases'][name])}"
                    for name in sorted(pattern["cases"], key=cases.index))


def alike_changes(mine: str, changes: list[str]) -> list[tuple[float, str]]:
    """(likeness 0 … 1, code) of the small changes, the likest first."""
    own = set(filter(None, mine.split(",")))
    places = {one.partition(":")[0] for one in own}
    found = []
    for change in changes:
        code, _, text = change.partition(" ")
        its = set(text.split(","))
        either = len(places | {one.partition(":")[0] for one in its})
        both = len(places & {one.partition(":")[0] for one in its})
        found.append((round((len(own & its) + 0.25 * (both - len(own & its))) / either, 3), code))
    return sorted(found, reverse=True)


def kind_by_vote(pattern: dict, nearest: list[Likeness], changes: list[tuple[float, str]]) -> str:
    """The kind of the nearest mistakes and changes, and of the way in which the cases are wrong."""
    votes = Counter()
    for one in nearest[:NEIGHBOURS]:
        votes[kind_of(one.name)] += one.score**POWER
    for likeness, code in changes[:NEIGHBOURS]:
        votes[CHANGES[code][0]] += likeness**POWER * (EXACT if likeness == 1 else 1)
    ways = Counter(status for status, _ in pattern["cases"].values())
    for way, count in ways.items():
        if way in HINTED:
            votes[HINTED[way]] += WAY_WEIGHT * count / sum(ways.values())
    votes.pop("", None)
    if not votes:
        return ""
    kind, most = votes.most_common(1)[0]
    return kind if most >= KIND_SURE * sum(votes.values()) else ""


def diagnose(result: Result, fingerprints: dict) -> Diagnosis:
    """What an attempt that is wrong looks like."""
    pattern = pattern_of(result, fingerprints["tests"])
    short = outline(pattern, [case["name"] for case in result.cases])
    return decide(pattern, likenesses(pattern, fingerprints),
                  alike_changes(short, fingerprints.get("changes", [])))


def decide(pattern: dict, nearest: list[Likeness], changes: list[tuple[float, str]]) -> Diagnosis:
    """A name where one is near enough; else a small change that gives the same; else a kind."""
    if nearest and nearest[0].score >= SURE:
        return Diagnosis(nearest, nearest[0].name, kind_of(nearest[0].name))
    kind = kind_by_vote(pattern, nearest, changes)
    same = [code for likeness, code in changes if likeness == 1 and CHANGES[code][0] == kind]
    return Diagnosis(nearest, "", kind, same[0] if same else "")
