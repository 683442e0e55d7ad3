"""The modules under test are those of part 5."""

from pathlib import Path

import expert_parallel
import experts
import hybrid
import learning
import model
import moe
import moe_checkpoint
import router


def test_modules_come_from_part_5():
    for module in (router, experts, moe, hybrid, learning, model, moe_checkpoint, expert_parallel):
        assert Path(module.__file__).parent.name == "part_5", module
