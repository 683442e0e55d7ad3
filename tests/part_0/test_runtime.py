"""The runtime chooses with reasons, refuses by name, and never harms a file that is there."""

import argparse
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import runtime
import torch
from runtime import (
    Runtime,
    choose_amp,
    choose_device,
    choose_runtime,
    format_number,
    formats_to_time,
    make_parser,
    out_folder,
    print_table,
    replacing,
    save_json,
    save_results,
    seed_everything,
)

CPU = torch.device("cpu")


def test_device_as_asked_and_unknown_devices_refused():
    assert choose_device("cpu") == (CPU, "as asked")
    with pytest.raises(ValueError, match="--device tpu: unknown; choose one of auto, cpu"):
        choose_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_cuda_device_is_an_error_and_not_a_silent_cpu():
    with pytest.raises(ValueError, match="sees no CUDA device"):
        choose_device("cuda")


@pytest.fixture
def times(monkeypatch):
    """times(narrow): layers take a second in float32, `narrow` in bfloat16, in proportion to their
    rows -> what is timed from then on, (type, width, rows)."""
    def begin(narrow):
        asked = []

        def time_layer(width, amp_dtype, device, rows=1024, repeats=5):
            asked.append((amp_dtype, width, rows))
            return (1.0 if amp_dtype is None else narrow) * rows / 1024
        monkeypatch.setattr(runtime, "time_layer", time_layer)
        return asked
    return begin


def test_auto_amp_follows_the_probe(times):
    times(0.3)
    dtype, reason = choose_amp("auto", CPU, 64)
    assert dtype is torch.bfloat16
    assert reason == "a layer of width 64 took 1000.0 ms in float32, 300.0 ms in bfloat16"
    times(1.1)
    dtype, reason = choose_amp("auto", CPU, 64)
    assert dtype is None
    assert "1100.0 ms in bfloat16" in reason


def test_a_processor_that_is_slow_in_bfloat16_is_asked_for_a_few_rows_only(times):
    asked = times(20.0)
    dtype, reason = choose_amp("auto", CPU, 4096)
    assert dtype is None
    assert asked == [(None, 256, 64), (torch.bfloat16, 256, 64)]
    assert reason == "64 rows of a layer of width 256 took 62.5 ms in float32, 1250.0 ms in bfloat16"


@pytest.mark.parametrize("narrow, said", [(20.0, True), (1.5, False), (0.1, False)])
def test_where_bfloat16_is_slow_whoever_asks_for_it_is_told(times, capsys, narrow, said):
    times(narrow)
    why = "64 rows of a layer of width 256 took 62.5 ms in float32, 1250.0 ms in bfloat16"
    dtype, reason = choose_amp("bfloat16", CPU, 512)
    assert dtype is torch.bfloat16
    assert reason == (f"as asked, though {why}" if said else "as asked")
    choose_runtime("cpu", "float32", weights="bfloat16")
    assert (f"weights bfloat16  as asked, and products with them are in it, though {why}"
            in capsys.readouterr().out) == said
    choose_runtime("cpu", "float32")
    assert "weights" not in capsys.readouterr().out
    assert list(formats_to_time(CPU).items()) == [
        ("float32", None), ("bfloat16", torch.bfloat16)][:1 if said else 2]
    assert (f"bfloat16 is left out: {why}" in capsys.readouterr().out) == said


def test_a_slow_layer_is_timed_twice_and_a_fast_one_as_often_as_asked(monkeypatch):
    clock, passes = [0.0], []

    def synchronize(device):
        passes.append(0)
        clock[0] += took
    monkeypatch.setattr(runtime, "synchronize", synchronize)
    monkeypatch.setattr(runtime.time, "perf_counter", lambda: clock[0])
    for took, times in ((3.0, 2), (0.01, 6)):
        passes.clear()
        assert runtime.time_layer(8, None, CPU, rows=2) == pytest.approx(took)
        assert len(passes) == 2 * times


def test_the_probe_does_not_move_the_random_numbers():
    seed_everything(3)
    expected = torch.rand(4)
    seed_everything(3)
    choose_amp("auto", CPU, 64)
    assert torch.equal(torch.rand(4), expected)


def test_unknown_amp_is_refused():
    with pytest.raises(ValueError, match="--amp int8: unknown"):
        choose_amp("int8", CPU, 64)


def test_autocast_is_on_only_where_mixed_precision_was_chosen():
    x = torch.ones(2, 2)
    with choose_runtime("cpu", "bfloat16", quiet=True).autocast():
        assert (x @ x).dtype is torch.bfloat16
    with choose_runtime("cpu", "float32", quiet=True).autocast():
        assert (x @ x).dtype is torch.float32


def test_only_fp16_scales_its_gradients():
    assert Runtime(CPU, torch.float16, "", "").grad_scaler().is_enabled()
    assert not Runtime(CPU, torch.bfloat16, "", "").grad_scaler().is_enabled()
    assert not Runtime(CPU, None, "", "").grad_scaler().is_enabled()


def test_one_seed_fixes_python_numpy_and_torch():
    import random
    draws = []
    for _ in range(2):
        seed_everything(7)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]
    with pytest.raises(ValueError, match="--seed -1"):
        seed_everything(-1)


def test_a_failed_write_leaves_the_old_file_whole_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.json"
    save_json(path, {"old": 1})
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half of")
        raise RuntimeError("power cut")
    assert json.loads(path.read_text()) == {"old": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="--out .*file/inside: cannot write there"):
        out_folder(__file__, str(tmp_path / "file" / "inside"))


def test_results_have_the_same_keys_everywhere(tmp_path):
    results = save_results(tmp_path / "x.json", name="x", preset="p", seed=1,
                           runtime=Runtime(CPU, None, "", ""), seconds=2.0, tokens=10,
                           parameters=3, metrics={"val_loss": 1.5})
    assert list(results) == ["name", "preset", "seed", "device", "amp", "torch", "seconds",
                             "tokens", "tokens_per_second", "parameters", "peak_memory_mb",
                             "metrics"]
    assert results["tokens_per_second"] == 5.0
    assert json.loads((tmp_path / "x.json").read_text()) == results


def test_numbers_in_tables_are_aligned_and_readable(capsys):
    print_table(["name", "value"], [["a", 1234567], ["bb", 0.000123]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == ["a     1,234,567", "bb      1.2e-04"]
    assert [format_number(v) for v in (None, True, 3, 0.12345, 2500.4)] == [
        "-", "yes", "3", "0.1235", "2,500"]


def test_a_users_mistake_ends_in_one_line_and_status_2(capsys):
    def wrong():
        raise ValueError("--steps -1: must be at least 1")
    with pytest.raises(SystemExit) as leaving:
        runtime.run_main(wrong)
    assert leaving.value.code == 2
    assert capsys.readouterr().err == "error: --steps -1: must be at least 1\n"


def test_a_bug_still_shows_its_traceback():
    def broken():
        raise KeyError("a bug of ours")
    with pytest.raises(KeyError):
        runtime.run_main(broken)


def test_ctrl_c_ends_with_status_130(capsys):
    def stopped():
        raise KeyboardInterrupt
    with pytest.raises(SystemExit) as leaving:
        runtime.run_main(stopped)
    assert leaving.value.code == 130


def test_the_common_flags_mean_the_same_everywhere():
    parser = make_parser("What?", presets=("a", "b"), preset="a")
    assert isinstance(parser, argparse.ArgumentParser)
    args = parser.parse_args([])
    assert (args.device, args.amp, args.seed, args.out, args.preset) == (
        "auto", "auto", 0, None, "a")


def test_a_run_on_the_cpu_keeps_the_memory_it_freed(monkeypatch):
    calls = []
    monkeypatch.setattr("runtime.ctypes.CDLL", lambda name: SimpleNamespace(
        mallopt=lambda what, value: calls.append((what, value))))
    choose_runtime("cpu", "float32", quiet=True)
    assert {what for what, _ in calls} == {-1, -2, -3}  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD
    assert all(value >= 2**26 for _, value in calls)


def test_where_the_c_library_has_no_mallopt_nothing_happens(monkeypatch):
    monkeypatch.setattr("runtime.ctypes.CDLL", lambda name: SimpleNamespace())
    assert choose_runtime("cpu", "float32", quiet=True).device.type == "cpu"
