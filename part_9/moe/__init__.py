"""A mixture of experts: who is asked, what they say, and how the work is shared out.

Explained   part 5
Read        router.py, experts.py, layer.py; then hybrid.py (the model), learning.py, settings.py,
            checkpoint.py, resuming.py (stop and go on), expert_parallel.py (in several processes)
"""
