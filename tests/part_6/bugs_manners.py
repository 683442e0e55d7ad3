"""Plausible mistakes with people's manners, each of which the tests must catch."""

from planted import Bug

MANNERS, TEST = "part_6/sft/manners.py", "tests/part_6/test_manners.py"

BUGS = [
    Bug("manners stand before the answer", MANNERS,
        "return joined(answer, *said)", "return joined(*said, answer)", TEST),
    Bug("the repeated question takes the answer's place", MANNERS,
        "said = [f\"{ASKED} {question}\"]", "answer = f\"{ASKED} {question}\"", TEST),
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
]
