"""What every training needs, whatever it trains: the machine, the loop, what is kept.

Explained   part 0 (runtime.py, before_torch.py, tables.py), part 2 (checkpoint.py, schedule.py,
            memory.py), part 4 (all else)
Read        runtime.py, loop.py, schedule.py, optim.py; then checkpoint.py, logger.py, interrupt.py,
            lock.py, memory.py, thrift.py, distributed.py, plotting.py, tables.py, before_torch.py.
            Beside them, in part 3: data.py, tiny_training.py, evaluation.py, presets.py; from
            part 6 on: progress.py, diagram.py
"""
