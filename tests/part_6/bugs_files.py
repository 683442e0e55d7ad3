"""Plausible mistakes with people's files, each of which the tests must catch."""

from planted import Bug

SHAPES, READING, RECORDS = (f"part_6/files/{n}.py" for n in ("shapes", "reading", "records"))
FORMAT, TEST = "part_6/sft/chat_format.py", "tests/part_6/test_own_files.py"

BUGS = [
    Bug("an answer of weight 0 is learnt", FORMAT, "== \"assistant\" and message.learn]",
        "== \"assistant\"]", TEST),
    Bug("weight 0 is not written", FORMAT, "{} if message.learn else {\"weight\": 0}", "{}", TEST),
    Bug("Alpaca's history is dropped", SHAPES, "    if history:\n", "    if False:\n", TEST),
    Bug("the line in system is dropped", SHAPES, "    return [Turn(\"system\", system), *turns]",
        "    return turns", TEST),
    Bug("what a tool gave back is dropped", SHAPES,
        "    return [Turn(\"user\", \"\\n\".join(results))] if results else []", "    return []", TEST),
    Bug("unread fields are not told", SHAPES, "shaped = Shaped(unread=set(record))",
        "shaped = Shaped()", TEST),
    Bug("the name decides, not what is inside", RECORDS, "if start.startswith(\"[\"):",
        "if False:", TEST),
    Bug("records are divided, not prompts", READING,
        "groups.setdefault(top(keys[i][-1]), []).append(i)", "groups[i] = [i]", TEST),
    Bug("blanks make another prompt", READING, "return \" \".join(text.casefold().split())",
        "return text.casefold()", TEST),
    Bug("a prompt inside a longer conversation is forgotten", READING,
        "        for key in keys[i][:-1]:\n", "        for key in ():\n", TEST),
    Bug("what stands there twice is read twice", READING,
        "if first.setdefault(content, number) == number:", "if True:", TEST),
    Bug("a changed data file is not noticed", "part_6/train_sft.py",
        "\"data\": fingerprint(self.args.data)", "\"data\": str(self.args.data)", TEST),
    Bug("tuning is measured before it is written", "part_6/sft/report.py",
        "    write_model(run, metrics, training)\n    with measuring", "    with measuring", TEST),
    Bug("a chat talks on to nobody", "part_6/chat.py",
        "        except BrokenPipeError:  # whoever read our answers has left, as `head` does\n"
        "            raise\n", "", TEST),
]
