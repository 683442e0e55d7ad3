"""Before torch is loaded: how threads wait, what flags may hold, and what becomes of the output."""

import argparse
import gc
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import before_torch
import pytest
import runtime
import torch
from before_torch import (
    KEPT_PRODUCTS,
    StaysOpen,
    choose_waiting,
    in_words,
    keep_fewer_products,
    make_parser,
    others_running,
    prepare_output,
    run_main,
)
from runtime import Runtime, choose_runtime, choose_threads, out_folder

# ---------------------------------------------------------------- threads

@pytest.mark.parametrize("others, cores, spins, says", [
    (0, 2, "20000", "the other cores are free"), (1, 2, "1000", "1 others want a core"),
    (1, 16, "20000", "free"), (9, 16, "1000", "9 others"),
    (2, 2, "1000", "2 others want a core, none is free")])
def test_threads_wait_asleep_where_others_want_the_cores(others, cores, spins, says):
    environment = {}
    told = choose_waiting(environment, others, cores)
    assert says in told and ("none is free" in told) == (others >= cores)
    assert environment == {"GOMP_SPINCOUNT": spins}


@pytest.mark.parametrize("chosen", [{"OMP_WAIT_POLICY": "PASSIVE"}, {"GOMP_SPINCOUNT": "7"}])
def test_a_waiting_that_the_user_chose_is_left_alone(chosen):
    environment = dict(chosen)
    assert "as asked" in choose_waiting(environment, 5, 2)
    assert environment == chosen


def test_what_runs_beside_this_process_is_counted(tmp_path):
    (tmp_path / "loadavg").write_text("0.10 0.2 0.3 4/812 99\n")
    assert others_running(3, 0, str(tmp_path / "loadavg")) == 3
    assert others_running(3, 0, str(tmp_path / "nowhere")) == 0


def test_a_script_that_this_one_starts_chooses_for_itself(monkeypatch):
    environment = {"GOMP_SPINCOUNT": "1000", "OMP_NUM_THREADS": "2"}
    monkeypatch.setattr(before_torch, "waiting", "waiting asleep: 3 others want a core")
    before_torch.forget_waiting(environment)
    assert environment == {"OMP_NUM_THREADS": "2"}
    monkeypatch.setattr(before_torch, "waiting", "GOMP_SPINCOUNT=7 as asked")
    before_torch.forget_waiting(asked := {"GOMP_SPINCOUNT": "7"})
    assert asked == {"GOMP_SPINCOUNT": "7"}


@pytest.fixture
def threads(monkeypatch):
    """A machine of two threads whose times are given: threads(one=…, two=…) -> what was set."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    now = [2]
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[-1])
    monkeypatch.setattr(torch, "set_num_threads", now.append)

    def seconds(one, two):
        monkeypatch.setattr(runtime, "time_layer", lambda *a, **k: one if now[-1] == 1 else two)
        return now
    return seconds


@pytest.mark.parametrize("one, two, kept", [(1.0, 0.6, 2), (1.0, 1.1, 2), (1.0, 5.0, 1)])
def test_one_thread_only_where_it_is_clearly_faster(threads, one, two, kept):
    now = threads(one, two)
    assert choose_threads(512) == (f"a layer of width 512 took {one * 1e3:.1f} ms with 1, "
                                   f"{two * 1e3:.1f} ms with 2")
    assert now[-1] == kept


@pytest.mark.parametrize("waits, kept", [("waiting asleep: 1 others want a core", 1),
                                         ("waiting asleep: 2 others want a core, none is free", 2),
                                         ("waiting awake: the other cores are free", 2), ("as asked", 2)])
def test_where_a_core_is_taken_a_draw_goes_to_one_thread(threads, monkeypatch, waits, kept):
    monkeypatch.setattr(runtime, "waiting", waits)
    now = threads(1.0, 1.0)
    choose_threads(512)
    assert now[-1] == kept
    threads(1.0, 0.7)
    now.append(2)
    choose_threads(512)
    assert now[-1] == 2, "two that are faster stay two"


def test_tiny_work_is_not_shared_whatever_the_machine_does(threads):
    now = threads(None, None)  # nothing is measured
    assert choose_threads(48, 64) == "64 rows of width 48 are too little to share"
    assert now[-1] == 1


def test_a_number_of_threads_that_was_asked_for_is_kept(threads, monkeypatch):
    now = threads(None, None)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert choose_threads(512) == "OMP_NUM_THREADS=2 as asked" and now == [2]


def test_the_choice_of_threads_is_told_with_its_reason(threads, capsys):
    threads(1.0, 5.0)
    choose_runtime("cpu", "float32")
    assert "threads 1         a layer of width 512 took 1000.0 ms with 1" in capsys.readouterr().out
    assert "threads" not in Runtime(torch.device("cuda"), None, "", "").describe()


@pytest.mark.parametrize("before, after", [({}, "128"), ({KEPT_PRODUCTS: "7"}, "7")])
def test_fewer_products_are_kept_unless_the_user_has_said_how_many(before, after):
    environment = dict(before)
    keep_fewer_products(environment)
    assert environment == {KEPT_PRODUCTS: after}


# ---------------------------------------------------------------- flags

@pytest.mark.parametrize("flag, value, says", [
    ("--rate", "nan", "--rate nan: must be a finite number"), ("--rate", "inf", "--rate inf: must be a finite number"),
    ("--rate", "-inf", "finite"), ("--rate", "", "--rate '': must be a number"), ("--rate", "x", "--rate 'x': must be a number"),
    ("--steps", "1" + "0" * 16, "must be at most 10**15"), ("--steps", "1.5", "--steps '1.5': must be a whole number"),
    ("--seed", "-1", "--seed -1: must be from 0 to 2**32 - 1"), ("--seed", "4294967296", "2**32 - 1")])
def test_numbers_that_are_none_are_refused(capsys, flag, value, says):
    parser = make_parser("What?")
    parser.add_argument("--rate", type=float, default=1.0, help="a rate")
    parser.add_argument("--steps", type=int, default=1, help="steps")
    with pytest.raises(SystemExit) as leaving:
        parser.parse_args([f"{flag}={value}"])
    assert leaving.value.code == 2 and says in (said := capsys.readouterr().err)
    assert said.count("\n") == 1


def test_numbers_that_are_some_are_read():
    parser = make_parser("What?")
    parser.add_argument("--rate", type=float, default=1.0, help="a rate")
    parser.add_argument("--steps", type=int, default=1, help="steps")
    args = parser.parse_args(["--rate", "1e-3", "--steps", "-4", "--seed", "7"])
    assert (args.rate, args.steps, args.seed) == (1e-3, -4, 7)


@pytest.mark.parametrize("out", ["", "  "])
def test_an_empty_out_is_not_the_default_folder(out):
    with pytest.raises(ValueError, match="--out is empty"):
        out_folder(__file__, out)


# ---------------------------------------------------------------- output

def test_a_training_goes_on_when_the_reader_of_its_output_leaves():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as file:
        stream = StaysOpen(file)
        for _ in range(3):
            assert stream.write("step\n") == 5
            assert stream.write("x" * 100_000) == 100_000  # more than is buffered
            stream.flush()
        assert stream.encoding == file.encoding


def test_letters_that_the_output_does_not_know_do_not_end_a_script(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    prepare_output(trains=False)
    print("naïve → 東京", flush=True)
    assert raw.getvalue().decode("cp1252").rstrip() == "naïve ? ??"


def test_what_was_closed_is_nowhere(monkeypatch):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)  # as Python has it after `<&- >&- 2>&-`
    prepare_output(trains=True)
    print("lost", flush=True)
    assert sys.stdin.read() == "" and not sys.stdin.isatty()


# ---------------------------------------------------------------- errors

def failing(error):
    def main():
        raise error
    return main


@pytest.mark.parametrize("error, says", [
    (MemoryError(), "the memory does not suffice"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …"),
     "the memory does not suffice"),
    (FloatingPointError("the loss is nan"), "the loss is nan")])
def test_what_a_user_can_mend_ends_in_one_line(capsys, error, says):
    with pytest.raises(SystemExit) as leaving:
        run_main(failing(error))
    err = capsys.readouterr().err
    assert leaving.value.code == 2 and err.startswith(f"error: {says}") and err.count("\n") == 1


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), ZeroDivisionError("division"),
                                   KeyError("x")])
def test_a_bug_of_ours_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        run_main(failing(error))


def test_a_prompt_in_another_encoding_is_named():
    try:
        "caf\udce9".encode()
    except UnicodeEncodeError as error:
        assert "the byte 0xe9 in 'caf\ufffd'" in in_words(error)


@pytest.mark.parametrize("error, says", [
    (FileNotFoundError(2, "No such file", "a/.p.jsonl.4711.tmp"), "a/p.jsonl: No such file"),
    (IsADirectoryError(21, "Is a directory", ".b.4711.tmp", None, "b"), "b: Is a directory"),
    (OSError(28, "No space left"), "the output: No space left"), (OSError("own words"), "own words")])
def test_a_file_that_cannot_be_written_is_named_as_the_user_named_it(error, says):
    assert in_words(error) == says


def test_a_script_of_one_process_refuses_torchrun(monkeypatch, capsys):
    ran = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit) as leaving:
        run_main(lambda: ran.append(1))
    assert leaving.value.code == 2 and not ran and "WORLD_SIZE=2" in capsys.readouterr().err
    run_main(lambda: ran.append(1), processes=True)
    monkeypatch.setenv("WORLD_SIZE", "1")
    run_main(lambda: ran.append(1))
    assert ran == [1, 1]


def test_ctrl_c_while_modules_load_is_left_alone_outside_of_scripts():
    before = signal.getsignal(signal.SIGINT)
    assert not before_torch.is_script_here()  # this is a test
    assert not before_torch.leave_quietly_until_main()
    assert signal.getsignal(signal.SIGINT) == before


def test_run_main_takes_ctrl_c_back():
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    seen = []
    try:
        run_main(lambda: seen.append(signal.getsignal(signal.SIGINT)))
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.default_int_handler]


def test_outside_of_scripts_garbage_is_looked_for_as_ever():
    before = gc.get_freeze_count()
    before_torch.collect_later()
    assert gc.isenabled()
    run_main(lambda: None)
    assert gc.get_freeze_count() == before


def test_in_a_script_what_was_loaded_is_set_aside_and_later_garbage_found(monkeypatch):
    monkeypatch.setattr(before_torch, "is_script_here", lambda: True)
    seen, kept = [], []

    def work():
        kept.extend([] for _ in range(20_000))
        seen.append((gc.isenabled(), gc.get_freeze_count()))

    try:
        before_torch.collect_later()
        assert not gc.isenabled()
        run_main(work)
        seen.append((gc.isenabled(), gc.get_freeze_count()))
    finally:
        gc.enable()
        gc.unfreeze()
    (on, loaded), (still_on, at_the_end) = seen
    assert on and still_on
    assert loaded > 10_000 and at_the_end > loaded + 10_000  # `kept` is not looked at when we leave


def test_a_script_loads_torch_without_looking_for_garbage(tmp_path):
    """Counted by Python itself, which loads sitecustomize before the script."""
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, gc, sys\n"
        "begun = []\n"
        "gc.callbacks.append(lambda phase, info: phase == 'start' and begun.append(1))\n"
        "atexit.register(lambda: print(len(begun), 'torch' in sys.modules, file=sys.stderr))\n")
    script = Path(before_torch.__file__).with_name("demo_environment.py")
    done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)}, timeout=120, check=True)
    times, has_torch = done.stderr.split()
    assert has_torch == "True" and int(times) < 60  # otherwise about 400


def test_the_parser_is_argparse_s(capsys):
    assert isinstance(make_parser("What?"), argparse.ArgumentParser)
