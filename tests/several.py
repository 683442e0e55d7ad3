"""Several processes as torchrun starts them, without the time that it takes to start."""

import json
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


COUNTING = '''
import atexit, gc, json, os, time, torch, weakref
from torch.distributed.tensor import DTensor
from torch.optim.optimizer import register_optimizer_step_post_hook

done = []

def held() -> int:
    """Bytes of all weights that this process knows, of trained and of frozen models, and of what
    optimizers keep; of slices its own."""
    found = [x for x in gc.get_objects() if type(x) not in weakref.ProxyTypes  # whose object may be gone
             and isinstance(x, (torch.nn.Parameter, torch.optim.Optimizer))]
    tensors = [x for x in found if isinstance(x, torch.Tensor)]
    tensors += [x for one in found if isinstance(one, torch.optim.Optimizer)
                for state in one.state.values() for x in state.values() if isinstance(x, torch.Tensor)]
    local = [x.to_local() if isinstance(x, DTensor) else x.detach() for x in tensors]
    return sum({x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in local}.values())

def write(name, what):
    with open(os.environ["HELD"] + name + os.environ.get("RANK", "0"), "w") as file:
        file.write(what)

def count(*_):
    done.append(time.perf_counter())
    if len(done) == 2:
        write("", str(held()))

register_optimizer_step_post_hook(count)
if "TIMED" in os.environ:
    atexit.register(lambda: write("when_", json.dumps(done)))
'''


def processes(run_script, folder: Path, script, *flags, many: int = 2, **options):
    """What torchrun --nproc_per_node=`many` does; what each process holds is counted (`held_by`)."""
    starter = folder / "several.py"
    starter.write_text(COUNTING + SEVERAL)
    return run_script(starter, script, *flags, **options,
                      env={"WORLD_SIZE": str(many), "MASTER_ADDR": "127.0.0.1",
                           "OMP_NUM_THREADS": "1", "MASTER_PORT": str(free_port()),
                           "HELD": str(folder / "held_")})


def held_by(folder: Path) -> list[int]:
    """Bytes of weights and optimizer that each process held after its second update, by rank."""
    return [int(path.read_text()) for path in sorted(folder.glob("held_[0-9]*"))]


def holds(folder: Path, copies: int, results: Path, shared: bool) -> bool:
    """Does the fullest of two processes hold so many copies of the weights (moments of an optimizer
    count as copies), or, `shared`, half of them? `results`: the JSON that tells how many weights."""
    size = 4 * json.loads(results.read_text())["parameters"]
    share = max(held_by(folder)) / (copies * size)
    return 0.45 < share < 0.58 if shared else 0.9 < share < 1.1
