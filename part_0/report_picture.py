"""The report card in one picture: it learns to write, to answer, to please and to reason.

Used    demo_pipeline.py

A panel is drawn where its stages have run; where fewer than three have, the minutes of each stage
are drawn too.
"""

import json
import textwrap
from pathlib import Path
from statistics import mean

from pipeline import Chain
from plotting import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, end_label, figure, save
from report_card import elapsed, half_width, seconds_of, values_of

COLORS = {"gpt": GREY, "base": GREY, "moe": PURPLE, "sft": BLUE, "reward": PURPLE, "ppo": ORANGE,
          "dpo": SKY, "cold": SKY, "grpo": GREEN}
# (stage, what is measured, before, after): all from 0 to 1
BEFORE_AFTER = (("ppo", "true quality", "quality_before", "quality_after"),
                ("dpo", "true quality", "quality_before", "quality_after"),
                ("grpo", "problems solved", "accuracy_before", "accuracy_after"))


def base_curve(report: dict, chain: Chain) -> tuple[list[int], list[float]]:
    """(steps, loss in bits a byte) of pretraining, averaged over stretches of the log; empty where
    there is no log."""
    per_token, per_byte = (values_of(report, "base", key) for key in ("val_loss", "bits_per_byte"))
    path = chain.folder("part_4") / "log.jsonl"
    if not (per_token and per_byte and path.is_file()):
        return [], []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    points = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    size = max(1, len(points) // 80)
    groups = [points[i:i + size] for i in range(0, len(points) - size + 1, size)]
    factor = per_byte[0] / per_token[0]  # bits a byte for each nat a token, on the same texts
    return ([group[-1][0] for group in groups],
            [mean(loss for _, loss in group) * factor for group in groups])


def draw_curve(ax, report: dict, chain: Chain) -> None:
    """Pretraining against the floor."""
    steps, losses = base_curve(report, chain)
    ax.plot(steps, losses, color=BLUE, lw=1.2)
    end_label(ax, steps, [mean(values_of(report, "base", "bits_per_byte"))],
              f"{mean(values_of(report, 'base', 'bits_per_byte')):.2f}", BLUE, dy=6)
    floor = values_of(report, "base", "floor_bits_per_byte")
    if floor:
        ax.axhline(mean(floor), color=RED, lw=1, ls="--")
        ax.text(0, mean(floor) * 0.97, "floor: no model is below", color=RED, fontsize=7, va="top")
    ax.set_title("it learns to write", loc="left")
    ax.set(xlabel="step", ylabel="loss, bits a byte", ylim=(0, min(max(losses), 1.0)))


def right_answers(report: dict) -> dict[str, list[float]]:
    """Model -> share of new items that are right, one a seed."""
    return {name: [one["skills"]["new_items"]["answer_right"] for one in seeds]
            for name, seeds in report["asked"].items() if seeds}


def draw_skills(ax, report: dict) -> None:
    """Right answers, model by model."""
    for x, (name, values) in enumerate(right_answers(report).items()):
        height = 100 * mean(values)
        ax.bar(x, height, 0.7, color=COLORS.get(name, BLUE))
        top = height
        if len(values) > 1:
            half = 100 * half_width(values)
            ax.errorbar(x, height, half, color=BLACK, lw=1, capsize=3)
            ax.plot([x] * len(values), [100 * value for value in values], ".", color=BLACK, ms=3)
            top = min(height + half, 100)
        ax.text(x, top + 1.5, f"{height:.0f}", ha="center", fontsize=8)
    names = list(right_answers(report))
    ax.set_xticks(range(len(names)), names)
    ax.set_title("it learns to answer", loc="left")
    ax.set(ylabel="new questions right, %", ylim=(0, 108))


def changes(report: dict) -> list[tuple[str, str, float, float]]:
    """(stage, what is measured, before, after) of the stages that have both."""
    changed = []
    for stage, label, before, after in BEFORE_AFTER:
        ends = [values_of(report, stage, key) for key in (before, after)]
        if all(ends):
            changed.append((stage, label, mean(ends[0]), mean(ends[1])))
    return changed


def draw_changes(ax, report: dict) -> None:
    """Before and after: arrows from the grey dot to the coloured one."""
    changed = changes(report)
    for row, (stage, label, before, after) in enumerate(changed):
        color = COLORS.get(stage, BLUE)
        ax.plot([before, after], [row, row], color=color, lw=2, alpha=0.5)
        ax.plot(before, row, "o", color=GREY, ms=6)
        ax.plot(after, row, "o", color=color, ms=7)
        ax.text(-0.18, row - 0.22, f"{stage}: {label}", fontsize=8, color=color)
        for value, side in ((before, -1), (after, 1)):
            outward = side if after >= before else -side
            ax.annotate(f"{value:.2f}", (value, row), xytext=(8 * outward, 0), fontsize=7.5,
                        textcoords="offset points", va="center",
                        ha="left" if outward > 0 else "right")
    ax.set_yticks([])
    ax.grid(False, axis="y")
    ax.grid(True, axis="x")
    ax.set_title("it pleases, and reasons" if any(c[0] == "grpo" for c in changed)
                 else "it learns to please", loc="left")
    ax.set(xlabel="before (grey) and after", xlim=(-0.22, 1.12),  # room for a figure left of 0.05
           ylim=(len(changed) - 0.5, -0.6))


def minutes_of(report: dict) -> dict[str, float]:
    """Stage -> minutes, the mean over seeds."""
    return {name: mean(seconds_of(stage)) / 60 for name, stage in report["stages"].items()}


def draw_minutes(ax, report: dict) -> None:
    """How long each stage took."""
    minutes = minutes_of(report)
    ax.barh(range(len(minutes)), minutes.values(), 0.6,
            color=[COLORS.get(name, BLUE) for name in minutes])
    for row, value in enumerate(minutes.values()):
        ax.text(value, row, f" {value:.1f}", va="center", fontsize=8)
    ax.set_yticks(range(len(minutes)), minutes)
    ax.invert_yaxis()
    ax.grid(False, axis="y")
    ax.set_title("what it takes", loc="left")
    ax.set(xlabel="minutes", xlim=(0, 1.25 * max(minutes.values())))


def title_of(report: dict) -> str:
    """What was found, from the figures that are there."""
    parts = []
    bits, floor = (values_of(report, "base", key) for key in ("bits_per_byte",
                                                              "floor_bits_per_byte"))
    if bits and floor:
        parts.append(f"it writes {mean(bits) / mean(floor) - 1:.0%} above the floor")
    right = right_answers(report)
    if "base" in right and len(right) > 1:
        best = max(list(right)[1:], key=lambda name: mean(right[name]))
        parts.append(f"answers {mean(right[best]):.0%} of new questions (untuned "
                     f"{mean(right['base']):.0%})")
    for stage, label, before, after in changes(report):
        if stage == "grpo":
            parts.append(f"solves {after:.0%} of problems ({before:.0%} before GRPO)")
    head = f"{elapsed(report) / 60:.0f} minutes"
    return f"{head}: {', '.join(parts)}" if parts else f"{head} of training"


def fitted(title: str, width: int = 70) -> str:
    """The title, to be broken into lines of at most `width`: figures are wider than letters, and
    `figure` counts on letters. Its lines hold together by unbreakable blanks, and a short one is
    filled up with them, so that it is not joined to the one before."""
    return " ".join(line.replace(" ", "\u00a0").ljust(width // 2 + 10, "\u00a0")
                    for line in textwrap.wrap(title, width))


def draw(report: dict, chain: Chain, path: Path) -> None:
    """The picture. Needs at least one stage that has run."""
    panels = []
    if base_curve(report, chain)[0]:
        panels.append(lambda ax: draw_curve(ax, report, chain))
    if right_answers(report):
        panels.append(lambda ax: draw_skills(ax, report))
    if changes(report):
        panels.append(lambda ax: draw_changes(ax, report))
    if len(panels) < 3:
        panels.append(lambda ax: draw_minutes(ax, report))
    last = list(report["stages"].values())[-1]["runs"][0]["results"]
    seeds = report["seeds"]
    setup = (f"{last['parameters'] / 1e6:.1f}M parameters, {report['machine']['processor']} "
             f"(threads: {report['machine']['threads']}), preset {report['preset']}, "
             + (f"seed {seeds[0]}" if len(seeds) == 1 else
                f"seeds {seeds[0]} to {seeds[-1]}: bars are 95% intervals"))
    fig, axes = figure(fitted(title_of(report)), setup, panels=len(panels))
    for ax, panel in zip(axes if len(panels) > 1 else [axes], panels):
        panel(ax)
    save(fig, path)
