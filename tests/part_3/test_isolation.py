"""The modules under test are those of part 3."""

from pathlib import Path

import attention
import generate
import kv_cache
import mla
import model
import rmsnorm
import rope
import swiglu


def test_modules_come_from_part_3():
    for module in (attention, generate, kv_cache, mla, model, rmsnorm, rope, swiglu):
        assert Path(module.__file__).parent.name == "part_3", module
