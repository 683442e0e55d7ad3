"""Bugs of what is measured: on a GPU, and of the memory."""

from planted import Bug

DEVICE, MEMORY, GPU = "part_4/benchmark_device.py", "part_4/show_memory.py", "part_0/measure_gpu.py"
TEST_DEVICE, TEST_MEMORY = (f"tests/part_4/test_{n}.py" for n in ("benchmark_device", "show_memory"))
TEST_GPU = "tests/part_0/test_measure_gpu.py"

BUGS = [
    Bug("attention counts what lies above the diagonal", DEVICE, "3.5 * 2 * rows", "3.5 * 4 * rows",
        TEST_DEVICE),
    Bug("the gradient of float16 keeps its scale", DEVICE, "return float(loss.detach()), grads / scale",
        "return float(loss.detach()), grads", TEST_DEVICE),
    Bug("a format that is off is only printed", DEVICE, "    if odd:\n", "    if odd and False:\n",
        TEST_DEVICE),
    Bug("moments in the format of the products", MEMORY, '"optimizer": 2 * P', '"optimizer": P',
        TEST_MEMORY),
    Bug("the rounded copies of the matrices are forgotten", MEMORY, "if size == 2 else 0  # of",
        "if size == 3 else 0  # of", TEST_MEMORY),
    Bug("keys and values counted for all query heads", MEMORY,
        "config.n_layer * config.n_kv_head * config.head_dim", "config.n_layer * config.n_embd",
        TEST_MEMORY),
    Bug("recomputing keeps no block at all", MEMORY,
        "layers * inputs + block if recompute", "layers * inputs if recompute", TEST_MEMORY),
    Bug("who writes replies holds a slice", MEMORY, "whole = P if processes > 1 else 0", "whole = 0",
        TEST_MEMORY),
    Bug("masks of documents are forgotten", MEMORY, "size * length * masks", "0 * masks", TEST_MEMORY),
    Bug("an old figure passes for a new one", GPU, "        old.unlink()\n", "        pass\n", TEST_GPU),
    Bug("one benchmark that fails ends all", GPU, "    except subprocess.TimeoutExpired:\n",
        "    except ValueError:\n", TEST_GPU),
    Bug("limits that take half an hour", GPU, '"benchmark_training.json"),\n    Job("training formats"',
        '"benchmark_training.json"),\n    Job("", "", "", "", 300),\n    Job("training formats"', TEST_GPU),
    Bug("the MFU of the plain loop", GPU, 'if row["variant"] == "ours"]\n    formats',
        'if row["variant"] != "ours"]\n    formats', TEST_GPU),
]
