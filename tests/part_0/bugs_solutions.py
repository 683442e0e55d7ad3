"""Plausible mistakes in the solutions and in the table of symptoms, for tests/planted_bugs.py."""

from planted import Bug

SOLUTIONS, SYMPTOMS = "tests/part_0/test_solutions.py", "tests/part_0/test_symptoms.py"
PAGE, LESSON = "part_1/SOLUTIONS.md", "part_0/README.md"

BUGS = [
    Bug("an exercise has no solution", PAGE, "### 1.4, exercise 2\n", "### 1.4, exercise 4\n", SOLUTIONS),
    Bug("a solution without an exercise", PAGE, "## 1.5 The MLP",
        "### 1.4, exercise 4\n\n*More.*\n\n## 1.5 The MLP", SOLUTIONS),
    Bug("a flag that the script has not", PAGE, "--lr 0.001 --train-depth 8\n24",
        "--lr 0.001 --train-deep 8\n24", SOLUTIONS),
    Bug("a script that is not there", PAGE, "$ python part_1/demo_positions.py",
        "$ python part_1/demo_position.py", SOLUTIONS),
    Bug("a link back to no section", PAGE, "(README.md#13-one-head)", "(README.md#13-a-head)",
        SOLUTIONS),
    Bug("the lesson's link leads to another section", "part_1/README.md",
        "(SOLUTIONS.md#13-one-head)", "(SOLUTIONS.md#14-many-heads)", SOLUTIONS),
    Bug("a change that no longer fits the code", PAGE, "-    shifted = scores - scores.max(axis",
        "-    shifted = scores - scores.amax(axis", SOLUTIONS),
    Bug("the code has moved on from a change", "part_1/mlp.py",
        "return self.project(gelu(self.widen(x)))  # eq. 1.12:",
        "return self.project(gelu(self.widen(x)))  # eq. 1.12 …", SOLUTIONS),
    Bug("a failed test under another name", PAGE,
        "test_softmax_rows_sum_to_one_and_large_scores_do_not_overflow",
        "test_softmax_rows_sum_to_one", SOLUTIONS),
    Bug("failed tests miscounted", PAGE, "gradients (2 cases)", "gradients (3 cases)", SOLUTIONS),
    Bug("an output that was never filled in", PAGE, "least loss without the source: 3.140", "?",
        SOLUTIONS),
    Bug("a bug of the table under another name", LESSON, "`clip before unscale`",
        "`clip before unscaling`", SYMPTOMS),
    Bug("a demo of the table that is not there", LESSON, "`part_5/demo_collapse.py`",
        "`part_5/demo_collapsed.py`", SYMPTOMS),
    Bug("a symptom leads to another lesson", LESSON, "[5.1](../part_5", "[5.2](../part_5", SYMPTOMS),
    Bug("lesson 8 no longer leads to the table", "part_8/README.md",
        "(../part_0/README.md#symptom-and-cause)", "(../part_0/README.md)", SYMPTOMS),
]
