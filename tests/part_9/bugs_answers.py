"""Plausible mistakes in reading answers, and in giving each reply its own room."""

from planted import Bug

ANSWERS, REWARDS, REASONING = "part_9/reasoning/answers.py", "part_9/reasoning/rewards.py", "part_9/reasoning/sampling.py"
TASKS, TOOLS, JUDGE = "part_9/reasoning/tasks.py", "part_9/reasoning/tools.py", "part_9/reasoning/evaluation.py"
T_ANSWERS, T_REASONING = "tests/part_9/test_answers.py", "tests/part_9/test_reasoning.py"
T_TASKS, T_TOOLS = "tests/part_9/test_tasks.py", "tests/part_9/test_tools.py"
T_JUDGE, T_REWARDS = "tests/part_9/test_evaluate_reasoning.py", "tests/part_9/test_rewards.py"
SCRIPTS = "tests/part_9/test_scripts.py::test_"
T_ALONE = SCRIPTS + "a_file_is_learnt_from_alone_and_what_is_held_out_is_never_asked"
T_ABOUT = SCRIPTS + "all_reports_of_a_run_on_a_file_are_about_its_held_out_part"

BUGS = [
    Bug("the last number is the answer", ANSWERS, "if len(candidates) == 1 else None\n",
        "if candidates else None\n", T_ANSWERS),
    Bug("numbers that go with others count", ANSWERS,
        "(beside if was_beside else counted).add(value)", "counted.add(value)", T_ANSWERS),
    Bug("the minus of typesetters is no sign", ANSWERS, '"−": "-", ', "", T_ANSWERS),
    Bug("every comma stands between thousands", ANSWERS,
        'PLAIN.fullmatch(part) for', 'PLAIN.fullmatch(part.replace(",", "")) for', T_ANSWERS),
    Bug("a fraction is its last number", ANSWERS, "values[0] / values[1] if", "values[1] if",
        T_ANSWERS),
    Bug("half below zero is added to one below zero", ANSWERS,
        '(-value if text[start] == "-" else value)', "value", T_ANSWERS),
    Bug("a division by zero ends the run", ANSWERS,
        "    if len(values) == 2 and values[1] == 0:\n        return None\n", "", T_ANSWERS),
    Bug("a number of any length is worked out", ANSWERS,
        "    if len(run) > MOST_DIGITS:\n        return None\n", "", T_ANSWERS),
    Bug("the first mark counts", ANSWERS, "        pass  # the last one counts\n",
        "        break\n", T_ANSWERS),
    Bug("more than 18 is 18", ANSWERS, '("not", "than", "least", "most")', '("not",)', T_ANSWERS),
    Bug("what follows the answer's sentence is never read", ANSWERS,
        "later = [part for part in SENTENCE_END.split(after) if", "later = [part for part in [] if",
        T_ANSWERS),
    Bug("two square roots are two", ANSWERS, r'''or re.search(r"\\[a-z]|[√π]", behind, '''
        "re.IGNORECASE)", "or False", T_ANSWERS),
    Bug("sums stay in the order they are said in", ANSWERS, "sorted(terms_of(chain), key=abs, "
        "reverse=True)", "terms_of(chain)", T_ANSWERS),
    Bug("capitals tell texts apart", ANSWERS, ".casefold()", "", T_ANSWERS),
    Bug("the last digit is rounded by a float", ANSWERS, "abs(round(value * 10**places))",
        "abs(round(float(value) * 10**places))", T_ANSWERS),
    Bug("a target may be hit by other numbers", REWARDS,
        "sorted(map(abs, terms)) == sorted(problem.numbers) and ", "", T_ANSWERS),
    Bug("an accuracy of what was cut off", REWARDS, "    if not ended:\n        return False\n", "",
        T_REWARDS),
    Bug("what was cut off votes", REASONING, "if e and (answer := read(text))",
        "if (answer := read(text))", T_REASONING),
    Bug("an empty answer votes", REASONING, "(answer := read(text)) is not None",
        "(answer := read(text) or '') is not None", T_REASONING),
    Bug("pass@k counts what was cut off", REASONING, "* len(texts), texts, ended)) for",
        "* len(texts), texts)) for", T_REASONING),
    Bug("samples have the room of the longest prompt", REASONING,
        "[rooms[i] for i in asked],", "min(rooms[i] for i in asked),", T_REASONING),
    Bug("a written countdown has no target", TASKS, ", target=sum(terms))", ")", T_TASKS),
    Bug("blanks make another question", TASKS, '" ".join(problem.question.casefold().split())',
        "problem.question", T_TASKS),
    Bug("nothing of a short file is held out", TASKS, "max(count, 1)", "count", T_TASKS),
    Bug("gold answers keep their dollars", TASKS, "text if isinstance(value, str) else plain(value)",
        "text", T_TASKS),
    Bug("unmarked steps count as false", JUDGE, "return bool(marks) or None, result",
        "return bool(marks), result", T_JUDGE),
    Bug("what is not known counts as no", JUDGE, "if x is not None]\n    return sum",
        "]\n    return sum", T_JUDGE),
    Bug("small results are nothing", TOOLS, "        places += 1\n", "        break\n", T_TOOLS),
    Bug("results are rounded where they end", TOOLS, "MOST_PLACES = 20", "MOST_PLACES = 6", T_TOOLS),
    Bug("the world's examples are mixed into a file's", "part_9/train_grpo.py",
        "preset = replace(preset, keep_rows=0)", "preset = replace(preset, keep_rows=1)", T_ALONE),
    Bug("looks are at the world, whatever is learnt", "part_9/train_grpo.py",
        "run.held_out[:96] if run.held_out else\n        problems(", "problems(", T_ABOUT),
    Bug("reports are about what was learnt from", "part_9/train_grpo.py",
        "self.held_out = split.held_out", "self.held_out = split.learnt", T_ALONE),
    Bug("replies of a batch have the room of its longest prompt", "part_6/sft/evaluation.py",
        "and len(said[i]) < rooms[i]]", "and False]", "tests/part_6/test_evaluate_lora.py"),
    Bug("rollouts have the room of the longest prompt", "part_8/rl/rollout.py",
        "if so_far[row][0][-1] != end\n", "if False\n", "tests/part_8/test_rollout.py"),
]
