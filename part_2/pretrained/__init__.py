"""Real weights: the folder of a released model becomes this part's GPT, and back.

Explained   the part's lesson: real weights
Read        config.py, weight_places.py, loading.py; then safetensors_io.py (the file format),
            tokenizer.py
"""
