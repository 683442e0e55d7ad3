"""The profiling demo profiles what it is asked to."""

import demo_profiling


def test_as_many_steps_of_as_many_sequences_are_profiled_as_asked(watch, tmp_path, capsys):
    steps = watch(demo_profiling, "train_step")
    demo_profiling.main(["--steps", "1", "--batch", "2", "--device", "cpu", "--amp", "float32",
                         "--out", str(tmp_path)])
    assert [call.ids.size(0) for call in steps] == [2] * (2 + 1), "two to warm up, one to profile"
    assert "goes (1 steps)" in capsys.readouterr().out
    assert (tmp_path / "profile_trace.json").is_file()
