"""What a model thinks, as numbers that page.html draws.

Explained   part 9, See it think
Read        views.py; then truth.py (the little world's own count), models.py (which checkpoints)
"""
