"""The reward model: pairs of replies, and a score for each.

Explained   part 7
Read        judge.py, faults.py, preferences.py (the pairs); model.py, losses.py, scores.py; then
            siblings.py (replies that share a prompt), sources.py, data.py, checkpoint.py, report.py,
            sanity_checks.py, untrained.py, as far as a part needs them; pair_shapes.py and own_pairs.py
            (pairs from files of one's own)
"""
