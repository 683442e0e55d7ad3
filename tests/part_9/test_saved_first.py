"""What was trained in this part is on disk before it is measured, and its last step learns."""

import json

import pytest
from run.checkpoint import load_checkpoint

FAST = ["--amp", "float32", "--examples", "8", "--steps", "1", "--rows", "2"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), ZeroDivisionError("division by zero")])
def test_tools_that_were_learnt_are_safe_when_measuring_fails(tiny_sft, tmp_path, monkeypatch, capsys,
                                                              fault):
    import train_tools

    def fail(*_, **__):
        raise fault
    monkeypatch.setattr(train_tools, "share_right", fail)
    with pytest.raises(SystemExit) as ended:
        train_tools.main([*FAST, "--model", str(tiny_sft), "--out", str(tmp_path)])
    assert ended.value.code == 1 and "tools.pt is written" in capsys.readouterr().err
    load_checkpoint(tmp_path / "tools.pt")
    assert json.loads((tmp_path / "tools.json").read_text())["metrics"]["examples"] > 0


def test_the_only_step_of_a_cold_start_has_a_rate(tiny_sft, tmp_path, watch):
    import cold_start

    steps = watch(cold_start, "train_step")
    cold_start.main([*FAST, "--sft", str(tiny_sft), "--out", str(tmp_path)])
    assert len(steps) == 1 and steps[0].rate > 0


def test_the_last_rollout_is_learnt_from(loaded, runtime):
    import torch
    from reasoning.grpo_loop import GRPO
    from reasoning.grpo_settings import GRPOSettings

    settings = GRPOSettings(steps=1, prompts=1, group=4, max_new=4, warmup=0.0)
    grpo = GRPO(loaded[0], lambda rollout, tasks: torch.arange(4.0), settings, end=loaded[1].end,
                pad=loaded[1].pad, runtime=runtime, seed=0)
    assert grpo.step([[1, 2]], [None])["rate"] > 0
