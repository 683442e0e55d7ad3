"""The base model's own training: its settings, its run, and what is measured and written at the end.

Explained   part 4: the base model
Read        settings.py, run.py, measure.py, report.py
"""
