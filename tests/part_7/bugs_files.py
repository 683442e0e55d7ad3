"""Plausible mistakes with people's pairs, each of which the tests must catch."""

from planted import Bug

SHAPES, REPORT = "part_7/reward/pair_shapes.py", "part_7/reward/report.py"
TEST = "tests/part_7/test_own_pairs.py"

BUGS = [
    Bug("a blank before a reply moves its score", "part_7/reward/model.py",
        "said = reply.text.lstrip()", "said = reply.text", TEST),
    Bug("the two sides are not compared with the prompt", SHAPES,
        "        if any(text not in [turn.content for turn in before] for text in asked):\n",
        "        if False:\n", TEST),
    Bug("a file has margins of 0", "part_7/reward/own_pairs.py", "if args.loss == \"margin\":",
        "if False:", TEST),
    Bug("all pairs of one prompt are one step", "part_7/reward/data.py",
        "if len(different) >= rows:\n            pieces.append([])",
        "if False:\n            pieces.append([])", TEST),
    Bug("the last step learns nothing", "part_7/train_reward.py",
        "schedule.rate(step / (len(batches) + 1))", "schedule.rate(step / len(batches))", TEST),
    Bug("a file's scores have mean 0 and deviation 1", REPORT,
        "        return metrics | data.about, points, spread_of(chosen, rejected)",
        "        return metrics | data.about, points, (0.0, 1.0)", TEST),
    Bug("the reward model is measured before it is written", REPORT,
        "    save({})\n", "", TEST),
]
