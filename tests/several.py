"""Several processes as torchrun starts them, without the time that it takes to start."""

import socket
from pathlib import Path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


SEVERAL = """
import os, runpy, sys
from pathlib import Path

script, *sys.argv[1:] = sys.argv[1:]
sys.argv[0], sys.path[0] = script, str(Path(script).parent)
children = []
for rank in range(1, int(os.environ["WORLD_SIZE"])):
    os.environ["RANK"] = os.environ["LOCAL_RANK"] = str(rank)
    if not (child := os.fork()):
        children = []  # they are its parent's
        break
    children.append(child)
else:
    os.environ["RANK"] = os.environ["LOCAL_RANK"] = "0"
try:
    runpy.run_path(script, run_name="__main__")
finally:
    if any([os.waitpid(child, 0)[1] for child in children]):
        sys.exit("another process failed")
"""


def processes(run_script, folder: Path, script, *flags, many: int = 2, **options):
    """What torchrun --nproc_per_node=`many` does."""
    starter = folder / "several.py"
    starter.write_text(SEVERAL)
    return run_script(starter, script, *flags, **options,
                      env={"WORLD_SIZE": str(many), "MASTER_ADDR": "127.0.0.1",
                           "OMP_NUM_THREADS": "1", "MASTER_PORT": str(free_port())})
