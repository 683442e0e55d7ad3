"""The report card: what every stage cost and what it is worth, from the results that lie there.

    gather(stages, chains) -> everything, as report.json holds it;  tables(report) -> its tables

Math    over seeds   mean ± t · s / sqrt(n), t of Student's distribution for 95%       (eq. 0.3)
A stage, a figure or a model that is missing is left out, and nothing else changes.
Used    demo_pipeline.py, report_pages.py, report_picture.py
"""

from dataclasses import dataclass
from math import inf, sqrt
from statistics import mean, stdev

from asking import QUESTIONS, is_right
from chain import summary_of
from machine import describe_machine
from pipeline import Chain, Stage, has_own_result, is_done, load_json, note_of
from runtime import format_number

THIS_COMMAND = "by this command, as the settings are now"
STUDENT_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)  # for 2, 3, … 10 values


@dataclass(frozen=True)
class Table:
    """A table of texts, as it is printed and written."""

    title: str
    note: str
    header: list[str]
    rows: list[list[str]]
    is_prose: bool = False  # its cells are sentences: too wide for a terminal


@dataclass(frozen=True)
class Section:
    """A table of figures: a row for each, a column for each stage that has any of them."""

    title: str
    note: str
    stages: tuple[str, ...]
    rows: tuple  # (label, kind, key of the metrics or a function of them)


def above_floor(metrics: dict) -> float:
    """By what share the loss is above the least that any model can have."""
    return metrics["bits_per_byte"] / metrics["floor_bits_per_byte"] - 1


def reward_gain(metrics: dict) -> float:
    """In standard deviations of the tuned model's rewards."""
    return (metrics["reward_after"] - metrics["reward_before"]) / metrics["reward_std_before"]


SECTIONS = (
    Section("Loss against the floor",
            "Held-out text. The floor is the entropy of the little world: no model can be below it. "
            "gpt reads other text, and moe is a smaller model: compare neither with base.",
            ("gpt", "base", "moe"), (
                ("loss, nats a token", "number", "val_loss"),
                ("bits a byte", "number", "bits_per_byte"),
                ("floor, bits a byte", "number", "floor_bits_per_byte"),
                ("above the floor", "share", above_floor),
                ("cloze questions right", "share", "cloze_accuracy"),
                ("fullest expert over the mean", "number", "max_load"))),
    Section("The reward model", "Pairs of replies that it has not seen, a tenth of the labels wrong "
            "as people's are: that share is the ceiling.", ("reward",), (
                ("pairs ordered as the labels say", "share", "accuracy"),
                ("the most that can be had", "share", "accuracy_ceiling"),
                ("pairs ordered as the judge says", "share", "true_accuracy"),
                ("pairs with kinds of fault it never saw", "share", "new_fault_accuracy"),
                ("rank correlation with true quality", "number", "rank_correlation"),
                ("calibration error", "number", "calibration_error"))),
    Section("Preference: reward, true quality, KL",
            "Held-out prompts. True quality, from 0 to 1, is the known judge's; training never asks "
            "it.", ("ppo", "dpo"), (
                ("reward before", "number", "reward_before"),
                ("reward after", "number", "reward_after"),
                ("gain in standard deviations", "number", reward_gain),
                ("true quality before", "number", "quality_before"),
                ("true quality after", "number", "quality_after"),
                ("true quality of the tuned model at its best temperature", "number",
                 "quality_cool"),
                ("true quality of its answers in perfect manners", "number", "quality_ceiling"),
                ("rude replies before", "share", "rude_before"),
                ("rude replies after", "share", "rude_after"),
                ("idle replies before", "share", "idle_before"),
                ("idle replies after", "share", "idle_after"),
                ("KL to the tuned model, nats a reply", "number", "kl"),
                ("answers right before", "share", "answer_right_before"),
                ("answers right after", "share", "answer_right_after"),
                ("likeliest replies that are other ones", "share", "greedy_changed"),
                ("replies that stop by themselves", "share", "end_rate"))),
    Section("Reasoning", "Held-out problems of several steps, greedy; pass@8: at least one of eight "
            "samples is right. Without thinking: just the answer is asked for.", ("grpo",), (
                ("right before, thinking", "share", "accuracy_before"),
                ("right after, thinking", "share", "accuracy_after"),
                ("right before, without thinking", "share", "direct_before"),
                ("right after, without thinking", "share", "direct_after"),
                ("pass@8 before", "share", "pass_at_8_before"),
                ("pass@8 after", "share", "pass_at_8_after"),
                ("longer problems, after", "share", "splits.longer.after.accuracy"),
                ("KL to the model before", "number", "kl"),
                ("questions right before", "share", "exact_match_before"),
                ("questions right after", "share", "exact_match"),
                ("replies that stop by themselves", "share", "end_rate"))),
)


# ---------------------------------------------------------------- numbers

def half_width(values: list[float]) -> float:
    """Half of the 95% interval of the mean (eq. 0.3); for ten values and more, that of ten."""
    n = len(values)
    return STUDENT_95[min(n - 2, len(STUDENT_95) - 1)] * stdev(values) / sqrt(n)


def cell(values: list, kind: str = "number") -> str:
    """Values of a figure, one a seed -> its text: 84.8%, 84.8% ± 1.2 or 0.241 ± 0.002."""
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    scale, unit = (100, "%") if kind == "share" else (1, "")
    middle = mean(values) * scale
    text = f"{middle:.1f}%" if unit else format_number(
        values[0] if min(values) == max(values) else middle)
    if min(values) == max(values):  # one seed, or what no seed changes, as a number of tokens
        return text
    half = half_width(values) * scale
    return f"{text} ± {half:.1f}" if unit else f"{text} ± {format_number(float(f'{half:.2g}'))}"


def figure_of(metrics: dict, key) -> float | None:
    """A metric by its name ("exact_match", "splits.longer.after"), or what a function makes of
    them; None where it is not there."""
    try:
        if callable(key):
            return key(metrics)
        for name in key.split("."):
            metrics = metrics[name]
    except (KeyError, TypeError):
        return None
    return metrics if isinstance(metrics, (int, float)) else None


# ---------------------------------------------------------------- what lies there

def run_of(stage: Stage, chain: Chain) -> dict | None:
    """A stage's results for one seed, and how they came to be; None where there are none."""
    results = load_json(chain.result(stage))
    if "metrics" not in results:
        return None
    note, is_own = note_of(stage, chain), has_own_result(stage, chain)
    made = THIS_COMMAND if is_done(stage, chain) else (
        "with other settings, code or inputs" if is_own else f"by {stage.script} alone")
    return {"seed": results.get("seed"), "made_by": made,
            "wall_seconds": note.get("wall_seconds") if is_own else None,
            "ended": note.get("ended") if is_own else None, "results": results}


def gather(stages: list[Stage], chains: list[Chain], asked: dict[str, list[dict]]) -> dict:
    """Everything that the report card tells. `asked`: stage -> its answers and skills, a seed each."""
    by_stage = {}
    for stage in stages:
        runs = [run for chain in chains if (run := run_of(stage, chain))]
        if runs:
            by_stage[stage.name] = {"title": stage.title, "script": stage.script, "runs": runs,
                                    "result": summary_of(stage, runs[0]["results"]["metrics"])}
    is_whole = all(run["made_by"] == THIS_COMMAND for stage in by_stage.values()
                   for run in stage["runs"])
    return {"preset": chains[0].preset if is_whole else "mixed", "seeds": [chain.seed for chain in chains],
            "machine": describe_machine(), "stages": by_stage,
            "questions": [{"skill": q.skill, "text": q.text, "answer": q.answer}
                          for q in QUESTIONS], "asked": asked}


def values_of(report: dict, stage: str, key) -> list[float]:
    """A figure of a stage, one value a seed."""
    runs = report["stages"].get(stage, {"runs": []})["runs"]
    values = [figure_of(run["results"]["metrics"], key) for run in runs]
    return [value for value in values if value is not None]


# ---------------------------------------------------------------- tables

def cost_table(report: dict) -> Table:
    """What each stage took."""
    rows = []
    for name, stage in report["stages"].items():
        seconds = seconds_of(stage)
        columns = [[run["results"][key] for run in stage["runs"]]
                   for key in ("tokens", "tokens_per_second", "parameters", "peak_memory_mb")]
        rows.append([name, cell([round(value / 60, 2) for value in seconds]),
                     *(cell([round(value) for value in column]) for column in columns)])
    rows.append(["all", cell([round(elapsed(report) / 60, 2)]), "", "", "", ""])
    alone = [name for name, stage in report["stages"].items()
             if any(run["wall_seconds"] is None for run in stage["runs"])]
    note = ("Minutes with data and measuring, in all those of two side by side once; tokens and their "
            "rate in training alone; memory at its peak."
            + (f" Minutes of {', '.join(alone)}: training alone." if alone else ""))
    return Table("What it took", note,
                 ["stage", "minutes", "tokens", "tokens/s", "parameters", "memory, MB"], rows)


def seconds_of(stage: dict) -> list[float]:
    """One a seed: from start to end where this command ran the stage, else of training alone."""
    return [run["wall_seconds"] or run["results"]["seconds"] for run in stage["runs"]]


def elapsed(report: dict) -> float:
    """Seconds of all stages together, the mean over seeds; what ran side by side counts once."""
    spans: dict[int, list[tuple[float, float]]] = {}  # seed -> (begin, end)
    total, seeds = 0.0, set()
    for stage in report["stages"].values():
        for run, seconds in zip(stage["runs"], seconds_of(stage)):
            seeds.add(run["seed"])
            if run["ended"] is None:
                total += seconds
            else:
                spans.setdefault(run["seed"], []).append((run["ended"] - seconds, run["ended"]))
    for of_seed in spans.values():
        reach = -inf
        for begin, end in sorted(of_seed):
            total += max(0.0, end - max(begin, reach))
            reach = max(reach, end)
    return total / len(seeds)


def stage_table(report: dict) -> Table:
    """What each stage does and came to, and which results are not of this chain."""
    odd = [f"{name} (seed {run['seed']}): {run['made_by']}" for name, stage in
           report["stages"].items() for run in stage["runs"] if run["made_by"] != THIS_COMMAND]
    note = "Each is a process of its own." + (
        f" Made otherwise than by this run of the chain: {'; '.join(odd)}." if odd else "")
    return Table("The stages", note, ["stage", "what happens", "result"],
                 [[name, stage["title"], stage["result"]] for name, stage in
                  report["stages"].items()], is_prose=True)


def section_table(section: Section, report: dict) -> Table | None:
    """None where none of its stages is there."""
    stages = [name for name in section.stages if name in report["stages"]]
    rows = []
    for label, kind, key in section.rows:
        values = [values_of(report, name, key) for name in stages]
        if any(values):
            rows.append([label, *(cell(figures, kind) for figures in values)])
    return Table(section.title, section.note, ["", *stages], rows) if rows else None


def skill_table(report: dict) -> Table | None:
    """Every skill of every model that was asked, on new items."""
    asked = {name: [one["skills"] for one in seeds] for name, seeds in report["asked"].items()}
    names = list(dict.fromkeys(skill for seeds in asked.values() for one in seeds
                               for skill in one["new_items"]["by_skill"]))
    if not names:
        return None
    rows = [[skill, *(cell([one["new_items"]["by_skill"].get(skill) for one in seeds], "share")
                      for seeds in asked.values())] for skill in sorted(names)]
    for label, split in (("all, new items", "new_items"), ("all, new wordings", "new_wordings"),
                         ("all, new combinations", "new_combinations")):
        if not all(split in one for seeds in asked.values() for one in seeds):
            continue  # a quick preset asks for new items only
        rows.append([label, *(cell([one[split]["answer_right"] for one in seeds], "share")
                              for seeds in asked.values())])
        if len(report["seeds"]) == 1:
            rows.append(["  95% interval", *("{:.1%} to {:.1%}".format(*seeds[0][split]["interval"])
                                             for seeds in asked.values())])
    rows.append(["stops by itself", *(cell([one["new_items"]["end_rate"] for one in seeds], "share")
                                      for seeds in asked.values())])
    return Table("Skills, stage by stage", "Share of right answers to questions whose content no "
                 "model was tuned on, by part 6's checkers; the same questions for all.",
                 ["skill", *asked], rows)


def shortened(text: str, width: int = 160) -> str:
    """On one line, and cut where it is longer than `width`."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[:width - 1] + "…"


def question_table(report: dict) -> Table | None:
    """The twelve questions side by side, in the words of the first seed's models."""
    answers = {name: seeds[0]["answers"] for name, seeds in report["asked"].items() if seeds}
    if not answers:
        return None
    rows, right = [], dict.fromkeys(answers, 0)
    for number, question in enumerate(QUESTIONS):
        row = [question.text, question.answer or "(any)"]
        for name, replies in answers.items():
            verdict = is_right(question, replies[number])
            right[name] += bool(verdict)
            mark = "" if verdict is None else "✓ " if verdict else "✗ "
            row.append(mark + (shortened(replies[number]) or "(nothing)"))
        rows.append(row)
    count = sum(bool(question.answer) for question in QUESTIONS)
    rows.append(["right", "", *(f"{right[name]} of {count}" for name in answers)])
    return Table("Twelve questions", f"Greedy answers, seed {report['seeds'][0]}. ✓ and ✗ where "
                 "there is one right answer.", ["asked", "right answer", *answers], rows,
                 is_prose=True)


def tables(report: dict) -> list[Table]:
    """All tables of the report card, in order; those without content are left out."""
    shown = [stage_table(report), cost_table(report),
             *(section_table(section, report) for section in SECTIONS[:1]), skill_table(report),
             *(section_table(section, report) for section in SECTIONS[1:]), question_table(report)]
    return [table for table in shown if table is not None]
