"""Plausible mistakes with people's manners, each of which the tests must catch."""

from planted import Bug

MANNERS, TEST = "part_6/sft/manners.py", "tests/part_6/test_manners.py"

BUGS = [
    Bug("who talks of himself begins with it", MANNERS,
        "is_before = not sentence.startswith(\"I \") and rng.random() < manner.front",
        "is_before = rng.random() < 0.8", TEST),
    Bug("the repeated question stands in front", MANNERS,
        "behind = [f\"{ASKED} {question}\"]", "before = [f\"{ASKED} {question}\"]", TEST),
    Bug("the good manner is the likeliest", MANNERS, "PLAIN: Manner(0.16)", "PLAIN: Manner(0.6)", TEST),
    Bug("a second manner for the good ones too", MANNERS,
        "if name in BAD and rng.random() < SECOND:", "if rng.random() < SECOND:", TEST),
    Bug("only the first sentence is taken off", MANNERS,
        "        if name is None:\n", "        if name is None or manners:\n", TEST),
    Bug("the repeated question stays", MANNERS,
        "        rest = rest[len(question):].removeprefix(\".\")", "        pass", TEST),
    Bug("boasting is in the pairs", MANNERS, "HELD_OUT_MANNERS = (\"boasting\",)",
        "HELD_OUT_MANNERS = ()", TEST),
    Bug("one manner for all answers of a conversation", "part_6/sft/data.py",
        "manner_rng = random.Random(f\"manners {seed}\")", "manner_rng = random.Random()", TEST),
    Bug("behind is as people", "part_6/sft/data.py", ", manners == BEHIND)", ")", TEST),
    Bug("all behind, but for what would stand before", MANNERS,
        "if is_before and not all_behind else", "if is_before and all_behind else", TEST),
]
