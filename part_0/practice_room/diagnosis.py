"""Which mistake is it? Compare what fails with what fails for each of the known mistakes.

A fingerprint holds, for one planted bug: the tests that fail, and for each worked case how its
value differs (negated, scaled, not a number …) with a few numbers that tell it from other values.

Math   likeness = 0.65 cases + 0.35 tests.  cases: mean over the cases that are wrong in one of the
       two, 1 for the same wrong value, 1/3 for wrong in the same way.  tests: the share of failing
       tests that both have, each weighing more the fewer mistakes it fails for
Used   practice.py, tests/diagnosis_shares.py (how often it is right)
"""

import math
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from practice_room.checking import Result

MISTAKES = Path(__file__).resolve().parent / "mistakes.txt"
SURE = 0.6        # a likeness from which on a mistake is named
APART = 0.02      # likenesses closer than this are one
KIND_SURE = 0.5   # the share of the vote from which on a kind is named
NEIGHBOURS = 5

KINDS = {
    "sight": "something is seen that must not be, or hidden that must be seen: look at the mask",
    "place": "the right thing at the wrong place: off by one, a shift, a wrong row or position",
    "axis": "over the wrong axis, or in the wrong layout: look at dims, views and transposes",
    "factor": "a factor, divisor or exponent is missing, wrong, or there once too often",
    "sign": "turned round: a sign, a comparison, minimum and maximum, or two things swapped",
    "missing": "a step is left out",
    "mean": "what is added up and what it is divided by: mean or sum, and who counts",
    "state": "something is not kept, not reset, or done at the wrong moment",
    "edge": "the special case: limits, ties, rounding, nothing to do, nonsense that is let through",
}
HINTED = {"negated": "sign", "scaled": "factor", "reordered": "axis"}


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


def kind_by_vote(pattern: dict, nearest: list[Likeness]) -> str:
    """The kind of the nearest mistakes, and of the way in which the cases are wrong."""
    votes = Counter()
    for one in nearest[:NEIGHBOURS]:
        votes[kind_of(one.name)] += one.score**2
    ways = Counter(status for status, _ in pattern["cases"].values())
    for way, count in ways.items():
        if way in HINTED:
            votes[HINTED[way]] += 0.5 * count / sum(ways.values())
    votes.pop("", None)
    if not votes:
        return ""
    kind, most = votes.most_common(1)[0]
    return kind if most >= KIND_SURE * sum(votes.values()) else ""


def diagnose(result: Result, fingerprints: dict) -> Diagnosis:
    """What an attempt that is wrong looks like."""
    pattern = pattern_of(result, fingerprints["tests"])
    nearest = likenesses(pattern, fingerprints)
    if not nearest:
        return Diagnosis([])
    if nearest[0].score >= SURE:
        return Diagnosis(nearest, nearest[0].name, kind_of(nearest[0].name))
    return Diagnosis(nearest, "", kind_by_vote(pattern, nearest))
