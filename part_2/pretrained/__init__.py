"""Real weights: the folder of a released model becomes this part's GPT, and back.

Explained   the part's lesson: real weights (parts 2, 3); released models, in and out (part 4)
Read        config.py, weight_places.py, loading.py; then safetensors_io.py (the file format),
            tokenizer.py. From part 4 on, in its place: released_tokenizer.py, cutting.py,
            chat_forms.py; and the way out: export.py, tokenizer_json.py. From part 5 on: mixtures.py
"""
