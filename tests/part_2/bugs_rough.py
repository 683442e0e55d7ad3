"""Planted bugs of rough use, parts 0 to 3: threads, flags, locks, memory, signals, tokens."""

from planted import Bug

BEFORE = "tests/part_0/test_before_torch.py"
ROUGH = "tests/part_2/test_rough_use.py"

BUGS = [
    Bug("threads wait awake on a busy machine", "part_0/before_torch.py",
        old="SPINS_BUSY if is_busy else SPINS_QUIET", new="SPINS_QUIET", test=BEFORE),
    Bug("a waiting that the user chose is written over", "part_0/before_torch.py",
        old="if chosen := [name for name in WAITING if environment.get(name)]:",
        new="if chosen := []:", test=BEFORE),
    Bug("nan is a number", "part_0/before_torch.py",
        old="if not math.isfinite(value):", new="if math.isinf(value):", test=BEFORE),
    Bug("an empty --out is the default folder", "part_0/runtime.py",
        old="if out is not None and not str(out).strip():", new="if False:", test=BEFORE),
    Bug("one thread is never tried", "part_0/runtime.py",
        old="best = 1 if took[1] < draw * took[n] else n", new="best = n", test=BEFORE),
    Bug("a draw on a busy machine keeps two threads", "part_0/runtime.py",
        old="draw = 1.2 if some_are_free else 0.8", new="draw = 0.8", test=BEFORE),
    Bug("where no core is free one thread takes half the share", "part_0/runtime.py",
        old=" and not waiting.endswith(NONE_FREE)", new="", test=BEFORE),
    Bug("a number of threads that was asked for is measured away", "part_0/runtime.py",
        old='if os.environ.get("OMP_NUM_THREADS"):', new="if False:", test=BEFORE),
    Bug("a training ends when its reader leaves", "part_0/before_torch.py",
        old="""            self.stream.write(text)
        except OSError:""", new="""            self.stream.write(text)
        except EOFError:""", test=BEFORE),
    Bug("every script runs twice under torchrun", "part_0/before_torch.py",
        old="        if not processes:\n", new="        if processes:\n", test=BEFORE),
    Bug("the lock lets everybody in", "part_2/lock.py",
        old="return error.errno not in TAKEN", new="return True", test=ROUGH),
    Bug("the lock outlives its process", "part_2/lock.py",
        old="        if not take(file):", new="        if path.stat().st_size or not take(file):",
        test=ROUGH),
    Bug("the memory is never asked for", "part_2/memory.py",
        old="if there is not None and need > there:", new="if there is None:", test=ROUGH),
    Bug("the masks of long rows cost nothing", "part_2/memory.py",
        old="rows * context**2 if masks else 0", new="0", test=ROUGH),
    Bug("a closed terminal stops a run under nohup", "part_2/interrupt.py",
        old="if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]",
        new="if number]", test=ROUGH),
    Bug("a stride of 0 is the block size", "part_2/evaluation.py",
        old="block_size if stride is None else stride)", new="stride or block_size)", test=ROUGH),
    Bug("an empty --data is the current folder", "part_2/data.py",
        old="if not str(path).strip():", new="if path is None:", test=ROUGH),
    Bug("added tokens are found in any order", "part_3/pretrained/tokenizer.py",
        old="sorted(names, key=len, reverse=True)", new="sorted(names, key=len)",
        test="tests/part_3/test_added_tokens.py"),
]
