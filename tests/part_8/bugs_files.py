"""Plausible mistakes with people's prompts and pairs, each of which the tests must catch."""

from planted import Bug

OWN, REPORT, TEST = "part_8/rl/own_files.py", "part_8/rl/ppo_report.py", "tests/part_8/test_own_prompts.py"

BUGS = [
    Bug("all prompts of a file are learnt from", OWN,
        "for part in (division.learnt, division.held_out))",
        "for part in (range(len(kept)), division.held_out))", TEST),
    Bug("a file is reported by the little world", REPORT,
        "    if args.data is not None:\n        return compare_on_prompts",
        "    if False:\n        return compare_on_prompts", TEST),
    Bug("--pairs is forgotten for a file", OWN, "return learnt[:most], ", "return learnt, ", TEST),
    Bug("PPO's last rollout is for nothing", "part_8/rl/ppo_loop.py",
        "(self.steps_done + 1) / (s.steps + 1)", "(self.steps_done + 1) / s.steps", TEST),
    Bug("PPO goes on with another file", "part_8/train_ppo.py",
        "\"data\": sum_of(self.prompts)", "\"data\": str(self.args.data)", TEST),
    Bug("PPO is measured before it is written", REPORT,
        "    save(run, metrics)\n    with measuring", "    with measuring", TEST),
    Bug("DPO is measured before it is written", "part_8/train_dpo.py",
        "        save(metrics)\n        with measuring", "        with measuring", TEST),
]
