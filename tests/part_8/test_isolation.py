"""The modules under test are those of part 8."""

from pathlib import Path

import dpo
import model
import policy
import ppo
import ppo_loop
import ppo_settings
import quality_report
import rollout
import scoring
import toy_task


def test_modules_come_from_part_8():
    for module in (dpo, model, policy, ppo, ppo_loop, ppo_settings, quality_report, rollout,
                   scoring, toy_task):
        assert Path(module.__file__).parent.name == "part_8", module
