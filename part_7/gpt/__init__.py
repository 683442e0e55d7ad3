"""The model, and how it writes.

Explained   part 3 (what a block is made of), part 4 (the finished model)
Read        model.py, layers.py, kv_cache.py, head_loss.py; then sampling.py, generate.py.
            config_checks.py says what is refused
"""
