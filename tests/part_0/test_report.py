"""The report card: its numbers, its tables, its pages; and how the models are asked."""

import json
import re
import textwrap
from html.parser import HTMLParser
from statistics import mean, stdev

import asking
import pipeline
import pytest
import report_card
import report_pages
import report_picture
from asking import QUESTIONS

METRICS = {"base": {"val_loss": 0.6, "bits_per_byte": 0.24, "floor_bits_per_byte": 0.2},
           "sft": {"exact_match": 0.85},
           "ppo": {"reward_before": 0.5, "reward_after": 2.0, "reward_std_before": 0.5,
                   "quality_before": 0.7, "quality_after": 0.8}}


@pytest.fixture
def stages(house):
    """A base model, a tuned one, and one after it."""
    return [house.stage("part_4", name="base", metrics=METRICS["base"], speaks="text",
                        summary="{bits_per_byte:.2f} bits"),
            house.stage("part_6", name="sft", metrics=METRICS["sft"], speaks="chat",
                        summary="{exact_match:.0%} right"),
            house.stage("part_2", name="ppo", metrics=METRICS["ppo"], speaks="chat",
                        inputs={"--base": "part_6/sft.pt"}, summary="kl {kl:.1f}")]


def ask(stage, chain):
    [answers], problems = asking.ask_models([(stage, chain)])
    assert problems == []
    return answers


def report_of(house, stages, seeds=(0,)):
    chains = [house.chain(seed, out=house.root / f"seed_{seed}") for seed in seeds]
    for number, chain in enumerate(chains):
        chains[number] = chain = pipeline.Chain("quick", chain.seed, house.root / f"home_{number}",
                                                chain.out)
        chain.home.mkdir(exist_ok=True)
        for stage in stages:
            house.run_stage(stage, chain)
    asked = {stage.name: [ask(stage, chain) for chain in chains] for stage in stages}
    return report_card.gather(stages, chains, asked), chains


def table(report, title):
    found = [table for table in report_card.tables(report) if table.title == title]
    return found[0] if found else None


def row(found, label):
    return next(row for row in found.rows if row[0].strip() == label)


# ---------------------------------------------------------------- numbers

def test_a_cell_of_several_seeds_is_the_mean_with_students_interval():
    values = [0.80, 0.84, 0.88]
    half = 4.30 * stdev(values) / 3 ** 0.5
    assert report_card.half_width(values) == pytest.approx(half)
    assert report_card.cell(values, "share") == f"{100 * mean(values):.1f}% ± {100 * half:.1f}"
    assert report_card.cell(values, "share") == "84.0% ± 9.9"
    assert report_card.half_width([1.0, 3.0]) == pytest.approx(12.71)  # s = sqrt(2), n = 2
    assert report_card.cell([1.0, 3.0]) == "2 ± 13"


def test_a_cell_of_one_seed_or_of_equal_values_has_no_interval():
    assert report_card.cell([0.848], "share") == "84.8%"
    assert report_card.cell([2880000, 2880000]) == "2,880,000"
    assert report_card.cell([]) == report_card.cell([None]) == "-"
    assert report_card.cell([None, 0.5], "share") == "50.0%"


def test_a_figure_is_found_by_its_path_and_a_missing_one_is_none():
    metrics = {"splits": {"longer": {"after": {"accuracy": 0.5}}}, "kl": 3.0, "name": "text"}
    assert report_card.figure_of(metrics, "splits.longer.after.accuracy") == 0.5
    assert report_card.figure_of(metrics, "kl") == 3.0
    for key in ("splits.shorter", "kl.of", "splits", "name", report_card.above_floor):
        assert report_card.figure_of(metrics, key) is None


def test_derived_figures_by_hand():
    assert report_card.above_floor(METRICS["base"]) == pytest.approx(0.2)
    assert report_card.reward_gain(METRICS["ppo"]) == pytest.approx(3.0)


# ---------------------------------------------------------------- asking

def test_a_chat_model_is_asked_each_question_in_a_conversation_of_its_own(house, stages):
    answers = asking.chat_answers(house.root / "sft.pt", ())
    assert len(answers) == len(QUESTIONS) == 12
    assert answers[0] == "Three steps.\nThe answer is 51."
    assert answers[1] == f"{QUESTIONS[1].text} | <b>"  # nothing of the question before
    assert answers[-1] == ""  # it said nothing to the last


def test_a_base_model_goes_on_with_the_question_to_the_end_of_the_line(house):
    assert asking.base_answers(house.root / "base.pt", ()) == [
        "" if number == 5 else f"and so on to {number}" for number in range(1, 13)]


def test_a_model_is_asked_once_until_it_or_the_script_changes(house, stages):
    chain = house.chain()
    house.run_stage(stages[1], chain)
    first = ask(stages[1], chain)
    assert asking.is_asked(stages[1], chain)
    (house.root / "part_6" / "out" / "sft.pt").write_text("other weights")
    assert not asking.is_asked(stages[1], chain)
    assert ask(stages[1], chain)["key"] != first["key"]
    script = house.root / "part_6" / "evaluate.py"
    script.write_text(script.read_text() + "# changed\n")
    assert not asking.is_asked(stages[1], chain)
    assert pipeline.is_done(stages[1], chain)  # what it was trained with is the same


def test_a_quick_chain_asks_for_new_items_alone_and_its_report_says_nothing_of_others(
        house, stages, monkeypatch):
    labels = ("all, new items", "all, new wordings", "all, new combinations")
    for splits, there in ((asking.SPLITS, 1), ({}, 3)):
        monkeypatch.setattr(asking, "SPLITS", splits)
        report, _ = report_of(house, stages)  # what was asked of other splits is asked again
        assert [len(one["skills"]) for found in report["asked"].values() for one in found] == \
            [there] * 3
        shown = [row[0] for row in table(report, "Skills, stage by stage").rows]
        assert [label for label in labels if label in shown] == list(labels[:there])
    assert set(asking.SPLITS) <= set(asking.ITEMS)


def test_a_model_that_cannot_be_asked_is_named_and_the_others_are_asked(house, stages):
    chain = house.chain()
    for stage in stages[:2]:
        house.run_stage(stage, chain)
    (house.root / "part_6" / "chat.py").write_text("raise SystemExit('error: no such model')")
    asked, problems = asking.ask_models([(stages[1], chain), (stages[0], chain)])
    assert asked[0] is None and len(asked[1]["answers"]) == 12
    assert problems == ["the model of sft could not be asked: part_6/chat.py failed: error: no such "
                        "model"]
    assert asking.is_asked(stages[0], chain) and not asking.is_asked(stages[1], chain)
    assert not asking.waiting  # no process is left behind


def test_a_script_that_fails_is_named_with_its_last_line(house):
    (house.root / "part_6" / "chat.py").write_text("raise SystemExit('error: no such model')")
    with pytest.raises(ValueError, match="part_6/chat.py failed: error: no such model"):
        asking.chat_answers(house.root / "sft.pt", ())


def test_an_answer_is_right_by_what_follows_its_mark():
    question = QUESTIONS[0]
    assert question.answer == "51"
    for reply in ("51", "51.", " 51 ", "30 + 10 = 40. The answer is 51."):
        assert asking.is_right(question, reply) is True
    for reply in ("", "510", "51 The answer is 52.", "It is 51", "33 + 18"):
        assert asking.is_right(question, reply) is False
    assert asking.is_right(QUESTIONS[-1], "One day …") is None
    assert asking.is_right(QUESTIONS[9], "athens.") is True


# ---------------------------------------------------------------- tables

def test_the_tables_hold_the_figures_of_every_stage(house, stages):
    report, _ = report_of(house, stages)
    floor = table(report, "Loss against the floor")
    assert floor.header == ["", "base"]
    assert row(floor, "above the floor") == ["above the floor", "20.0%"]
    preference = table(report, "Preference: reward, true quality, KL")
    assert row(preference, "gain in standard deviations")[1] == "3"
    assert row(preference, "true quality after")[1] == "0.8"
    assert all(line[0] != "KL to the tuned model, nats a reply" for line in preference.rows)
    skills = table(report, "Skills, stage by stage")
    assert skills.header == ["skill", "base", "sft", "ppo"]
    assert row(skills, "addition")[1:] == ["10.0%", "80.0%", "80.0%"]
    assert row(skills, "95% interval")[2] == "70.0% to 90.0%"
    results = table(report, "The stages")
    assert row(results, "sft")[2] == "85% right"
    assert row(results, "ppo")[2] == "done; ppo.json has no figure 'kl'"
    assert "Made otherwise" not in results.note


@pytest.mark.parametrize("ends, in_all", [
    ((1000, 1090, 1180), "4.5"), ((1000, 1090, 1120), "3.5"), ((1000, 1005, 995), "1.67")])
def test_the_minutes_are_those_of_the_whole_process_and_side_by_side_count_once(
        house, stages, ends, in_all):
    report, chains = report_of(house, stages)
    for stage, end in zip(stages, ends):
        note = pipeline.note_of(stage, chains[0])
        assert note["ended"] > 1e9
        pipeline.write_note(stage, chains[0], {**note, "wall_seconds": 90.0, "ended": end})
    report = report_card.gather(stages, chains, report["asked"])
    costs = table(report, "What it took")
    assert row(costs, "base") == ["base", "1.5", "2,000", "50", "3,000,000", "900"]
    assert row(costs, "all")[1] == in_all


def test_seeds_are_averaged_with_intervals(house, stages):
    report, _ = report_of(house, stages[:1], seeds=(0, 1))
    half = report_card.half_width([0.24, 0.25])
    cells = row(table(report, "Loss against the floor"), "bits a byte")
    assert cells == ["bits a byte", f"0.245 ± {half:.2g}"]
    assert all("95%" not in line[0] for line in table(report, "Skills, stage by stage").rows)


def test_a_stage_that_has_not_run_is_left_out_everywhere(house, stages):
    report, chains = report_of(house, stages[:1])
    whole = report_card.gather(stages, chains, report["asked"])
    assert list(whole["stages"]) == ["base"]
    titles = [table.title for table in report_card.tables(whole)]
    assert titles == ["The stages", "What it took", "Loss against the floor",
                      "Skills, stage by stage", "Twelve questions"]


def test_results_of_another_command_or_older_settings_are_named(house, stages):
    report, chains = report_of(house, stages[:2])
    path = chains[0].result(stages[1])
    path.write_text(path.read_text().replace("0.85", "0.5"))
    script = house.root / "part_4" / "make.py"
    script.write_text(script.read_text() + "# changed\n")
    report = report_card.gather(stages, chains, report["asked"])
    note = table(report, "The stages").note
    assert "sft (seed 0): by part_6/make.py alone" in note
    assert "base (seed 0): with other settings, code or inputs" in note
    assert report["stages"]["sft"]["runs"][0]["wall_seconds"] is None
    assert "of sft: training alone" in table(report, "What it took").note
    assert report["preset"] == "mixed"


def test_the_twelve_questions_stand_side_by_side_with_their_verdicts(house, stages):
    report, _ = report_of(house, stages[:2])
    found = table(report, "Twelve questions")
    assert found.header == ["asked", "right answer", "base", "sft"]
    assert found.rows[0] == ["What is 33 + 18?", "51", "✗ and so on to 1",
                             "✓ Three steps. The answer is 51."]
    assert found.rows[11][1:] == ["(any)", "and so on to 12", "(nothing)"]
    assert found.rows[12] == ["right", "", "0 of 11", "1 of 11"]


# ---------------------------------------------------------------- pages and picture

class Cells(HTMLParser):
    """The texts of all cells of a page's tables, and every tag that it has."""

    def __init__(self):
        super().__init__()
        self.tags, self.cells, self.is_cell = set(), [], False

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if self.is_cell:
            raise AssertionError(f"<{tag}> inside a cell")
        if tag in ("td", "th"):
            self.is_cell = True
            self.cells.append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.is_cell = False

    def handle_data(self, data):
        if self.is_cell:
            self.cells[-1] += data


def test_what_a_model_says_is_shown_and_never_read_as_markup(house, stages):
    report, _ = report_of(house, stages[:2])
    said = "<script>alert(1)</script> | *x* `y`\n| new row |"
    report["asked"]["sft"][0]["answers"][3] = said
    page = report_pages.html_page(report, b"\x89PNG")
    parser = Cells()
    parser.feed(page)
    assert "script" not in parser.tags
    assert "✗ " + " ".join(said.split()) in parser.cells
    text = report_pages.markdown(report, "pipeline.png")
    line = next(line for line in text.splitlines() if line.startswith("| Sort these"))
    assert "&lt;script&gt;" in line and "\\| \\*x\\* \\`y\\` \\| new row \\|" in line
    assert len(re.findall(r"(?<!\\)\|", line)) == 5  # four cells


def test_both_pages_hold_all_tables_and_the_picture(house, stages, tmp_path):
    report, chains = report_of(house, stages)
    picture = tmp_path / "pipeline.png"
    report_picture.draw(report, chains[0], picture)
    report_pages.write_pages(report, tmp_path, picture)
    text, page = ((tmp_path / name).read_text() for name in ("report.md", "report.html"))
    assert picture.read_bytes().startswith(b"\x89PNG") and "](pipeline.png)" in text
    assert "data:image/png;base64,iVBOR" in page
    parser = Cells()
    parser.feed(page)
    for found in report_card.tables(report):
        assert f"## {found.title}" in text and found.title in page
        assert set(found.header) <= set(parser.cells)
    assert json.loads(json.dumps(report)) == report  # report.json holds all of it


def test_the_title_of_the_picture_states_the_measured_figures(house, stages):
    report, _ = report_of(house, stages)
    title = report_picture.title_of(report)
    assert "it writes 20% above the floor" in title
    assert "answers 80% of new questions (untuned 10%)" in title
    assert report_picture.changes(report) == [("ppo", "true quality", 0.7, 0.8)]
    report["stages"].pop("base"), report["asked"].clear()
    assert report_picture.title_of(report).endswith("minutes of training")


def test_a_long_title_takes_lines_that_fit_the_picture():
    title = "15 minutes: " + "it answers 89% of new questions, " * 4
    lines = textwrap.fill(report_picture.fitted(title), 80).splitlines()
    lines = [line.replace("\u00a0", " ").strip() for line in lines]
    assert len(lines) == 3 and max(map(len, lines)) <= 70
    assert " ".join(lines) == title.strip()


def test_the_curve_of_the_base_model_is_in_bits_a_byte(house, stages):
    report, chains = report_of(house, stages[:1])
    assert report_picture.base_curve(report, chains[0]) == ([], [])
    lines = [{"step": 1, "loss": 3.0}, {"step": 1, "val_loss": 9.0}, {"step": 2, "loss": 0.6}]
    (chains[0].folder("part_4") / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    steps, losses = report_picture.base_curve(report, chains[0])
    assert steps == [1, 2] and losses == pytest.approx([1.2, 0.24])  # 0.24 bits = 0.6 nats a token
