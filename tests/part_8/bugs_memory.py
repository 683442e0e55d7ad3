"""Bugs of memory, of parts 4 to 9: what is read at once grows with the data, what is free is kept."""

from planted import Bug

PAIRS, STEPS, TEST = "part_8/rl/dpo_pairs.py", "part_8/rl/steps.py", "tests/part_8/test_memory.py"

BUGS = [
    Bug("all pairs of a step are read at once", PAIRS,
        "size = max(1, most // max(pair.together for pair in batch))", "size = len(batch)", TEST),
    Bug("only the prompts of pairs are counted", PAIRS,
        "return len(self.prompt) + len(self.chosen) + len(self.rejected)",
        "return len(self.prompt)", TEST),
    Bug("short pairs are read one by one", PAIRS,
        "size = max(1, most // max(pair.together for pair in batch))", "size = 1", TEST),
    Bug("the last pair of a piece is lost", PAIRS, "(i + 1) // times] for", "(i + 1) // times - 1] for",
        TEST),
    Bug("what is read for the others' sake is learnt from in DPO", PAIRS,
        "int(bool(piece))) for", "1) for", TEST),
    Bug("a piece of pairs counts as the whole step", "part_8/train_dpo.py",
        "share, labels = counts * len(few) / len(batch),", "share, labels = counts,", TEST),
    Bug("the chosen tokens of a piece are those of the step", "part_8/train_dpo.py",
        "sum(len(pair.chosen) for pair in batch)", "sum(len(pair.chosen) for pair in few)", TEST),
    Bug("a minibatch is one piece", STEPS, "lengths.argsort(stable=True)].split(size))",
        "lengths.argsort(stable=True)].split(len(part)))", TEST),
    Bug("PPO's pieces are twice as large", "part_8/rl/ppo_settings.py",
        "micro_rows: int = setting(32,", "micro_rows: int = setting(64,", TEST),
    Bug("GRPO's pieces are three times as large", "part_9/reasoning/grpo_settings.py",
        "micro_rows: int = setting(16,", "micro_rows: int = setting(48,", "tests/part_9/test_memory.py"),
    Bug("all prompts are read at once", "part_4/gpt/generate.py",
        "chunk or max(1, AT_ONCE // len(ids))", "chunk or ids.size(1)", "tests/part_4/test_prefill.py"),
    Bug("what is read at once is counted by row", "part_4/gpt/generate.py",
        "chunk or max(1, AT_ONCE // len(ids))", "chunk or AT_ONCE", "tests/part_4/test_prefill.py"),
    Bug("training's freed memory stays while the model is measured", "part_6/files/closing.py",
        "    give_memory_back()\n    try:\n        yield\n", "    try:\n        yield\n",
        "tests/part_6/test_closing.py"),
    Bug("a C library without malloc_trim ends the run", "part_6/files/closing.py",
        "except (OSError, AttributeError, TypeError):\n        pass", "except OSError:\n        pass",
        "tests/part_6/test_closing.py"),
]
