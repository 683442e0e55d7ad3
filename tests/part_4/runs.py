"""A training run that takes a second, for the tests of train.py."""

import json

SMALL = ["--n-layer", 1, "--n-head", 2, "--n-kv-head", 1, "--n-embd", 16, "--context", 32,
         "--vocab-size", 280, "--world-megabytes", 0.05, "--rows", 8, "--micro-rows", 8,
         "--steps", 12, "--eval-every", 4, "--save-every", 4, "--sample-every", 6, "--eval-documents", 9,
         "--amp", "float32", "--device", "cpu"]


def arguments(out, *more) -> list[str]:
    """The flags of a small run; later ones win."""
    return [str(word) for word in ("--out", out, *SMALL, "--no-tensorboard", *more)]


def log_of(out) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def losses(out) -> list[float]:
    return [line["loss"] for line in log_of(out) if "loss" in line]
