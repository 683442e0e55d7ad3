"""Planted bugs of part 0: the frame that every other part relies on."""

from planted import Bug

RUNTIME, NEW, PIPE = "part_0/runtime.py", "part_0/whats_new.py", "part_0/pipeline.py"
TEST_RUNTIME = "tests/part_0/test_runtime.py"
TEST_NEW = "tests/part_0/test_whats_new.py"
TEST_PIPE = "tests/part_0/test_pipeline.py"

BUGS = [
    Bug("a missing device falls back to the CPU silently", RUNTIME,
        'if kind == "cuda" and not torch.cuda.is_available():',
        'if kind == "cuda" and not torch.cuda.is_available():\n        return choose_device("cpu")\n'
        '    if kind == "cuda" and False:', TEST_RUNTIME),
    Bug("bfloat16 chosen where it is slower", RUNTIME,
        "torch.bfloat16 if narrow < 0.8 * wide else None",
        "torch.bfloat16 if narrow > 0.8 * wide else None", TEST_RUNTIME),
    Bug("the probe moves the random numbers", RUNTIME,
        "    torch.set_rng_state(generator_state)\n", "", TEST_RUNTIME),
    Bug("fp16 without a scaler", RUNTIME, "enabled=self.amp_dtype is torch.float16",
        "enabled=False", TEST_RUNTIME),
    Bug("autocast on although float32 was chosen", RUNTIME,
        "            return nullcontext()\n", "            return torch.autocast('cpu')\n",
        TEST_RUNTIME),
    Bug("NumPy left unseeded", RUNTIME, "    np.random.seed(seed)\n", "", TEST_RUNTIME),
    Bug("a file is written in place", RUNTIME,
        '    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")',
        "    temporary = path", TEST_RUNTIME),
    Bug("half a file is left beside the whole one", RUNTIME,
        "        temporary.unlink(missing_ok=True)\n", "        pass\n", TEST_RUNTIME),
    Bug("tokens per second upside down", RUNTIME, "round(tokens / max(seconds, 1e-9), 1)",
        "round(seconds / max(tokens, 1e-9), 1)", TEST_RUNTIME),
    Bug("a user's mistake ends in status 0", RUNTIME, "        sys.exit(2)", "        sys.exit(0)",
        TEST_RUNTIME),
    Bug("numbers in tables to the left", RUNTIME, "v.ljust(w) if left else v.rjust(w)",
        "v.ljust(w)", TEST_RUNTIME),
    Bug("a drifted copy passes", NEW, '            if definition.tag != "CHANGED":',
        '            if definition.tag == "DRIFTED":', TEST_NEW),
    Bug("tags of an earlier part pass", NEW, "        if int(match[2]) != part:",
        "        if int(match[2]) > part:", TEST_NEW),
    Bug("a change without a reason passes", NEW, 'match[1] == "CHANGED" and not match[3]',
        'match[1] == "CHANGED" and match[3] is False', TEST_NEW),
    Bug("the farthest ancestor instead of the nearest", NEW,
        "earlier = [(p, part_files(p, root)) for p in range(part - 1, -1, -1)]",
        "earlier = [(p, part_files(p, root)) for p in range(part - 1, part - 2, -1)]", TEST_NEW),
    Bug("moved definitions are not compared", NEW, "    return alike >= ALIKE",
        "    return False", TEST_NEW),
    Bug("a new definition needs no tag", NEW, "elif definition.tag is None and ancestor_path:",
        "elif definition.tag is None and not ancestor_path:", TEST_NEW),
    Bug("a stage runs again for ever", PIPE, 'state.get(stage.name, {}).get("key") == key_of(',
        'state.get(stage.name, {}).get("key") != key_of(', TEST_PIPE),
    Bug("a changed input does not run the next stage again", PIPE,
        'digest.update(path.read_bytes() if path.is_file() else b"missing")',
        'digest.update(b"missing")', TEST_PIPE),
    Bug("the seed is no setting", PIPE, "[stage.flags[preset], seed, torch.__version__]",
        "[stage.flags[preset], torch.__version__]", TEST_PIPE),
    Bug("a failed stage counts as done", PIPE, "    if status != 0:", "    if status < 0:",
        TEST_PIPE),
    Bug("two runs in one folder", PIPE, "and is_alive(int(text)):", "and not is_alive(int(text)):",
        TEST_PIPE),
    Bug("the lock outlives the run", PIPE, "    finally:\n        path.unlink(missing_ok=True)\n",
        "    finally:\n        pass\n", TEST_PIPE),
]
