"""Plausible mistakes at the end of a run, each of which the tests must catch."""

from planted import Bug

TEST = "tests/part_9/test_saved_first.py"

BUGS = [
    Bug("tools are measured before they are written", "part_9/train_tools.py",
        "    save(metrics)\n    with measuring", "    with measuring", TEST),
    Bug("a cold start's last step learns nothing", "part_9/cold_start.py",
        "schedule.rate((progress.step + 1) / (steps + 1))",
        "schedule.rate((progress.step + 1) / steps)", TEST),
    Bug("GRPO's last rollout is for nothing", "part_9/reasoning/grpo_loop.py",
        "done = (self.steps_done + 1) / (self.settings.steps + 1)",
        "done = (self.steps_done + 1) / self.settings.steps", TEST),
]
