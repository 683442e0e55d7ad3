"""Planted bugs of rough use, parts 4 and 5: own files, released tokenizers, resumes."""

from planted import Bug

OWN = "tests/part_4/test_own_files.py"
STAGES = "tests/part_4/test_released_stages.py"
RUNS = "tests/part_4/test_rough_runs.py"
MOE = "tests/part_5/test_resume.py"

BUGS = [
    Bug("what is no UTF-8 becomes U+FFFD", "part_4/text/own_files.py",
        old='"strict" if strict else "replace"', new='"replace"', test=OWN),
    Bug("a small text may have nothing held out", "part_4/text/own_files.py",
        old="        if not sides[empty]:", new="        if sides[empty] is None:", test=OWN),
    Bug("records are learnt with their braces", "part_4/text/own_files.py",
        old="if ending(path) in RECORD_ENDINGS else None", new="if not path else None", test=OWN),
    Bug("hidden files are read", "part_4/text/own_files.py",
        old="and not any(part.startswith(\".\") for part in file.relative_to(folder).parts))",
        new="and file)", test=OWN),
    Bug("a touched text is another text", "part_4/text/sources.py",
        old="digest.update(sha256_of(path).encode())",
        new="digest.update(str(path.stat().st_mtime_ns).encode())", test=OWN),
    Bug("a + always joins", "part_4/text/sources.py",
        old='if is_there("+".join(parts[:n]))), 1)', new="if n < 0), 1)", test=OWN),
    Bug("what a pattern does not find is lost", "part_4/text/tokenizer_files.py",
        old='return rf"(?:{pattern})|(?:(?!{pattern})(?s:.))+"', new="return pattern", test=STAGES),
    Bug("added tokens that are not special are text", "part_4/text/tokenizer_files.py",
        old='if not token.get("special"):', new="if not token:", test=STAGES),
    Bug("the begin token of a file is passed over", "part_4/text/tokenizer_files.py",
        old="    return prefix\n", new="    return []\n", test=STAGES),
    Bug("a million blanks panic", "part_4/text/tokenizer.py",
        old="return len(text) >= LONGEST_RUN and any(", new="return len(text) < 0 and any(",
        test=STAGES),
    Bug("a resume measures the format anew", "part_4/base/run.py",
        old='if args.amp == "auto" and begun in AMP_TYPES:', new="if not args:", test=RUNS),
    Bug("./x is not x", "part_4/base/settings.py",
        old='*(["data"] if same_texts else [])', new="*[]", test=OWN),
    Bug("a finished model is taken for a checkpoint of a run", "part_4/run/checkpoint.py",
        old="if not (isinstance(training, dict) and TRAINING <= set(training)):",
        new="if not content:", test=RUNS),
    Bug("experts are saved at the end alone", "part_5/train_moe.py",
        old="            if is_stopped or run.step % save_every == 0", new="            if False", test=MOE),
    Bug("a resume of experts forgets the optimizer", "part_5/moe/resuming.py",
        old='    load_optimizer_state(model, optimizer, state["optimizer"])\n', new="", test=MOE),
    Bug("a broken step loses those before it", "part_5/train_moe.py",
        old="                run.save()\n                raise ValueError", new="                raise ValueError",
        test=MOE),
]
